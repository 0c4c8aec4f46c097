//! `lastack whatif` as its user types it: the contract of its JSON, its errors, and that no remedy is missing in
//! silence.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn whatif(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    command.env_remove("COLUMNS").arg("whatif").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a real kernel showed of a client that is out of ports.
fn spent() -> String {
    recorded("port-exhaustion")
}

fn recorded(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../world/tests/whatif/{name}.case"));
    file.to_str().unwrap().to_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

#[test]
fn the_json_has_the_fields_of_the_contract() {
    let output = whatif(&["--case", &spent(), "--failed", "200", "--json"]);
    let answer = json(&output);
    assert_eq!(output.status.code(), Some(0), "all together nothing fails: {answer}");
    assert_eq!(answer["schema"], "lastack.whatif/1");
    for field in [
        "source",
        "name",
        "host",
        "hosts",
        "load",
        "lasts",
        "played_s",
        "assumptions",
        "outcomes",
        "not_simulated",
    ] {
        assert!(answer.get(field).is_some(), "{field} is not in {answer}");
    }
    let load = &answer["load"][0];
    for field in [
        "client",
        "server",
        "model",
        "process",
        "connections",
        "per_second",
        "at_once",
        "open_ms",
        "requests",
        "ends",
        "lasts",
    ] {
        assert!(load.get(field).is_some(), "{field} is not in {load}");
    }
    assert_eq!((&load["connections"], &load["ends"]), (&1_200.into(), &"client-closes".into()));
    let outcomes = answer["outcomes"].as_array().unwrap();
    assert_eq!(outcomes[0]["kind"], "as-it-is");
    assert_eq!(outcomes[0]["failed"]["low"], 200.0);
    for outcome in outcomes {
        for field in [
            "time_wait",
            "time_wait_peak",
            "time_wait_at_peers",
            "unclosed",
            "connects",
            "failed",
            "failed_per_second",
            "lost",
            "answered",
            "resets",
            "overflows",
            "connect_p50_us",
            "connect_p99_us",
            "latency_us",
            "memory_bytes",
            "connect_cpu",
        ] {
            let range = &outcome[field];
            let (low, high) = (range["low"].as_f64().unwrap(), range["high"].as_f64().unwrap());
            assert!(low <= high && low >= 0.0, "{field}: {range}");
        }
        let over_time = outcome["over_time"].as_object().unwrap();
        let lengths: BTreeSet<usize> =
            over_time.values().map(|column| column.as_array().unwrap().len()).collect();
        assert_eq!(lengths.len(), 1, "columns of one length: {lengths:?}");
    }
    let named = |kind: &str| -> Vec<&str> {
        let of = outcomes.iter().filter(|outcome| outcome["kind"] == kind);
        of.filter_map(|outcome| outcome["remedies"].as_array()?.last()?.as_str()).collect()
    };
    let alone = named("alone");
    for remedy in
        ["keep-connections", "let-the-peer-close", "more-destinations", "wider-port-range", "tw-reuse"]
    {
        assert!(alone.contains(&remedy), "{remedy} is not in {alone:?}");
    }
    assert!(!named("together").is_empty());
}

#[test]
fn what_was_asked_for_decides_the_exit_code() {
    let code = |more: &[&str]| {
        let case = spent();
        let mut arguments = vec!["--case", &case, "--failed", "200"];
        arguments.extend(more);
        whatif(&arguments).status.code()
    };
    assert_eq!(code(&["--set", "net.ipv4.ip_local_port_range=10240 65000"]), Some(0));
    assert_eq!(code(&["--set", "net.ipv4.tcp_fin_timeout=5"]), Some(1));
    assert_eq!(code(&["--remedy", "keep-connections=4"]), Some(0));
    assert_eq!(code(&["--set", "net.ipv4.ip_local_port_range=40000 40099"]), Some(1));
}

/// Each of 1,496 requests waits for a connection of the proxy as it is; the clients open eight.
#[test]
fn what_connects_of_a_proxy_take_is_a_part_of_the_answer() {
    let answer =
        json(&whatif(&["--scenario", "upstream-keepalive", "--remedy", "pool-in-the-proxy", "--json"]));
    let number = |row: usize, field: &str| answer["outcomes"][row][field]["low"].as_f64().unwrap();
    assert_eq!((number(0, "connects"), number(1, "connects")), (1_504.0, 16.0), "{answer}");
    let [before, after] = [0, 1].map(|row| number(row, "latency_us"));
    assert!(before >= 9.0 && after < 1.0, "{before} {after}");
    let [before, after] = [0, 1].map(|row| number(row, "connect_cpu"));
    assert!(before > 5.0 * after && after > 0.0, "{before} {after}");
    assert!(number(0, "connect_p99_us") >= number(0, "connect_p50_us"), "{answer}");
}

/// The scenario of a proxy and its upstream, with 1,000 ports at the proxy.
fn few_ports(name: &str) -> Written {
    let few = "name = \"proxy\"\nsettings = { \"net.ipv4.ip_local_port_range\" = \"40000 40999\" }\n";
    let text = world::collection::text("upstream-keepalive").unwrap();
    Written::new(name, text.replacen("name = \"proxy\"\n", few, 1).as_bytes())
}

/// 1,496 connections that the proxy closes need 1,496 ports, or two addresses with 1,000 each.
#[test]
fn a_proxy_connects_from_more_addresses_and_to_more_ports() {
    let file = few_ports("more.toml");
    for remedy in ["more-source-addresses", "more-source-addresses=2", "more-destinations"] {
        let remedies = ["--remedy", "upstream-http-1-1", "--remedy", remedy];
        let output = whatif(&[&["--scenario", file.name(), "--json"][..], &remedies].concat());
        let answer = json(&output);
        let outcomes = answer["outcomes"].as_array().unwrap();
        assert!(outcomes[1]["failed"]["high"].as_f64().unwrap() > 0.0, "{answer}");
        let both = outcomes.last().unwrap();
        assert_eq!((&both["kind"], &both["failed"]["high"]), (&"together".into(), &0.0.into()), "{answer}");
        assert_eq!(output.status.code(), Some(0));
    }
}

/// HTTP/1.1 without a pool spends the ports of the proxy, and is a part of the pool that saves them.
#[test]
fn what_an_earlier_remedy_leaves_nothing_to_do_is_named_and_decides_nothing() {
    let file = few_ports("named.toml");
    let remedies = ["--remedy", "pool-in-the-proxy", "--remedy", "upstream-http-1-1"];
    let output = whatif(&[&["--scenario", file.name(), "--json"][..], &remedies].concat());
    let answer = json(&output);
    let failed = |row: usize| answer["outcomes"][row]["failed"]["high"].as_f64().unwrap();
    assert_eq!((failed(1), failed(2) > 0.0), (0.0, true), "{answer}");
    assert_eq!(output.status.code(), Some(0), "with both nothing fails");
    let left_out = &answer["not_simulated"][0];
    assert_eq!(left_out["remedy"], "upstream-http-1-1", "{answer}");
    assert!(left_out["because"].as_str().unwrap().starts_with("after pool-in-the-proxy, "), "{left_out}");
}

#[test]
fn a_mistake_is_one_line_that_names_it_and_what_to_do() {
    let case = spent();
    for (arguments, said) in [
        (&["--set", "net.ipv4.tcp_tw_reuse"][..], "KEY=VALUE"),
        (&["--set", "net.ipv4.tcp_keepalive_time=5"], "no setting that the simulator reads"),
        (&["--set", "tcp_tw_reuse=1"], "did you mean net.ipv4.tcp_tw_reuse?"),
        (&["--set", "net.ipv4.tcp_tw_reuse=yes"], "a whole number"),
        (&["--set", "net.ipv4.ip_local_port_range=65000 10240"], "first and last port"),
        (&["--set", "net.ipv4.ip_local_port_range=0 70000"], "first and last port"),
        (&["--set", "mars:net.ipv4.tcp_tw_reuse=1"], "no host \"mars\""),
        (&["--remedy", "keep-conections"], "did you mean keep-connections?"),
        (&["--remedy", "keep-connections=0"], "a number, 1 to 100000"),
        (&["--remedy", "more-destinations=4000"], "at most 200"),
        (&["--remedy", "\u{1b}[2J"], "no remedy is called"),
        (&["--load", "0"], "above 0"),
        (&["--load", "nan"], "above 0"),
        (&["--lasting", "0"], "no time"),
        (&["--lasting", "1h"], "ask for less"),
        (&["--netns", "elsewhere"], "no network namespace"),
        (&["--plot", "/nowhere/to/be/found.svg"], "--plot /nowhere/to/be/found.svg"),
        (&["--failed=-1"], "--failed"),
        (&["--scenario", "port-exhaustion"], "cannot be used"),
    ] {
        let mut all = vec!["--case", &case];
        all.extend(arguments);
        let output = whatif(&all);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.lines().count() == 1 && error.contains(said), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_case_without_a_load_says_so() {
    let file = Written::new("empty.case", br#"{"schema":"lastack.case/1","host":{"name":"idle"}}"#);
    let output = whatif(&["--case", file.name()]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("idle: there is nothing to fit") && error.contains("--capture"), "{error}");
}

#[test]
fn a_scenario_is_played_under_its_variants_and_under_settings() {
    let output = whatif(&[
        "--scenario",
        "time-wait-overflow",
        "--remedy",
        "raised",
        "--set",
        "server:net.ipv4.tcp_max_tw_buckets=250",
        "--json",
    ]);
    let answer = json(&output);
    let overflows: Vec<&Value> =
        answer["outcomes"].as_array().unwrap().iter().map(|outcome| &outcome["overflows"]["high"]).collect();
    assert_eq!(overflows, [&Value::from(200.0), &Value::from(0.0), &Value::from(50.0)], "{answer}");
    assert_eq!((output.status.code(), &answer["source"]), (Some(1), &"scenario".into()));
}

#[test]
fn a_capture_alone_is_enough() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/nginx-without-a-pool.pcap.gz");
    let output = whatif(&["--capture", capture.to_str().unwrap(), "--remedy", "keep-connections", "--json"]);
    let answer = json(&output);
    assert_eq!(answer["source"], "capture");
    let outcomes = answer["outcomes"].as_array().unwrap();
    let connects = |place: usize| outcomes[place]["connects"]["high"].as_f64().unwrap();
    assert!(connects(1) < connects(0) / 2.0, "{} {}", connects(0), connects(1));
}

#[test]
fn the_plot_is_an_svg() {
    let file = Written::new("plot.svg", b"");
    // All ports went in a moment: nothing may be taken again in less than a second.
    let output = whatif(&["--case", &spent(), "--remedy", "tw-reuse"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("one connect to"), "{}", text(&output.stdout));
    let output = whatif(&["--case", &spent(), "--remedy", "wider-port-range", "--plot", file.name()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let plot = std::fs::read_to_string(file.name()).unwrap();
    assert!(
        plot.starts_with("<svg ") && plot.ends_with("</svg>\n") && plot.contains("wider-port-range"),
        "{plot}"
    );
    assert!(text(&output.stdout).contains("assumed"));
}

#[test]
fn every_remedy_of_the_rules_is_simulated_or_says_why_not() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diagnose/src");
    let mut names = BTreeSet::new();
    let files = std::fs::read_dir(rules.join("rules")).unwrap().map(|entry| entry.unwrap().path());
    for file in files.chain([rules.join("keeping.rs")]) {
        let source = std::fs::read_to_string(&file).unwrap();
        // The name is the first argument: the next text in quotes.
        for part in source.split("Remedy::advice(").skip(1) {
            if let Some(name) = part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) {
                names.insert(name.to_owned());
            } else {
                assert!(
                    part.trim_start().starts_with(|c: char| c.is_lowercase()),
                    "{}: {part:.80}",
                    file.display()
                );
            }
        }
    }
    assert!(names.len() > 50, "{names:?}");
    let simulated: BTreeSet<&str> = world::cure::names().collect();
    for name in &names {
        let (is, because) = (simulated.contains(name.as_str()), world::cure::because(name));
        assert!(is != because.is_some(), "{name}: simulated: {is}, because: {because:?}");
    }
}

#[test]
fn a_plan_of_fix_says_what_is_foretold_and_keeps_it() {
    let plan = std::env::temp_dir().join(format!("lastack-foretold-{}.toml", std::process::id()));
    let _ = std::fs::remove_file(&plan);
    let fix = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
        command.env_remove("COLUMNS").args(["fix", "--plan", plan.to_str().unwrap()]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        output
    };
    let wanted = "TIME-WAIT 100 -> 300; TIME-WAIT that finds no room 200 -> 0";
    let first =
        text(&fix(&["--case", &recorded("time-wait-overflow")]).stdout).replace("\n             ", " ");
    assert!(first.contains(&format!("foretold {wanted}")), "{first}");
    let kept = std::fs::read_to_string(&plan).unwrap();
    assert!(kept.contains(&format!("predicted = \"{wanted} (")), "{kept}");
    let read = json(&fix(&["--json"]));
    let remedies = read["remedies"].as_array().unwrap();
    let predicted = remedies.iter().find(|remedy| remedy["name"] == "larger-table").unwrap();
    assert!(predicted["predicted"].as_str().unwrap().starts_with(wanted), "{predicted}");
    std::fs::remove_file(&plan).unwrap();
}

/// A file of its own, which goes with the value.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let file = std::env::temp_dir().join(format!("lastack-whatif-{}-{name}", std::process::id()));
        std::fs::write(&file, bytes).unwrap();
        Self(file)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
