//! `lastack lab` as its user types it, in virtual time; the kernel's part is in tests/live and in the scenarios' own
//! step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
            "compared",
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
fn a_probe_that_is_answered_otherwise_is_said_and_is_exit_status_1() {
    let text = said(&lab(&["show", "syn-into-fin-wait-2", "--file"]).stdout);
    let wrong = text.replacen("reply = \"RST,ACK\"", "reply = \"nothing\"", 1);
    assert_ne!(text, wrong);
    let file = Written::new("probe", &wrong);
    let output = lab(&["run", file.name(), "--on", "simulator", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let mut tried = 0;
    for line in said(&output.stdout).lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let is_natural = line["variant"].as_str().is_some_and(|variant| variant.starts_with("natural"));
        if is_natural {
            // They have no probes.
            assert_eq!(line["wrong"], serde_json::json!([]), "{line}");
            continue;
        }
        let expected = ["simulator: syn-in-window: reply RST,ACK, expected nothing"];
        assert_eq!((&line["passed"], &line["wrong"]), (&false.into(), &expected[..].into()), "{line}");
        tried += 1;
    }
    assert!(tried >= 2, "{}", said(&output.stdout));
}

#[test]
fn what_no_stage_gives_is_wrong_and_what_one_cannot_give_is_a_note() {
    let text = said(&lab(&["show", "close-wait-leak", "--file"]).stdout);
    // A counter that the simulator does not have.
    let bound = "\"server.sockets.CLOSE-WAIT\" = 50";
    let text = text.replace(bound, &format!("{bound}\n\"server.counters.TCPHystartTrainDetect\" = 0"));
    let alone = text.replacen("[[variant]]", "[[variant]]\non = [\"simulator\"]", 1);
    for (text, status, says) in [
        (&text, 0, "simulator: server.counters.TCPHystartTrainDetect is not measured"),
        (&alone, 1, "server.counters.TCPHystartTrainDetect is expected, and measured on no stage"),
    ] {
        let file = Written::new(&format!("absent{status}"), text);
        let output = lab(&["run", file.name(), "--on", "simulator", "--json"]);
        let printed = said(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{printed}");
        assert!(printed.contains(says), "{printed}");
    }
}

#[test]
fn an_expected_rule_that_the_simulator_cannot_decide_is_unknown_and_not_passed_over() {
    let arguments = ["run", "syn-into-time-wait", "custom-time-wait-length", "--on", "simulator"];
    let page = lab(&[&arguments[..], &["--color", "never"]].concat());
    let (page, status) = (said(&page.stdout), page.status.code());
    assert_eq!(status, Some(0), "{page}");
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "unknown: client-without-pool at client: it reads packets, and so many are not followed in virtual time",
        "no finding of the rules that can be decided",
        "probes as expected",
    ] {
        assert!(words.contains(line), "{line}: {page}");
    }
    let line = lab(&["run", "custom-time-wait-length", "--on", "simulator", "--json"]);
    let line = said(&line.stdout);
    let line: serde_json::Value = serde_json::from_str(line.lines().next().expect("a line")).expect("JSON");
    let unknown = line["undecided"].as_array().expect("a list");
    assert_eq!(unknown.len(), 1, "{line}");
    assert_eq!((&unknown[0]["host"], &unknown[0]["rule"]), (&"client".into(), &"client-without-pool".into()));
    assert!(unknown[0]["because"].as_str().is_some_and(|because| because.contains("packets")), "{line}");
}

/// `fix` is either tried against what a scenario shows, or the scenario says why it changes nothing there.
#[test]
fn a_rule_that_a_scenario_expects_has_a_fix_or_a_reason_why_not() {
    let known: BTreeSet<&str> = diagnose::rules().iter().map(diagnose::Rule::name).collect();
    for name in world::collection::names() {
        let scenario = world::collection::scenario(name).expect("it is there").expect("it can be read");
        let fixes = scenario.variants.iter().flat_map(|variant| &variant.fixes);
        let tried: BTreeSet<&str> = fixes.map(|fix| fix.finding.as_str()).collect();
        let reasons: BTreeSet<&str> = scenario.unfixed.keys().map(String::as_str).collect();
        let expected =
            scenario.variants.iter().flat_map(|variant| variant.expect.findings.values().flatten());
        let expected: BTreeSet<&str> = expected.map(String::as_str).collect();
        let silent: Vec<_> =
            expected.iter().filter(|rule| !tried.contains(*rule) && !reasons.contains(*rule)).collect();
        assert!(silent.is_empty(), "{name}: neither a [[variant.fix]] nor a line of [unfixed]: {silent:?}");
        let needless: Vec<_> = reasons.difference(&expected).collect();
        assert!(needless.is_empty(), "{name}: [unfixed] has what no variant expects: {needless:?}");
        let unknown: Vec<_> = tried.union(&reasons).filter(|rule| !known.contains(*rule)).collect();
        assert!(unknown.is_empty(), "{name}: no rules: {unknown:?}");
    }
}

#[test]
fn the_documentation_lists_what_fix_is_tried_against() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenarios.md");
    let page = std::fs::read_to_string(page).expect("it is there");
    let row = |line: &str| {
        line.strip_prefix("| `").and_then(|line| line.split_once('`')).map(|(name, _)| name.to_owned())
    };
    for name in world::collection::names() {
        let scenario = world::collection::scenario(name).expect("it is there").expect("it can be read");
        for fix in scenario.variants.iter().flat_map(|variant| &variant.fixes) {
            let words = [Some(&fix.finding), fix.remedy.as_ref()];
            let mut rows = page.lines().filter(|line| row(line).as_deref() == Some(name));
            let listed =
                rows.any(|row| words.iter().flatten().all(|word| row.contains(&format!("`{word}`"))));
            assert!(listed, "{name}: {words:?} is not in the table of docs/scenarios.md");
        }
    }
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
    let rule = "[[variant]]\nname = \"v\"\n[variant.expect.findings]\na = [\"close-wait-leek\"]\n";
    let rule = format!("name = \"x\"\ntitle = \"t\"\n[[host]]\nname = \"a\"\n{rule}");
    let rule = Written::new("rule", &rule);
    for (arguments, thing) in [
        (
            &["run", rule.name()][..],
            "names the rule `close-wait-leek`, which is none; `lastack explain` lists",
        ),
        (
            &["run", "healthy", "--on", "simulator", "--keep", "."],
            "--keep is for what the kernel's hosts leave",
        ),
        (&["show", "port-exhaustoin"][..], "did you mean `port-exhaustion`?"),
        (&["run", "no-such-thing"], "`lastack lab list`"),
        (&["run", "./no-such.toml"], "./no-such.toml: no such file"),
        (&["run", "./"], "./: is a directory"),
        (&["run", "/proc/self/exe"], "/proc/self/exe: larger than 1 MiB"),
        (&["run", "windows-ports", "--on", "kernel"], "does not run on that stage: write --on simulator"),
        (&["run", "port-exhaustion", "--remedy", "poll"], "it has default, ipv6, pool"),
        (&["run", "port-exhaustion", "--repair", "--remedy", "pool"], "has no [[variant.fix]]"),
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
