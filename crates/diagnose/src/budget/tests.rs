use super::*;
use evidence::{Counted, Exchange, HeldPorts, Process, Settings, SocketSeen, Tally, TallyOptions};
use proptest::prelude::*;
use tcp::State;

/// A namespace under construction: every socket goes through the tally that real ones go through.
struct Host {
    settings: Settings,
    tally: Tally,
}

const FIRST: u16 = 10_000;

impl Host {
    /// A range of 1,000 ports from 10,000, and these settings besides.
    fn new(settings: &[(&str, &str)]) -> Self {
        let mut all: Settings = settings.iter().copied().collect();
        all.values.entry("net.ipv4.ip_local_port_range".into()).or_insert_with(|| "10000 10999".into());
        let options = TallyOptions {
            range: all.local_port_range(),
            reserved: all.reserved_ports(),
            ..TallyOptions::default()
        };
        Self { settings: all, tally: Tally::new(options) }
    }

    fn socket(&mut self, state: State, local: (&str, u16), remote: (&str, u16), left_ms: u32) {
        let bits = |text: &str| match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let mini = state == State::TimeWait;
        self.tally.add(&SocketSeen {
            state,
            mini,
            local: bits(local.0),
            local_port: local.1,
            remote: bits(remote.0),
            remote_port: remote.1,
            left_ms: Some(left_ms),
            retransmits: 0,
            receive_queue: 0,
            send_queue: Some(0),
            uid: Some(0),
            inode: Some(if mini { 0 } else { u32::from(local.1) }),
            cookie: u64::from(local.1),
        });
    }

    /// One TIME-WAIT a port to 10.0.0.2:80; the age of each in seconds, ports in the order of `connect()`.
    fn time_waits(&mut self, ages: impl IntoIterator<Item = u32>) {
        let range = self.settings.local_port_range();
        let reserved = self.settings.reserved_ports();
        let all = || (range.first..=range.last).filter(|port| !reserved.contains(*port));
        let order: Vec<u16> = all()
            .filter(|port| range.is_preferred(*port))
            .chain(all().filter(|port| !range.is_preferred(*port)))
            .collect();
        let length = u32::try_from(self.settings.time_wait().as_secs()).unwrap();
        for (port, age) in order.into_iter().zip(ages) {
            self.socket(State::TimeWait, ("10.0.0.1", port), ("10.0.0.2", 80), (length - age) * 1_000 - 500);
        }
    }

    fn seen(mut self) -> Namespace {
        self.tally.attribute(|inode| Some(u32::from(inode % 10 == 0)));
        Namespace {
            name: "host".into(),
            settings: self.settings,
            sockets: self.tally.finish(),
            processes: ["curl", "wget"]
                .into_iter()
                .zip([7, 8])
                .map(|(name, pid)| Process { pid, name: name.into(), ..Process::default() })
                .collect(),
            ..Namespace::default()
        }
    }

    fn budget(self) -> Budget {
        let mut budgets = budgets(&self.seen(), None);
        assert_eq!(budgets.len(), 1);
        budgets.remove(0)
    }
}

/// So many closes in each of the last `seconds` seconds.
fn steady(rate: u32, seconds: u32) -> impl Iterator<Item = u32> {
    (0..seconds).flat_map(move |age| std::iter::repeat_n(age, rate as usize))
}

