//! Every capture of the shared folder, held to what tshark counted in it: frames, segments in all, and segments of
//! each pair of endpoints. `docs/oracle-differences.md` explains what differs.

use crate::captures;
use capture::{FileEnding, Reader};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::path::Path;

/// Segments by pair of endpoints, the smaller first.
type Pairs = BTreeMap<(String, String), u64>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Counted {
    segments: u64,
    pairs: Pairs,
}

fn endpoint(address: u128, port: u16) -> String {
    let address = Ipv6Addr::from(address);
    address
        .to_ipv4_mapped()
        .map_or_else(|| format!("[{address}]:{port}"), |address| format!("{address}:{port}"))
}

fn pair(first: String, second: String) -> (String, String) {
    if first <= second { (first, second) } else { (second, first) }
}

fn read(mut reader: Reader<'_>) -> (Counted, u64, FileEnding) {
    let mut counted = Counted::default();
    reader.for_each(|packet| {
        let flow = packet.flow;
        let source = endpoint(flow.source, flow.source_port);
        let destination = endpoint(flow.destination, flow.destination_port);
        counted.segments += 1;
        *counted.pairs.entry(pair(source, destination)).or_default() += 1;
    });
    let statistics = reader.statistics();
    assert_eq!(statistics.segments, counted.segments);
    (counted, statistics.frames, reader.ending().cloned().expect("the end was reached"))
}

/// What the oracle says of a capture, and how many of its packets it could read.
fn expected(folder: &Path, name: &str) -> (Counted, u64) {
    let text = std::fs::read_to_string(folder.join("oracle").join(format!("{name}.jsonl"))).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let capture = lines.next().unwrap();
    let mut counted = Counted { segments: capture["tcp_segments"].as_u64().unwrap(), pairs: Pairs::new() };
    for connection in lines.filter(|line| line["type"] == "conn") {
        let side = |name: &str| {
            let text = connection[name].as_str().unwrap();
            let (address, port) = text.rsplit_once(':').unwrap();
            match address.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
                Ok(address) => endpoint(address.into(), port.parse().unwrap()),
                Err(_) => text.to_owned(),
            }
        };
        let packets = connection["packets"].as_u64().unwrap();
        *counted.pairs.entry(pair(side("client"), side("server"))).or_default() += packets;
    }
    (counted, capture["frames"].as_u64().unwrap())
}

/// Captures that are read otherwise than by tshark, with the segments and frames that are right.
const DIFFER: [(&str, u64, u64); 1] = [("oisf_bug-6875-01_fuzz.pcap", 0, 1)];

#[test]
fn what_differs_is_explained() {
    let explained = include_str!("../../../../docs/oracle-differences.md");
    assert!(DIFFER.iter().all(|(name, ..)| explained.contains(name)));
}

fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder.join("pcaps")).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 100, "{} captures", names.len());
    names
}

#[test]
fn the_shared_captures_have_the_segments_that_tshark_sees() {
    let Some(folder) = captures("the_shared_captures_have_the_segments_that_tshark_sees") else { return };
    let mut differ = Vec::new();
    for name in names(&folder) {
        let bytes = std::fs::read(folder.join("pcaps").join(&name)).unwrap();
        let (expected, frames) = expected(&folder, &name);
        let (counted, read_frames, ending) = match Reader::new(&bytes) {
            Ok(reader) => {
                let (counted, frames, ending) = read(reader);
                // NetMon's files cannot be read from a stream.
                if let Ok(streamed) = Reader::from_stream(&bytes[..]) {
                    assert_eq!(
                        read(streamed),
                        (counted.clone(), frames, ending.clone()),
                        "{name} as a stream"
                    );
                }
                (counted, frames, Some(ending))
            }
            Err(refused) => {
                println!("{name}: {refused}");
                (Counted::default(), 0, None)
            }
        };
        if let Some(FileEnding::Broken(place)) = &ending {
            println!("{name}: {place}");
        }
        if let Some((_, segments, frames)) = DIFFER.iter().find(|(differs, ..)| *differs == name) {
            assert_eq!((counted.segments, read_frames), (*segments, *frames), "{name}");
            continue;
        }
        if counted != expected || read_frames != frames {
            let mut lines = vec![format!(
                "{name}: {} segments in {read_frames} frames, tshark has {} in {frames}",
                counted.segments, expected.segments
            )];
            let all: BTreeSet<_> = counted.pairs.keys().chain(expected.pairs.keys()).collect();
            for pair in all {
                let count = |of: &Counted| of.pairs.get(pair).copied().unwrap_or(0);
                if count(&counted) != count(&expected) {
                    lines.push(format!("{pair:?} {}, not {}", count(&counted), count(&expected)));
                }
            }
            lines.truncate(10);
            differ.push(lines.join("; "));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}
