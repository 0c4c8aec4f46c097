#![no_main]

#[path = "../checks/case.rs"]
mod case;
#[path = "../checks/pasted.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::pasted(bytes));
