//! Every scenario of the project is read, and files with mistakes say where they are.

#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::fs;
use std::path::Path;
use world::Scenario;
use world::scenario::{ClosesWhen, Http, ScenarioError};

/// The smallest world that works, with more lines behind it.
fn with(more: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(&format!(
        "name = \"small\"\ntitle = \"t\"\n[[host]]\nname = \"a\"\n[[host]]\nname = \"b\"\n\
         [[server]]\nname = \"app\"\nhost = \"b\"\nport = 80\nclose = {{ when = \"peer\" }}\n{more}"
    ))
}

#[test]
fn every_scenario_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            let scenario =
                Scenario::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(path.file_stem().unwrap().to_str(), Some(scenario.name.as_str()));
            let embedded = world::collection::text(&scenario.name);
            assert!(
                embedded == Some(&text),
                "crates/world/src/collection.rs does not have {}",
                scenario.name
            );
            assert!(!scenario.about.trim().is_empty(), "{} says nothing about itself", scenario.name);
            read += 1;
        }
    }
    assert_eq!(read, world::collection::names().len());
}

#[test]
fn a_variant_changes_what_it_names_and_nothing_else() {
    let scenario = with(
        "[[client]]\nname = \"load\"\nhost = \"a\"\nto = [\"app\"]\nconnections = 5\nclose = { when = \"requests\" }\n\
         [[variant]]\nname = \"one\"\n\
         [[variant]]\nname = \"two\"\n[variant.change]\n\"client.load\" = { connections = 7, http = \"1.0\" }\n\
         \"server.app.close.when\" = \"idle\"\n\"settings\" = { \"net.ipv4.tcp_rfc1337\" = 1 }\nseed = 9\n\
         \"host.b.settings\" = { \"net.ipv4.tcp_rfc1337\" = 0 }",
    );
    // A nested path below a field is a key of that name, which the table does not know.
    assert!(matches!(scenario, Err(ScenarioError::Change { .. })), "{scenario:?}");

    let scenario = with(
        "[[client]]\nname = \"load\"\nhost = \"a\"\nto = [\"app\"]\nconnections = 5\nclose = { when = \"requests\" }\n\
         [[variant]]\nname = \"one\"\n\
         [[variant]]\nname = \"two\"\n[variant.change]\n\"client.load\" = { connections = 7, http = \"1.0\" }\n\
         \"server.app.close\" = { when = \"idle\", after_ms = 5 }\n\"settings\" = { \"net.ipv4.tcp_rfc1337\" = 1 }\nseed = 9\n\
         \"host.b.settings\" = { \"net.ipv4.tcp_rfc1337\" = 0 }",
    )
    .unwrap();
    let (one, two) = (&scenario.variants[0].world, &scenario.variants[1].world);
    assert_eq!((one.clients[0].connections, two.clients[0].connections), (5, 7));
    assert_eq!((one.clients[0].http, two.clients[0].http), (Http::V1_1, Http::V1_0));
    assert_eq!((one.servers[0].close.when, two.servers[0].close.when), (ClosesWhen::Peer, ClosesWhen::Idle));
    assert_eq!((one.seed, two.seed), (1, 9));
    assert_eq!(one.setting("a", "net.ipv4.tcp_rfc1337"), None);
    assert_eq!(two.setting("a", "net.ipv4.tcp_rfc1337"), Some("1"));
    assert_eq!(two.setting("b", "net.ipv4.tcp_rfc1337"), Some("0"));
    assert_eq!(one.hosts[0], two.hosts[0]);
}

