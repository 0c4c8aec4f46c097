#![no_main]

#[path = "../checks/pasted_outputs.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(env!("CARGO_BIN_NAME"), bytes));
