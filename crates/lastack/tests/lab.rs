//! `lastack lab` as its user types it, in virtual time; the kernel's part is in tests/live and in the scenarios' own step.

use std::path::PathBuf;
use std::process::{Command, Output};

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lastack")).arg("lab").args(arguments).output().expect("lastack runs")
}

fn said(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).expect("it is text")
}

/// A scenario in a file of its own, which goes with the value.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Self {
        let file = std::env::temp_dir().join(format!("lastack-{}-{name}.toml", std::process::id()));
        std::fs::write(&file, text).expect("the folder for temporary files takes one");
        Self(file)
    }

    fn name(&self) -> &str {
        self.0.to_str().expect("the name is text")
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_list_has_every_scenario_and_show_its_file() {
    let listed: serde_json::Value = serde_json::from_slice(&lab(&["list", "--json"]).stdout).expect("JSON");
    let scenarios = listed["scenarios"].as_array().expect("a list");
    assert_eq!(
        scenarios.len(),
        said(&lab(&["list"]).stdout).lines().filter(|line| !line.starts_with(' ')).count()
    );
    for scenario in scenarios {
        let name = scenario["scenario"].as_str().expect("a name");
        let shown = said(&lab(&["show", name]).stdout);
        assert!(shown.contains(name) && shown.contains("lastack lab run"), "{shown}");
        let file = said(&lab(&["show", name, "--file"]).stdout);
        assert!(file.contains(&format!("name = \"{name}\"")), "{file}");
    }
}

#[test]
fn a_run_gives_a_line_for_each_variant_with_the_fields_of_the_contract() {
    let output = lab(&["run", "close-wait-leak", "--on", "simulator", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stderr));
    let lines: Vec<serde_json::Value> =
        said(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let variants: Vec<&str> = lines.iter().filter_map(|line| line["variant"].as_str()).collect();
    assert_eq!(variants, ["leak", "closes", "leak-ipv6"]);
    for line in &lines {
        for field in [
            "scenario",
            "variant",
            "on",
            "measured",
            "predicted",
            "costs",
            "findings",
            "expected",
            "passed",
            "skipped",
        ] {
            assert!(line.get(field).is_some(), "{field} is not in {line}");
        }
        assert_eq!((&line["on"], &line["passed"]), (&"simulator".into(), &true.into()));
    }
    assert_eq!(lines[0]["predicted"]["server.sockets.CLOSE-WAIT"], 50.0);
    let again = lab(&["run", "close-wait-leak", "--on", "simulator", "--json"]);
    assert_eq!(again.stdout, output.stdout, "where nothing is measured, every run is the same");
    assert!(lines[0]["findings"].as_array().is_some_and(|rules| rules.contains(&"close-wait-leak".into())));
}

#[test]
fn what_is_not_as_expected_is_said_and_is_exit_status_1() {
    let text = said(&lab(&["show", "close-wait-leak", "--file"]).stdout);
    let wrong = text.replace("\"server.sockets.CLOSE-WAIT\" = 50", "\"server.sockets.CLOSE-WAIT\" = 49");
    assert_ne!(text, wrong);
    let file = Written::new("wrong", &wrong);
    let output = lab(&["run", file.name(), "--on", "simulator", "--color", "never"]);
    assert_eq!(output.status.code(), Some(1));
    let page = said(&output.stdout);
    assert!(page.contains("server.sockets.CLOSE-WAIT is 50, expected 49"), "{page}");
}

#[test]
fn one_remedy_is_the_first_variant_and_that_one() {
    let output = lab(&["run", "port-exhaustion", "--remedy", "pool", "--on", "simulator", "--json"]);
    let variants = said(&output.stdout).lines().count();
    assert_eq!((output.status.code(), variants), (Some(0), 2), "{}", said(&output.stderr));
}

#[test]
fn a_mistake_is_one_line_that_says_what_to_do() {
    let broken = Written::new("broken", "name = \"x\"\ntitle = \"t\"\n[[host]]\nname = \"a\"\nspeed = 9\n");
    for (arguments, thing) in [
        (&["show", "port-exhaustoin"][..], "did you mean `port-exhaustion`?"),
        (&["run", "no-such-thing"], "`lastack lab list`"),
        (&["run", "./no-such.toml"], "cannot open ./no-such.toml"),
        (&["run", "port-exhaustion", "--remedy", "poll"], "it has default, ipv6, pool"),
        (&["run"], "lastack lab"),
        (&["run", broken.name()], "unknown field `speed`"),
    ] {
        let output = lab(arguments);
        let why = said(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {why}");
        assert!(why.contains(thing), "{arguments:?}: {why}");
        assert!(output.stdout.is_empty() && why.lines().count() == 1, "{arguments:?}: {why}");
    }
}