#[test]
fn a_fix_has_the_world_before_it() {
    let scenario = with(
        "[[variant]]\nname = \"v\"\n[variant.change]\n\"host.b.settings\" = { \"net.ipv4.tcp_rfc1337\" = 0 }\n\
         [[variant.fix]]\nhost = \"b\"\nfinding = \"r\"\nrestart = [\"app\"]\n\
         before = { \"host.b.settings\" = { \"net.ipv4.tcp_rfc1337\" = 1 } }\n\
         [[variant.fix]]\nhost = \"b\"\nfinding = \"q\"\nremedy = \"off\"\n\
         before = { settings = { \"net.ipv4.tcp_fin_timeout\" = 5 } }\n",
    )
    .unwrap();
    let variant = &scenario.variants[0];
    let set = |world: &world::scenario::World, name: &str| world.setting("b", name).map(str::to_owned);
    let [one, two] = variant.fixes.as_slice() else { panic!("{:?}", variant.fixes) };
    let (rfc1337, fin_timeout) = ("net.ipv4.tcp_rfc1337", "net.ipv4.tcp_fin_timeout");
    assert_eq!(set(&variant.world, rfc1337).as_deref(), Some("0"));
    assert_eq!(set(&one.before, rfc1337).as_deref(), Some("1"));
    assert_eq!((&one.remedy, one.restart.as_slice()), (&None, &["app".to_owned()][..]));
    // Each begins from the variant, not from the one before it.
    assert_eq!(set(&two.before, rfc1337).as_deref(), Some("0"));
    assert_eq!((set(&one.before, fin_timeout), set(&two.before, fin_timeout)), (None, Some("5".to_owned())));
    assert_eq!(two.remedy.as_deref(), Some("off"));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let client = "[[client]]\nname = \"load\"\nhost = \"a\"\nto = [\"app\"]\nconnections = 5\n";
    let closes = "close = { when = \"requests\" }\n";
    let fix = |host: &str, before: &str| {
        format!("[[variant]]\nname = \"v\"\n[[variant.fix]]\n{host}\nfinding = \"r\"\nbefore = {before}\n")
    };
    let cases = [
        ("[[client]]\nname = \"load\"\n".to_owned(), "missing field"),
        (format!("{client}close = {{ when = \"later\" }}\n"), "unknown variant `later`"),
        (format!("{client}{closes}cloze = 1\n"), "unknown field `cloze`"),
        (
            format!("{}{closes}", client.replace("\"app\"", "\"apq\"")),
            "client \"load\": to = \"apq\": there are app",
        ),
        (format!("{}{closes}", client.replace("\"a\"", "\"c\"")), "host = \"c\" is no host"),
        (format!("{client}{closes}requests = 0\n"), "requests: at least 1"),
        (format!("{client}{closes}bind = \"port\"\n"), "go together"),
        (format!("{client}{closes}sources = 3\n"), "sources: 1 to the 1 addresses"),
        (
            format!("{client}{closes}[[variant]]\nname = \"v\"\n[variant.change]\n\"client.lod.pool\" = 1\n"),
            "no client is called \"lod\"",
        ),
        (
            format!(
                "{client}{closes}[[variant]]\nname = \"v\"\n[variant.change]\n\"client.load.pool\" = \"x\"\n"
            ),
            "invalid type",
        ),
        (
            format!("{client}{closes}[[variant]]\nname = \"v\"\n[variant.change]\n\"host.b\" = false\n"),
            "variant \"v\": server \"app\": host = \"b\"",
        ),
        (
            format!("{client}{closes}[[variant]]\nname = \"v\"\n[[variant]]\nname = \"v\"\n"),
            "the name is taken",
        ),
        (
            format!("{client}{closes}[[variant]]\nname = \"v\"\n[variant.expect.findings]\nc = [\"x\"]\n"),
            "which is no host",
        ),
        ("[[host]]\nname = \"A b\"\n".to_owned(), "small letters"),
        ("[[fault]]\nhost = \"a\"\ndrop = \"fins\"\nfrom_ms = -1\n".to_owned(), "invalid value"),
        ("[[fault]]\nhost = \"a\"\ndelay = \"fins\"\n".to_owned(), "needs delay_ms"),
        ("[[fault]]\nhost = \"a\"\ndelay_ms = 5\n".to_owned(), "needs drop or delay"),
        (
            "[[fault]]\nhost = \"a\"\ndrop = \"fins\"\ndelay_ms = 5\n".to_owned(),
            "drop, or delay and delay_ms",
        ),
        (
            "[[fault]]\nhost = \"a\"\ndelay = \"fins\"\ndelay_ms = 1000000000000\n".to_owned(),
            "delay_ms = 1000000000000: at most",
        ),
        ("[[host]]\nname = [".to_owned(), "line"),
        (fix("host = \"c\"", "{ settings = { \"net.ipv4.tcp_rfc1337\" = 1 } }"), "\"c\" is no host"),
        (fix("host = \"b\"", "{}"), "the world before is the same"),
        (fix("host = \"b\"", "{ \"host.b.addresses\" = 2 }"), "only settings, and what a proxy is told"),
        (fix("host = \"b\"", "{ \"host.d.addresses\" = 2 }"), "no host is called \"d\""),
        (
            fix("host = \"b\"\nrestart = [\"x\"]", "{ settings = { \"net.ipv4.tcp_rfc1337\" = 1 } }"),
            "no server is called \"x\"",
        ),
        (
            fix("host = \"b\"", "{ settings = { \"net.ipv4.tcp_rfc1337\" = 1 } }")
                .replace("name = \"v\"", "name = \"v\"\non = [\"simulator\"]"),
            "runs on the kernel stage only",
        ),
        (
            format!(
                "[unfixed]\nr = \"why\"\n{}",
                fix("host = \"b\"", "{ settings = { \"net.ipv4.tcp_rfc1337\" = 1 } }")
            ),
            "`unfixed` says that nothing is changed against r",
        ),
    ];
    for (more, expected) in cases {
        let error = with(&more).expect_err(&more).to_string();
        assert!(error.contains(expected), "{error}\ndoes not say {expected:?}");
    }
}

