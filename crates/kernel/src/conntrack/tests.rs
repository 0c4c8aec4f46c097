use super::*;
use crate::netlink::attribute;
use proptest::prelude::*;
use std::path::Path;

/// Dumps recorded on 6.18 in a namespace with 11 TCP connections, one of them IPv6, and one UDP flow; the
/// records of both CPUs' statistics. Each ends with its DONE.
const TABLE: &[u8] = include_bytes!("../../tests/fixtures/netlink/conntrack.bin");
const STATS: &[u8] = include_bytes!("../../tests/fixtures/netlink/conntrack-stats.bin");

fn fixture(name: &str) -> Root {
    Root::below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
}

fn entry(protocol: u8, state: Option<u8>) -> Vec<u8> {
    const NESTED: u16 = 0x8000;
    let tuple = attribute(CTA_TUPLE_PROTO | NESTED, &attribute(CTA_PROTO_NUM, &[protocol]));
    let mut body = vec![2, 0, 0, 0];
    body.extend(attribute(CTA_TUPLE_ORIG | NESTED, &tuple));
    if let Some(state) = state {
        let tcp = attribute(CTA_PROTOINFO_TCP | NESTED, &attribute(CTA_PROTOINFO_TCP_STATE, &[state]));
        body.extend(attribute(CTA_PROTOINFO | NESTED, &tcp));
    }
    netlink::request(CT_NEW, 2, &body)
}

#[test]
fn a_recorded_table_is_counted_as_the_conntrack_program_shows_it() {
    let mut count = Count::default();
    assert_eq!(count.add(TABLE).unwrap(), Progress::End);
    let expected = [("CLOSE", 1), ("CLOSE_WAIT", 2), ("ESTABLISHED", 4), ("TIME_WAIT", 4)];
    assert_eq!(count.by_state(), expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert_eq!(count.other(), 1);
    let mut sums = BTreeMap::new();
    assert_eq!(add_stats(STATS, &mut sums).unwrap(), Progress::End);
    assert_eq!(sums.get("insert_failed"), Some(&0));
    assert_eq!(sums.len(), 10, "{sums:?}");
}

#[test]
fn an_entry_without_a_known_state_has_none() {
    let mut count = Count::default();
    for (protocol, state) in
        [(6, Some(7)), (6, Some(200)), (6, None), (17, None), (17, Some(7)), (6, Some(9))]
    {
        assert_eq!(count.add(&entry(protocol, state)).unwrap(), Progress::More);
    }
    let expected = [("NONE", 2), ("SYN_SENT2", 1), ("TIME_WAIT", 1)];
    assert_eq!(count.by_state(), expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert_eq!(count.other(), 2);
    let mut count = Count::default();
    assert_eq!(count.add(&netlink::request(CT_NEW, 2, &[])).unwrap(), Progress::More);
    assert_eq!(count.other(), 1, "an entry that says nothing is an entry");
}

#[test]
fn a_refusal_and_a_cut_message_are_errors() {
    let refusal = netlink::request(2, 0, &(-1_i32).to_ne_bytes());
    let error = Count::default().add(&refusal).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    let error = Count::default().add(&TABLE[..TABLE.len() - 21]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn statistics_are_summed_over_cpus_from_either_source() {
    let stats = stats(&fixture("proc-alibaba"));
    assert_eq!(stats.get("insert_failed"), Some(&4));
    assert_eq!(stats.get("early_drop"), Some(&7));
    assert_eq!(stats.get("invalid"), Some(&12));
    assert_eq!(stats.get("search_restart"), Some(&256));
    assert_eq!(stats.get("entries"), None, "it counts the table, once for each CPU");
    let cpu = |failed: u32| {
        let mut body = vec![0; NFGENMSG];
        body.extend(attribute(9, &failed.to_be_bytes()));
        body.extend(attribute(10, &[1, 2]));
        body.extend(attribute(99, &failed.to_be_bytes()));
        netlink::request(CT_GET_STATS_CPU, 2, &body)
    };
    let mut sums = BTreeMap::new();
    add_stats(&[cpu(3), cpu(1)].concat(), &mut sums).unwrap();
    assert_eq!(sums, BTreeMap::from([("insert_failed".to_owned(), 4)]));
}

#[test]
fn where_conntrack_is_absent_or_garbled_there_is_nothing() {
    let mut gaps = Vec::new();
    assert_eq!(read(&fixture("proc-3.10"), &Settings::default(), &mut gaps), None);
    assert_eq!(stats(&fixture("proc-3.10")), BTreeMap::new());
    assert_eq!(stats(&fixture("proc-hostile")), BTreeMap::new());
    // An empty table is not asked for.
    let settings = Settings::from_iter([
        ("net.netfilter.nf_conntrack_count", "0"),
        ("net.netfilter.nf_conntrack_max", "262144"),
    ]);
    let conntrack = read(&fixture("proc-alibaba"), &settings, &mut gaps).unwrap();
    assert_eq!((conntrack.entries, conntrack.max, conntrack.partial), (0, 262_144, false));
    assert_eq!(conntrack.stats_end.get("drop"), Some(&4));
    assert!(conntrack.tcp_by_state.is_empty() && conntrack.stats_start.is_empty());
    assert_eq!(gaps, []);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Count::default().add(&bytes);
        let _ = add_stats(&bytes, &mut BTreeMap::new());
    }

    #[test]
    fn a_damaged_recording_never_counts_more_than_its_bytes_can_hold(
        at in 0..TABLE.len(),
        damage in proptest::collection::vec(any::<u8>(), 1..8),
    ) {
        let mut bytes = TABLE.to_vec();
        for (byte, other) in bytes[at..].iter_mut().zip(&damage) {
            *byte = *other;
        }
        let mut count = Count::default();
        let _ = count.add(&bytes);
        let all: u64 = count.tcp.iter().sum::<u64>() + count.other;
        prop_assert!(all <= bytes.len() as u64 / 16);
    }
}
