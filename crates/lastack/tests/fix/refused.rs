//! What stands in the way is said in one line, and nothing is changed.

use crate::sandbox::{
    CHANGES, DURABLE, State, WORK, applies, apply, before, ends, fill, fix, forget, get, has_one_user,
    in_sandbox, plan, run, said, set, until,
};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Ends with 2, prints nothing, says in one line why, and leaves the host as it is.
#[track_caller]
fn assert_refused(unchanged: &State, output: &Output, why: &str) {
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(output.stdout.is_empty(), "{}", said(output));
    assert_eq!(words.lines().filter(|line| line.starts_with("lastack: ")).count(), 1, "{words}");
    assert!(words.contains(why), "{words:?} does not say {why:?}");
    assert_eq!(State::read(), *unchanged, "{words}");
}

/// Was begun, and taken back because of this.
#[track_caller]
fn assert_taken_back(unchanged: &State, output: &Output, why: &str) {
    let words = said(output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains(why), "{words:?} does not say {why:?}");
    assert_eq!(State::read(), *unchanged, "{words}");
    assert!(applies().iter().all(|apply| apply["outcome"] == "rolled-back"), "{words}");
}

#[test]
fn a_disk_that_is_full() {
    in_sandbox("refused::a_disk_that_is_full", || {
        // Where the file is to be. It takes more than a page.
        before();
        std::fs::write(DURABLE, format!("# {}\n", "mine ".repeat(1_000))).unwrap();
        let unchanged = State::read();
        let file = fill("/etc");
        let output = apply("0").output().unwrap();
        assert_refused(&unchanged, &output, "no space left on this file system (make room");
        // A page is free, which does not suffice; that shows when the file is made, before anything is changed.
        let filled = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
        filled.set_len(filled.metadata().unwrap().len() - 4096).unwrap();
        let output = apply("0").output().unwrap();
        assert_taken_back(&unchanged, &output, "no space left on this file system (make room");
        std::fs::remove_file(file).unwrap();
        // Where the journal is to be.
        let unchanged = before();
        let order = plan(&CHANGES);
        let file = fill(WORK);
        let output = fix(&["--plan", &order, "--apply", "--yes", "--guard", "0"]).output().unwrap();
        assert_refused(&unchanged, &output, "the journal cannot be kept");
        std::fs::remove_file(file).unwrap();
        ends(&mut apply("0"), 0);
    });
}

#[test]
fn a_disk_that_fills_up_meanwhile() {
    in_sandbox("refused::a_disk_that_fills_up_meanwhile", || {
        // Room for the end of the journal was taken at its beginning, and for the files that come and go.
        for keep in [true, false] {
            let unchanged = before();
            let command = &mut apply(if keep { "2s" } else { "1h" });
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            until("it is applied", || get("net.ipv4.tcp_rfc1337") == "0");
            let files = ["/etc", WORK].map(fill);
            if !keep {
                rustix::process::kill_process(
                    rustix::process::Pid::from_child(&child),
                    rustix::process::Signal::INT,
                )
                .unwrap();
            }
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(i32::from(!keep)), "{}", said(&output));
            for file in files {
                std::fs::remove_file(file).unwrap();
            }
            let outcome = if keep { "kept" } else { "rolled-back" };
            assert_eq!(applies().last().unwrap()["outcome"], outcome, "{}", said(&output));
            let durable = std::fs::read_to_string(DURABLE).unwrap();
            assert_eq!(durable.contains("tcp_rfc1337"), keep, "{durable}");
            assert_eq!(State::read() == unchanged, !keep);
        }
    });
}

#[test]
fn a_folder_that_turns_read_only_meanwhile() {
    in_sandbox("refused::a_folder_that_turns_read_only_meanwhile", || {
        // As a file system does that has found an error in itself.
        let unchanged = before();
        let child = apply("2s").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("it is applied", || get("net.ipv4.tcp_rfc1337") == "0");
        run("mount", &["-o", "remount,ro", "/etc"]);
        let output = child.wait_with_output().unwrap();
        assert!(said(&output).contains("read-only file system (mount it for writing"), "{}", said(&output));
        assert_eq!(get("net.ipv4.tcp_rfc1337"), "1", "what cannot last does not stay: {}", said(&output));
        run("mount", &["-o", "remount,rw", "/etc"]);
        ends(&mut fix(&["--log"]), 0);
        assert_eq!(State::read(), unchanged);
        assert_eq!(applies().last().unwrap()["outcome"], "rolled-back");
    });
}

#[test]
fn a_folder_that_is_read_only() {
    in_sandbox("refused::a_folder_that_is_read_only", || {
        let unchanged = before();
        run("mount", &["-o", "remount,ro", "/etc"]);
        assert_refused(
            &unchanged,
            &apply("0").output().unwrap(),
            "read-only file system (mount it for writing",
        );
        run("mount", &["-o", "remount,rw", "/etc"]);
        let order = plan(&CHANGES);
        run("mount", &["-o", "remount,ro", WORK]);
        let output = fix(&["--plan", &order, "--apply", "--yes", "--guard", "0"]).output().unwrap();
        assert_refused(&unchanged, &output, "the journal cannot be kept");
        run("mount", &["-o", "remount,rw", WORK]);
        // As in most containers.
        run("mount", &["--bind", "/proc/sys", "/proc/sys"]);
        run("mount", &["-o", "remount,ro,bind", "/proc/sys"]);
        assert_refused(&unchanged, &apply("0").output().unwrap(), "/proc/sys is mounted read-only");
        run("umount", &["/proc/sys"]);
        ends(&mut apply("0"), 0);
    });
}

