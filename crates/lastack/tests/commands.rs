//! The commands as people and scripts type them: what they print, and how they end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program in an environment without a terminal and without wishes.
fn lastack<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"] {
        command.env_remove(variable);
    }
    command
}

fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    lastack(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A fixture of the rules: the first of its kind.
fn fixture(folder: &str, prefix: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diagnose/fixtures").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .collect();
    files.sort();
    files.into_iter().next().unwrap()
}

fn leaking() -> PathBuf {
    fixture("close-wait-leak", "fires-")
}

fn healthy() -> PathBuf {
    fixture("healthy", "")
}

/// Ends with 2, prints nothing, and says in one line what is wrong with which thing.
#[track_caller]
fn assert_refused(output: &Output, thing: &str) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("lastack: ") && said.contains(thing), "{said}");
    said.to_owned()
}

#[test]
fn help_of_every_command() {
    for command in [
        "",
        "doctor",
        "collect",
        "read",
        "fix",
        "lint",
        "lab",
        "lab list",
        "lab show",
        "lab run",
        "whatif",
        "explain",
        "completions",
        "man",
    ] {
        let output = run(command.split_whitespace().chain(["--help"]));
        assert_eq!(output.status.code(), Some(0), "{command}");
        let name = if command.is_empty() { "lastack".to_owned() } else { command.replace(' ', "-") };
        insta::assert_snapshot!(format!("help-{name}"), text(&output.stdout));
    }
}

#[test]
fn the_exit_code_says_whether_something_is_wrong() {
    let code = |file: &Path| run([OsStr::new("doctor"), "--case".as_ref(), file.as_ref()]).status.code();
    assert_eq!(code(&healthy()), Some(0));
    assert_eq!(code(&leaking()), Some(1));
    assert_eq!(code(Path::new("/nonexistent.case")), Some(2));
}

#[test]
fn a_mistake_is_one_line_on_stderr() {
    for (arguments, thing) in [
        (&["doctor", "--netns", "no-such-namespace"][..], "no-such-namespace"),
        (&["doctor", "--netns", "pid:4194999", "--for", "0"], "4194999"),
        (&["doctor", "--netns", "/etc/passwd", "--for", "0"], "/etc/passwd"),
        (&["doctor", "--netns", "a", "--all-netns"], "--all-netns"),
        (&["doctor", "--case", "x.case", "--all-netns"], "--all-netns"),
        (&["doctor", "--case", "x.case", "--save", "y.case"], "--save"),
        (&["doctor", "--case", "x.case", "--for", "1s"], "--for"),
        (&["doctor", "--case", "/nonexistent/x.case"], "/nonexistent/x.case: no such file"),
        (&["doctor", "--case", "/etc"], "/etc: is a directory"),
        (&["doctor", "--case", "/dev/zero"], "/dev/zero: not a lastack case"),
        (&["doctor", "--case", "/dev/null"], "/dev/null: not a lastack case"),
        (&["doctor", "--from", "/nonexistent/ss.txt"], "/nonexistent/ss.txt: no such file"),
        (&["doctor", "--from", "/dev/null"], "/dev/null: it is empty"),
        (&["doctor", "--from", "/etc/passwd"], "/etc/passwd: line 1: "),
        (&["doctor", "--from", "x.txt", "--for", "1s"], "--for"),
        (&["doctor", "--save", "/etc"], "/etc: is a directory"),
        (&["doctor", "--save", "/nonexistent/x.case"], "/nonexistent/x.case: there is no directory"),
        (&["doctor", "--save", "/dev/null"], "/dev/null"),
        (&["doctor", "--save", "-"], "--save -"),
        (&["doctor", "--save", "x/"], "x/"),
        (&["collect", "--redact", "ports"], "ports"),
        (&["collect", "--save", "-"], "--save -"),
        (
            &["collect", "--case", "/nonexistent/x.case", "--save", "/tmp/lastack-never.case"],
            "/nonexistent/x.case",
        ),
        (&["collect", "--case", "x.case", "--for", "1s"], "--for"),
        (&["doctor", "--for", "5"], "5s"),
        (&["doctor", "--for", "soon"], "soon"),
        (&["doctor", "--for", "2h"], "1h"),
        (&["doctor", "--for", "-1s"], "-1"),
        (&["doctor", "--color", "red"], "red"),
        (&["doctor", "--nets", "x"], "--netns"),
        (&["doctor", "--for", "0", "--nginx", "/nonexistent/nginx.conf"], "/nonexistent/nginx.conf"),
        (&["doctor", "--for", "0", "--haproxy", "/dev/zero"], "/dev/zero"),
        (&["lint"], "FILE"),
        (&["lint", "/nonexistent/nginx.conf"], "/nonexistent/nginx.conf"),
        (&["lint", "/etc"], "/etc: is a directory"),
        (&["lint", "/dev/zero"], "/dev/zero: not a regular file"),
        (&["lint", "/etc/hostname"], "/etc/hostname: neither nginx"),
        (&["explain", "no-such-rule"], "no-such-rule"),
        (&["explain", "close-wait-leek"], "close-wait-leak"),
        (&["completions", "tcsh"], "tcsh"),
        (&["completions"], "SHELL"),
        (&["fix", "--apply", "--case", "x.case"], "--case"),
        (&["fix", "--rollback", "last", "--plan", "x"], "--plan"),
        (&["fix", "--yes"], "--apply"),
        (&["fix", "--finding", "close-wait-leek"], "close-wait-leak"),
        (
            &["fix", "--plan", "/nonexistent/plan", "--case", "/nonexistent.case"],
            "/nonexistent.case: no such file",
        ),
        (&["fix-worker"], "fix --apply"),
        (&["docter"], "doctor"),
        (&[], "lastack doctor"),
    ] {
        assert_refused(&run(arguments), thing);
    }
}

