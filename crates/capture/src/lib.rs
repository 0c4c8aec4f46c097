//! From packets to how each connection ended.
//!
//! Bytes of capture files go in, connections with their endings come out. No I/O of its own, no clock: times are
//! those of the packets.

mod packet;

pub use packet::{Flow, Packet};
