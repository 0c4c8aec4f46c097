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
    let address = |text: &str| Target::Address { address: text.to_owned() };
    let variable = |text: &str| Target::Variable { text: text.to_owned() };
    for (target, expected) in [
        (address("unix:/run/app.sock"), 0),
        (address("10.0.0.1:80"), 1),
        (variable("unix:/run/$app.sock"), 0),
        (variable("$app"), 1),
    ] {
        let text = format!("{target:?}");
        let pass = Pass { target, protocol: Protocol::Http, ..Pass::default() };
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

/// The same file with a frontend and a backend of one name, which HAProxy allows before 3.3.
fn one_name(closes: bool) -> Case {
    let mut case = case();
    let all = case.configurations[0].haproxy.as_mut().unwrap();
    all.proxies[0].connection = Said::Default { value: "keep-alive".to_owned() };
    all.proxies[0].servers[0].address = "10.0.2.1".to_owned();
    let bind = haproxy::Bind { address: ":8000".to_owned(), ..Default::default() };
    let front = Proxy { name: "app".into(), binds: vec![bind], ..frontend("app", closes, false) };
    all.proxies.insert(0, front);
    case
}

#[test]
fn a_frontend_may_have_the_name_of_its_backend() {
    let case = one_name(true);
    let routes = routes(&case);
    assert!(matches!(routes[0].keeping, Keeping::Off { .. }), "{:?}", routes[0].keeping);
    assert_eq!(routes[0].servers, ["10.0.2.1:8000".parse().unwrap()]);
    assert!(matches!(super::routes(&one_name(false))[0].keeping, Keeping::Pooled { .. }));
}

/// What `haproxy` says of a text, and of what is left when the changes of all findings are made.
#[test]
fn what_a_remedy_writes_is_clean_when_it_is_read_again() {
    let text = "defaults\n  mode http\n  option http-server-close\nfrontend web\n  bind :80\n  default_backend web\n\
                backend web\n  http-reuse always\n  server a 10.0.0.1:80\n";
    let read = |text: &[u8]| {
        let files = [("/h.cfg".to_owned(), config::haproxy::Tree::parse(text))];
        let configurations = vec![config::haproxy::evaluate(&files, Some("2.6.12"))];
        (files, crate::lint(&Case { configurations, ..Case::default() }).findings)
    };
    let (files, findings) = read(text.as_bytes());
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let changes = findings.iter().flat_map(|finding| &finding.remedies).flat_map(|remedy| &remedy.changes);
    let edits = changes.map(|change| match change {
        crate::Change::Program(change) => match &change.edit {
            config::Edit::Haproxy(edit) => edit.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    });
    let edited = config::haproxy::edit(&files, &edits.collect::<Vec<_>>()).unwrap();
    let (_, left) = read(&edited.files[0].after);
    assert_eq!(left, [], "{}", String::from_utf8_lossy(&edited.files[0].after));
}

/// A backend with such servers: `pool-max-conn`, and what a template makes.
fn with_pools(pools: &[(Option<i64>, Option<&str>)]) -> Case {
    let mut case = case();
    let backend = &mut case.configurations[0].haproxy.as_mut().unwrap().proxies[0];
    backend.connection = Said::Default { value: "keep-alive".to_owned() };
    let servers = pools.iter().map(|(idle, template)| haproxy::Server {
        address: "10.0.2.1:80".to_owned(),
        template: template.map(str::to_owned),
        pool_max_conn: match idle {
            Some(value) => Said::Written { value: *value, place: FilePlace::default() },
            None => Said::default(),
        },
        ..Default::default()
    });
    backend.servers = servers.collect();
    case
}

#[test]
fn each_server_of_haproxy_has_a_pool_of_its_own() {
    for (pools, all) in [
        (&[(Some(10), None), (Some(10), None)][..], Some(20)),
        (&[(Some(-1), None), (Some(10), None)], None),
        (&[(None, None), (Some(10), None)], None),
        (&[(Some(5), Some("3")), (Some(1), Some("2-4"))], Some(18)),
        (&[(Some(5), Some("$MANY"))], None),
    ] {
        let case = with_pools(pools);
        let keeping = &routes(&case)[0].keeping;
        assert!(matches!(keeping, Keeping::Pooled { idle, .. } if *idle == all), "{pools:?} {keeping:?}");
    }
    let case = with_pools(&[(Some(10), None), (Some(10), Some("2"))]);
    let remedy = routes(&case)[0].larger_pool(60);
    assert!(remedy.summary.contains("at least 20 (each of 3 servers has its own)"), "{}", remedy.summary);
    let written = remedy.changes.iter().map(|change| match change {
        crate::Change::Program(change) => change.what.clone(),
        other => panic!("{other:?}"),
    });
    assert!(written.clone().count() == 2 && written.clone().all(|what| what.contains("`pool-max-conn 20`")));
}

#[test]
fn what_haproxy_shares_by_default_is_said_where_its_version_is_known() {
    let with = |reuse: Said<String>| {
        let mut case = with_pools(&[(Some(-1), None)]);
        case.configurations[0].haproxy.as_mut().unwrap().proxies[0].http_reuse = reuse;
        let route = &routes(&case)[0];
        (route.first_request_opens(), route.keeping.clone())
    };
    let default = |reuse: &str| Said::Default { value: reuse.to_owned() };
    assert!(matches!(with(default("safe")), (true, Keeping::Pooled { .. })));
    assert!(matches!(with(default("always")), (false, Keeping::Pooled { .. })));
    assert!(matches!(with(Said::default()), (false, Keeping::Pooled { .. })));
    let (_, never) = with(default("never"));
    assert!(matches!(never, Keeping::Unpooled { how, .. } if how.contains("its default before 2.0")));
}