fn close_to(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn a_thousand_ports_filled_to_900_990_and_1000() {
    for (rate, taken, seconds_left) in
        [(15, 900, None), (33, 990, Some(10.0 / 33.0)), (100, 1_000, Some(0.0))]
    {
        let mut host = Host::new(&[]);
        let seconds = taken / rate;
        host.time_waits(steady(rate, seconds));
        let budget = host.budget();
        assert_eq!(
            (budget.ports, budget.taken, budget.time_wait, budget.left()),
            (1_000, taken, taken, 1_000 - taken)
        );
        assert!(close_to(budget.closes_per_second, f64::from(rate)));
        assert_eq!(budget.seconds_left.is_some(), seconds_left.is_some());
        if let (Some(is), Some(should)) = (budget.seconds_left, seconds_left) {
            assert!(close_to(is, should), "{taken}: {is}");
        }
    }
}

#[test]
fn fifteen_a_second_never_fill_a_thousand_ports() {
    for seconds in [1, 5, 30, 60] {
        let mut host = Host::new(&[]);
        host.time_waits(steady(15, seconds));
        let budget = host.budget();
        assert!(close_to(budget.closes_per_second, 15.0), "{seconds}");
        assert_eq!((budget.seconds_left, budget.rate_over_s), (None, seconds.min(10)));
    }
}

#[test]
fn twenty_a_second_fill_a_thousand_ports_after_fifty_seconds() {
    for seconds in [1, 10, 30, 49] {
        let mut host = Host::new(&[]);
        host.time_waits(steady(20, seconds));
        let left = host.budget().seconds_left.unwrap();
        assert!(close_to(left, f64::from(50 - seconds)), "{seconds}: {left}");
    }
}

#[test]
fn ports_that_come_free_in_time_are_counted() {
    // 600 closed 50 s ago and are gone in 10 s; 20 a second since 5 s fill 1,000 only after they went.
    let mut host = Host::new(&[]);
    host.time_waits(std::iter::repeat_n(50, 600).chain(steady(20, 5)));
    let budget = host.budget();
    assert!(close_to(budget.closes_per_second, 10.0), "the mean over ten seconds: five of them idle");
    assert_eq!((budget.taken, budget.seconds_left), (700, None));
    assert_eq!((budget.peak_per_second, budget.peak_seconds_ago), (600, Some(50)));
    // Twice that rate over the ten seconds is too much before they go.
    let mut host = Host::new(&[]);
    host.time_waits(std::iter::repeat_n(50, 600).chain(steady(30, 10)));
    let left = host.budget().seconds_left.unwrap();
    assert!(close_to(left, 100.0 / 30.0), "{left}");
}

#[test]
fn a_single_burst_is_a_rate_only_for_as_long_as_it_is_young() {
    let mut host = Host::new(&[]);
    host.time_waits(std::iter::repeat_n(0, 400));
    let budget = host.budget();
    assert!(close_to(budget.seconds_left.unwrap(), 1.5));
    assert_eq!((budget.rate_over_s, budget.closes.as_slice()), (1, [400].as_slice()));
    assert!(!budget.rate_lasts);
    let mut host = Host::new(&[]);
    host.time_waits(std::iter::repeat_n(20, 400));
    let budget = host.budget();
    assert_eq!((budget.closes_per_second, budget.seconds_left, budget.closes.len()), (0.0, None, 21));
}

#[test]
fn closes_that_have_stopped_are_no_forecast() {
    // 300 a second for three seconds, and nothing for the last two.
    let mut host = Host::new(&[]);
    host.time_waits(steady(300, 5).filter(|age| *age >= 2));
    let budget = host.budget();
    assert!(close_to(budget.closes_per_second, 180.0));
    assert_eq!((budget.taken, budget.seconds_left, budget.rate_lasts), (900, None, false));
    // A slow load may well have a second without a close.
    let mut host = Host::new(&[]);
    host.time_waits((1..30).flat_map(|age| [age, age]));
    assert!(host.budget().rate_lasts);
}

#[test]
fn reserved_ports_are_not_to_be_had() {
    let mut host = Host::new(&[("net.ipv4.ip_local_reserved_ports", "10000-10499,10999")]);
    host.time_waits(steady(499, 1));
    let budget = host.budget();
    assert_eq!((budget.ports, budget.reserved, budget.taken), (499, 501, 499));
    assert_eq!(budget.seconds_left, Some(0.0));
}

#[test]
fn what_bind_holds_is_taken_for_every_destination() {
    let mut host = Host::new(&[]);
    for port in FIRST..FIRST + 100 {
        host.tally.add_idle_bound(port);
    }
    host.socket(State::Established, ("10.0.0.1", FIRST + 100), ("10.0.0.2", 80), 0);
    let budget = host.budget();
    assert_eq!((budget.established, budget.bound, budget.bound_likely, budget.taken), (1, 100, 0, 101));
}

#[test]
fn named_ports_are_not_counted_twice_for_their_own_destination() {
    let mut host = Host::new(&[]);
    for port in FIRST..FIRST + 100 {
        host.tally.add_named_port(port);
        host.socket(State::Established, ("10.0.0.1", port), ("10.0.0.2", 80), 0);
    }
    host.socket(State::Established, ("10.0.0.1", FIRST + 200), ("10.0.0.3", 80), 0);
    let budgets = budgets(&host.seen(), None);
    let of = |destination: &str| budgets.iter().find(|budget| budget.destination == destination).unwrap();
    assert_eq!((of("10.0.0.2:80").taken, of("10.0.0.2:80").bound), (100, 0));
    // Its one live connection could be one of the named.
    assert_eq!((of("10.0.0.3:80").taken, of("10.0.0.3:80").bound), (100, 99));
}

#[test]
fn ports_where_only_bind_looks_first_poison_the_other_destinations() {
    let mut host = Host::new(&[]);
    for index in 0..300_u16 {
        let left_ms = 500 + u32::from(index) % 60 * 1_000;
        host.socket(State::TimeWait, ("10.0.0.1", FIRST + 1 + 2 * index), ("10.0.0.2", 80), left_ms);
    }
    for index in 0..20_u16 {
        host.socket(State::Established, ("10.0.0.1", FIRST + 2 * index), ("10.0.0.3", 80), 0);
    }
    let budgets = budgets(&host.seen(), None);
    let of = |destination: &str| budgets.iter().find(|budget| budget.destination == destination).unwrap();
    assert_eq!((of("10.0.0.2:80").taken, of("10.0.0.2:80").bound_likely), (300, 0));
    assert_eq!((of("10.0.0.3:80").taken, of("10.0.0.3:80").bound_likely), (320, 300));
}

/// `IP_LOCAL_PORT_RANGE`: connect() takes port after port of the program's own range.
#[test]
fn a_range_of_its_own_is_not_taken_for_bound() {
    let of_the_other = |ports: &[u16]| {
        let mut host = Host::new(&[]);
        for port in ports {
            host.socket(State::TimeWait, ("10.0.0.1", *port), ("10.0.0.2", 80), 59_500);
        }
        host.socket(State::Established, ("10.0.0.1", FIRST), ("10.0.0.3", 80), 0);
        let budgets = budgets(&host.seen(), None);
        budgets.iter().map(|budget| (budget.bound_likely, budget.bound_before_connect)).max()
    };
    let own: Vec<u16> = (FIRST + 100..FIRST + 400).collect();
    assert_eq!(of_the_other(&own), Some((0, 0)));
    // bind() that has filled the other half goes on in the first.
    let bound: Vec<u16> = (0..800).map(|index| FIRST + (2 * index + 1) % 1_001).collect();
    assert_eq!(of_the_other(&bound), Some((500, 0)));
}

/// Ports in TIME-WAIT for 5 s of one source: which ones, and to which destination.
fn held(host: &mut Host, source: &str, to: impl Fn(u16) -> Vec<u8>) {
    for index in 0..1_000_u16 {
        for destination in to(index) {
            let destination = format!("10.0.1.{destination}");
            host.socket(State::TimeWait, (source, FIRST + index), (&destination, 80), 55_500);
        }
    }
}

#[test]
fn ports_of_both_halves_that_no_two_destinations_share_are_bound() {
    let mut host = Host::new(&[]);
    held(&mut host, "10.0.0.1", |index| vec![u8::try_from(index / 2 % 4).unwrap()]);
    host.socket(State::Established, ("10.0.0.9", FIRST), ("10.0.0.3", 80), 0);
    for budget in budgets(&host.seen(), None) {
        let own = budget.time_wait + budget.established;
        assert_eq!(own, if budget.source == "10.0.0.1" { 250 } else { 1 });
        assert_eq!((budget.bound_likely, budget.unshared), (1_000 - own, 1_000 - own));
        assert_eq!((budget.taken, budget.left(), budget.past_knee), (1_000, 0, false));
        assert_eq!(budget.bound_before_connect, if budget.source == "10.0.0.1" { 250 } else { 0 });
    }
}

#[test]
fn ports_bound_at_two_addresses_are_not_added_up() {
    let mut host = Host::new(&[]);
    for source in ["10.0.0.1", "10.0.0.2"] {
        // 100 ports of each half are free.
        held(&mut host, source, |index| if index < 800 { vec![u8::from(index % 4 < 2)] } else { vec![] });
    }
    for budget in budgets(&host.seen(), None) {
        assert_eq!((budget.time_wait, budget.unshared, budget.taken), (400, 400, 800));
    }
}

#[test]
fn ports_that_connect_may_have_chosen_are_not_taken_for_bound() {
    type To = fn(u16) -> Vec<u8>;
    let cases: [(&str, To); 6] = [
        ("each to one of two, but three in a hundred to both", |index| match index {
            0..30 => vec![0, 1],
            _ => vec![u8::from(index % 4 < 2)],
        }),
        ("a fifth and more of one half is free", |index| match index {
            0..202 if index % 2 == 0 => vec![],
            _ => vec![u8::from(index % 4 < 2)],
        }),
        (
            "one destination in the first half, another in what is left of a burst in the other half",
            |index| {
                if index < 940 { vec![u8::from(index % 2 == 1)] } else { vec![] }
            },
        ),
        ("one destination has both halves", |index| if index < 900 { vec![0] } else { vec![] }),
        ("one has nearly all, the next few of the first half", |index| match index {
            0..18 if index % 2 == 0 => vec![1],
            _ => vec![0],
        }),
        ("all ports to all", |_| vec![0, 1, 2]),
    ];
    for (what, to) in cases {
        let mut host = Host::new(&[]);
        held(&mut host, "10.0.0.1", to);
        let unshared: u32 = budgets(&host.seen(), None).iter().map(|budget| budget.unshared).sum();
        assert_eq!(unshared, 0, "{what}");
    }
}

#[test]
fn what_is_left_of_a_burst_is_not_taken_for_bound() {
    // The first half came free a moment ago; the other, filled after it, is still in TIME-WAIT.
    let mut host = Host::new(&[]);
    for index in 0..300_u16 {
        host.socket(State::TimeWait, ("10.0.0.1", FIRST + 1 + 2 * index), ("10.0.0.2", 80), 1_500);
    }
    // Then connections came to rest in the first half again.
    for index in 0..50_u16 {
        host.socket(State::TimeWait, ("10.0.0.1", FIRST + 2 * index), ("10.0.0.2", 80), 59_500);
    }
    host.socket(State::Established, ("10.0.0.1", FIRST + 2), ("10.0.0.3", 80), 0);
    assert!(budgets(&host.seen(), None).iter().all(|budget| budget.bound_likely == 0));
}

#[test]
fn a_full_first_half_explains_ports_in_the_other() {
    let mut host = Host::new(&[]);
    host.time_waits(steady(60, 10));
    host.socket(State::Established, ("10.0.0.1", FIRST), ("10.0.0.3", 80), 0);
    let budgets = budgets(&host.seen(), None);
    assert!(budgets.iter().all(|budget| budget.bound_likely == 0));
    assert_eq!(budgets[0].destination, "10.0.0.2:80");
    assert!(budgets[0].past_knee && !budgets[1].past_knee);
}

#[test]
fn the_knee_is_where_the_first_half_ends() {
    for (taken, past) in [(489, false), (491, true), (500, true)] {
        let mut host = Host::new(&[]);
        host.time_waits(std::iter::repeat_n(30, taken));
        assert_eq!(host.budget().past_knee, past, "{taken}");
    }
}

fn full_towards(settings: &[(&str, &str)], source: &str, destination: &str) -> Budget {
    let mut host = Host::new(settings);
    for index in 0..500_u16 {
        let left_ms = (u32::from(index) % 50) * 1_000 + 500;
        host.socket(State::TimeWait, (source, FIRST + 2 * index), (destination, 80), left_ms);
    }
    host.budget()
}

#[test]
fn reuse_takes_old_ports_on_loopback_and_only_there() {
    let default = [("net.ipv4.tcp_tw_reuse", "2")];
    for (source, destination, reuse) in [
        ("127.0.0.1", "127.0.0.1", Reuse::Works),
        ("10.0.0.1", "127.0.0.53", Reuse::Works),
        ("::1", "::1", Reuse::Works),
        ("10.0.0.1", "10.0.0.1", Reuse::LoopbackOnly),
        ("2001:db8::1", "2001:db8::1", Reuse::LoopbackOnly),
    ] {
        let budget = full_towards(&default, source, destination);
        assert_eq!(budget.reuse, reuse, "{source} {destination}");
        assert_eq!(budget.reusable, if reuse == Reuse::Works { 500 } else { 0 });
    }
    assert_eq!(full_towards(&default, "::1", "::1").destination, "[::1]:80");
}

#[test]
fn reuse_needs_timestamps() {
    let settings = [("net.ipv4.tcp_tw_reuse", "1"), ("net.ipv4.tcp_timestamps", "0")];
    let budget = full_towards(&settings, "10.0.0.1", "10.0.0.2");
    assert_eq!((budget.reuse, budget.reusable), (Reuse::NoTimestamps, 0));
    let budget = full_towards(&settings[..1], "10.0.0.1", "10.0.0.2");
    assert_eq!((budget.reuse, budget.reusable), (Reuse::Works, 500));
}

/// What a capture shows of 10.0.0.1 and 10.0.0.2:80: so many connections, of which so many got no timestamps.
fn captured(connections: u64, without: u64) -> Traffic {
    let exchange = Exchange {
        client: "10.0.0.1".parse().unwrap(),
        server: "10.0.0.2:80".parse().unwrap(),
        connections,
        handshakes: [("complete".to_owned(), connections)].into(),
        without_timestamps: Counted { count: without, examples: Vec::new() },
        ..Exchange::default()
    };
    Traffic { exchanges: vec![exchange], ..Traffic::default() }
}

#[test]
fn reuse_needs_the_timestamps_of_the_peer() {
    for (setting, captured, reuse, known) in [
        ("1", Some(captured(200, 200)), Reuse::PeerWithoutTimestamps, 200),
        ("1", Some(captured(200, 180)), Reuse::PeerWithoutTimestamps, 180),
        ("1", Some(captured(200, 179)), Reuse::Works, 0),
        ("1", Some(captured(200, 0)), Reuse::Works, 0),
        ("1", None, Reuse::Works, 0),
        ("0", Some(captured(200, 200)), Reuse::Off, 200),
        ("2", Some(captured(200, 200)), Reuse::LoopbackOnly, 200),
    ] {
        let mut host = Host::new(&[("net.ipv4.tcp_tw_reuse", setting)]);
        host.time_waits(steady(40, 10));
        host.socket(State::TimeWait, ("10.0.0.1", FIRST), ("10.0.0.2", 81), 30_000);
        let budgets = budgets(&host.seen(), captured.as_ref());
        assert_eq!((budgets[0].reuse, budgets[0].without_timestamps), (reuse, known), "{setting} {known}");
        assert_eq!(budgets[0].reusable, if reuse == Reuse::Works { 360 } else { 0 });
        assert_eq!(budgets[1].without_timestamps, 0, "another port is another server");
    }
}

#[test]
fn a_full_budget_of_reusable_ports_is_not_spent() {
    let mut host = Host::new(&[("net.ipv4.tcp_tw_reuse", "1")]);
    for index in 0..1_000_u16 {
        let age = u32::from(index) % 20;
        host.socket(State::TimeWait, ("10.0.0.1", FIRST + index), ("10.0.0.2", 80), (60 - age) * 1_000 - 500);
    }
    // That the other half is full at 50 a second shows that reuse fails here; a recycled socket shows it works.
    let mut namespace = host.seen();
    let budget = budgets(&namespace, None).remove(0);
    assert_eq!((budget.reuse, budget.left(), budget.seconds_left), (Reuse::WithoutEffect, 0, Some(0.0)));
    let counters = &mut namespace.counters;
    counters.interval_ms = 1_000;
    counters.start.insert("TcpExtTWRecycled".into(), 5);
    counters.end.insert("TcpExtTWRecycled".into(), 60);
    let budget = budgets(&namespace, None).remove(0);
    assert_eq!((budget.reuse, budget.taken, budget.reusable, budget.left()), (Reuse::Works, 1_000, 950, 950));
    assert_eq!(budget.seconds_left, None, "50 a second that block for 1 s hold 50 ports");
    // A delay of 30 s holds 50 * 20 ports now.
    namespace.settings.values.insert("net.ipv4.tcp_tw_reuse_delay".into(), "30000".into());
    assert_eq!(budgets(&namespace, None)[0].seconds_left, Some(0.0));
}

#[test]
fn the_rate_of_reused_ports_is_that_of_the_last_second() {
    // 300 a second take the 500 ports of the first half again and again: what is older is mostly gone.
    let mut host = Host::new(&[("net.ipv4.tcp_tw_reuse", "1")]);
    host.time_waits(
        steady(300, 1).chain(std::iter::repeat_n(1, 150)).chain(steady(10, 6).filter(|age| *age >= 2)),
    );
    let budget = host.budget();
    assert_eq!((budget.reuse, budget.rate_over_s, budget.rate_lasts), (Reuse::Works, 1, true));
    assert!(close_to(budget.closes_per_second, 300.0));
    assert_eq!((budget.seconds_left, budget.blocked()), (None, 300));
}

#[test]
fn a_vendors_shorter_time_wait_frees_ports_sooner() {
    let mut host = Host::new(&[("net.ipv4.tcp_tw_timeout", "10")]);
    host.time_waits(steady(90, 10));
    let budget = host.budget();
    assert_eq!((budget.taken, budget.seconds_left), (900, None));
    assert!(close_to(budget.closes_per_second, 90.0));
}

#[test]
fn owners_are_merged_and_the_largest_is_first() {
    let mut host = Host::new(&[]);
    for port in FIRST..FIRST + 20 {
        host.socket(State::Established, ("10.0.0.1", port), ("10.0.0.2", 80), 0);
    }
    let budget = host.budget();
    let owners: Vec<_> =
        budget.owners.iter().map(|owner| (owner.process.as_str(), owner.pid, owner.share)).collect();
    assert_eq!(owners, [("curl", 7, 0.9), ("wget", 8, 0.1)]);
    assert_eq!(budget.opened_by().as_deref(), Some("curl (pid 7), wget (pid 8)"));
    assert_eq!(opened_by(&[]), None);
}

#[test]
fn the_first_to_run_out_comes_first() {
    let mut host = Host::new(&[]);
    host.time_waits(steady(20, 20));
    for index in 0..900_u16 {
        host.socket(State::Established, ("10.0.0.1", FIRST + index), ("10.0.0.3", 80), 0);
    }
    host.socket(State::Established, ("10.0.0.1", FIRST), ("10.0.0.4", 80), 0);
    let order: Vec<_> = budgets(&host.seen(), None).into_iter().map(|budget| budget.destination).collect();
    assert_eq!(order, ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"]);
}

#[test]
fn restarted_timers_are_told_from_closes() {
    let mut host = Host::new(&[]);
    host.time_waits(steady(500, 1));
    let mut namespace = host.seen();
    assert_eq!(restarted_timers(&namespace), None, "a glance does not tell");
    let counters = &mut namespace.counters;
    counters.interval_ms = 1_000;
    counters.start.insert("TcpExtTW".into(), 0);
    counters.end.insert("TcpExtTW".into(), 480);
    assert_eq!(restarted_timers(&namespace), None);
    namespace.counters.end.insert("TcpExtTW".into(), 20);
    assert_eq!(restarted_timers(&namespace).unwrap().source, "TcpExtTW");
    namespace.counters.start.insert("TcpExtPAWSTimewait".into(), 1);
    namespace.counters.end.insert("TcpExtPAWSTimewait".into(), 3);
    assert_eq!(restarted_timers(&namespace).unwrap().source, "TcpExtPAWSTimewait");
}

prop_compose! {
    fn halves()(preferred in prop_oneof![0..2_000_u32, Just(u32::MAX)], other in 0..2_000_u32) -> Halves {
        Halves { preferred, other }
    }
}

prop_compose! {
    fn case()(
        settings in proptest::collection::btree_map(
            prop::sample::select(vec![
                "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_tw_reuse",
                "net.ipv4.tcp_tw_reuse_delay", "net.ipv4.tcp_timestamps", "net.ipv4.tcp_tw_timeout",
            ]),
            prop_oneof!["[0-9]{1,5}", "[0-9]{1,5} [0-9]{1,5}", "[0-9]{1,5}-[0-9]{1,5}", ".{0,8}"], 0..7),
        ports in (halves(), halves(), halves()),
        bound in (halves(), halves()),
        held in (halves(), halves()),
        ages in proptest::collection::vec((0..70_000_u32, 1..200_u32), 0..80),
        loopback in any::<bool>(),
    ) -> Namespace {
        let address = if loopback { "127.0.0.1" } else { "10.0.0.1" };
        let group = serde_json::json!({
            "role": "client", "local": address, "remote": "10.0.0.2:80", "states": {},
        });
        let mut group: Group = serde_json::from_value(group).unwrap();
        group.ports = PortUse { time_wait: ports.0, established: ports.1, other: ports.2 };
        for (left_ms, count) in ages {
            (0..count).for_each(|_| group.time_wait.add(left_ms));
        }
        let mut namespace = Namespace { settings: settings.into_iter().collect(), ..Namespace::default() };
        namespace.sockets.bound.all = bound.0;
        namespace.sockets.bound.named = Some(bound.1);
        let mut second = group.clone();
        second.remote = "10.0.0.3:80".parse().unwrap();
        namespace.sockets.held =
            vec![HeldPorts { local: group.local, distinct: held.0, shared: held.1 }];
        namespace.sockets.groups = vec![group, second];
        namespace
    }
}

proptest! {
    #[test]
    fn no_evidence_breaks_a_budget(namespace in case()) {
        for budget in budgets(&namespace, None) {
            prop_assert!(budget.taken <= budget.ports);
            prop_assert!(budget.unshared <= budget.bound_likely);
            prop_assert!(budget.reusable <= budget.taken);
            prop_assert!(budget.seconds_left.is_none_or(|seconds| seconds.is_finite() && seconds >= 0.0));
            prop_assert!(budget.left() > 0 || budget.seconds_left == Some(0.0));
            prop_assert!(budget.closes_per_second.is_finite());
            prop_assert!(budget.closes.last() != Some(&0));
        }
    }

    #[test]
    fn a_higher_rate_never_leaves_more_time(
        closes in proptest::collection::vec(0..100_u32, 1..90),
        room in 0..4_000_u32,
        window in 0..90_000_u32,
        overdue in 0..50_u32,
        scale in 0.0..=1.0,
        rates in (0.0..200.0, 0.0..200.0),
    ) {
        let window = (f64::from(window) / 1_000.0).min(closes.len() as f64);
        let at = |rate: f64| {
            Forecast { room: f64::from(room), closes: &closes, overdue, scale, window, rate }
                .seconds_left()
                .unwrap_or(f64::INFINITY)
        };
        let (slow, fast) = if rates.0 < rates.1 { rates } else { (rates.1, rates.0) };
        prop_assert!(at(fast) <= at(slow) + 1e-9, "{} at {fast}, {} at {slow}", at(fast), at(slow));
    }

    /// The forecast against the same thing done port by port, where every number is whole.
    #[test]
    fn a_forecast_is_what_a_simulation_shows(
        closes in proptest::collection::vec(0..50_u32, 60..=60),
        rate in 0..60_u32,
        room in 1..3_000_u32,
    ) {
        let forecast = Forecast {
            room: f64::from(room), closes: &closes, overdue: 0, scale: 1.0, window: 60.0, rate: f64::from(rate),
        };
        let blocked_after = |seconds: usize| -> u32 {
            let old: u32 = closes.iter().take(60 - seconds.min(60)).sum();
            old + rate * u32::try_from(seconds.min(60)).unwrap()
        };
        let first = (0..=120_u32).find(|seconds| blocked_after(*seconds as usize) >= room).map(f64::from);
        let told = forecast.seconds_left().map(|seconds| (seconds - 1e-9).max(0.0).ceil());
        prop_assert_eq!(told, first);
    }
}