#[test]
fn pasted_text_is_told_apart_and_may_come_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("sysctl.txt");
    std::fs::write(&settings, "net.ipv4.ip_local_port_range = 40000 40999\nkernel.hostname = web1\n")
        .unwrap();
    let mut child = lastack(["doctor", "--json", "--from", "-"])
        .arg(&settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let rows: Vec<String> = (40_000..40_990)
        .map(|port| format!("TIME-WAIT 0 0 10.0.0.1:{port} 10.0.0.2:80 timer:(timewait,30sec,0) ino:0 sk:1"))
        .collect();
    let table = format!("web1:~ # ss -tanpoe\n{}\n", rows.join("\n"));
    child.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["host"]["name"], "web1");
    let budget = &report["budgets"][0];
    assert_eq!((&budget["destination"], &budget["time_wait"]), (&"10.0.0.2:80".into(), &990.into()));
    assert_eq!(
        (&budget["ports"], &report["findings"][0]["rule"]),
        (&1000.into(), &"ephemeral-ports-exhausted".into())
    );

    let other = folder.path().join("other.txt");
    std::fs::write(&other, "$ hostname\nweb2\n$ ss -tan\nESTAB 0 0 10.0.0.1:1 10.0.0.2:2\n").unwrap();
    let said = assert_refused(
        &run(["doctor", "--from"].map(OsStr::new).into_iter().chain([settings.as_ref(), other.as_ref()])),
        "other.txt: line 2",
    );
    assert!(said.contains("host web2") && said.contains("host web1"), "{said}");
    let case = run([OsStr::new("doctor"), "--from".as_ref(), leaking().as_ref()]);
    assert!(assert_refused(&case, "fires-").contains("line 1"));
}

