//! What is read is written again, byte for byte: the files of Debian's packages, examples, and any bytes at all.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the files are files")]
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a test")]

mod any;
mod examples;
mod packages;

#[path = "../../../../fuzz/checks/haproxy_config.rs"]
mod haproxy_config;
#[path = "../../../../fuzz/checks/nginx_config.rs"]
mod nginx_config;
#[path = "../../../../fuzz/checks/sysctl_config.rs"]
mod sysctl_config;
