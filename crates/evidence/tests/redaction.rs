//! No address of a case is left in its redacted file, wherever and however it was written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::configuration::{haproxy, nginx};
use evidence::{
    Case, Clocks, Configuration, ConfigurationProblem, Endpoint, Exchange, Gap, Group, HeldPorts, Host,
    Listener, Namespace, Process, Redaction, Role, Running, Said, Traffic, Unseen,
};
use foldhash::fast::FixedState;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn an_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
        // With zeros to be shortened, near each other, and such that are stand-ins elsewhere.
        (any::<u16>(), 0_u16..4)
            .prop_map(|(one, two)| Ipv6Addr::new(0x2001, 0xdb8, 0, one, 0, 0, 0, two).into()),
        (0_u8..9).prop_map(|last| Ipv4Addr::new(240, 0, 0, last).into()),
        (0_u16..9).prop_map(|last| Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, last).into()),
        (0_u8..9).prop_map(|last| Ipv4Addr::new(127, 0, 0, last).into()),
        Just(Ipv6Addr::LOCALHOST.into()),
        Just(Ipv4Addr::UNSPECIFIED.into()),
    ]
}

/// Every way in which an address may be written.
fn forms(address: IpAddr) -> Vec<String> {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            vec![
                v4.to_string(),
                format!("{a}-{b}-{c}-{d}"),
                format!("::ffff:{v4}"),
                format!("::ffff:{a:x}{b:02x}:{c:x}{d:02x}"),
                format!("::FFFF:{a:02X}{b:02X}:{c:02X}{d:02X}"),
                format!("0:0:0:0:0:ffff:{v4}"),
                format!("{a:03}.{b:03}.{c:03}.{d:03}"),
            ]
        }
        IpAddr::V6(v6) => {
            let full: Vec<String> = v6.segments().iter().map(|segment| format!("{segment:04x}")).collect();
            let plain: Vec<String> = v6.segments().iter().map(|segment| format!("{segment:x}")).collect();
            vec![
                v6.to_string(),
                v6.to_string().to_uppercase(),
                full.join(":"),
                full.join(":").to_uppercase(),
                plain.join(":"),
            ]
        }
    }
}

/// A text around an address, as it may stand in a case.
fn around(form: &str, way: usize) -> String {
    let ways = [
        form.to_owned(),
        format!("[{form}]:80"),
        format!("{form}%eth0"),
        format!("a \"quoted\"\t{form}\n"),
        format!("\u{b}{form}"),
        format!("http://[{form}]:8080/x"),
        format!("from {form}, to {form}."),
        format!("({form})"),
        format!("x={form};"),
        format!("ü {form}/24 ü"),
    ];
    ways[way % ways.len()].clone()
}

fn a_text() -> impl Strategy<Value = (IpAddr, String)> {
    (an_address(), any::<prop::sample::Index>(), any::<usize>()).prop_map(|(address, form, way)| {
        let forms = forms(address);
        (address, around(&forms[form.index(forms.len())], way))
    })
}

