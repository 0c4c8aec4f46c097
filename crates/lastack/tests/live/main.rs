//! lastack against the real kernel: real sockets in namespaces of the tests' own, checked against `ss`.

mod budgets;
mod crafted;
mod harness;
mod lab;
mod namespaces;
mod owners;
mod pasted;
mod repair;
mod rules;
mod stages;
mod states;
