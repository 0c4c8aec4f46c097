//! The stage: what it runs, and that nothing of it is left, however it ends.

use super::harness::{lastack, run, until};
use namespaced::{in_namespace, skip};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A stage with a router, translation, a fault and settings, which goes on for a second and a half.
const SCENARIO: &str = r#"
name = "left-behind"
title = "Everything that could be left behind"
settle_ms = 300
limit_ms = 5000
[[host]]
name = "client"
networks = ["inside"]
settings = { "net.ipv4.tcp_fin_timeout" = 7 }
[[host]]
name = "router"
networks = ["inside", "outside"]
nat = [{ kind = "snat", out = "outside", ports = [40001, 40500] }]
[[host]]
name = "server"
networks = ["outside"]
[[server]]
name = "app"
host = "server"
port = 8080
close = { when = "requests" }
[[client]]
name = "load"
host = "client"
to = ["app"]
connections = 60
per_second = 50.0
close = { when = "peer" }
[[fault]]
host = "server"
drop = "resets"
for_ms = 500
[[step]]
at_ms = 200
host = "router"
set = { "net.ipv4.tcp_fin_timeout" = 9 }
# What fires says nothing here.
[[variant]]
name = "as-is"
[variant.expect.possible]
client = ["client-without-pool", "upstream-keepalive-unpooled"]
router = ["client-without-pool", "upstream-keepalive-unpooled"]
server = ["time-wait-at-server"]
"#;

/// What no host can do.
const WRONG: &str = "
[[step]]
at_ms = 0
host = \"server\"
set = { \"net.ipv4.no_such_setting\" = 1 }
";

/// How /proc/net/tcp writes TIME-WAIT (include/net/tcp_states.h).
const IN_TIME_WAIT: &str = "06";

/// Every process of a run has this in its environment.
const MARK: &str = "LASTACK_LAB_TEST_MARK";

/// One `lab run` in a folder of its own, and what could be left of it.
struct Run {
    folder: tempfile::TempDir,
    mark: String,
    before: Traces,
}

/// What a run could leave on the machine or in this network namespace.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    links: String,
    rules: String,
    settings: Vec<String>,
    mounts: String,
    names: Vec<String>,
}

impl Traces {
    fn now() -> Self {
        let list = |folder: &str| -> Vec<String> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let settings = ["tcp_fin_timeout", "ip_forward", "conf/all/rp_filter"];
        let setting = |name| {
            std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).expect("a setting that exists")
        };
        let names = list("/dev/shm").into_iter().chain(list("/mnt"));
        Self {
            links: run("ip", &["-o", "link"]),
            rules: run("nft", &["list", "ruleset"]),
            settings: settings.into_iter().map(setting).collect(),
            mounts: std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted"),
            names: names.filter(|name| name.contains(".pcap") || name.contains(".conf")).collect(),
        }
    }
}

impl Run {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Others than its owner are to read it, too.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let failing = SCENARIO.replace("[[variant]]", &format!("{WRONG}[[variant]]"));
        // It would go on for longer than anybody waits for its end here.
        let long = SCENARIO.replace("settle_ms = 300", "settle_ms = 120000");
        for (file, text) in [("well.toml", SCENARIO), ("fails.toml", &failing), ("long.toml", &long)] {
            std::fs::write(folder.path().join(file), text).expect("is written");
        }
        std::fs::create_dir(folder.path().join("tmp")).expect("is made");
        std::fs::set_permissions(folder.path().join("tmp"), std::fs::Permissions::from_mode(0o777))
            .expect("its mode");
        Self { folder, mark: format!("{name}-{}", std::process::id()), before: Traces::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &Path, file: &str) -> Command {
        self.marked(Command::new(program), file)
    }

