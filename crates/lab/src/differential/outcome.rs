//! How a sequence went.

use std::fmt;
use tcp::machine::Row;

/// Kernel and machine did not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// At this step, counted from 0.
    pub step: usize,
    /// This was different.
    pub what: String,
    /// What happened until then, a line a step.
    pub trace: String,
}

/// Where kernel and machine are known to differ; docs/exceptions.md says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exception {
    /// A SYN,ACK with the number of the SYN, and data or a FIN, makes a socket of a listener's request, which stays in
    /// SYN-RECEIVED.
    EarlySocket,
    /// Something beyond a window of 65535, the largest without scaling: the kernel's own can be larger.
    LargeWindow,
    /// The kernel sent something again and holds new data back.
    Congestion,
    /// Data for a peer that never announced a window of two segments: the kernel makes smaller ones.
    SmallWindow,
    /// The window ends within data of more than one segment: the kernel fills it up, as there is no Nagle.
    CutBurst,
}

/// How a sequence went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// For each step that was taken the row of the machine's table that applied, if one did.
    pub rows: Vec<Option<&'static Row>>,
    /// Why it ended early, if the next step is one that docs/exceptions.md tells of.
    pub exception: Option<Exception>,
    /// What was different, and was not when it ran again alone: somebody disturbed it.
    pub disturbed: Option<Difference>,
    /// What was different, if something was; no further step was taken then.
    pub difference: Option<Difference>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}\n{}", self.step + 1, self.what, self.trace)
    }
}
