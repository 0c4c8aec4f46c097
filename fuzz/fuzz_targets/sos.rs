#![no_main]

#[path = "../checks/sos.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::sos(bytes));
