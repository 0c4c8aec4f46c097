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
