//! From packets to how each connection ended.
//!
//! Bytes of capture files go in, connections with their endings come out. No I/O of its own, no clock: times are
//! those of the packets.

mod clock;
mod connections;
mod file;
mod http;
mod link;
mod merge;
mod packet;
mod prefetch;
mod reader;
mod traffic;

pub use connections::{
    Connection, Connections, Ending, Endless, Handshake, HttpSummary, InOrder, Note, Options, Outcome,
    PerSide, ResetCause, Reuse, Versions, Who,
};
pub use file::{Break, FileEnding, Refused};
pub use link::Statistics;
pub use merge::Merge;
pub use packet::{Flow, Head, Packet, Sink};
pub use reader::Reader;
pub use traffic::TrafficTally;