#[test]
fn a_file_that_is_a_link() {
    in_sandbox("refused::a_file_that_is_a_link", || {
        for (to, real) in
            [("/etc/precious", "/etc/precious"), ("/dev/null", "/dev/null"), ("/etc/none", "/etc/none")]
        {
            before();
            std::fs::write("/etc/precious", "precious").unwrap();
            std::fs::remove_file(DURABLE).unwrap();
            symlink(to, DURABLE).unwrap();
            let unchanged = State::read();
            assert_refused(&unchanged, &apply("0").output().unwrap(), &format!("the file itself is {real}"));
            assert_eq!(std::fs::read_to_string("/etc/precious").unwrap(), "precious");
        }
        before();
        std::fs::hard_link(DURABLE, "/etc/second").unwrap();
        assert_refused(&State::read(), &apply("0").output().unwrap(), "2 names (hard links)");
        forget();
        std::fs::remove_dir("/etc/sysctl.d").unwrap();
        std::fs::create_dir("/etc/elsewhere").unwrap();
        symlink("/etc/elsewhere", "/etc/sysctl.d").unwrap();
        assert_refused(&State::read(), &apply("0").output().unwrap(), "/etc/elsewhere/99-zz-lastack.conf");
    });
}

#[test]
fn what_is_not_as_the_plan_says() {
    in_sandbox("refused::what_is_not_as_the_plan_says", || {
        before();
        set("net.ipv4.tcp_rfc1337", "0");
        set("net.ipv4.tcp_fin_timeout", "31");
        let unchanged = State::read();
        assert_refused(
            &unchanged,
            &apply("0").output().unwrap(),
            "net.ipv4.tcp_fin_timeout in pid:1 is 31, and was 30",
        );
        // What is so already is left as it is; what is left is done.
        set("net.ipv4.tcp_fin_timeout", "30");
        let said = ends(&mut apply("0"), 0);
        assert!(said.contains("net.ipv4.tcp_rfc1337 in pid:1 is 0 already"), "{said}");
        let said = ends(&mut apply("0"), 0);
        assert!(said.contains("Nothing to do"), "{said}");
    });
}

#[test]
fn what_is_never_done_and_plans_that_are_none() {
    in_sandbox("refused::what_is_never_done_and_plans_that_are_none", || {
        let unchanged = before();
        for ((setting, from, to), why) in [
            (("net.ipv4.tcp_tw_recycle", "0", "1"), "it drops clients behind NAT"),
            (("net.ipv4.tcp_tw_recycle", "1", "0"), "this kernel does not have it"),
            (("net.ipv4.tcp_fin_timeout", "30", "15"), "it does not shorten TIME-WAIT"),
            (("net.ipv4.tcp_timestamps", "1", "0"), "tcp_tw_reuse"),
            (("net.ipv4.tcp_max_tw_buckets", "131072", "1000"), "skip TIME-WAIT"),
            (("net.ipv4.tcp_rfc1337", "0", "1"), "waits for its end"),
            (("kernel.core_pattern", "core", "|/bin/sh"), "no rule of lastack changes this setting"),
        ] {
            let order = plan(&[(setting, from, to)]);
            assert_refused(&unchanged, &fix(&["--plan", &order, "--apply", "--yes"]).output().unwrap(), why);
        }
        let edited = |from: &str, to: &str| {
            let file = plan(&CHANGES);
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(from));
            std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
            fix(&["--plan", &file, "--apply", "--yes", "--guard", "0"]).output().unwrap()
        };
        assert_refused(&unchanged, &edited("netns =", "nets ="), "plan.toml: line 7: unknown field `nets`");
        assert_refused(&unchanged, &edited("\"unsafe\"", "\"display-only\""), "a-test is for a person");
        assert_refused(
            &unchanged,
            &edited("\"unsafe\"", "\"safe\""),
            "plan.toml: line 8: no rule offers what a-test changes here as `safe`",
        );
        assert_refused(
            &unchanged,
            &edited("host = \"", "host = \"not-"),
            "this plan was made for the host not-",
        );
        assert_refused(&unchanged, &edited("pid:1", "pid:4194000"), "no process 4194000");
        let output = fix(&["--plan", "/mnt/none", "--apply", "--yes"]).output().unwrap();
        assert_refused(&unchanged, &output, "/mnt/none: no such file");
        let output = fix(&["--plan", &plan(&CHANGES), "--apply"]).output().unwrap();
        assert_refused(&unchanged, &output, "nobody is here to confirm");
        assert_refused(&unchanged, &fix(&["--rollback", "last"]).output().unwrap(), "there is no apply");
        assert_refused(
            &unchanged,
            &fix(&["--rollback", "../../etc"]).output().unwrap(),
            "there is no apply ../../etc",
        );
        assert!(!Path::new(WORK).join("state/journal").exists_with_entries());
    });
}

