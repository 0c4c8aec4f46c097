#![no_main]

#[path = "../checks/netlink.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::netlink(bytes));
