//! The dead-man switch: what is not confirmed does not stay.

use crate::nginx;
use crate::sandbox::{
    CHANGES, DURABLE, State, WORK, applies, apply, before, ends, fix, get, held_namespace, in_sandbox, plan,
    run, said, set, until, with_program,
};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A terminal with `lastack fix` in front of it.
struct Terminal {
    hand: File,
    child: Child,
    shown: String,
}

impl Terminal {
    fn run(arguments: &[&str]) -> Self {
        let hand: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&hand).unwrap();
        unlockpt(&hand).unwrap();
        let name = ptsname(&hand, Vec::new()).unwrap();
        let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command: Command = fix(arguments);
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        Self { hand: hand.into(), child, shown: String::new() }
    }

    /// Reads until this is shown.
    fn shows(&mut self, text: &str) {
        let mut bytes = [0; 4_096];
        while !self.shown.contains(text) {
            let length = self.hand.read(&mut bytes).unwrap_or(0);
            assert!(length > 0, "{text:?} was never shown: {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }

    fn types(&mut self, text: &str) {
        self.hand.write_all(text.as_bytes()).unwrap();
    }

    fn ends(mut self, code: i32) {
        // Nobody is to wait for what nobody reads.
        let mut bytes = [0; 4_096];
        while let Ok(1..) = self.hand.read(&mut bytes) {}
        assert_eq!(self.child.wait().unwrap().code(), Some(code));
    }
}

fn arguments<'a>(order: &'a str, within: &'a str) -> [&'a str; 7] {
    ["--plan", order, "--apply", "--guard", "0", "--confirm-within", within]
}

#[test]
fn a_person_confirms_twice() {
    in_sandbox("guarded::a_person_confirms_twice", || {
        let unchanged = before();
        let order = plan(&CHANGES);
        let mut terminal = Terminal::run(&arguments(&order, "1h"));
        terminal.shows("Apply it? [y/N]");
        assert_eq!(State::read(), unchanged);
        terminal.types("y\n");
        terminal.shows("Keep it? [y/N]");
        assert_eq!(get("net.ipv4.tcp_fin_timeout"), "60");
        terminal.types("yes\n");
        terminal.ends(0);
        assert_eq!(get("net.ipv4.tcp_rfc1337"), "0");
        assert!(std::fs::read_to_string(DURABLE).unwrap().contains("\nnet.ipv4.tcp_rfc1337 = 0\n"));
        ends(&mut fix(&["--rollback", "last"]), 0);
        assert_eq!(State::read(), unchanged);
    });
}

#[test]
fn whoever_says_no_or_nothing_gets_it_back() {
    in_sandbox("guarded::whoever_says_no_or_nothing_gets_it_back", || {
        let unchanged = before();
        let order = plan(&CHANGES);
        let mut terminal = Terminal::run(&arguments(&order, "1h"));
        terminal.shows("Apply it? [y/N]");
        terminal.types("\n");
        terminal.ends(2);
        assert_eq!(State::read(), unchanged);

        let mut terminal = Terminal::run(&arguments(&order, "1h"));
        terminal.shows("Apply it? [y/N]");
        terminal.types("y\n");
        terminal.shows("Keep it? [y/N]");
        terminal.types("no\n");
        terminal.ends(1);
        assert_eq!(State::read(), unchanged);

        // The dead man.
        let mut terminal = Terminal::run(&arguments(&order, "100ms"));
        terminal.shows("Apply it? [y/N]");
        terminal.types("y\n");
        terminal.shows("nobody confirmed it in time");
        terminal.ends(1);
        assert_eq!(State::read(), unchanged);
    });
}

#[test]
fn a_terminal_that_goes_takes_it_back() {
    in_sandbox("guarded::a_terminal_that_goes_takes_it_back", || {
        let unchanged = before();
        let order = plan(&CHANGES);
        let mut terminal = Terminal::run(&arguments(&order, "1h"));
        terminal.shows("Apply it? [y/N]");
        terminal.types("y\n");
        terminal.shows("Keep it? [y/N]");
        let Terminal { hand, mut child, .. } = terminal;
        drop(hand);
        child.wait().unwrap();
        until("it is taken back", || State::read() == unchanged);
        assert_eq!(applies().last().unwrap()["outcome"], "rolled-back");
    });
}

#[test]
fn a_session_without_a_terminal_that_goes_takes_it_back() {
    in_sandbox("guarded::a_session_without_a_terminal_that_goes_takes_it_back", || {
        for is_out in [true, false] {
            let unchanged = before();
            let mut command = apply("1h");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            if is_out {
                command.stdout(Stdio::piped())
            } else {
                command.stderr(Stdio::piped())
            };
            let mut child = command.spawn().unwrap();
            until("it is applied", || get("net.ipv4.tcp_rfc1337") == "0");
            // Who has read what it prints.
            drop((child.stdout.take(), child.stderr.take()));
            assert_eq!(child.wait().unwrap().code(), Some(1));
            assert_eq!(State::read(), unchanged);
            let because = applies().last().unwrap()["because"].to_string();
            assert!(because.contains("session"), "{because}");
        }
    });
}

#[test]
fn every_signal_takes_it_back() {
    in_sandbox("guarded::every_signal_takes_it_back", || {
        for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::QUIT, Signal::KILL] {
            let unchanged = before();
            let mut child = apply("1h").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            until("it is applied", || get("net.ipv4.tcp_rfc1337") == "0");
            kill_process(Pid::from_child(&child), signal).unwrap();
            let code = child.wait().unwrap().code();
            assert_eq!(code, (signal != Signal::KILL).then_some(1), "{signal:?}");
            until("it is taken back", || State::read() == unchanged);
            assert_eq!(applies().last().unwrap()["outcome"], "rolled-back", "{signal:?}");
        }
    });
}

