#![no_main]

#[path = "../checks/case.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::case(bytes));
