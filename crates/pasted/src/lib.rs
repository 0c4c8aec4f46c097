//! Other people's evidence: from the text of `ss`, `netstat`, `nstat`, `sysctl` and others to a
//! [`Case`](evidence::Case).
//!
//! People paste what they have into tickets: several outputs in one file, with prompts between them, of several
//! releases. [`read`] tells them apart by what their lines look like, and puts all of them into one case of one host,
//! as if lastack had looked itself. What the text does not tell is a [`Gap`](evidence::Gap); what is not understood is
//! counted, and the first line of it named.
//!
//! ```
//! use pasted::{Text, read};
//! let text = b"$ ss -tan\nState     Recv-Q Send-Q Local Address:Port Peer Address:Port\n\
//!              TIME-WAIT 0      0      10.0.0.1:51034     10.0.0.2:80\n";
//! let text = Text::pasted("ticket.txt", text);
//! let case = read(&[text], 0).unwrap();
//! assert_eq!(case.namespaces[0].sockets.groups[0].remote.to_string(), "10.0.0.2:80");
//! assert!(read(&[Text::pasted("poem.txt", b"roses are red")], 0).is_err());
//! ```
//!
//! Invariants: a socket is counted once, however many tables show it; no text makes it panic; memory grows with the
//! text and with [`evidence::MAX_GROUPS`], and with nothing else. It refuses to judge.

mod address;
mod case;
mod clock;
mod command;
mod conntrack;
mod counters;
mod gaps;
mod host;
mod kind;
mod lead;
mod macos;
mod opening;
mod sections;
mod settings;
mod sockets;
pub mod sos;
mod statistics;
mod summary;
mod table;
mod text;
mod windows;

pub use case::{PastedError, read};
pub use text::Text;
