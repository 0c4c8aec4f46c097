#![no_main]

#[path = "../checks/redaction.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::redaction(bytes));
