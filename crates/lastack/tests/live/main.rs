//! lastack against the real kernel: real sockets in namespaces of the tests' own, checked against `ss`.

#![expect(clippy::print_stdout, reason = "a skip is said where the test is run by hand, too")]

mod budgets;
mod crafted;
mod harness;
mod lab;
mod namespaces;
mod owners;
mod rules;
mod states;
