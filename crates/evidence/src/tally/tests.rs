use super::*;
use crate::Halves;
use std::net::Ipv4Addr;

const RANGE: PortRange = PortRange { first: 1_000, last: 1_009 };

fn ip(last: u8) -> u128 {
    Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped().to_bits()
}

fn socket(state: State, local_port: u16, remote_port: u16) -> SocketSeen {
    SocketSeen {
        state,
        mini: state == State::TimeWait,
        local: ip(1),
        local_port,
        remote: ip(2),
        remote_port,
        left_ms: Some(59_500),
        retransmits: 0,
        receive_queue: 0,
        send_queue: Some(0),
        uid: Some(33),
        inode: Some(if state == State::TimeWait { 0 } else { u32::from(local_port) }),
        cookie: u64::from(local_port),
    }
}

fn tally() -> Tally {
    Tally::new(TallyOptions { range: RANGE, ..TallyOptions::default() })
}

#[test]
fn a_thousand_sockets_to_one_destination_are_one_group() {
    let mut tally = tally();
    for port in 1_000..1_010 {
        tally.add(&socket(State::TimeWait, port, 80));
    }
    let sockets = tally.finish();
    assert_eq!(sockets.groups.len(), 1);
    let group = &sockets.groups[0];
    assert_eq!(
        (group.role, group.local.to_string(), group.remote.to_string()),
        (Role::Client, "10.0.0.1".to_owned(), "10.0.0.2:80".to_owned())
    );
    assert_eq!(group.ports.time_wait, Halves { preferred: 5, other: 5 });
    assert_eq!(group.time_wait.total(), 10);
}

#[test]
fn a_port_that_goes_to_two_destinations_is_held_once_and_shared() {
    let to = |port, remote_port| socket(State::TimeWait, port, remote_port);
    let mut tally = Tally::new(TallyOptions {
        reserved: PortSet::parse("1009").unwrap(),
        ..TallyOptions { range: RANGE, ..TallyOptions::default() }
    });
    tally.add_listener(&socket(State::Listen, 1_008, 0), None);
    for seen in [to(1_000, 80), to(1_000, 81), to(1_000, 82), to(1_001, 80), to(1_003, 81), to(1_002, 80)] {
        tally.add(&seen);
    }
    // Neither was chosen for a connect(), or not from the range.
    for seen in [to(1_008, 40_000), to(1_009, 80), to(1_010, 80)] {
        tally.add(&seen);
    }
    let other = SocketSeen { local: ip(9), ..to(1_001, 80) };
    tally.add(&other);
    let held = tally.finish().held;
    assert_eq!(held.len(), 1, "one port of nine tells nothing: {held:?}");
    assert_eq!(held[0].local.to_string(), "10.0.0.1");
    assert_eq!(held[0].distinct, Halves { preferred: 2, other: 2 });
    assert_eq!(held[0].shared, Halves { preferred: 1, other: 0 });
}

#[test]
fn of_many_local_addresses_the_first_have_their_ports_told_apart() {
    let mut tally = tally();
    for address in 1..=20 {
        for port in 1_000..1_010 {
            tally.add(&SocketSeen { local: ip(address), ..socket(State::Established, port, 80) });
        }
    }
    let held = tally.finish().held;
    assert_eq!(held.len(), held::MAX_ADDRESSES);
    assert!(held.iter().all(|held| held.distinct.total() == 10 && held.shared.total() == 0));
}

#[test]
fn a_listener_decides_which_end_this_host_is() {
    let mut tally = tally();
    tally.add_listener(&socket(State::Listen, 1_004, 0), Some(false));
    tally.add(&socket(State::TimeWait, 1_004, 40_000));
    tally.add(&socket(State::TimeWait, 1_004, 40_001));
    tally.add(&socket(State::TimeWait, 1_005, 80));
    // The server is gone: a port outside the range that a port inside it talks to.
    tally.add(&socket(State::TimeWait, 80, 1_005));
    let sockets = tally.finish();
    let groups: Vec<_> = sockets
        .groups
        .iter()
        .map(|group| (group.role, group.local.to_string(), group.remote.to_string()))
        .collect();
    assert_eq!(
        groups,
        [
            (Role::Server, "10.0.0.1:1004".to_owned(), "10.0.0.2".to_owned()),
            (Role::Client, "10.0.0.1".to_owned(), "10.0.0.2:80".to_owned()),
            (Role::Server, "10.0.0.1:80".to_owned(), "10.0.0.2".to_owned()),
        ]
    );
    assert_eq!(sockets.groups[0].ports, crate::PortUse::default());
    assert_eq!(sockets.bound.listening, Halves { preferred: 1, other: 0 });
}

