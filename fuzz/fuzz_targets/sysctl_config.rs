#![no_main]

#[path = "../checks/sysctl_config.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::sysctl_config(bytes));