    fn marked(&self, mut command: Command, file: &str) -> Command {
        command
            .args(["lab", "run", "--on", "kernel", "--json"])
            .arg(self.path(file))
            .env(MARK, &self.mark)
            .env("TMPDIR", self.path("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, file: &str) -> Child {
        self.command(Path::new(env!("CARGO_BIN_EXE_lastack")), file).spawn().expect("lastack runs")
    }

    /// The processes of this run.
    fn processes(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.mark);
        let all = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let of_run = pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes())
        });
        of_run.collect()
    }

    /// The process whose command line has these words.
    fn process(&self, words: &str) -> Option<u32> {
        self.processes().into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(words)
        })
    }

    /// True once its server has closed connections, which wait there: by then all captures run.
    fn load_runs(&self) -> bool {
        let server = self.process("lab host server");
        // A table of sockets is that of the network namespace of the process it is read by.
        let table = server.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok());
        table.is_some_and(|table| {
            table.lines().any(|line| line.split_whitespace().nth(3) == Some(IN_TIME_WAIT))
        })
    }

    /// The namespaces that its processes are in and this test is not.
    fn namespaces(&self) -> BTreeSet<PathBuf> {
        let own = namespaces_of("self");
        let all: BTreeSet<PathBuf> =
            self.processes().iter().flat_map(|pid| namespaces_of(&pid.to_string())).collect();
        all.difference(&own).cloned().collect()
    }

    /// Nothing of it is there any more.
    fn assert_nothing_is_left(&self, namespaces: &BTreeSet<PathBuf>) {
        until("the last process of the stage ends", || self.processes().is_empty());
        // A process loses its memory, and with it what it is known by, before its namespaces.
        until("the last namespace of the stage goes", || all_namespaces().is_disjoint(namespaces));
        assert_eq!(Traces::now(), self.before);
        let files: Vec<_> =
            std::fs::read_dir(self.path("tmp")).expect("is there").flatten().map(|one| one.path()).collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

/// The namespaces that a process is in: `net:[4026532281]`.
fn namespaces_of(process: &str) -> BTreeSet<PathBuf> {
    let link = |kind| std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
    ["net", "mnt", "pid", "user"].into_iter().filter_map(link).collect()
}

/// All that any process is in. One that is only mounted would show among the mounts.
fn all_namespaces() -> BTreeSet<PathBuf> {
    let all = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let names = all.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.parse::<u32>().is_ok()).flat_map(|pid| namespaces_of(&pid)).collect()
}

fn kill(signal: &str, pid: u32) {
    run("kill", &[&format!("-{signal}"), &pid.to_string()]);
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn nothing_is_left_of_a_stage_that_ended_well_or_failed() {
    in_namespace("lab::nothing_is_left_of_a_stage_that_ended_well_or_failed", || {
        let run = Run::new("ended");
        let mut child = run.start("well.toml");
        // A stage's own three, and a network for each of three hosts.
        until("all hosts of the stage run", || run.namespaces().len() >= 6);
        let namespaces = run.namespaces();
        assert!(child.wait().unwrap().success());
        run.assert_nothing_is_left(&namespaces);

        let failed = run.command(Path::new(env!("CARGO_BIN_EXE_lastack")), "fails.toml").output().unwrap();
        let (printed, errors) = said(&failed);
        assert_eq!(failed.status.code(), Some(1), "{errors}");
        let line: Value = serde_json::from_str(&printed).expect("JSON");
        let wrong = line["wrong"][0].as_str().unwrap();
        let starts = wrong.starts_with("kernel: it came to no end: ");
        assert!(starts && wrong.contains("net.ipv4.no_such_setting"), "{wrong}");
        run.assert_nothing_is_left(&BTreeSet::new());
    });
}

#[test]
fn what_is_kept_is_where_it_was_asked_for_and_nothing_else_is_removed() {
    in_namespace("lab::what_is_kept_is_where_it_was_asked_for_and_nothing_else_is_removed", || {
        // The first folder over which a stage would mount its own files.
        let keep = tempfile::Builder::new().prefix("lastack-keep").tempdir_in("/dev/shm").unwrap();
        let run = Run::new("kept");
        let kept = || {
            let mut command = run.command(Path::new(env!("CARGO_BIN_EXE_lastack")), "well.toml");
            command.arg("--keep").arg(keep.path()).output().unwrap()
        };
        for _ in 0..2 {
            let output = kept();
            assert!(output.status.success(), "{output:?}");
            let (lines, _) = said(&output);
            let line: Value = serde_json::from_str(&lines).expect("JSON");
            for host in ["client", "router", "server"] {
                let case = keep.path().join("left-behind/as-is").join(host).join("host.case");
                let mut doctor = Command::new(env!("CARGO_BIN_EXE_lastack"));
                let report = doctor.args(["doctor", "--json", "--case"]).arg(&case).output().unwrap();
                let report: Value = serde_json::from_slice(&report.stdout).expect("JSON");
                let rules = |list: &Value| -> BTreeSet<String> {
                    let rules = list.as_array().into_iter().flatten();
                    rules.filter_map(|rule| rule.as_str().map(str::to_owned)).collect()
                };
                // No more and no fewer than were judged, here or as what is seen of the other side.
                let judged =
                    ["findings_by_host", "findings_of_peers_by_host"].map(|of| rules(&line[of][host]));
                let found = report["findings"].as_array().expect("a list").iter();
                let found: BTreeSet<String> =
                    found.filter_map(|finding| finding["rule"].as_str().map(str::to_owned)).collect();
                assert_eq!(found, &judged[0] | &judged[1], "{host}: {line}");
            }
        }
        let strange = keep.path().join("left-behind/as-is/server/lib.rs");
        std::fs::write(&strange, "mine").unwrap();
        let output = kept();
        let (_, errors) = said(&output);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("lib.rs was not left by `lab run`"), "{errors}");
        assert_eq!(std::fs::read_to_string(strange).unwrap(), "mine");
    });
}

