//! What captures at simulated hosts show, for their cases.

use capture::{Reader, TrafficTally};
use evidence::{Case, Gap, Unseen};

/// Reads the capture of a host into its case.
pub(crate) fn add(case: &mut Case, name: &str, file: &[u8], seed: u64) {
    let Ok(reader) = Reader::new(file) else { return };
    let (mut traffic, _) = TrafficTally::of(vec![reader], seed);
    traffic.files = vec![format!("{name}.pcap")];
    case.traffic = Some(traffic);
}

/// The gap of a capture that was full before the run was over.
pub(crate) fn cut(after_ms: u64) -> Gap {
    Gap {
        unseen: Unseen::Packets,
        netns: None,
        because: format!("packets are kept up to {after_ms} ms of the run"),
        how_to_see: "run a scenario with fewer connections".to_owned(),
    }
}
