//! Reads a Linux network stack, and apart from that changes one setting of it.
//!
//! [`look`] makes a [`Case`](evidence::Case): the sockets of one or more network namespaces, grouped while they
//! stream by, their owners, settings, counters over the look, conntrack and slabs. What cannot be read becomes
//! a [`Gap`](evidence::Gap), not an error; only a namespace that cannot be found or entered is one.
//!
//! This crate is the only one that reads the kernel. Nothing that reads writes or sends a packet; it asks the kernel by
//! probing: does this setting, counter or request exist? The one write there is stands alone in [`change`], for those
//! who keep a journal of what they change.
//! Of nginx and HAProxy it reads what they are told, too, and asks them for their version ([`programs`]).

pub mod addresses;
pub mod change;
pub mod conntrack;
pub mod counters;
pub mod host;
mod listening;
mod look;
pub mod netlink;
pub mod netns;
pub mod owners;
pub mod process;
pub mod programs;
mod root;
pub mod settings;
pub mod slabs;
mod snapshot;
pub mod sock_diag;
pub mod sockstat;

pub use listening::listening;
pub use look::{LookError, Options, look, look_while};
pub use netns::{NetnsError, Selection};
pub use root::{Root, why};