#[test]
fn a_file_that_is_no_case_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let open = |path: &Path| run([OsStr::new("doctor"), "--case".as_ref(), path.as_ref()]);
    let case = evidence::Case::from_bytes(&std::fs::read(leaking()).unwrap()).unwrap().to_bytes();

    let said = assert_refused(&open(&file("newer.case", br#"{"schema":"lastack.case/9"}"#)), "newer.case");
    assert!(said.contains("use a newer lastack"), "{said}");
    let said = assert_refused(&open(&file("cut.case", &case[..case.len() / 2])), "cut.case");
    assert!(said.contains("truncated"), "{said}");
    let said = assert_refused(&open(&file("other.json", b"{\"a\": 1}")), "other.json");
    assert!(said.contains("not a lastack case"), "{said}");
    let said = assert_refused(&open(&file("odd\nname\u{1b}[2J.case", b"x")), "odd\\nname\\u{1b}[2J.case");
    assert!(said.contains("not a lastack case"), "{said}");

    let large = std::fs::File::create(folder.path().join("large.case")).unwrap();
    large.set_len(evidence::MAX_CASE_BYTES + 1).unwrap();
    let said = assert_refused(&open(&folder.path().join("large.case")), "large.case");
    assert!(said.contains("larger than"), "{said}");
}

/// A pipe whose reader has gone before the first byte.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let leaking = leaking();
    for (arguments, code) in [
        (vec![OsStr::new("doctor"), "--case".as_ref(), leaking.as_ref()], 1),
        (vec![OsStr::new("doctor"), "--case".as_ref(), leaking.as_ref(), "--json".as_ref()], 1),
        (vec!["explain".as_ref()], 0),
        (vec!["completions".as_ref(), "bash".as_ref()], 0),
        (vec!["man".as_ref()], 0),
        (vec!["--help".as_ref()], 0),
    ] {
        let output = lastack(&arguments).stdout(closed_pipe()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn a_disk_that_is_full_is_a_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = lastack(["explain"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("standard output"), "{}", text(&output.stderr));
}

#[test]
fn a_saved_case_gives_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("here.case");
    let arguments = |options: &[&str], file: &Path| -> Vec<std::ffi::OsString> {
        ["doctor"].iter().chain(options).map(Into::into).chain([file.into()]).collect()
    };
    let live = run(arguments(&["--for", "0", "--json", "--save"], &file));
    assert!(matches!(live.status.code(), Some(0 | 1)), "{}", text(&live.stderr));
    assert!(live.stderr.is_empty(), "{}", text(&live.stderr));
    let again = run(arguments(&["--json", "--case"], &file));
    assert_eq!(again.status.code(), live.status.code());
    assert_eq!(text(&again.stdout), text(&live.stdout));
    assert_eq!(text(&again.stdout).lines().count(), 1);
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap()["schema"], "lastack.report/1");

    // From a pipe as from the file, unpacked as packed.
    let case = evidence::Case::from_bytes(&std::fs::read(&file).unwrap()).unwrap();
    let mut child = lastack(["doctor", "--json", "--case", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&case).unwrap()).unwrap();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), text(&live.stdout));

    // The page, too; and nothing but the case is left in the folder.
    let page = |options: &[&str]| run(arguments(options, &file)).stdout;
    assert_eq!(page(&["--case"]), page(&["--case"]));
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["here.case"]);
}

