//! The close machine against the kernel: the same segments and calls for both, and after each of them the same reply
//! and the same state.
//!
//! The kernel is driven through a TUN device: one side of each connection is a socket of this process, the other is
//! played here, segment by segment. The machine is told what is the kernel's to choose (initial sequence numbers,
//! windows) and nothing else.

mod packet;

pub use packet::{Tuple, decode, encode};
