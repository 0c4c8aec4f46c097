#![no_main]

#[path = "../checks/plan.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::plan(bytes));
