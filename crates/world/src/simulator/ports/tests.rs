//! Ports that are found, and those that are not.

use super::*;

const KEY: FlowKey = FlowKey { source: 1, destination: 2, port: 80 };

fn ports(first: u16, last: u16) -> Ports {
    Ports::new(Choice::Parity, PortRange { first, last }, &PortSet::default(), true)
}

#[test]
fn each_port_is_found_once_and_those_of_the_first_parity_come_first() {
    let (mut ports, mut random) = (ports(40_000, 40_999), Random::new(7));
    let flow = ports.flow(KEY, &mut random);
    let mut seen = PortSet::default();
    for turn in 0..1_000 {
        let found = ports.search(flow, 1, None, &mut random).unwrap();
        assert!(!seen.contains(found.port));
        assert_eq!(found.port % 2 == 0, turn < 500, "turn {turn}: {found:?}");
        if turn >= 500 {
            assert!(found.walked.taken >= 500, "all of the first half is walked before");
        }
        assert_eq!(found.walked.bound, 0);
        seen.insert(found.port);
        ports.take(flow, 1, found.port, false);
    }
    assert_eq!(seen.len(), 1_000);
    assert_eq!(ports.search(flow, 1, None, &mut random), Err(Walk { taken: 1_000, bound: 0 }));
    ports.release(flow, 1, 40_321, false);
    assert_eq!(ports.search(flow, 1, None, &mut random).unwrap().port, 40_321);
    ports.take(flow, 1, 40_321, false);
    assert_eq!(ports.search(flow, 1, None, &mut random), Err(Walk { taken: 1_000, bound: 0 }));
    ports.age(flow, 40_777);
    assert_eq!(ports.search(flow, 1, None, &mut random).unwrap().port, 40_777);
}

/// Seen on 6.18, with 11 ports: 10 or 11 connections in a row, and each of the ports, but the first one not always.
#[test]
fn an_odd_range_leaves_out_the_last_port_or_the_first() {
    let (mut counts, mut seen) = ([0; 12], PortSet::default());
    for seed in 0..100 {
        let (mut ports, mut random) = (ports(50_000, 50_010), Random::new(seed));
        let flow = ports.flow(KEY, &mut random);
        let mut found = Vec::new();
        while let Ok(next) = ports.search(flow, 1, None, &mut random) {
            ports.take(flow, 1, next.port, false);
            found.push(next.port);
        }
        seen.extend(found.iter().copied());
        counts[found.len()] += 1;
        if found.len() == 10 {
            let missing = (50_000..=50_010).find(|port| !found.contains(port));
            assert!(matches!(missing, Some(50_000 | 50_010)), "{found:?}");
        }
    }
    assert_eq!(seen.len(), 11);
    assert_eq!(counts[10] + counts[11], 100);
    assert!(counts[10] > 0 && counts[11] > 0, "{counts:?}");
}

/// Seen on 6.18: all ports of the range are found, one by one and whatever their parity; then none is.
#[test]
fn connect_walks_a_range_of_its_own_port_by_port() {
    let own = PortRange { first: 40_100, last: 40_110 };
    let (mut ports, mut random) = (ports(40_000, 40_999), Random::new(7));
    let flow = ports.flow(KEY, &mut random);
    let mut seen = PortSet::default();
    for turn in 0..11 {
        let found = ports.search(flow, 1, Some(own), &mut random).unwrap();
        assert!(own.contains(found.port) && !seen.contains(found.port), "{found:?}");
        assert!(found.walked.taken <= turn, "only what is taken is walked in vain: {found:?}");
        assert_eq!(found.walked.taken, found.steps);
        seen.insert(found.port);
        ports.take(flow, 1, found.port, false);
    }
    assert_eq!(ports.search(flow, 1, Some(own), &mut random), Err(Walk { taken: 11, bound: 0 }));
    assert_eq!(ports.fewest_left(), Some(0));
    // Who has another range, or the host's, has ports left.
    let other = PortRange { first: 40_200, last: 40_209 };
    let found = ports.search(flow, 1, Some(other), &mut random).unwrap();
    assert!(other.contains(found.port), "{found:?}");
    assert!(ports.search(flow, 1, None, &mut random).is_ok());
    ports.release(flow, 1, 40_105, false);
    assert_eq!(ports.search(flow, 1, Some(own), &mut random).unwrap().port, 40_105);
}

/// Seen on 6.18, of 400 connections in a row: each port is 1 to 8 above the one before, 2 to 16 without the option.
#[test]
fn who_has_a_range_of_its_own_moves_on_by_half_as_much() {
    let own = PortRange { first: 20_000, last: 59_999 };
    for (own, step) in [(Some(own), 1), (None, 2)] {
        let (mut ports, mut random) = (ports(10_000, 60_999), Random::new(7));
        let flow = ports.flow(KEY, &mut random);
        let mut steps = PortSet::default();
        let mut before = None;
        for _ in 0..400 {
            let port = ports.search(flow, 1, own, &mut random).unwrap().port;
            ports.take(flow, 1, port, false);
            // Not where the end of the range lies between them.
            steps.extend(before.and_then(|before| port.checked_sub(before)));
            before = Some(port);
        }
        let expected: Vec<u16> = (1..=8).map(|times| times * step).collect();
        assert_eq!(steps.iter().collect::<Vec<_>>(), expected);
    }
}