#[test]
fn of_several_runs_the_medians_are_told_and_how_far_they_lie_apart() {
    in_namespace("lab::of_several_runs_the_medians_are_told_and_how_far_they_lie_apart", || {
        let run = Run::new("repeated");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
        command.args(["lab", "run", "--repeat", "3", "--on", "both", "--json"]).arg(run.path("well.toml"));
        let (printed, errors) = said(&command.output().unwrap());
        let line: serde_json::Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{errors}"));
        assert_eq!(line["measured"]["load.ok"], 60.0, "{printed}");
        let compared = line["compared"].as_array().unwrap();
        let ok = compared.iter().find(|one| one["name"] == "load.ok").unwrap();
        assert_eq!((&ok["runs"], &ok["within"]), (&serde_json::json!([60.0, 60.0]), &true.into()), "{ok}");
        assert!(compared.iter().all(|one| one["runs"][0].as_f64() <= one["measured"].as_f64()), "{printed}");
        assert!(compared.iter().all(|one| one["measured"].as_f64() <= one["runs"][1].as_f64()), "{printed}");
        run.assert_nothing_is_left(&BTreeSet::new());
    });
}

#[test]
fn a_probe_that_this_kernel_answers_otherwise_is_said_and_is_exit_status_1() {
    const NAME: &str = "lab::a_probe_that_this_kernel_answers_otherwise_is_said_and_is_exit_status_1";
    if std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_err() {
        skip(NAME, "/dev/net/tun cannot be opened");
        return;
    }
    in_namespace(NAME, || {
        let run = Run::new("probe");
        let (text, _) = said(&lastack(&["lab", "show", "syn-into-fin-wait-2", "--file"]));
        let wrong = text.replacen("reply = \"RST,ACK\"", "reply = \"nothing\"", 1);
        let wrong = wrong.replacen(
            "after = \"TIME-WAIT\"\nrestarts = true",
            "after = \"CLOSED\"\nrestarts = false",
            1,
        );
        std::fs::write(run.path("probe.toml"), wrong).unwrap();
        let output = run.command(Path::new(env!("CARGO_BIN_EXE_lastack")), "probe.toml").output().unwrap();
        let (printed, errors) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{printed}{errors}");
        let line: serde_json::Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
        let expected = [
            "kernel: syn-in-window: reply RST,ACK, expected nothing",
            "kernel: fin: afterwards TIME-WAIT, expected CLOSED; timer begun again, expected not begun again",
        ];
        assert_eq!(line["wrong"], serde_json::json!(expected), "{printed}");
        run.assert_nothing_is_left(&BTreeSet::new());
    });
}

