//! A host of the test's own: network, mounts and processes in namespaces that go with the test, and an empty /etc. The
//! test runs itself again inside; nothing of the machine can be changed from there.

use std::env;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "LASTACK_TEST_INSIDE";

/// Our file in sysctl.d.
pub(crate) const DURABLE: &str = "/etc/sysctl.d/99-zz-lastack.conf";

/// A folder of the test, in memory.
pub(crate) const WORK: &str = "/mnt";

/// Runs `body` in a sandbox. `name` must be the test's own name.
pub(crate) fn in_sandbox(name: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        for place in ["/etc", WORK] {
            run("mount", &["-t", "tmpfs", "-o", "size=4m,mode=755", "lastack-test", place]);
        }
        std::fs::create_dir("/etc/sysctl.d").expect("/etc is ours");
        run("ip", &["link", "set", "lo", "up"]);
        body();
        return;
    }
    let namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    let made = |extra: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(extra).args(namespaces);
        command
    };
    let ways = [&[][..], &["--map-root-user"][..]];
    let way = ways.into_iter().find(|way| {
        made(way).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    let Some(way) = way else {
        namespaced::skip(name, "no namespaces: neither root nor unprivileged user namespaces");
        return;
    };
    namespaced::start_again(name, made(way).env(INSIDE, "1"));
}

/// Runs a test in one of the ways below, where its program is installed.
pub(crate) fn with_program<B: FnOnce()>(program: &str, name: &str, in_there: fn(&str, B), body: B) {
    if !namespaced::lacks(name, program, program) {
        in_there(name, body);
    }
}

/// Fills a file system up: with this file.
pub(crate) fn fill(folder: &str) -> String {
    let file = format!("{folder}/fill");
    let _ = Command::new("dd").args(["if=/dev/zero", &format!("of={file}")]).stderr(Stdio::null()).status();
    file
}

/// Failpoints are compiled into debug builds only.
pub(crate) fn in_debug_build(name: &str, body: impl FnOnce()) {
    if cfg!(debug_assertions) {
        in_sandbox(name, body);
    } else {
        namespaced::skip(name, "a release build has no failpoints");
    }
}

/// True where there is but one user: in a user namespace that was made without root.
pub(crate) fn has_one_user() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").expect("it is there").split_whitespace().nth(2) == Some("1")
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A network namespace that nothing but a process holds, which ends with its standard input; and its file below /proc.
#[track_caller]
pub(crate) fn held_namespace() -> (std::process::Child, String) {
    let mut holder = Command::new("unshare");
    let holder = holder.args(["--net", "--", "cat"]).stdin(Stdio::piped()).spawn().expect("unshare runs");
    let own = std::fs::read_link("/proc/self/ns/net").expect("it is there");
    let link = format!("/proc/{}/ns/net", holder.id());
    until("there is a namespace", || std::fs::read_link(&link).is_ok_and(|its| its != own));
    (holder, link)
}

/// `lastack fix`, with its journal in the test's folder.
pub(crate) fn fix(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    command.args(["fix", "--state-dir", &format!("{WORK}/state")]).args(arguments).stdin(Stdio::null());
    command
}

/// Its exit code must be this; what it printed on both.
#[track_caller]
pub(crate) fn ends(command: &mut Command, code: i32) -> String {
    let output = command.output().expect("lastack runs");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The applies, as `--log --json` tells them.
#[track_caller]
pub(crate) fn applies() -> Vec<serde_json::Value> {
    let output = fix(&["--log", "--json"]).output().expect("lastack runs");
    assert!(output.status.success(), "{}", said(&output));
    let log: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the log is JSON");
    log["applies"].as_array().expect("a log has applies").clone()
}

pub(crate) fn get(setting: &str) -> String {
    let path = format!("/proc/sys/{}", setting.replace('.', "/"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
}

pub(crate) fn set(setting: &str, value: &str) {
    let path = format!("/proc/sys/{}", setting.replace('.', "/"));
    std::fs::write(&path, format!("{value}\n")).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// A plan that changes these settings: name, from, to.
pub(crate) fn plan(changes: &[(&str, &str, &str)]) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the host has a name");
    let mut text = format!(
        "schema = \"lastack.plan/1\"\nhost = \"{}\"\n[[remedy]]\napply = true\nname = \"a-test\"\n\
         rule = \"fin-timeout-misread\"\nnetns = \"pid:1\"\napplicability = \"unsafe\"\nsummary = \"Test it\"\n\
         why = [\"fin-timeout-misread: because\"]\n",
        host.trim()
    );
    for (setting, from, to) in changes {
        text.push_str("[[remedy.change]]\n");
        for (key, value) in [("setting", setting), ("from", from), ("to", to)] {
            text.extend([key, " = \"", value, "\"\n"]);
        }
    }
    let file = format!("{WORK}/plan.toml");
    std::fs::write(&file, text).expect("the folder is ours");
    file
}

/// A file: name, what it holds, mode, owner, group, names. Times do not matter.
type File = (String, String, u32, u32, u32, u64);

/// Everything that a fix may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    settings: Vec<String>,
    files: Vec<File>,
}

/// The settings of the tests.
const SETTINGS: [&str; 4] = [
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_rfc1337",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_local_port_range",
];

impl State {
    pub(crate) fn read() -> Self {
        let mut files: Vec<File> = std::fs::read_dir("/etc/sysctl.d")
            .expect("the folder is there")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let about = path.symlink_metadata().expect("it is there");
                let held = if about.is_symlink() {
                    std::fs::read_link(&path).expect("a link").display().to_string()
                } else {
                    String::from_utf8_lossy(&std::fs::read(&path).expect("it can be read")).into_owned()
                };
                let mode = about.permissions().mode();
                (path.display().to_string(), held, mode, about.uid(), about.gid(), about.nlink())
            })
            .collect();
        files.sort();
        Self { settings: SETTINGS.map(get).to_vec(), files }
    }
}

/// Forgets all that was done.
pub(crate) fn forget() {
    for folder in [Path::new("/etc/sysctl.d"), &Path::new(WORK).join("state")] {
        if folder.exists() {
            std::fs::remove_dir_all(folder).expect("it is ours");
        }
    }
    std::fs::create_dir("/etc/sysctl.d").expect("/etc is ours");
}

/// The host before: settings, and our file with something of somebody else's in it.
pub(crate) fn before() -> State {
    forget();
    set("net.ipv4.tcp_fin_timeout", "30");
    set("net.ipv4.tcp_rfc1337", "1");
    set("net.ipv4.ip_local_reserved_ports", "");
    set("net.ipv4.ip_local_port_range", "32768 60999");
    std::fs::write(DURABLE, "# mine\nvm.swappiness = 1\n").expect("/etc is ours");
    std::fs::set_permissions(DURABLE, std::fs::Permissions::from_mode(0o640)).expect("the file is ours");
    State::read()
}

/// What the tests change.
pub(crate) const CHANGES: [(&str, &str, &str); 3] = [
    ("net.ipv4.tcp_fin_timeout", "30", "60"),
    ("net.ipv4.ip_local_reserved_ports", "", "8080,8081"),
    ("net.ipv4.tcp_rfc1337", "1", "0"),
];

/// `fix --apply` of what the tests change, confirmed beforehand.
pub(crate) fn apply(guard: &str) -> Command {
    fix(&["--plan", &plan(&CHANGES), "--apply", "--yes", "--guard", guard, "--baseline", "100ms"])
}

/// Waits until something holds, however slow the machine is.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