/// Seen on 6.18 with the host's range from 40000 to 40999.
#[test]
fn an_end_of_its_own_range_that_lies_outside_the_host_s_is_ignored() {
    let found = |first, last, most| {
        let (mut ports, mut random) = (ports(40_000, 40_999), Random::new(7));
        let flow = ports.flow(KEY, &mut random);
        let own = Some(PortRange { first, last });
        let mut seen = PortSet::default();
        for _ in 0..most {
            let Ok(found) = ports.search(flow, 1, own, &mut random) else { break };
            ports.take(flow, 1, found.port, false);
            seen.insert(found.port);
        }
        seen.iter().collect::<Vec<u16>>()
    };
    assert_eq!(found(100, 40_003, 6), [40_000, 40_001, 40_002, 40_003]);
    assert_eq!(found(40_996, 50_000, 6), [40_996, 40_997, 40_998, 40_999]);
    assert_eq!(found(50_000, 50_009, 2_000).len(), 1_000);
    assert_eq!(found(100, 200, 2_000).len(), 1_000);
    assert_eq!(found(40_200, 40_200, 2), [40_200]);
}

/// Seen on 6.18: bind() takes the other half first in a range of its own, too, and of three ports never the last.
#[test]
fn bind_keeps_to_a_range_of_its_own() {
    let own = |first, last| Some(PortRange { first, last });
    let (mut ports, mut random) = (ports(40_000, 40_999), Random::new(3));
    for turn in 0..10 {
        let (port, _) = ports.search_bound(1, own(40_100, 40_109), &mut random).unwrap();
        assert!((40_100..=40_109).contains(&port), "{port}");
        assert_eq!(port & 1 == 1, turn < 5, "turn {turn}: {port}");
        ports.hold(1, port, true);
    }
    assert_eq!(ports.search_bound(1, own(40_100, 40_109), &mut random), Err(10));
    for _ in 0..100 {
        let (port, _) = ports.search_bound(1, own(40_203, 40_205), &mut random).unwrap();
        assert!(port <= 40_204, "{port}");
    }
}

#[test]
fn bind_takes_the_other_half_first_and_poisons_the_port_for_connect() {
    let (mut ports, mut random) = (ports(50_000, 50_009), Random::new(3));
    for turn in 0..10 {
        let (port, walked) = ports.search_bound(1, None, &mut random).unwrap();
        assert_eq!(walked >= 5, turn >= 5, "the first half is walked before the second");
        assert_eq!(port % 2 == 1, turn < 5);
        ports.hold(1, port, true);
    }
    assert_eq!(ports.search_bound(1, None, &mut random), Err(10));
    assert!(ports.search_bound(9, None, &mut random).is_ok(), "another address has its own ports");
    let flow = ports.flow(FlowKey { destination: 3, ..KEY }, &mut random);
    assert_eq!(ports.search(flow, 1, None, &mut random), Err(Walk { taken: 0, bound: 10 }));
    ports.let_go(1, 50_004, true);
    assert_eq!(ports.search(flow, 1, None, &mut random).unwrap().port, 50_004);
}

#[test]
fn bind_passes_by_what_listens_on_all_addresses() {
    let (mut ports, mut random) = (ports(50_000, 50_003), Random::new(3));
    ports.hold(ANY, 50_001, true);
    // A connection of the listener's has the port, too, and goes.
    ports.hold(1, 50_001, false);
    ports.hold(1, 50_001, false);
    ports.let_go(1, 50_001, false);
    let mut found = std::iter::from_fn(|| {
        let (port, _) = ports.search_bound(1, None, &mut random).ok()?;
        ports.hold(1, port, true);
        Some(port)
    });
    assert_eq!(found.next(), Some(50_003));
    let mut rest: Vec<u16> = found.collect();
    rest.sort_unstable();
    assert_eq!(rest, [50_000, 50_002]);
    ports.let_go(1, 50_001, false);
    assert!(ports.search_bound(1, None, &mut random).is_err());
    ports.let_go(ANY, 50_001, true);
    assert_eq!(ports.search_bound(1, None, &mut random).map(|(port, _)| port), Ok(50_001));
}

#[test]
fn a_walk_tells_bound_ports_from_taken_ones_and_skips_reserved_ones() {
    let reserved = PortSet::parse("50004-50007").unwrap();
    let range = PortRange { first: 50_000, last: 50_199 };
    let mut ports = Ports::new(Choice::Parity, range, &reserved, true);
    let mut random = Random::new(5);
    let flow = ports.flow(KEY, &mut random);
    // Of the first half 25 are bound and 2 reserved; all others are taken one by one.
    for port in (50_100..50_150).step_by(2) {
        ports.hold(1, port, true);
    }
    for turn in 0..100 - 25 - 2 {
        let found = ports.search(flow, 1, None, &mut random).unwrap();
        assert!(found.walked.taken <= turn && found.walked.bound <= 25, "turn {turn}: {found:?}");
        assert!(found.walked.taken + found.walked.bound <= found.steps);
        ports.take(flow, 1, found.port, false);
    }
    let beyond = ports.search(flow, 1, None, &mut random).unwrap();
    assert_eq!((beyond.port & 1, beyond.walked.bound), (1, 25));
    assert!(beyond.walked.taken >= 73, "{beyond:?}");
}

#[test]
fn the_ends_of_all_ports_are_in_reach() {
    let (mut ports, mut random) = (ports(1, 65_535), Random::new(3));
    let flow = ports.flow(KEY, &mut random);
    let mut found = 0;
    while let Ok(port) = ports.search(flow, 1, None, &mut random) {
        ports.take(flow, 1, port.port, false);
        found += 1;
    }
    assert!((65_534..=65_535).contains(&found), "{found}");
}