#[test]
fn a_measure_that_no_stage_gives_is_refused_with_what_is_near_it() {
    let near = |measure: &str| {
        let relation = "less = \"v\"\nmore = \"v\"\nfactor = 1.0\n";
        let bound = format!("[variant.expect.measures]\n\"{measure}\" = 0\n");
        let held = format!("[[relation]]\n{relation}measure = \"{measure}\"\n");
        let said = |more: &str| {
            let text = format!("[[variant]]\nname = \"v\"\n{more}");
            with_client(&text).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let (bound, held) = (said(&bound), said(&held));
        let of =
            |text: &str| text.split(": there is ").nth(1).unwrap_or(text).replace(", in variant \"v\"", "");
        assert_eq!(of(&bound), of(&held));
        of(&bound)
    };
    assert!(near("b.counters.PAWSTimewiat").starts_with("b.counters.PAWSTimewait"));
    assert!(near("load.connect_us.p5").starts_with("load.connect_us.p50"));
    assert!(near("a.socket.TIME-WAIT").starts_with("a.sockets.TIME-WAIT"));
    assert!(near("load.failed.connect.ECONREFUSED").starts_with("load.failed.connect.ECONNREFUSED"));
    assert!(near("app.ok").contains("app.failed"));
    assert!(near("a.sockets.LISTEN").starts_with("a.sockets."));
    for good in
        ["load.connect_us.tenth10", "load.failed.send.errno95", "b.counters.PAWSPassive", "a.conntrack"]
    {
        assert_eq!(near(good), "");
    }
}

/// The same with a client on `a`, of which `more` is the rest.
fn with_client(more: &str) -> Result<Scenario, ScenarioError> {
    with(&format!(
        "[[client]]\nname = \"load\"\nhost = \"a\"\nto = [\"app\"]\nconnections = 5\nclose = {{ when = \"requests\" }}\n{more}"
    ))
}

#[test]
fn lines_for_a_proxy_run_no_programs_and_read_no_files() {
    let read = |program: &str, line: &str| {
        with_client(&format!(
            "[[proxy]]\nname = \"p\"\nhost = \"a\"\nprogram = \"{program}\"\nport = 81\nupstream = [\"app\"]\n\
             lines = [{line:?}]\n"
        ))
    };
    let taken = [
        ("nginx", "least_conn;"),
        ("nginx", "keepalive_time 1h; hash $remote_addr consistent;  "),
        ("nginx", "zone app 64k; keepalive 100000;"),
        ("nginx", "zone app; zone app 16m; zone app 8192;"),
        ("haproxy", "timeout server 5s"),
        ("haproxy", "  option\thttp-server-close"),
        ("haproxy", "no option http-keep-alive"),
        ("haproxy", "http-check send meth GET uri /health ver HTTP/1.1 hdr Host app"),
        ("haproxy", "option httpchk GET /health"),
        ("haproxy", "default-server maxconn 20 check inter 2s pool-max-conn 10"),
    ];
    for (program, line) in taken {
        assert!(read(program, line).is_ok(), "{line}: {:?}", read(program, line));
    }
    let refused = [
        ("nginx", "} http {", "'}' is not taken"),
        ("nginx", "keepalive 4", "does not end with ;"),
        ("nginx", "keepalive 4; include secret;", "\"include\" is none of"),
        ("nginx", "keepalive 4;; ", "\"\" is none of"),
        ("nginx", "keepalive 100001;", "keepalive: a number, at most 100000"),
        ("nginx", "keepalive 4294967296;", "keepalive: a number"),
        ("nginx", "keepalive;", "keepalive: a number"),
        ("nginx", "zone app 17m;", "zone: a name, and a size of at most 16384k"),
        ("nginx", "zone app 99999999999999999999m;", "zone: a name"),
        ("nginx", "zone app 8g;", "zone: a name"),
        ("nginx", "\"include\" secret;", "'\"' is not taken"),
        ("nginx", "inc\\lude secret;", "'\\\\' is not taken"),
        ("nginx", "server unix:run.sock;", "\"server\" is none of"),
        ("nginx", "keepalive 4; # more", "'#' is not taken"),
        ("nginx", "keepalive 4;\ninclude secret;", "'\\n' is not taken"),
        ("haproxy", " global", "\"global\" is none of"),
        ("haproxy", "", "\"\" is none of"),
        ("haproxy", "\"global\"", "is none of"),
        ("haproxy", "glo\\bal", "is none of"),
        ("haproxy", "$SECTION", "is none of"),
        ("haproxy", "program sh", "\"program\" is none of"),
        ("haproxy", "server s unix@run.sock", "\"server\" is none of"),
        ("haproxy", "external-check command sh", "\"external-check\" is none of"),
        ("haproxy", "option external-check", "external-check runs a program"),
        ("haproxy", "option \"external-check\"", "'\"' is not taken"),
        ("haproxy", "timeout server 5s\nglobal", "'\\n' is not taken"),
        ("haproxy", "timeout server 5s\rglobal", "'\\r' is not taken"),
        ("haproxy", "errorfile 503 /secret", "\"errorfile\" is none of"),
        ("haproxy", "balance hdr(a)", "'(' is not taken"),
        ("haproxy", "default-server ca-file secret", "\"ca-file\" is none of"),
        ("haproxy", "default-server check port 9", "\"port\" is none of"),
        ("haproxy", "timeout server /secret", "'/' is not taken"),
    ];
    for (program, line, expected) in refused {
        let error = read(program, line).expect_err(line).to_string();
        assert!(error.contains("proxy \"p\": lines: ") && error.contains(expected), "{line:?}: {error}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn what_could_not_be_or_would_be_ignored_is_refused() {
    let proxy = |name: &str, rest: &str| {
        format!("[[proxy]]\nname = \"{name}\"\nhost = \"a\"\nprogram = \"nginx\"\n{rest}\n")
    };
    let variant = |rest: &str| format!("[[variant]]\nname = \"v\"\n{rest}\n");
    let host = |rest: &str| format!("[[host]]\nname = \"c\"\n{rest}\n");
    let probe = |rest: &str| {
        format!("[[probe]]\nname = \"p\"\nhost = \"a\"\nto = \"app\"\ninto = \"TIME-WAIT\"\n{rest}\n")
    };
    let cases = [
        // A scenario from elsewhere must not change the machine it runs on.
        (host("settings = { \"vm.swappiness\" = 1 }"), "host \"c\": \"vm.swappiness\": a host has no settings but"),
        (host("settings = { \"kernel/hostname\" = \"x\" }"), "no settings but"),
        (host("settings = { \"net/../vm/swappiness\" = 1 }"), "no settings but"),
        (host("settings = { \"net.ipv4.tcp_congestion_control\" = \"a\\nb\" }"), "one line"),
        ("[[step]]\nat_ms = 1\nhost = \"a\"\nset = { \"fs.file-max\" = 1 }\n".to_owned(), "step: \"fs.file-max\""),
        (host("settings = { \"net.ipv4.tcp_rfc1337\" = 256 }"), "net.ipv4.tcp_rfc1337 = \"256\": 0 to 255"),
        (host("settings = { \"net.ipv4.tcp_tw_reuse\" = 3 }"), "net.ipv4.tcp_tw_reuse = \"3\": 0 to 2"),
        ("[[step]]\nat_ms = 1\nhost = \"a\"\nset = { \"net.ipv4.tcp_syn_retries\" = 0 }\n".to_owned(), "1 to 127"),
        (
            host("settings = { \"net.ipv4.ip_local_port_range\" = \"1023 2000\" }"),
            "from 1024 on (net.ipv4.ip_unprivileged_port_start)",
        ),
        (host("networks = [\"a b; c\"]"), "networks: network \"a b; c\": a name has"),
        (host("networks = [\"a\", \"a\"]"), "the name is taken"),
        (host("time_wait_ms = 604800001"), "time_wait_ms = 604800001: at most"),
        (host("clock_ahead_ms = -9223372036854775808"), "clock_ahead_ms = 9223372036854775808: at most"),
        (
            "[[server]]\nname = \"two\"\nhost = \"b\"\nport = 79\nports = 2\nclose = { when = \"peer\" }\n".to_owned(),
            "server \"two\": port 79 of host \"b\" is that of server \"app\"",
        ),
        (proxy("p", "port = 0\nupstream = [\"app\"]"), "proxy \"p\": port = 0"),
        (proxy("p", "port = 81\nupstream = [\"app\"]\nworkers = 65"), "workers = 65: 1 to 64"),
        (proxy("p", "port = 81\nupstream = [\"p\"]"), "proxy \"p\": upstream: its requests would come back"),
        (
            proxy("p", "port = 81\nupstream = [\"q\"]") + &proxy("q", "port = 82\nupstream = [\"app\", \"p\"]"),
            "would come back",
        ),
        (
            proxy("p", "port = 81\nupstream = [\"app\"]\nkeepalive = 4").replace("nginx", "haproxy"),
            "are nginx's: HAProxy has reuse",
        ),
        (
            host("[[host.nat]]\nkind = \"dnat\"\nname = \"vip\"\nport = 0\nto = [\"app\"]"),
            "host \"c\", nat: port = 0",
        ),
        (
            "[[host]]\nname = \"c\"\n[[host.nat]]\nkind = \"dnat\"\nname = \"vip\"\nport = 80\nto = [\"own\"]\n\
             [[server]]\nname = \"own\"\nhost = \"c\"\nport = 80\nclose = { when = \"peer\" }\n"
                .to_owned(),
            "to = \"own\" is on this host",
        ),
        (
            host("networks = [\"far\"]\n[[server]]\nname = \"own\"\nhost = \"c\"\nport = 80\nclose = { when = \"peer\" }")
                + "[[client]]\nname = \"lost\"\nhost = \"a\"\nto = [\"app\", \"own\"]\nconnections = 1\n\
                   close = { when = \"requests\" }\n",
            "client \"lost\": no network leads from host \"a\" to host \"c\", where \"own\" is",
        ),
        (
            host(
                "networks = [\"far\"]\n[[host.nat]]\nkind = \"direct-routing\"\nname = \"vip\"\nport = 80\nto = [\"app\"]\n\
                 [[host]]\nname = \"d\"\nnetworks = [\"far\", \"lan\"]",
            ),
            "host \"c\", nat: direct routing needs a network that it shares with host \"b\"",
        ),
        (
            proxy("p", "port = 81\nupstream = [\"app\"]\nkeepalive = 100001"),
            "proxy \"p\": keepalive = 100001: at most 100000",
        ),
        // What would take all memory.
        (variant("change = { \"server.app.ports\" = 257 }"), "server \"app\": ports = 257: at most 256"),
        (variant(&format!("change = {{ \"client.load.to\" = {:?} }}", ["app"; 257])), "to: 257 names: at most 256"),
        (
            proxy("p", &format!("port = 81\nupstream = {:?}", ["app"; 257])),
            "proxy \"p\": upstream: 257 names: at most 256",
        ),
        (
            host(&format!("[[host.nat]]\nkind = \"dnat\"\nname = \"vip\"\nport = 80\nto = {:?}", ["app"; 257])),
            "host \"c\", nat: to: 257 names: at most 256",
        ),
        (
            variant(
                "change = { \"server.app.ports\" = 200, \"host.b.addresses\" = 100, \"client.load.destinations\" = 82 }",
            ),
            "client \"load\": 16400 pairs of a source and a destination, 16400 with those before: at most 16384",
        ),
        (
            variant(
                "change = { \"server.app.ports\" = 256, \"host.b.addresses\" = 64, \"client.load.destinations\" = 64 }",
            ) + &proxy("p", "port = 1000\nupstream = [\"app\"]"),
            "proxy \"p\": 256 pairs of a source and a destination, 16640 with those before",
        ),
        (
            variant(
                "change = { family = \"ipv6\", \"server.app.host\" = \"a\", \"host.a.addresses\" = 2, \"client.load.destinations\" = 2 }",
            ),
            "\"app\" is on its own host: with IPv6 there is one address",
        ),
        ("timeout_ms = 0\n".to_owned(), "timeout_ms: at least 1"),
        ("bind = \"port\"\nport = 0\n".to_owned(), "client \"load\": port = 0"),
        ("ports = [0, 9]\n".to_owned(), "client \"load\": ports = [0, 9]: the first is not above the last, nor 0"),
        ("ports = [40001, 40000]\n".to_owned(), "ports = [40001, 40000]: the first is not above"),
        ("bind = \"port\"\nport = 9\nports = [9, 9]\n".to_owned(), "the kernel chooses none: leave out ports, or bind"),
        (
            variant("change = { \"client.load.ports\" = [40000, 40009], \"host.a.kernel\" = \"linux-5.6\" }"),
            "IP_LOCAL_PORT_RANGE is Linux's, from 6.3 on: leave out ports, or kernel of host \"a\"",
        ),
        ("request_bytes = 1073741825\n".to_owned(), "request_bytes = 1073741825: at most"),
        ("think_ms = 604800001\n".to_owned(), "think_ms = 604800001: at most"),
        (variant("change = { \"server.app.answer\" = { bytes = 4000000000 } }"), "answer: bytes = 4000000000: at most"),
        (variant("change = { \"server.app.keepalive_s\" = [0, 1, 1] }"), "keepalive_s = [0, 1, 1]: from 1 to"),
        (variant("on = [\"kernel\"]\nchange = { \"server.app.workers\" = 513 }"), "workers = 513: 1 to 512"),
        (
            variant("change = { \"server.app.close\" = { how = \"goodbye\" } }"),
            "goodbye\" is the last message: it goes with when = \"requests\"",
        ),
        (
            variant("change = { \"server.app.close\" = { when = \"requests\", how = \"goodbye\" } }"),
            "goodbye\" needs after_ms: so long the client has to close first",
        ),
        (
            variant("change = { \"server.app\" = { answer = { with_fin = true }, close = { when = \"requests\", after_ms = 5 } } }"),
            "with_fin: its FIN goes out with the last bytes, so",
        ),
        (
            variant("change = { \"server.app\" = { answer = { with_fin = true }, close = { when = \"requests\", how = \"shutdown\" } } }"),
            "it goes with how = \"fin\"",
        ),
        (
            variant("change = { \"server.app\" = { answer = { length = false }, close = { when = \"requests\", how = \"goodbye\", after_ms = 9 } } }"),
            "needs the length of an answer: without it only the server's own close",
        ),
        (
            variant("change = { \"server.app.close\" = { when = \"requests\", how = \"unread\" } }"),
            "answer = { unread = true } and close = { when = \"requests\", how = \"unread\" } go together",
        ),
        (variant("change = { \"server.app.answer\" = { unread = true } }"), "go together, after one request"),
        (
            variant("change = { \"server.app\" = { answer = { unread = true }, close = { when = \"requests\", how = \"unread\", requests = 2 } } }"),
            "who does not read it cannot tell it from the next",
        ),
        (
            variant("change = { \"client.load.close\" = { when = \"peer\", how = \"unread\" } }"),
            "unread\" leaves the last message: it goes with when = \"requests\"",
        ),
        (
            variant("change = { \"client.load\" = { pool = 2, close = { when = \"requests\", how = \"goodbye\" } } }"),
            "how = \"goodbye\" is for connections that are not kept: leave out pool",
        ),
        (variant("change = { \"server.app.close\" = { when = \"idle\" } }"), "close when idle needs after_ms"),
        (variant("change = { \"server.app.close\" = { how = \"linger\" } }"), "how = \"linger\" needs linger_s"),
        (
            variant("change = { \"server.app.close\" = { how = \"linger\", linger_s = 0 } }"),
            "linger_s = 0 sends a reset: write how = \"reset\"",
        ),
        (variant("change = { \"server.app.close\" = { linger_s = 1 } }"), "linger_s goes with how = \"linger\""),
        (
            variant("change = { \"server.app.close\" = { how = \"linger\", linger_s = 65536 } }"),
            "expected a whole number from 0 to 65535",
        ),
        (
            variant("change = { \"client.load\" = { pool = 2, close = { when = \"requests\", how = \"linger\", linger_s = 1 } } }"),
            "is for connections that are not kept: leave out pool, or how",
        ),
        (
            variant("change = { \"host.b.kernel\" = \"freebsd\", \"server.app.close\" = { how = \"linger\", linger_s = 1 } }"),
            "is simulated as Linux does it: leave it out, or kernel of host \"b\"",
        ),
        ("[[step]]\nat_ms = 1\n".to_owned(), "nothing is done: write set"),
        ("[[step]]\nat_ms = 604800001\nend = \"app\"\n".to_owned(), "at_ms = 604800001: at most"),
        ("[[step]]\nat_ms = 1\nhost = \"a\"\ndestroy = \"TIMEWAIT\"\n".to_owned(), "no state of RFC 9293"),
        ("[[step]]\nat_ms = 1\nrestart = \"load\"\n".to_owned(), "restart = \"load\" is no server"),
        ("[[step]]\nat_ms = 1\nend = \"a\"\n".to_owned(), "end = \"a\" is no server and no client"),
        ("[[fault]]\nhost = \"a\"\ndrop = \"fins\"\nport = 0\n".to_owned(), "fault: port = 0"),
        (probe("send = { flags = \"SYN,NOPE\" }\nreply = \"ACK\"\nafter = \"CLOSED\""), "flags = \"SYN,NOPE\": not flags"),
        (probe("send = { flags = \"SYN\" }\nreply = \"ACK,SYN\"\nafter = \"CLOSED\""), "reply = \"ACK,SYN\" is none of"),
        (
            probe("send = { flags = \"SYN\", bytes = 1001 }\nreply = \"ACK\"\nafter = \"CLOSED\""),
            "bytes = 1001: at most 1000",
        ),
        (
            probe("send = { flags = \"SYN\" }\nreply = \"ACK\"\nafter = \"CLOSED\"").replace("\"app\"", "\"load\""),
            "to = \"load\" is no server",
        ),
        (variant("on = []"), "variant \"v\": on: "),
        (variant("on = [\"kernel\", \"kernel\"]"), "each once"),
        (variant("change = { title = \"t\" }"), "title is the scenario's"),
        (variant("change = { variant = [] }"), "nothing would change"),
        (variant("[variant.expect.measures]\n\"load.ok\" = [5, 1]"), "load.ok = [5, 1]: the first is not above"),
        (variant("[variant.expect.measures]\n\"load.ok\" = nan"), "the first is not above"),
        (variant("[variant.expect.measures]\n\"lod.ok\" = 5"), "the measure \"lod.ok\" begins with the name of no"),
        (variant("[variant.expect.measures]\nload = 5"), "the measure \"load\" begins"),
        (variant("[variant.expect.unpredicted]\n\"lod.ok\" = \"why\""), "the measure \"lod.ok\" begins"),
        (
            variant("") + "[[relation]]\nless = \"v\"\nmore = \"v\"\nmeasure = \"lod.ok\"\n",
            "relation: the measure \"lod.ok\"",
        ),
        (
            variant("") + "[[relation]]\nless = \"v\"\nmore = \"v\"\nmeasure = \"load.ok\"\nfactor = -1\n",
            "factor = -1: 0 or more",
        ),
    ];
    for (more, expected) in cases {
        let error = with_client(&more).expect_err(&more).to_string();
        assert!(error.contains(expected), "{error}\ndoes not say {expected:?}");
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    }
    let lower = "\"net.ipv4.ip_local_port_range\" = \"1 2000\", \"net.ipv4.ip_unprivileged_port_start\" = 0";
    with_client(&host(&format!("settings = {{ {lower}, \"net.ipv4.tcp_rfc1337\" = 2 }}"))).unwrap();
    let nowhere =
        Scenario::parse("name = \"n\"\ntitle = \"t\"\non = []\n[[host]]\nname = \"a\"\n").unwrap_err();
    assert!(nowhere.to_string().contains("scenario: on: "), "{nowhere}");
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_line_and_key_and_in_plain_words() {
    let said = |more: &str| with_client(more).expect_err(more).to_string();
    assert_eq!(
        said("requests = 2\nport = 70000\n"),
        "line 19: port: invalid value: integer `70000`, expected a whole number from 0 to 65535"
    );
    assert!(said("think_ms = -1\n").contains("line 18: think_ms: invalid value"));
    assert!(said("per_second = \"x\"\n").ends_with("expected a number"));
    let long = said("think_ms = 1e308\n");
    assert!(long.contains("think_ms: invalid type: floating point") && long.len() < 700, "{long}");
    let changed = said("[[variant]]\nname = \"v\"\nchange = { \"client.load\" = { think_ms = \"x\" } }\n");
    assert!(changed.ends_with("expected a whole number, 0 or more"), "{changed}");
}

#[test]
fn false_takes_out_what_is_no_switch() {
    let scenario = with_client(
        "pool = 4\n[[fault]]\nhost = \"a\"\ndrop = \"fins\"\n[[variant]]\nname = \"v\"\n[variant.change]\n\
         \"client.load\" = { pool = false }\n\"server.app\" = { accepts = false, reuse_address = false }\nfault = false\n",
    )
    .unwrap();
    let world = &scenario.variants[0].world;
    assert_eq!((world.clients[0].pool, world.faults.len()), (None, 0));
    assert!(!world.servers[0].accepts && !world.servers[0].reuse_address);
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let error = Scenario::parse(&" ".repeat(world::scenario::MAX_BYTES + 1)).unwrap_err();
    assert_eq!(error, ScenarioError::TooLarge(world::scenario::MAX_BYTES + 1));
}

#[test]
fn the_example_of_the_documentation_is_a_scenario() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenarios.md");
    let page = fs::read_to_string(page).unwrap();
    let example: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(str::trim)
        .collect();
    let scenario = Scenario::parse(&example.join("\n")).unwrap();
    assert_eq!(scenario.variants.len(), 2);
}
