#![no_main]

#[path = "../checks/nginx_config.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::nginx_config(bytes));
