//! Every capture of the shared folder, connection by connection, held to what was worked out from tshark's fields:
//! the measure of `compare.py` beside the captures. `docs/oracle-differences.md` explains what differs.

use crate::captures;
use capture::{Connections, Options, Reader};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// At most so many connections of one capture count, so that a scan does not drown the rest.
const PER_CAPTURE: usize = 50;

/// What the oracle says, under the names of the JSON line.
fn expected(oracle: &Value) -> Vec<(&'static str, Value)> {
    let none = |value: &Value| if value == "none" { Value::Null } else { value.clone() };
    let who =
        |client: &Value, server: &Value| match (client == &Value::Bool(true), server == &Value::Bool(true)) {
            (true, true) => "both".into(),
            (true, false) => "client".into(),
            (false, true) => "server".into(),
            (false, false) => Value::Null,
        };
    let crossed = oracle["simultaneous_close"] == true;
    let mut all = vec![
        ("/client", oracle["client"].clone()),
        ("/server", oracle["server"].clone()),
        ("/syns", oracle["syn_count"].clone()),
        ("/first_closer", if crossed { "both".into() } else { none(&oracle["first_fin"]) }),
        ("/resets/client", oracle["rst_client"].clone()),
        ("/resets/server", oracle["rst_server"].clone()),
        ("/packets/client", oracle["packets_client"].clone()),
        ("/packets/server", oracle["packets_server"].clone()),
    ];
    let http = &oracle["http"];
    if http["sure"] == true && (http["requests"] != 0 || http["responses"] != 0) {
        all.push(("/http/requests", http["requests"].clone()));
        all.push(("/http/responses", http["responses"].clone()));
        all.push(("/http/close_by", who(&http["connection_close_client"], &http["connection_close_server"])));
    }
    all
}

/// The JSON lines of a capture by the number of the first packet.
fn lines(bytes: &[u8]) -> BTreeMap<u64, Value> {
    let Ok(mut reader) = Reader::new(bytes) else { return BTreeMap::new() };
    let mut connections = Connections::new(Options::default());
    let mut segments = 0;
    reader.for_each(|packet| {
        segments += 1;
        connections.push(packet);
    });
    connections.finish();
    let all: Vec<_> = connections.iter().collect();
    let packets: u64 =
        all.iter().map(|found| u64::from(found.packets.client) + u64::from(found.packets.server)).sum();
    assert_eq!((packets, segments), (segments, connections.packets()), "every packet is in one connection");
    assert!(all.is_sorted_by_key(|found| found.number));
    all.iter().map(|found| (found.first_packet, serde_json::to_value(found).unwrap())).collect()
}

/// What a field may be compared with when the oracle itself is in doubt.
fn is_doubtful(oracle: &Map<String, Value>) -> bool {
    oracle["doubt"].as_array().is_some_and(|doubts| !doubts.is_empty()) || oracle["tcp_in_tcp"] == true
}

/// The state that each side is in if every captured packet arrived must be one that it may be in.
fn states_outside(name: &str, oracle: &Value, ours: &Value) -> Vec<String> {
    let mut outside = Vec::new();
    for side in ["client", "server"] {
        let state = oracle[format!("state_{side}")]
            .as_str()
            .unwrap()
            .replace('_', "-")
            .replace("SYN-RCVD", "SYN-RECEIVED");
        let may_be = &ours["states"][side];
        let known = state != "UNKNOWN" && !may_be.as_array().unwrap().iter().any(|may| *may == *state);
        if known {
            let first = &oracle["first_frame"];
            outside.push(format!("{name} packet {first}: {side} is in {state}, lastack says {may_be}"));
        }
    }
    outside
}

#[test]
fn connections_agree_with_the_oracle() {
    let Some(folder) = captures("connections_agree_with_the_oracle") else { return };
    let mut names: Vec<_> =
        std::fs::read_dir(folder.join("pcaps")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let (mut agree, mut total, mut differences, mut outside) = (0, 0, Vec::new(), Vec::new());
    for name in names {
        let name = name.to_str().unwrap();
        let found = lines(&std::fs::read(folder.join("pcaps").join(name)).unwrap());
        let oracle = std::fs::read_to_string(folder.join(format!("oracle/{name}.jsonl"))).unwrap();
        let oracle = oracle.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let strict = oracle
            .filter(|line| line["type"] == "conn" && !is_doubtful(line.as_object().unwrap()))
            .take(PER_CAPTURE);
        for line in strict {
            total += 1;
            let first = line["first_frame"].as_u64().unwrap();
            let Some(connection) = found.get(&first) else {
                differences.push(format!("{name} packet {first}: no connection begins here"));
                continue;
            };
            let before = differences.len();
            for (field, value) in expected(&line) {
                let ours = connection.pointer(field).unwrap_or(&Value::Null);
                if *ours != value {
                    differences
                        .push(format!("{name} packet {first}: {field}: oracle {value}, lastack {ours}"));
                }
            }
            agree += usize::from(differences.len() == before);
            outside.extend(states_outside(name, &line, connection));
        }
    }
    println!("{agree} of {total} connections agree in every field");
    for difference in &differences {
        println!("{difference}");
    }
    for line in &outside {
        println!("{line}");
    }
    assert!(outside.len() * 50 <= total, "states not thought of:\n{}", outside.join("\n"));
    assert!(total > 500, "{total}");
    assert!(agree * 100 >= total * 99, "{agree} of {total}:\n{}", differences.join("\n"));
}