/// A case with a text in every field that may hold one.
fn case(texts: &[(IpAddr, String)]) -> Case {
    let mut next = texts.iter().cycle();
    let mut text = || next.next().unwrap().1.clone();
    let mut ends = texts.iter().cycle().map(|(address, _)| Endpoint::new(*address, 80));
    let mut end = || ends.next().unwrap();
    let said = |text: String| Said::Written { value: text, place: evidence::FilePlace::default() };
    let nginx = nginx::Nginx {
        upstreams: vec![nginx::Upstream {
            name: text(),
            servers: vec![nginx::UpstreamServer { address: text(), ..Default::default() }],
            ..Default::default()
        }],
        servers: vec![nginx::Server { names: vec![text()], listen: vec![text()], ..Default::default() }],
        passes: vec![nginx::Pass {
            server_names: vec![text()],
            location: text(),
            target: nginx::Target::Address { address: text() },
            bind: Some(said(text())),
            ..Default::default()
        }],
        ..Default::default()
    };
    let haproxy = haproxy::Haproxy {
        proxies: vec![haproxy::Proxy {
            name: text(),
            binds: vec![haproxy::Bind { address: text(), ..Default::default() }],
            servers: vec![haproxy::Server {
                name: text(),
                address: text(),
                source: Some(said(text())),
                ..Default::default()
            }],
            retries: Said::Unknown { because: text(), place: None },
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut namespace = Namespace {
        name: text(),
        holders: vec![text()],
        addresses: texts.iter().map(|(address, _)| *address).collect(),
        processes: vec![Process { name: text(), container: Some(text()), ..Process::default() }],
        ..Namespace::default()
    };
    namespace.settings.values.insert("net.ipv4.tcp_tw_reuse".to_owned(), text());
    namespace.sockets.listeners.push(Listener { address: end(), process: Some(0), ..Listener::default() });
    namespace.sockets.held.push(HeldPorts { local: end(), ..HeldPorts::default() });
    namespace.sockets.groups.extend((0..4).map(|_| Group {
        states: [(tcp::State::TimeWait, 3)].into_iter().collect(),
        ..Group::new(Role::Client, end(), end())
    }));
    let traffic = Traffic {
        files: vec![text()],
        exchanges: vec![Exchange { client: end(), server: end(), ..Exchange::default() }],
        notes: [(text(), 1)].into_iter().collect(),
        clocks: vec![Clocks { address: end(), ..Clocks::default() }],
        ..Traffic::default()
    };
    Case {
        host: Host { name: text(), kernel: "6.6.87.2-microsoft-standard-WSL2".into(), ..Host::default() },
        namespaces: vec![namespace],
        traffic: Some(traffic),
        configurations: vec![Configuration {
            version: Some("1.25.3.1".into()),
            files: vec![text()],
            problems: vec![ConfigurationProblem { what: text(), ..ConfigurationProblem::default() }],
            running: Some(Running { netns: text(), container: Some(text()), ..Running::default() }),
            nginx: Some(nginx),
            haproxy: Some(haproxy),
            ..Configuration::default()
        }],
        gaps: vec![Gap { unseen: Unseen::Text, netns: Some(text()), because: text(), how_to_see: text() }],
        ..Case::default()
    }
}

/// True if a text holds another that is not a part of a longer number.
fn holds(text: &str, form: &str) -> bool {
    text.match_indices(form).any(|(at, _)| {
        let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b':');
        let before = at.checked_sub(1).and_then(|before| text.as_bytes().get(before));
        let digits_behind = text.as_bytes().get(at + form.len()).is_some_and(u8::is_ascii_hexdigit);
        !is_part(before) && !digits_behind
    })
}

proptest! {
    #[test]
    fn no_address_is_left(texts in proptest::collection::vec(a_text(), 1..30), seed: u64) {
        let case = case(&texts);
        let redaction = Redaction::new(&case, &FixedState::with_seed(seed));
        let redacted = redaction.apply(&case).unwrap();
        let json = serde_json::to_string(&redacted).unwrap();
        for (address, _) in texts {
            if address.is_loopback() || address.is_unspecified() || address.to_canonical().is_loopback() {
                continue;
            }
            for form in forms(address) {
                prop_assert!(!holds(&json, &form), "{form} is left in {json}");
            }
        }
        prop_assert_eq!(redacted.host.kernel, "6.6.87.2-microsoft-standard-WSL2");
        prop_assert_eq!(redacted.host.name, "this-host");
        prop_assert_eq!(redacted.configurations[0].version.as_deref(), Some("1.25.3.1"));
        prop_assert_eq!(redacted.gaps[0].unseen, Unseen::Addresses);
    }

    #[test]
    fn what_is_equal_stays_equal_and_what_differs_differs(
        addresses in proptest::collection::vec(an_address(), 2..20),
        seed: u64,
    ) {
        let texts: Vec<_> = addresses.iter().map(|address| (*address, address.to_string())).collect();
        let case = case(&texts);
        let redaction = Redaction::new(&case, &FixedState::with_seed(seed));
        let redacted = redaction.apply(&case).unwrap();
        let ends = |case: &Case| -> Vec<IpAddr> {
            let groups = case.namespaces[0].sockets.groups.iter();
            groups.flat_map(|group| [group.local.address.unwrap(), group.remote.address.unwrap()]).collect()
        };
        let (before, after) = (ends(&case), ends(&redacted));
        for (one, stand_in) in before.iter().zip(&after) {
            prop_assert_eq!(one.is_ipv4(), stand_in.is_ipv4());
            prop_assert_eq!(one.is_loopback(), stand_in.is_loopback());
            prop_assert_eq!(one.is_unspecified(), stand_in.is_unspecified());
            for (other, other_stand_in) in before.iter().zip(&after) {
                prop_assert_eq!(one == other, stand_in == other_stand_in);
            }
        }
        // Sockets, the namespace's own addresses and configuration meet at the same stand-in.
        let listed = &redacted.namespaces[0].addresses;
        prop_assert_eq!(listed.len(), case.namespaces[0].addresses.len());
        let stand_ins: std::collections::BTreeSet<IpAddr> =
            case.namespaces[0].addresses.iter().map(|own| redaction.text(&own.to_string()).parse().unwrap()).collect();
        prop_assert_eq!(listed, &stand_ins);
        prop_assert_eq!(
            redaction.text(&case.configurations[0].nginx.as_ref().unwrap().upstreams[0].servers[0].address).into_owned(),
            redacted.configurations[0].nginx.as_ref().unwrap().upstreams[0].servers[0].address.clone()
        );
        prop_assert_eq!(Redaction::new(&case, &FixedState::with_seed(seed)).apply(&case).unwrap(), redacted);
    }
}

#[test]
fn the_order_of_stand_ins_comes_from_the_key_alone() {
    let addresses: Vec<IpAddr> = (1..40).map(|last| Ipv4Addr::new(10, 0, 0, last).into()).collect();
    let listed: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let mut case = Case::default();
    case.host.name = listed.join(" ");
    let order = |seed| {
        let redaction = Redaction::new(&case, &FixedState::with_seed(seed));
        addresses.iter().map(|address| redaction.text(&address.to_string()).into_owned()).collect::<Vec<_>>()
    };
    let (one, other) = (order(1), order(2));
    assert_ne!(one, other);
    let numbered: std::collections::BTreeSet<String> =
        (1..40).map(|last| format!("240.0.0.{last}")).collect();
    assert_eq!(one.into_iter().collect::<std::collections::BTreeSet<_>>(), numbered);
}

#[test]
fn the_hosts_name_is_left_out_where_it_is_a_word() {
    let mut case = Case::default();
    case.host.name = "web1.example.com".into();
    let gap = |because: &str| Gap {
        unseen: Unseen::Text,
        netns: None,
        because: because.to_owned(),
        how_to_see: String::new(),
    };
    case.gaps.push(gap("line 3 of WEB1.txt, of web1.example.com and web1-db"));
    let redacted = Redaction::new(&case, &FixedState::with_seed(1)).apply(&case).unwrap();
    assert_eq!(redacted.host.name, "this-host");
    assert_eq!(redacted.gaps[1].because, "line 3 of this-host.txt, of this-host and this-host-db");
    let mut with_files = case.clone();
    with_files.traffic = Some(evidence::Traffic {
        files: vec!["/tmp/web1-eth0.pcap".to_owned(), "xweb1.pcap".to_owned()],
        clocks: ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
            .map(|address| evidence::Clocks {
                address: evidence::Endpoint::new(address.parse().unwrap(), 1),
                hosts: 2,
                ..evidence::Clocks::default()
            })
            .to_vec(),
        ..evidence::Traffic::default()
    });
    for seed in 0..9 {
        let redacted = Redaction::new(&with_files, &FixedState::with_seed(seed)).apply(&with_files).unwrap();
        let traffic = redacted.traffic.unwrap();
        assert_eq!(traffic.files, ["/tmp/this-host-eth0.pcap", "xweb1.pcap"]);
        assert!(traffic.clocks.is_sorted_by_key(|clocks| clocks.address.address), "{:?}", traffic.clocks);
    }
    // Every host has this name for itself, and what it means must stay.
    case.host.name = "localhost.localdomain".into();
    case.gaps[0] = gap("server localhost:80");
    let redacted = Redaction::new(&case, &FixedState::with_seed(1)).apply(&case).unwrap();
    assert_eq!(
        (redacted.host.name.as_str(), redacted.gaps[1].because.as_str()),
        ("this-host", "server localhost:80")
    );
}