#[test]
fn owners_come_from_inode_then_cookie_then_listener() {
    let mut options = TallyOptions { range: RANGE, ..TallyOptions::default() };
    options.owners_by_cookie.insert(1_001, 0);
    let mut tally = Tally::new(options);
    tally.add_listener(&socket(State::Listen, 80, 0), None);
    tally.add(&socket(State::Established, 1_000, 80));
    tally.add(&socket(State::TimeWait, 1_001, 80));
    tally.add(&socket(State::TimeWait, 1_002, 80));
    tally.add(&socket(State::TimeWait, 80, 1_000));
    tally.add(&socket(State::Established, 1_003, 81));
    tally.attribute(|inode| [(80, 1), (1_000, 0)].into_iter().find(|(i, _)| *i == inode).map(|(_, p)| p));
    let sockets = tally.finish();
    let owners = |index: usize| -> Vec<_> {
        sockets.groups[index].owners.iter().map(|o| (o.process, o.uid, o.known_by)).collect()
    };
    assert_eq!(owners(0), [(Some(0), None, KnownBy::Cookie), (Some(0), None, KnownBy::Inode)]);
    assert_eq!(sockets.groups[0].unowned(State::TimeWait), 1);
    assert_eq!(owners(1), [(Some(1), None, KnownBy::Listener)]);
    assert_eq!(owners(2), [(None, Some(33), KnownBy::Uid)]);
    assert_eq!(sockets.listeners[0].process, Some(1));
}

#[test]
fn a_peer_for_every_socket_is_folded_and_nothing_is_lost() {
    let mut tally = tally();
    let sockets = MAX_GROUPS as u64 + 50_000;
    for number in 0..sockets {
        let mut socket = socket(State::TimeWait, 1_001, 80);
        socket.remote = u128::from(number) << 8;
        socket.remote_port = 80 + u16::try_from(number % 7_000).unwrap();
        tally.add(&socket);
    }
    let result = tally.finish();
    assert!(result.groups.len() <= MAX_GROUPS + 2 * MAX_FOLDED_GROUPS + 2, "{}", result.groups.len());
    assert_eq!(result.folded, 50_000);
    assert_eq!(result.groups.iter().map(|group| group.states.total()).sum::<u64>(), sockets);
    assert_eq!(result.by_state.total(), sockets);
}

#[test]
fn a_service_under_many_addresses_keeps_its_port_when_folded() {
    let mut tally = tally();
    tally.add_listener(&socket(State::Listen, 80, 0), None);
    let folded = 3 * MAX_FOLDED_GROUPS;
    for number in 0..(MAX_GROUPS + folded) as u128 {
        let mut socket = socket(State::TimeWait, 80, 40_000);
        (socket.local, socket.remote) = (number << 8, number << 9);
        tally.add(&socket);
    }
    tally.attribute(|_| Some(0));
    let result = tally.finish();
    assert!(result.groups.iter().all(|group| group.role == Role::Server && group.local.port == Some(80)));
    let rest = result.groups.last().unwrap();
    assert_eq!(rest.local.to_string(), "*:80");
    assert_eq!(rest.states.total(), (folded - MAX_FOLDED_GROUPS) as u64);
}

#[test]
fn a_close_wait_socket_with_only_the_fin_to_read_has_nothing_unread() {
    let mut tally = tally();
    for receive_queue in [1, 3] {
        tally.add(&SocketSeen { receive_queue, ..socket(State::CloseWait, 80, 1_000) });
    }
    tally.add_idle(&socket(State::CloseWait, 80, 1_000), 61_000);
    let sockets = tally.finish();
    let waiting = sockets.groups[0].waiting_in(State::CloseWait).unwrap();
    assert_eq!((waiting.sockets, waiting.unread, waiting.orphans), (2, 1, 0));
    assert_eq!(waiting.idle.at_least(60), 1);
}

#[test]
fn bound_ports_are_counted_once() {
    let mut tally = tally();
    tally.add_listener(&socket(State::Listen, 1_002, 0), None);
    tally.add_idle_bound(1_002);
    tally.add_idle_bound(1_003);
    tally.add_named_port(1_003);
    tally.add_named_port(2_000);
    let bound = tally.finish().bound;
    assert_eq!(bound.listening.total(), 1);
    assert_eq!(bound.idle.unwrap().total(), 2);
    assert_eq!(bound.named.unwrap().total(), 1);
    assert_eq!(bound.all, Halves { preferred: 1, other: 1 });
}
