#![no_main]

#[allow(dead_code, reason = "each target takes one of its checks")]
#[path = "../checks/pasted_outputs.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::windows(bytes));
