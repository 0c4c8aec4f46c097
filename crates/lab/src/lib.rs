//! Runs a scenario on the real kernel: hosts in network namespaces, real programs, exact ways to close; and holds
//! what the close machine says against that kernel.
//!
//! A **stage** is one process in namespaces of its own (network, mounts, pids), started by [`sandbox`]. A **host** is
//! one more process in a network namespace inside it, which the stage drives by JSON lines ([`host`]). Servers,
//! clients and loads are threads of their host ([`peer`]).
//!
//! Nothing can be left behind, by construction: the stage is pid 1 of its pid namespace, so when it ends, however it
//! ends, the kernel kills every process of the lab; namespaces, links, nft rules and settings go with the last
//! process in them, and working files lie in a tmpfs that only the stage's mount namespace has. The stage ends when
//! its standard input does, which the kernel closes when the program that the user started is gone.
//!
//! [`tun`] and [`differential`] change network settings and sockets where they are called, and so belong into a
//! namespace that their caller has made.

pub mod differential;
pub mod host;
pub mod peer;
pub mod sandbox;
pub mod stage;
pub mod tun;
