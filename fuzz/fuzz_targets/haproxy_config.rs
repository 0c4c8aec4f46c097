#![no_main]

#[path = "../checks/haproxy_config.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::haproxy_config(bytes));