#[test]
fn saving_replaces_a_file_and_a_link_but_follows_none() {
    let folder = tempfile::tempdir().unwrap();
    let (old, link) = (folder.path().join("old"), folder.path().join("link"));
    std::fs::write(&old, "precious").unwrap();
    std::os::unix::fs::symlink(&old, &link).unwrap();
    for target in [&link, &link] {
        let output =
            run([OsStr::new("doctor"), "--for".as_ref(), "0".as_ref(), "--save".as_ref(), target.as_ref()]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
        assert!(evidence::Case::from_bytes(&std::fs::read(target).unwrap()).is_ok());
    }
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "precious");
    assert!(!link.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn colors_come_when_they_are_wanted() {
    let leaking = leaking();
    let colored = |options: &[&str], variables: &[(&str, &str)]| {
        let mut command = lastack(options);
        command.envs(variables.iter().copied()).arg("--case").arg(&leaking);
        command.output().unwrap().stdout.contains(&0x1b)
    };
    assert!(!colored(&["doctor"], &[]));
    assert!(!colored(&["doctor"], &[("TERM", "xterm-256color")]));
    assert!(colored(&["doctor"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&["doctor"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(colored(&["doctor", "--color", "always"], &[("NO_COLOR", "1")]));
    assert!(!colored(&["doctor", "--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&["doctor", "--color", "always", "--json"], &[]));
}

#[test]
fn columns_decide_where_there_is_no_terminal() {
    let widest = |columns: &str| {
        let output = lastack(["doctor", "--case"]).arg(healthy()).env("COLUMNS", columns).output().unwrap();
        text(&output.stdout).lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest("60") <= 60);
    assert!(widest("100") <= 100 && widest("100") > 60);
    // Nonsense is not obeyed, and does no harm.
    for columns in ["", "x", "-1", "0", "1", "99999999999999999999"] {
        assert!(widest(columns) > 0);
    }
}

#[test]
fn every_rule_is_listed_and_explained() {
    let listed = run(["explain"]);
    for rule in diagnose::rules() {
        assert!(text(&listed.stdout).contains(rule.name()), "{}", rule.name());
        let output = run(["explain", rule.name()]);
        assert_eq!(output.status.code(), Some(0), "{}", rule.name());
        let page = text(&output.stdout);
        assert!(page.starts_with(rule.name()) && page.contains("What to do"), "{page}");
        // Code is kept as it is.
        for line in page.lines().filter(|line| !line.starts_with("    ")) {
            assert!(line.chars().count() <= 100, "{}: {line}", rule.name());
        }
    }
}

#[test]
fn every_command_has_json() {
    for arguments in [
        &["explain", "--json"][..],
        &["explain", "close-wait-leak", "--json"],
        &["completions", "zsh", "--json"],
        &["man", "--json"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            value["schema"].as_str().is_some_and(|schema| schema.starts_with("lastack.")),
            "{arguments:?}"
        );
    }
    let rules: Value = serde_json::from_slice(&run(["explain", "--json"]).stdout).unwrap();
    let names: Vec<&str> =
        rules["rules"].as_array().unwrap().iter().map(|line| line["rule"].as_str().unwrap()).collect();
    assert_eq!(names, diagnose::rules().iter().map(diagnose::Rule::name).collect::<Vec<_>>());
}

#[test]
fn completions_know_the_commands_and_the_rules() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = text(&output.stdout);
        assert!(script.contains("doctor") && script.contains("all-netns"), "{shell}");
        // The generators for the others do not complete values that stand alone.
        if matches!(shell, "bash" | "zsh") {
            assert!(script.contains("close-wait-leak"), "{shell}");
        }
    }
}

/// Requests that man(7) and the generator's preamble use; anything else would show up in the page as text
/// that is missing.
const REQUESTS: [&str; 12] =
    [".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".IP", ".ie", ".el", ".br", ".nf"];

#[test]
fn the_manual_page_is_made_of_what_man_understands() {
    let output = run(["man"]);
    assert_eq!(output.status.code(), Some(0));
    let page = text(&output.stdout);
    for line in page.lines().filter(|line| line.starts_with('.')) {
        let request = line.split_ascii_whitespace().next().unwrap();
        assert!(REQUESTS.contains(&request), "{line}");
    }
    for part in
        [".TH lastack 1", ".SH NAME", "LASTACK DOCTOR", "all\\-netns", ".SH \"EXIT STATUS\"", ".SH EXAMPLES"]
    {
        assert!(page.contains(part), "{part}");
    }
}

/// Root runs it as nobody, from a place that nobody can reach; anyone else runs it as they are.
#[test]
fn without_privilege_it_runs_and_says_what_it_could_not_see() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("lastack");
    std::fs::copy(env!("CARGO_BIN_EXE_lastack"), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).env_remove("COLUMNS").stdin(Stdio::null()).current_dir("/");
        if rustix::process::geteuid().is_root() {
            // As root, uid() drops the supplementary groups as well.
            command.uid(65_534).gid(65_534);
        }
        command.output().unwrap()
    };
    let output = run(&["doctor", "--for", "0", "--json"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let gaps = report["coverage"].as_array().unwrap();
    // /proc/slabinfo is for root alone, everywhere.
    assert!(gaps.iter().any(|gap| gap["unseen"] == "slabs"), "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap["how_to_see"].as_str().is_some_and(|how| !how.is_empty())), "{gaps:?}");

    let page = run(&["doctor", "--for", "0"]);
    let page = text(&page.stdout);
    let (_, end) = page.split_once("\nWhat this look could not see\n").unwrap();
    assert!(end.lines().all(|line| line.starts_with("  ")), "the page goes on after its end: {page}");
}
