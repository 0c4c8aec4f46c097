use super::*;
use evidence::configuration::haproxy;
use evidence::{Group, Role, Running};
use std::net::Ipv4Addr;

/// HAProxy in a namespace, which passes on to 10.0.2.1:8080.
fn case() -> Case {
    let written = |value: &str| Said::Written { value: value.to_owned(), place: FilePlace::default() };
    let backend = Proxy {
        kind: ProxyKind::Backend,
        name: "app".into(),
        mode: written("http"),
        connection: written("server-close"),
        servers: vec![haproxy::Server { address: "10.0.2.1:8080".into(), ..Default::default() }],
        ..Default::default()
    };
    Case {
        namespaces: ["web", "other"]
            .map(|name| Namespace {
                name: name.into(),
                addresses: [Ipv4Addr::LOCALHOST.into()].into(),
                ..Namespace::default()
            })
            .into(),
        configurations: vec![Configuration {
            running: Some(Running { netns: "web".into(), ..Running::default() }),
            haproxy: Some(Haproxy { proxies: vec![backend], ..Default::default() }),
            ..Default::default()
        }],
        ..Case::default()
    }
}

fn joins(case: &Case, client: [u8; 4]) -> bool {
    let routes = routes(case);
    assert_eq!(routes.len(), 1, "{routes:?}");
    routes[0].connects_from(case, Ipv4Addr::from(client).into())
}

#[test]
fn a_route_is_found_by_its_namespaces_address_when_no_socket_is_left() {
    let mut case = case();
    assert!(!joins(&case, [10, 0, 2, 254]));
    case.namespaces[1].addresses.insert(Ipv4Addr::new(10, 0, 2, 254).into());
    assert!(!joins(&case, [10, 0, 2, 254]), "it is another namespace's");
    case.namespaces[1].addresses.clear();
    case.namespaces[0].addresses.insert(Ipv4Addr::new(10, 0, 2, 254).into());
    assert!(joins(&case, [10, 0, 2, 254]));
    assert!(!joins(&case, [10, 0, 2, 253]));
}

#[test]
fn an_address_that_each_namespace_has_tells_nothing_without_a_socket() {
    let mut case = case();
    assert!(!joins(&case, [127, 0, 0, 1]));
    let loopback = |port| Endpoint::new(Ipv4Addr::LOCALHOST.into(), port);
    let group = Group::new(Role::Client, loopback(0), loopback(8_080));
    case.namespaces[0].sockets.groups.push(group);
    assert!(joins(&case, [127, 0, 0, 1]));
    case.namespaces[0].sockets.groups.clear();
    case.namespaces.truncate(1);
    assert!(joins(&case, [127, 0, 0, 1]), "there is no other");
}

/// What is known of the only route after this was done to the case.
fn keeping(change: impl FnOnce(&mut Haproxy)) -> Keeping {
    let mut case = case();
    change(case.configurations[0].haproxy.as_mut().unwrap());
    routes(&case)[0].keeping.clone()
}

fn frontend(name: &str, closes: bool, conditional: bool) -> Proxy {
    let mode = if closes { "close" } else { "keep-alive" };
    Proxy {
        kind: ProxyKind::Frontend,
        connection: Said::Default { value: mode.to_owned() },
        backends: vec![haproxy::BackendUse { name: name.to_owned(), conditional, ..Default::default() }],
        ..Default::default()
    }
}

#[test]
fn sockets_of_this_host_are_no_connections_of_tcp() {
    let mut case = case();
    let address = |case: &mut Case, text: &str| {
        let all = case.configurations[0].haproxy.as_mut().unwrap();
        all.proxies[0].servers[0].address = text.to_owned();
    };
    for text in ["unix@/run/app.sock", "/run/app.sock", "abns@app"] {
        address(&mut case, text);
        assert!(routes(&case).is_empty(), "{text}");
    }
    address(&mut case, "app.internal:80");
    assert_eq!(routes(&case).len(), 1);
    for (text, expected) in [("unix:/run/app.sock", 0), ("10.0.0.1:80", 1)] {
        let pass = Pass {
            target: Target::Address { address: text.to_owned() },
            protocol: Protocol::Http,
            ..Pass::default()
        };
        let nginx = Nginx { passes: vec![pass], ..Nginx::default() };
        case.configurations[0] = Configuration { nginx: Some(nginx), ..Configuration::default() };
        assert_eq!(routes(&case).len(), expected, "{text}");
    }
}

#[test]
fn options_that_close_are_those_of_http_1() {
    let h2 = |all: &mut Haproxy| all.proxies[0].servers[0].other_protocol = true;
    assert_eq!(keeping(h2), Keeping::Unknown);
    let kept = |all: &mut Haproxy| {
        h2(all);
        all.proxies[0].connection = Said::Default { value: "keep-alive".to_owned() };
    };
    assert!(matches!(keeping(kept), Keeping::Pooled { .. }));
}

#[test]
fn what_may_be_left_out_of_the_files_is_not_said() {
    let kept = |all: &mut Haproxy| {
        all.proxies[0].connection = Said::Default { value: "keep-alive".to_owned() };
    };
    assert!(matches!(keeping(|_| ()), Keeping::Off { .. }));
    assert_eq!(keeping(|all| all.proxies[0].conditional = true), Keeping::Unknown);
    assert!(matches!(keeping(kept), Keeping::Pooled { .. }));
    let with = |frontend: Proxy| {
        keeping(|all| {
            kept(all);
            all.proxies.push(frontend);
        })
    };
    assert!(matches!(with(frontend("app", true, false)), Keeping::Off { .. }));
    assert_eq!(with(frontend("app", true, true)), Keeping::Unknown);
    assert!(matches!(with(frontend("app", false, true)), Keeping::Pooled { .. }));
    assert!(matches!(with(frontend("other", true, false)), Keeping::Pooled { .. }));
    assert_eq!(with(frontend("%[req.hdr(host),lower]", true, false)), Keeping::Unknown, "a request decides");
}