trait Entries {
    fn exists_with_entries(&self) -> bool;
}

impl Entries for std::path::PathBuf {
    fn exists_with_entries(&self) -> bool {
        std::fs::read_dir(self).is_ok_and(|mut entries| entries.next().is_some())
    }
}

#[test]
fn two_at_once() {
    in_sandbox("refused::two_at_once", || {
        let unchanged = before();
        let mut first = apply("1h").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the first has changed all", || get("net.ipv4.tcp_rfc1337") == "0");
        let meanwhile = State::read();
        // What the second would change is not changed yet.
        let other = plan(&[("net.ipv4.tcp_tw_reuse", "2", "1")]);
        let output = fix(&["--plan", &other, "--apply", "--yes"]).output().unwrap();
        assert_refused(&meanwhile, &output, "another `lastack fix` is changing this host");
        // The log shows the first as it is, and takes nothing back.
        assert_eq!(applies().last().unwrap()["outcome"], "unfinished");
        rustix::process::kill_process(rustix::process::Pid::from_child(&first), rustix::process::Signal::HUP)
            .unwrap();
        assert_eq!(first.wait().unwrap().code(), Some(1));
        assert_eq!(State::read(), unchanged);
    });
}

#[test]
fn a_journal_that_somebody_else_could_have_written() {
    in_sandbox("refused::a_journal_that_somebody_else_could_have_written", || {
        // An apply that is not finished: settling it would do what its journal says.
        let unchanged = before();
        let state = format!("{WORK}/state");
        apply("0").env("LASTACK_FAILPOINT", "acted#3!").output().unwrap();
        let begun = State::read();
        let journal = std::fs::read_dir(format!("{state}/journal")).unwrap().next().unwrap().unwrap().path();
        let refused = |place: &str, why: &str| {
            let why = format!("the journal is not kept in {place}: {why}");
            for mut command in
                [fix(&["--log"]), apply("0"), fix(&["--rollback", "last"]), fix(&["--watch", "last"])]
            {
                assert_refused(&begun, &command.output().unwrap(), &why);
            }
        };
        for place in [&state, &format!("{state}/journal"), &journal.display().to_string()] {
            run("chmod", &["1777", place]);
            refused(place, "others may write to it (mode 1777)");
            run("chmod", &["700", place]);
            if !has_one_user() {
                run("chown", &["1000", place]);
                refused(place, "it is of user 1000");
                run("chown", &["0", place]);
            }
        }
        if cfg!(debug_assertions) {
            ends(&mut fix(&["--log"]), 0);
            assert_eq!(State::read(), unchanged);
        }
    });
}

#[test]
fn what_cannot_be_meant() {
    in_sandbox("refused::what_cannot_be_meant", || {
        let unchanged = before();
        let order = plan(&CHANGES);
        let refused = |more: &[&str], why: &str| {
            let words = [&["--plan", order.as_str()], more].concat();
            assert_refused(&unchanged, &fix(&words).output().unwrap(), why);
        };
        refused(
            &["--apply", "--yes", "--guard", "1h", "--baseline", "0"],
            "leave it out, or write --guard 0 to watch none",
        );
        refused(&["--as", "ansible", "--baseline", "0"], "leave it out, or write --guard 0 to watch none");
        refused(&["--apply", "--yes", "--all-netns"], "is there already, and says what is to be done");
        let text = std::fs::read_to_string(&order).unwrap();
        std::fs::write(&order, text.replace("apply = true", "apply = false")).unwrap();
        let said = ends(&mut fix(&["--plan", &order, "--apply", "--yes"]), 1);
        assert!(said.contains("set `apply = true` in /mnt/plan.toml for a-test"), "{said}");
    });
}

#[test]
fn a_user_without_privilege() {
    in_sandbox("refused::a_user_without_privilege", || {
        if has_one_user() {
            return;
        }
        let unchanged = before();
        let program = format!("{WORK}/lastack");
        std::fs::copy(env!("CARGO_BIN_EXE_lastack"), &program).ok().or_else(|| {
            run("mount", &["-o", "remount,size=512m", WORK]);
            std::fs::copy(env!("CARGO_BIN_EXE_lastack"), &program).ok()
        });
        std::fs::set_permissions(WORK, PermissionsExt::from_mode(0o777)).unwrap();
        let order = plan(&CHANGES);
        let output = Command::new(&program)
            .args(["fix", "--state-dir", "/mnt/theirs", "--plan", &order, "--apply", "--yes", "--guard", "0"])
            .uid(65_534)
            .gid(65_534)
            .output()
            .unwrap();
        assert_refused(&unchanged, &output, "permission denied; run as root");
        assert!(!Path::new("/mnt/theirs").join("journal").exists_with_entries());
    });
}
