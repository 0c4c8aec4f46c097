//! What captures at simulated hosts show, for their cases.

use capture::{Connections, Merge, Options, Reader, TrafficTally};
use evidence::{Case, Gap, Traffic, Unseen};

/// Reads the capture of a host into its case.
pub(crate) fn add(case: &mut Case, name: &str, file: &[u8], seed: u64) {
    let Ok(reader) = Reader::new(file) else { return };
    let mut merge = Merge::new(vec![reader]);
    let mut connections = Connections::new(Options { seed, ..Options::default() });
    let mut span = (i64::MAX, i64::MIN);
    while merge.advance(1 << 16, |packet| {
        span = (span.0.min(packet.time_ns), span.1.max(packet.time_ns));
        connections.push(packet);
    }) {}
    connections.finish();
    let span = (span.0 <= span.1).then_some(span);
    let mut tally = TrafficTally::new(seed, span.map(|span| span.0), span.map(|span| span.1));
    for connection in connections.iter() {
        tally.add(&connection);
    }
    let mut traffic: Traffic = tally.finish(&merge, span, Vec::new());
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