#[test]
fn of_a_run_that_comes_to_no_end_it_is_said_and_the_next_one_runs() {
    const NAME: &str = "lab::of_a_run_that_comes_to_no_end_it_is_said_and_the_next_one_runs";
    if std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_err() {
        skip(NAME, "/dev/net/tun cannot be opened");
        return;
    }
    in_namespace(NAME, || {
        let run = Run::new("no-end");
        let text = "name = \"no-end\"\ntitle = \"t\"\n[[host]]\nname = \"prober\"\n[[host]]\nname = \"server\"\n\
                    [[server]]\nname = \"app\"\nhost = \"server\"\nport = 80\n\
                    close = { when = \"requests\", after_ms = 60000 }\n\
                    [[probe]]\nname = \"row\"\nhost = \"prober\"\nto = \"app\"\ninto = \"TIME-WAIT\"\n\
                    send = { flags = \"SYN\", seq = 1 }\nreply = \"SYN,ACK\"\nafter = \"SYN-RECEIVED\"\n\
                    [[variant]]\nname = \"waits\"\n\
                    [[variant]]\nname = \"closes\"\n[variant.change]\n\
                    \"server.app.close\" = { when = \"requests\", after_ms = 0 }\n";
        std::fs::write(run.path("no-end.toml"), text).unwrap();
        let output = run.command(Path::new(env!("CARGO_BIN_EXE_lastack")), "no-end.toml").output().unwrap();
        let (printed, errors) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{printed}{errors}");
        let lines: Vec<Value> =
            printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let wrong = lines[0]["wrong"][0].as_str().unwrap();
        assert!(wrong.starts_with("kernel: it came to no end: host prober: "), "{wrong}");
        assert_eq!((lines.len(), lines[1]["passed"].as_bool()), (2, Some(true)), "{printed}");
        run.assert_nothing_is_left(&BTreeSet::new());
    });
}

#[test]
fn of_a_stage_that_dies_it_is_said_and_the_next_variant_runs() {
    in_namespace("lab::of_a_stage_that_dies_it_is_said_and_the_next_variant_runs", || {
        let run = Run::new("dies");
        let long = "[[variant]]\nname = \"long\"\nchange = { settle_ms = 120000 }\n[[variant]]";
        std::fs::write(run.path("dies.toml"), SCENARIO.replace("[[variant]]", long)).unwrap();
        let child = run.start("dies.toml");
        until("the load runs", || run.load_runs());
        let namespaces = run.namespaces();
        kill("KILL", run.process("lab stage").expect("it waits for its hosts"));
        let output = child.wait_with_output().unwrap();
        let (printed, errors) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{printed}{errors}");
        let lines: Vec<Value> =
            printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let wrong = lines[0]["wrong"][0].as_str().unwrap();
        assert!(wrong.starts_with("kernel: it came to no end: the stage ended early"), "{wrong}");
        assert_eq!((lines.len(), lines[1]["passed"].as_bool()), (2, Some(true)), "{printed}");
        run.assert_nothing_is_left(&namespaces);
    });
}

#[test]
fn nothing_is_left_of_a_stage_that_was_killed_at_any_moment() {
    in_namespace("lab::nothing_is_left_of_a_stage_that_was_killed_at_any_moment", || {
        // From before its namespaces are made to where all clients are done.
        for milliseconds in [0_u64, 2, 5, 10, 20, 40, 70, 110, 170, 260, 400, 700, 1_100, 1_600, 2_200] {
            let run = Run::new(&format!("killed{milliseconds}"));
            let mut child = run.start("long.toml");
            std::thread::sleep(Duration::from_millis(milliseconds));
            let namespaces = run.namespaces();
            kill("KILL", child.id());
            assert_eq!(child.wait().unwrap().signal(), Some(9), "it still ran after {milliseconds} ms");
            run.assert_nothing_is_left(&namespaces);
        }
    });
}

