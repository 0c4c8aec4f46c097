//! What was seen on a host: the [`Case`].
//!
//! A case holds raw evidence only: sockets (grouped while they streamed by, so a million sockets are a few
//! groups), settings, counters, conntrack, owners, and [`Gap`]s: what could *not* be seen. Nothing in it is
//! a conclusion; rules and budgets are recomputed from it each time, on any machine.
//!
//! This crate does no I/O and reads no clock. It refuses to judge: a rule is the business of `diagnose`.
//!
//! ```
//! use evidence::Case;
//! let case = Case::default();
//! let again = Case::from_bytes(&case.to_bytes()).unwrap();
//! assert_eq!(case, again);
//! ```
//!
//! Invariants: a socket is counted in exactly one group or listener; every process index in a namespace
//! points into its `processes`; a namespace that was only partly seen has a gap that says so.

mod case;
pub mod configuration;
mod conntrack;
mod counters;
mod coverage;
mod endpoint;
mod namespace;
mod ports;
pub mod proc;
mod redact;
mod settings;
mod sockets;
mod system;
mod tally;
mod traffic;
mod waiting;

pub use case::{Case, CaseError, Host, MAX_CASE_BYTES, SCHEMA, Slab};
pub use configuration::{Configuration, ConfigurationProblem, FilePlace, Running, Said};
pub use conntrack::{CONNTRACK_STATES, Conntrack};
pub use counters::Counters;
pub use coverage::{Gap, Unseen};
pub use endpoint::{Endpoint, NotAnEndpoint};
pub use namespace::{Namespace, Process};
pub use ports::{Halves, PortRange, PortSet, PortUse};
pub use redact::Redaction;
pub use settings::{
    DYNAMIC_PORT_COUNT, DYNAMIC_PORT_START, MSL, PORT_RANGE_FIRST, PORT_RANGE_LAST, SETTINGS, Settings,
    TIMED_WAIT_DELAY,
};
pub use sockets::{BoundPorts, Group, HeldPorts, KnownBy, Listener, Ownership, Role, Sockets, StateCounts};
pub use system::System;
pub use tally::{MAX_GROUPS, MAX_LIVE, SocketSeen, Tally, TallyOptions};
pub use traffic::{
    ClockReading, Clocks, Counted, Ends, Example, Exchange, Http, MAX_EXAMPLES, MAX_EXCHANGES, Traffic,
};
pub use waiting::{Countdown, IDLE_EDGES_S, Idle, Waiting};
