#![no_main]

#[path = "../checks/tcp_options.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::tcp_options(bytes));