#[test]
fn nothing_is_left_whichever_process_of_a_stage_is_killed_or_interrupted() {
    in_namespace("lab::nothing_is_left_whichever_process_of_a_stage_is_killed_or_interrupted", || {
        for (signal, words) in [
            ("INT", "lab run"),
            ("TERM", "lab run"),
            ("KILL", "--kill-child"),
            ("KILL", "lab host client"),
            ("KILL", "tcpdump -i outside"),
        ] {
            let run = Run::new(&format!("{signal}-{}", words.replace([' ', '-'], "")));
            let child = run.start(if words.starts_with("tcpdump") { "well.toml" } else { "long.toml" });
            until("the load runs", || run.load_runs());
            let namespaces = run.namespaces();
            kill(signal, run.process(words).unwrap());
            let output = child.wait_with_output().unwrap();
            assert!(words.starts_with("tcpdump") || !output.status.success(), "{words}: {output:?}");
            if words.starts_with("tcpdump") {
                assert!(said(&output).0.contains("the capture ended early"), "{output:?}");
            }
            run.assert_nothing_is_left(&namespaces);
        }
    });
}

#[test]
fn a_stage_that_runs_out_of_files_comes_to_its_end() {
    in_namespace("lab::a_stage_that_runs_out_of_files_comes_to_its_end", || {
        let run = Run::new("few-files");
        let leak = SCENARIO.replace("close = { when = \"requests\" }", "close = { when = \"never\" }");
        let leak = leak.replace("close = { when = \"peer\" }", "close = { when = \"requests\" }");
        // A fault is nft's, which would need files, too.
        let leak = leak.replace("[[fault]]\nhost = \"server\"\ndrop = \"resets\"\nfor_ms = 500\n", "");
        std::fs::write(run.path("leak.toml"), leak).unwrap();
        // The server cannot take all connections, and what it cannot take stays in its queue.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 20 && exec timeout 60 \"$0\" \"$@\"", env!("CARGO_BIN_EXE_lastack")]);
        let output = run.marked(command, "leak.toml").output().unwrap();
        // 124 is `timeout`'s own.
        assert_ne!(output.status.code(), Some(124), "{output:?}");
        let (printed, _) = said(&output);
        assert!(!printed.contains("\"load.ok\":60"), "there were files enough: {printed}");
        run.assert_nothing_is_left(&BTreeSet::new());
    });
}

#[test]
fn a_user_without_privilege_runs_a_stage_where_user_namespaces_are_allowed() {
    const NAME: &str = "lab::a_user_without_privilege_runs_a_stage_where_user_namespaces_are_allowed";
    // Inside a namespace that `unshare -r` made there is nobody else to become.
    if !rustix::process::geteuid().is_root() {
        skip(NAME, "not root: the other tests run without privilege already");
        return;
    }
    in_namespace(NAME, || {
        let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let allowed =
            Command::new("setpriv").args(nobody).args(["unshare", "--user", "true"]).output().unwrap();
        if !allowed.status.success() {
            skip(NAME, "unprivileged user namespaces are not allowed");
            return;
        }
        let run = Run::new("nobody");
        // Where this test's program lies, others may not go.
        let copy = run.path("lastack");
        std::fs::copy(env!("CARGO_BIN_EXE_lastack"), &copy).unwrap();
        let mut command = Command::new("setpriv");
        command.args(nobody).arg(&copy);
        let output = run.marked(command, "well.toml").output().unwrap();
        let (printed, errors) = said(&output);
        assert!(output.status.success(), "{errors}");
        let ran: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(ran["measured"]["load.ok"], 60.0, "{printed}");
        assert_eq!(ran["measured"]["server.sockets.TIME-WAIT"], 60.0, "{printed}");
        run.assert_nothing_is_left(&BTreeSet::new());
    });
}

#[test]
fn a_stage_or_host_is_not_started_by_hand() {
    let output = Command::new(env!("CARGO_BIN_EXE_lastack"))
        .args(["lab", "stage"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (printed, _) = said(&output);
    assert!(printed.contains("`lastack lab stage` is a part of `lastack lab run`"), "{printed}");
}
