//! From a session of a real sshd: what is under way when its connection is lost does not stay, what was confirmed does.

use crate::sandbox::{CHANGES, State, WORK, applies, before, get, in_sandbox, plan, run, until};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// It starts itself anew for each connection, and wants to be called by its whole name.
const SSHD: &str = "/usr/sbin/sshd";

/// Programs, and the packages of Debian that they are in.
const PROGRAMS: [(&str, &str); 4] = [
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("nft", "nftables"),
];

/// Runs a test beside an sshd with keys and files of the test's own, which gives a silent client up after a few
/// seconds.
fn with_sshd(name: &str, body: impl FnOnce()) {
    if PROGRAMS.iter().any(|(program, package)| namespaced::lacks(name, program, package)) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        namespaced::skip(name, "sshd changes its user for each session: only as root");
        return;
    }
    in_sandbox(name, || {
        // It writes down who comes and goes.
        for place in ["/run", "/var/log"] {
            run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=755", "lastack-test", place]);
        }
        std::fs::create_dir("/run/sshd").unwrap();
        let users = format!("root:x:0:0::{WORK}:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n");
        std::fs::write("/etc/passwd", users).unwrap();
        std::fs::write("/etc/group", "root:x:0:\nnogroup:x:65534:\n").unwrap();
        for key in ["host", "user"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &format!("{WORK}/{key}")]);
        }
        let public = std::fs::read_to_string(format!("{WORK}/host.pub")).unwrap();
        std::fs::write(format!("{WORK}/known"), format!("127.0.0.1 {public}")).unwrap();
        let (file, log) = (format!("{WORK}/sshd_config"), format!("{WORK}/sshd.log"));
        let text = format!(
            "ListenAddress 127.0.0.1\nHostKey {WORK}/host\nAuthorizedKeysFile {WORK}/user.pub\nStrictModes no\n\
             PidFile none\nClientAliveInterval 1\nClientAliveCountMax 2\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut sshd = Command::new(SSHD).args(["-D", "-f", &file, "-E", &log]).spawn().unwrap();
        until("sshd listens", || TcpStream::connect("127.0.0.1:22").is_ok());
        body();
        sshd.kill().unwrap();
        sshd.wait().unwrap();
    });
}

/// A session in which `lastack fix --apply` runs.
struct Session {
    ssh: Child,
    shown: String,
}

impl Session {
    /// `terminal` is ssh's word for whether the session has one.
    fn begin(terminal: &str, arguments: &[&str]) -> Self {
        let known = format!("UserKnownHostsFile={WORK}/known");
        let (key, state) = (format!("{WORK}/user"), format!("{WORK}/state"));
        let order = plan(&CHANGES);
        let ssh = Command::new("ssh")
            .args([terminal, "-F", "none", "-i", &key, "-o", &known, "-o", "BatchMode=yes", "root@127.0.0.1"])
            .args([env!("CARGO_BIN_EXE_lastack"), "fix", "--state-dir", &state, "--plan", &order, "--apply"])
            .args(["--baseline", "100ms"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { ssh, shown: String::new() }
    }

    /// One with a terminal, in which it was said that the plan is to be applied.
    fn begin_by_hand(arguments: &[&str]) -> Self {
        let mut session = Self::begin("-tt", arguments);
        session.shows("Apply it? [y/N]");
        session.types("y\n");
        session
    }

    fn shows(&mut self, text: &str) {
        let mut bytes = [0; 4_096];
        while !self.shown.contains(text) {
            let length = self.ssh.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
            assert!(length > 0, "{text:?} was never shown: {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }

    fn types(&mut self, text: &str) {
        self.ssh.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn dies(mut self) {
        self.ssh.kill().unwrap();
        self.ssh.wait().unwrap();
    }

    fn ends(mut self, code: i32) {
        self.ssh.stdout.as_mut().unwrap().read_to_string(&mut self.shown).unwrap();
        assert_eq!(self.ssh.wait().unwrap().code(), Some(code), "{}", self.shown);
    }
}

/// Lets no segment of the sessions pass any more, or all again.
fn cut(is_cut: bool) {
    let rules = "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; \
                 add rule inet cut in tcp dport 22 drop; add rule inet cut in tcp sport 22 drop";
    run("nft", &[if is_cut { rules } else { "delete table inet cut" }]);
}

#[track_caller]
fn taken_back(unchanged: &State, because: &str) {
    until("it is taken back", || State::read() == *unchanged);
    let log = applies();
    let last = log.last().unwrap();
    assert_eq!((&last["outcome"], &last["because"]), (&"rolled-back".into(), &because.into()));
}

const GONE: &str = "the terminal or session, or the process in front of it, has gone";

#[test]
fn a_session_that_is_lost_takes_it_back() {
    with_sshd("ssh::a_session_that_is_lost_takes_it_back", || {
        let unchanged = before();
        let changed = || get("net.ipv4.tcp_rfc1337") == "0";
        let mut session = Session::begin_by_hand(&["--guard", "1h"]);
        session.shows("Guards: watched for");
        assert!(changed());
        session.dies();
        taken_back(&unchanged, GONE);

        // Without a terminal there is no signal: nobody reads any more what is printed.
        before();
        let session = Session::begin("-T", &["--guard", "1h", "--yes"]);
        until("it is applied", changed);
        session.dies();
        taken_back(&unchanged, GONE);

        // What was changed has cut the connection: sshd finds that out, or nobody answers in time.
        for (arguments, shown, because) in [
            (["--guard", "1h"], "Guards: watched for", GONE),
            (["--guard=0", "--confirm-within=200ms"], "Keep it?", "nobody confirmed it in time"),
        ] {
            before();
            let mut session = Session::begin_by_hand(&arguments);
            session.shows(shown);
            cut(true);
            session.types("y\n");
            taken_back(&unchanged, because);
            cut(false);
            session.dies();
        }
    });
}

#[test]
fn what_was_confirmed_in_a_session_outlives_it() {
    with_sshd("ssh::what_was_confirmed_in_a_session_outlives_it", || {
        let unchanged = before();
        let mut session = Session::begin_by_hand(&["--guard", "0"]);
        session.shows("Keep it? [y/N]");
        session.types("y\n");
        session.ends(0);
        let planned = State::read();
        assert_ne!(planned, unchanged);
        before();
        Session::begin("-T", &["--guard", "0", "--yes"]).ends(0);
        assert_eq!(State::read(), planned);
    });
}
