#![no_main]

#[path = "../checks/capture_file.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::capture_file(bytes));
