//! The close machine against the kernel: the same segments and calls for both, and after each of them the same reply
//! and the same state.
//!
//! The kernel is driven through a TUN device: one side of each connection is a socket of this process, the other is
//! played here, segment by segment. The machine is told what is the kernel's to choose (initial sequence numbers,
//! windows) and nothing else.

mod bench;
mod keepalive;
mod outcome;
mod packet;
mod random;
mod replies;
mod run;
mod shrink;
mod socket;
mod sockets;
mod step;

pub use bench::{Bench, DEVICE, LOCAL, LOCAL_V6, PEERS, PEERS_V6, TIMED_PEERS, set};
pub use outcome::{Difference, Exception, Outcome};
pub use packet::{Tuple, decode, encode, encode_with};
pub use random::{random, random_beyond, random_closed_window};
pub use run::RETRANSMIT_MIN;
pub use shrink::shrink;
pub use sockets::{Found, Sockets};
pub use step::{AckFrom, NotAStep, Probe, SeqFrom, Sequence, Settings, Step};
