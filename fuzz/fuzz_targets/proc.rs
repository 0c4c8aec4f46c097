#![no_main]

#[path = "../checks/proc.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::proc(bytes));