#[test]
fn a_guard_that_trips_takes_it_back() {
    in_sandbox("guarded::a_guard_that_trips_takes_it_back", || {
        let unchanged = before();
        let order = plan(&CHANGES);
        let child =
            fix(&["--plan", &order, "--apply", "--yes", "--guard", "10m", "--baseline", "200ms", "--json"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
        let child = child.unwrap();
        until("it is applied", || get("net.ipv4.tcp_rfc1337") == "0");
        // Connects that fail: nobody listens.
        until("it is taken back", || {
            for _ in 0..100 {
                std::net::TcpStream::connect("127.0.0.1:9").unwrap_err();
            }
            get("net.ipv4.tcp_rfc1337") == "1"
        });
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(outcome["outcome"], "rolled-back");
        assert!(outcome["because"].as_str().unwrap().contains(" rose by "), "{outcome}");
        let rows = outcome["measured"].as_array().unwrap();
        let fails = rows.iter().find(|row| row["counter"] == "TcpAttemptFails").unwrap();
        assert_eq!(fails["before_per_second"], 0.0);
        assert_eq!(fails["tripped"], true);
        assert!(fails["during_per_second"].as_f64().unwrap() > 0.0, "{fails}");
        assert!(fails["after_per_second"].is_number(), "{fails}");
        assert_eq!(State::read(), unchanged);
    });
}

#[test]
fn a_guard_that_trips_between_two_steps_takes_it_back() {
    const NAME: &str = "guarded::a_guard_that_trips_between_two_steps_takes_it_back";
    const SETTING: &str = "net.ipv4.tcp_fin_timeout";
    with_program("nginx", NAME, in_sandbox, || {
        nginx::start();
        set(SETTING, "30");
        // A setting, and then a file whose test waits until somebody writes into a pipe.
        let pipe = format!("{WORK}/pipe");
        run("mkfifo", &[&pipe]);
        let order = nginx::plan(
            nginx::FILE,
            &nginx::server("one"),
            &format!("include {pipe};\n{}", nginx::server("two")),
        );
        let text = std::fs::read_to_string(&order).unwrap();
        let setting = format!("[[remedy.change]]\nsetting = \"{SETTING}\"\nfrom = \"30\"\nto = \"60\"\n");
        std::fs::write(&order, format!("{text}{setting}")).unwrap();
        let workers = nginx::workers();
        let child = fix(&["--plan", &order, "--apply", "--yes", "--guard", "0", "--baseline", "100ms"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = || {
            let entries = std::fs::read_dir("/proc").unwrap().flatten();
            entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
        };
        until("nginx tests its files", || lines().any(|line| line.contains("nginx\0-t\0")));
        assert_eq!(get(SETTING), "60");
        for _ in 0..100 {
            std::net::TcpStream::connect("127.0.0.1:9").unwrap_err();
        }
        std::fs::write(&pipe, "").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("TcpAttemptFails rose by"), "{}", said(&output));
        assert!(!said(&output).contains("Done: reload"), "{}", said(&output));
        assert_eq!(get(SETTING), "30");
        assert_eq!(std::fs::read_to_string(nginx::FILE).unwrap(), nginx::server("one"));
        assert_eq!(nginx::workers(), workers, "nginx was told");
    });
}

#[test]
fn what_somebody_edits_meanwhile_is_never_overwritten() {
    in_sandbox("guarded::what_somebody_edits_meanwhile_is_never_overwritten", || {
        // A setting, while the guards are watched; then it is taken back.
        before();
        let mut child = apply("1h").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("it is applied", || get("net.ipv4.tcp_rfc1337") == "0");
        set("net.ipv4.tcp_fin_timeout", "42");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert_eq!((get("net.ipv4.tcp_fin_timeout"), get("net.ipv4.tcp_rfc1337")), ("42".into(), "1".into()));
        let log = applies();
        let left = log.last().unwrap()["left"][0].as_str().unwrap();
        assert!(left.contains("net.ipv4.tcp_fin_timeout") && left.contains("42"), "{left}");

        // Our file, before it is kept: then it is not kept.
        let unchanged = before();
        let child = apply("3s").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("it is applied", || get("net.ipv4.tcp_rfc1337") == "0");
        std::fs::write(DURABLE, "# edited\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("somebody else has changed it"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(DURABLE).unwrap(), "# edited\n");
        std::fs::write(DURABLE, "# mine\nvm.swappiness = 1\n").unwrap();
        assert_eq!(State::read(), unchanged);

        // Both, after it was kept: what is still ours is taken back.
        before();
        ends(&mut apply("0"), 0);
        set("net.ipv4.tcp_fin_timeout", "42");
        let text = std::fs::read_to_string(DURABLE).unwrap();
        std::fs::write(DURABLE, format!("{text}net.core.somaxconn = 9\n")).unwrap();
        let said = ends(&mut fix(&["--rollback", "last"]), 1);
        assert!(
            said.contains("net.ipv4.tcp_fin_timeout in pid:1 is 42 now: somebody has changed it since"),
            "{said}"
        );
        assert_eq!((get("net.ipv4.tcp_fin_timeout"), get("net.ipv4.tcp_rfc1337")), ("42".into(), "1".into()));
        let text = std::fs::read_to_string(DURABLE).unwrap();
        assert_eq!(text, "# mine\nvm.swappiness = 1\nnet.core.somaxconn = 9\n");
    });
}

#[test]
fn what_our_file_says_by_somebody_else_is_not_taken_out_of_it() {
    in_sandbox("guarded::what_our_file_says_by_somebody_else_is_not_taken_out_of_it", || {
        const SETTING: &str = "net.core.somaxconn";
        let apply = |from: &str, to: &str| {
            let order = plan(&[(SETTING, from, to)]);
            ends(&mut fix(&["--plan", &order, "--apply", "--yes", "--guard", "0"]), 0);
            applies().last().unwrap()["id"].as_str().unwrap().to_owned()
        };
        let ours = || std::fs::read_to_string(DURABLE).unwrap();
        // A later apply has set it again.
        before();
        set(SETTING, "128");
        let first = apply("128", "4096");
        let second = apply("4096", "8192");
        let both = ours();
        let said = ends(&mut fix(&["--rollback", &first]), 1);
        assert!(said.contains(&format!("{DURABLE}: {SETTING} is 8192 there now")), "{said}");
        assert_eq!((get(SETTING), ours()), ("8192".into(), both));
        ends(&mut fix(&["--rollback", &second]), 0);
        ends(&mut fix(&["--rollback", &first]), 0);
        assert_eq!((get(SETTING).as_str(), ours().as_str()), ("128", "# mine\nvm.swappiness = 1\n"));

        // A person has: the value here, and there.
        let first = apply("128", "4096");
        set(SETTING, "5000");
        std::fs::write(DURABLE, ours().replace("= 4096", "= 5000")).unwrap();
        let edited = ours();
        ends(&mut fix(&["--rollback", &first]), 1);
        assert_eq!((get(SETTING), ours()), ("5000".into(), edited));

        // It was there before, and something else has come since.
        before();
        set(SETTING, "128");
        let text = format!("# for the batch jobs\n{SETTING} = 128\n# mine\nvm.swappiness = 1\n");
        std::fs::write(DURABLE, &text).unwrap();
        let first = apply("128", "4096");
        std::fs::write(DURABLE, format!("{}kernel.panic = 5\n", ours())).unwrap();
        ends(&mut fix(&["--rollback", &first]), 0);
        assert_eq!((get(SETTING), ours()), ("128".into(), format!("{text}kernel.panic = 5\n")));
    });
}

#[test]
fn a_plan_shows_the_lines_for_the_next_boot() {
    in_sandbox("guarded::a_plan_shows_the_lines_for_the_next_boot", || {
        let unchanged = before();
        let page = ends(&mut fix(&["--plan", &plan(&CHANGES)]), 1);
        let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&format!("When it is kept change {DURABLE}, for the next boot")), "{page}");
        for line in ["  # mine", "+ #lastack: before: 30", "+ net.ipv4.tcp_fin_timeout = 60"] {
            assert!(page.lines().any(|other| other.trim_start() == line.trim_start()), "{line}: {page}");
        }
        let back = format!("back net.ipv4.tcp_fin_timeout = 30, and its line out of {DURABLE}");
        assert!(words.contains(&back), "{page}");
        let output = fix(&["--plan", &plan(&CHANGES), "--json"]).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["when_kept"]["from"], "# mine\nvm.swappiness = 1\n");
        assert_eq!(State::read(), unchanged);
        ends(&mut apply("0"), 0);
        assert_eq!(json["when_kept"]["to"], std::fs::read_to_string(DURABLE).unwrap());
    });
}

#[test]
fn what_is_as_it_was_counts_as_taken_back() {
    in_sandbox("guarded::what_is_as_it_was_counts_as_taken_back", || {
        let unchanged = before();
        let apply =
            |change| ends(&mut fix(&["--plan", &plan(&[change]), "--apply", "--yes", "--guard", "0"]), 0);
        let said = apply(CHANGES[0]);
        assert!(said.contains("confirmed beforehand; no guard was watched"), "{said}");
        let first = std::fs::read(DURABLE).unwrap();
        apply(CHANGES[2]);
        // By hand.
        std::fs::write(DURABLE, first).unwrap();
        set(CHANGES[2].0, CHANGES[2].1);
        let said = ends(&mut fix(&["--rollback", "last"]), 0);
        assert!(said.contains("tcp_rfc1337 in pid:1 is what it was already"), "{said}");
        ends(&mut fix(&["--rollback", "last"]), 0);
        assert_eq!(State::read(), unchanged);
        ends(&mut fix(&["--rollback", "last"]), 2);
    });
}

#[test]
fn a_namespace_that_has_gone_holds_nothing() {
    in_sandbox("guarded::a_namespace_that_has_gone_holds_nothing", || {
        before();
        let (mut holder, _) = held_namespace();
        let order = plan(&[("net.ipv4.tcp_fin_timeout", "60", "61")]);
        let text = std::fs::read_to_string(&order).unwrap().replace("\"61\"", "\"90\"");
        std::fs::write(&order, text.replace("pid:1", &format!("pid:{}", holder.id()))).unwrap();
        let words = ["--plan", &order, "--apply", "--yes", "--guard", "0", "--baseline", "100ms"];
        let said = ends(&mut fix(&words), 0);
        assert!(said.contains("and the guards held"), "{said}");
        ends(&mut fix(&["--watch", "last", "--guard", "100ms"]), 0);
        drop(holder.stdin.take());
        holder.wait().unwrap();
        let said = ends(&mut fix(&["--watch", "last", "--guard", "100ms"]), 2);
        assert!(said.contains("cannot be watched in pid:"), "{said}");
    });
}

#[test]
fn a_process_that_is_stopped_keeps_nothing() {
    in_sandbox("guarded::a_process_that_is_stopped_keeps_nothing", || {
        let unchanged = before();
        let order = plan(&CHANGES);
        let mut terminal = Terminal::run(&arguments(&order, "300ms"));
        terminal.shows("Apply it? [y/N]");
        terminal.types("y\n");
        terminal.shows("Keep it? [y/N]");
        // Stopped, the process before the terminal answers nothing; the other one does not wait for it.
        let stopped = Pid::from_child(&terminal.child);
        kill_process(stopped, Signal::STOP).unwrap();
        until("it is taken back", || State::read() == unchanged);
        kill_process(stopped, Signal::CONT).unwrap();
        terminal.types("y\n");
        terminal.ends(1);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(State::read(), unchanged);
    });
}

#[test]
fn what_was_kept_can_be_watched_once_more() {
    in_sandbox("guarded::what_was_kept_can_be_watched_once_more", || {
        before();
        let said = ends(&mut fix(&["--watch", "last"]), 2);
        assert!(said.contains("there is no apply that was kept"), "{said}");
        ends(&mut apply("0"), 0);
        let planned = State::read();
        let said = ends(&mut fix(&["--watch", "last", "--guard", "200ms"]), 0);
        assert!(said.contains("hold"), "{said}");
        // Nobody listens there.
        let mut failing = Command::new("bash")
            .args(["-c", "while :; do { : < /dev/tcp/127.0.0.1/9; } 2> /dev/null; done"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let said = ends(&mut fix(&["--watch", "last", "--guard", "1h", "--json"]), 1);
        failing.kill().unwrap();
        failing.wait().unwrap();
        let watch: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&watch["schema"], &watch["holds"]), (&"lastack.fix-watch/1".into(), &false.into()));
        assert!(said.contains("TcpAttemptFails rose by"), "{said}");
        assert_eq!((State::read(), applies().len()), (planned, 1), "it changes nothing");

        ends(&mut fix(&["--rollback", "last"]), 0);
        ends(&mut fix(&["--watch", "last"]), 2);
        before();
        let order = plan(&CHANGES);
        ends(&mut fix(&["--plan", &order, "--apply", "--yes", "--guard", "0", "--baseline", "0"]), 0);
        let said = ends(&mut fix(&["--watch", "last"]), 2);
        assert!(said.contains("nothing to compare with"), "{said}");
    });
}
