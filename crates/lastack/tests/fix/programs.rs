//! Files of programs: replaced, tested by the program, and taken by it; and all of that back.

use crate::haproxy;
use crate::nginx::{
    FILE, answer, last_answer, master, plan, plan_for, server, start, start_as, stop, workers,
};
use crate::sandbox::{
    WORK, applies, ends, fill, fix, has_one_user, in_debug_build, in_sandbox, run, said, until, with_program,
};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn apply(order: &str) -> Command {
    fix(&["--plan", order, "--apply", "--yes", "--guard", "0"])
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(2), "{}", said(output));
    assert!(said(output).contains(why), "{}", said(output));
}

#[test]
fn a_file_is_tested_and_taken_and_goes_back() {
    const NAME: &str = "programs::a_file_is_tested_and_taken_and_goes_back";
    with_program("nginx", NAME, in_sandbox, || {
        start();
        let (mode, inode) = (std::fs::metadata(FILE).unwrap().mode(), std::fs::metadata(FILE).unwrap().ino());
        let order = plan(FILE, &server("one"), &server("two"));
        let page = ends(&mut fix(&["--plan", &order]), 1);
        let shown = |line: &str| page.lines().any(|other| other.trim_start().starts_with(line));
        assert!(shown("- ") && shown("+ ") && page.contains("return 200 \"two\""), "{page}");
        let kept = ends(&mut apply(&order), 0);
        assert!(kept.contains(&format!("$ lastack fix --state-dir {WORK}/state --rollback ")), "{kept}");
        until("nginx has taken it", || answer().as_deref() == Some("two"));
        assert_eq!(std::fs::metadata(FILE).unwrap().mode(), mode);
        assert_ne!(std::fs::metadata(FILE).unwrap().ino(), inode);
        assert_eq!(std::fs::read_dir("/etc/nginx/conf.d").unwrap().count(), 1, "nothing is left beside it");
        ends(&mut fix(&["--rollback", "last"]), 0);
        until("nginx has taken it back", || answer().as_deref() == Some("one"));
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
        assert_eq!(std::fs::metadata(FILE).unwrap().mode(), mode);

        // What nginx does not take is taken back, and nginx is not told.
        assert_eq!(last_answer().as_deref(), Some("one"));
        let before = workers();
        let broken = plan(FILE, &server("one"), "server { listen nonsense\n");
        let output = apply(&broken).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("[emerg]"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
        assert_eq!(workers(), before, "nginx was told, and had read nothing");
        assert_eq!(answer().as_deref(), Some("one"));
        let outcomes: Vec<_> = applies().iter().map(|apply| apply["outcome"].clone()).collect();
        assert_eq!(outcomes, ["kept", "kept", "rolled-back"]);

        // Not its file, not as it was, a link.
        std::fs::write("/etc/other", "x\n").unwrap();
        refused(&apply(&plan("/etc/other", "x\n", "y\n")).output().unwrap(), "none of the files of nginx");
        refused(&apply(&plan(FILE, "x\n", "y\n")).output().unwrap(), "somebody else has changed it");
        std::os::unix::fs::symlink(FILE, "/etc/nginx/link.conf").unwrap();
        let linked = plan("/etc/nginx/link.conf", &server("one"), &server("two"));
        refused(&apply(&linked).output().unwrap(), &format!("the file itself is {FILE}"));
        stop();
        let order = plan(FILE, &server("one"), &server("two"));
        refused(&apply(&order).output().unwrap(), "nginx does not run here");
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
    });
}

#[test]
fn openresty_is_an_nginx() {
    const NAME: &str = "programs::openresty_is_an_nginx";
    with_program("nginx", NAME, in_sandbox, || {
        let openresty = format!("{WORK}/openresty");
        std::fs::copy("/usr/sbin/nginx", &openresty).unwrap();
        start_as(&openresty);
        ends(&mut apply(&plan(FILE, &server("one"), &server("two"))), 0);
        until("it has taken it", || answer().as_deref() == Some("two"));
        stop();
    });
}

#[test]
fn with_mounts_of_its_own_a_program_is_told_unless_its_file_is_another() {
    const NAME: &str = "programs::with_mounts_of_its_own_a_program_is_told_unless_its_file_is_another";
    with_program("nginx", NAME, in_sandbox, || {
        let script = format!("{WORK}/apart");
        let apart = |mount: &str| {
            let text =
                format!("#!/bin/sh\nexec unshare --mount sh -c '{mount} && exec nginx \"$@\"' sh \"$@\"\n");
            std::fs::write(&script, text).unwrap();
            run("chmod", &["755", &script]);
            start_as(&script);
        };
        // As systemd does with `PrivateTmp`.
        apart("mount -t tmpfs lastack-test /tmp");
        ends(&mut apply(&plan(FILE, &server("one"), &server("two"))), 0);
        until("it has taken it", || answer().as_deref() == Some("two"));
        ends(&mut fix(&["--rollback", "last"]), 0);
        until("it has taken it back", || answer().as_deref() == Some("one"));
        stop();
        // A mount of the file itself, and of its folder: what changes places is not what the program reads.
        let copy = format!("{WORK}/copy");
        std::fs::create_dir(&copy).unwrap();
        std::fs::write(format!("{copy}/app.conf"), server("one")).unwrap();
        for mount in [format!("mount --bind {FILE} {FILE}"), format!("mount --bind {copy} /etc/nginx/conf.d")]
        {
            apart(&mount);
            let output = apply(&plan(FILE, &server("one"), &server("two"))).output().unwrap();
            refused(&output, "sees other files than we do");
            stop();
        }
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
    });
}

#[test]
fn what_stands_in_the_way_is_said_and_nothing_is_changed() {
    const NAME: &str = "programs::what_stands_in_the_way_is_said_and_nothing_is_changed";
    with_program("nginx", NAME, in_sandbox, || {
        start();
        let order = plan(FILE, &server("one"), &server("two"));
        let worker = workers();
        let unchanged = || {
            assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
            assert_eq!(
                std::fs::read_dir("/etc/nginx/conf.d").unwrap().count(),
                1,
                "something is left beside it"
            );
            assert_eq!(workers(), worker, "nginx was told");
        };
        // No room for the new file beside the old one, and none for the journal.
        let filling = fill("/etc");
        refused(&apply(&order).output().unwrap(), "no space left on this file system");
        unchanged();
        std::fs::remove_file(filling).unwrap();
        let filling = fill(WORK);
        refused(&apply(&order).output().unwrap(), "the journal cannot be kept");
        unchanged();
        std::fs::remove_file(filling).unwrap();

        run("mount", &["-o", "remount,ro", "/etc"]);
        refused(&apply(&order).output().unwrap(), "read-only file system");
        run("mount", &["-o", "remount,rw", "/etc"]);
        unchanged();

        std::fs::hard_link(FILE, "/etc/second").unwrap();
        refused(&apply(&order).output().unwrap(), "2 names (hard links)");
        std::fs::remove_file("/etc/second").unwrap();
        unchanged();

        // In a user namespace there may be no other user.
        if !has_one_user() {
            run("mount", &["-o", "remount,size=512m,mode=777", WORK]);
            let program = format!("{WORK}/lastack");
            std::fs::copy(env!("CARGO_BIN_EXE_lastack"), &program).unwrap();
            let output = Command::new(&program)
                .args([
                    "fix",
                    "--state-dir",
                    "/mnt/theirs",
                    "--plan",
                    &order,
                    "--apply",
                    "--yes",
                    "--guard",
                    "0",
                ])
                .uid(65_534)
                .gid(65_534)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(said(&output).to_lowercase().contains("permission denied"), "{}", said(&output));
            unchanged();
        }

        // Somebody is at it; and somebody else edits the file meanwhile.
        let mut first = fix(&["--plan", &order, "--apply", "--yes", "--guard", "1h", "--baseline", "100ms"]);
        let first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("the first has changed it", || last_answer().as_deref() == Some("two"));
        refused(
            &apply(&plan(FILE, &server("two"), &server("three"))).output().unwrap(),
            "another `lastack fix`",
        );
        std::fs::write(FILE, server("theirs")).unwrap();
        run("kill", &["-HUP", &first.id().to_string()]);
        let output = first.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("somebody else has changed it"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("theirs"));
        assert_eq!(std::fs::read_dir("/etc/nginx/conf.d").unwrap().count(), 1);
        assert_eq!(last_answer().as_deref(), Some("theirs"));
    });
}

#[test]
fn what_somebody_else_told_the_program_meanwhile_is_told_again() {
    const NAME: &str = "programs::what_somebody_else_told_the_program_meanwhile_is_told_again";
    with_program("nginx", NAME, in_debug_build, || {
        start();
        let order = plan(FILE, &server("one"), &server("two"));
        apply(&order).env("LASTACK_FAILPOINT", "file-swapped!").output().unwrap();
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("two"));
        run("kill", &["-HUP", &master().to_string()]);
        until("nginx has read what is only there for a while", || answer().as_deref() == Some("two"));
        ends(&mut fix(&["--log"]), 0);
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
        assert_eq!(last_answer().as_deref(), Some("one"));

        // Nobody told it: it keeps its worker.
        apply(&order).env("LASTACK_FAILPOINT", "file-swapped!").output().unwrap();
        let before = workers();
        ends(&mut fix(&["--log"]), 0);
        assert_eq!((workers(), answer().as_deref()), (before, Some("one")));

        // It ended meanwhile, and reads what is there when it is started again.
        apply(&order).env("LASTACK_FAILPOINT", "file-swapped!").output().unwrap();
        stop();
        ends(&mut fix(&["--log"]), 0);
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
        assert!(applies().iter().all(|apply| apply["outcome"] == "rolled-back"));
    });
}

/// A process of this name that reads, as far as its arguments tell, nginx's file, and does nothing.
fn stand_in(folder: &str, user: u32) -> std::process::Child {
    std::fs::create_dir_all(folder).unwrap();
    let program = format!("{folder}/nginx");
    std::fs::write(&program, "#!/bin/sh\nread line\n").unwrap();
    run("chmod", &["755", &program]);
    run("chown", &["-R", &user.to_string(), folder]);
    let mut command = Command::new(&program);
    command.args(["-c", "/etc/nginx/nginx.conf"]).uid(user).stdin(Stdio::piped());
    let child = command.spawn().unwrap();
    let name = format!("/proc/{}/comm", child.id());
    until("it is called so", || std::fs::read_to_string(&name).unwrap() == "nginx\n");
    child
}

#[test]
fn what_another_user_runs_is_not_started_and_not_in_the_way() {
    const NAME: &str = "programs::what_another_user_runs_is_not_started_and_not_in_the_way";
    with_program("nginx", NAME, in_sandbox, || {
        if has_one_user() {
            return;
        }
        start();
        let mut theirs = stand_in("/mnt/theirs", 1_000);
        let order = plan(FILE, &server("one"), &server("two"));
        ends(&mut apply(&order), 0);
        assert_eq!(last_answer().as_deref(), Some("two"));
        ends(&mut fix(&["--rollback", "last"]), 0);
        stop();
        refused(&apply(&order).output().unwrap(), "it runs as user 1000");
        theirs.kill().unwrap();
        theirs.wait().unwrap();

        // Their own nginx with their own file. Whoever tests that as root opens what it names, and runs what it loads.
        let (program, file, log) = ("/mnt/theirs/nginx", "/mnt/theirs/n.conf", "/mnt/theirs/error.log");
        std::fs::remove_file(program).unwrap();
        std::fs::copy("/usr/sbin/nginx", program).unwrap();
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path /mnt/theirs/{kind};"))
            .concat();
        let config = |answer: &str| {
            format!(
                "pid /mnt/theirs/pid;\nerror_log {log};\nevents {{}}\nhttp {{ access_log off; {paths}\n{}}}\n",
                server(answer)
            )
        };
        std::fs::write(file, config("one")).unwrap();
        run("chown", &["-R", "1000", "/mnt/theirs"]);
        let started = Command::new(program).args(["-c", file]).uid(1_000).gid(1_000).output().unwrap();
        until(&said(&started), || answer().as_deref() == Some("one"));
        std::fs::remove_file(log).unwrap();
        for owner in ["1000", "0"] {
            run("chown", &[owner, program]);
            let output = apply(&plan(file, &config("one"), &config("two"))).output().unwrap();
            refused(&output, "it runs as user 1000");
            assert!(!Path::new(log).exists(), "it was started by root");
        }
        // The same by root: others may put another program there.
        run("kill", &[std::fs::read_to_string("/mnt/theirs/pid").unwrap().trim()]);
        until("it has ended", || answer().is_none());
        run(program, &["-c", file, "-g", "user root root;"]);
        let output = apply(&plan(file, &config("one"), &config("two"))).output().unwrap();
        refused(&output, "others may change /mnt/theirs");
        assert_eq!(std::fs::read_to_string(file).unwrap(), config("one"));
        run("kill", &[std::fs::read_to_string("/mnt/theirs/pid").unwrap().trim()]);
    });
}

#[test]
fn a_program_that_cannot_be_told_is_not_taken_back() {
    const NAME: &str = "programs::a_program_that_cannot_be_told_is_not_taken_back";
    with_program("nginx", NAME, in_sandbox, || {
        start();
        ends(&mut apply(&plan(FILE, &server("one"), &server("two"))), 0);
        let mut second = stand_in("/mnt/second", 0);
        let said = ends(&mut fix(&["--rollback", "last"]), 1);
        assert!(said.contains("2 processes of nginx read this file"), "{said}");
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
        assert_eq!(answer().as_deref(), Some("two"));
        second.kill().unwrap();
        second.wait().unwrap();
        stop();
    });
}

#[test]
fn what_was_saved_just_before_a_crash_gets_its_place_back() {
    const NAME: &str = "programs::what_was_saved_just_before_a_crash_gets_its_place_back";
    with_program("nginx", NAME, in_debug_build, || {
        start();
        let beside = || {
            let entries = std::fs::read_dir("/etc/nginx/conf.d").unwrap();
            let hidden = |path: &std::path::PathBuf| path.to_string_lossy().contains("/.lastack-");
            entries.map(|entry| entry.unwrap().path()).find(hidden)
        };
        let theirs = server("theirs");
        let order = plan(FILE, &server("one"), &server("two"));
        for large in [false, true] {
            std::fs::write(FILE, server("one")).unwrap();
            apply(&order).env("LASTACK_FAILPOINT", "file-swapped!").output().unwrap();
            // As if it had been saved between the last look and the exchange.
            let text = if large { format!("{theirs}#{}\n", "x".repeat(3 << 19)) } else { theirs.clone() };
            std::fs::write(beside().unwrap(), &text).unwrap();
            let said = ends(&mut fix(&["--log"]), 0);
            assert!(said.contains("somebody else has made it something else"), "{said}");
            assert!(std::fs::read_to_string(FILE).unwrap() == text, "it is lost");
            assert_eq!(beside(), None);
        }
        // It was saved once more since.
        std::fs::write(FILE, server("one")).unwrap();
        apply(&order).env("LASTACK_FAILPOINT", "file-swapped!").output().unwrap();
        let side = beside().unwrap();
        std::fs::write(&side, &theirs).unwrap();
        std::fs::write(FILE, server("theirs too")).unwrap();
        let said = ends(&mut fix(&["--log"]), 0);
        let said: Vec<&str> = said.split_whitespace().collect();
        assert!(
            said.join(" ").contains(&format!("while it was replaced is in {}", side.display())),
            "{said:?}"
        );
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("theirs too"));
        assert_eq!(std::fs::read_to_string(side).unwrap(), theirs);
    });
}

#[test]
fn a_reload_that_fails_where_the_test_does_not_is_taken_back() {
    const NAME: &str = "programs::a_reload_that_fails_where_the_test_does_not_is_taken_back";
    with_program("nginx", NAME, in_sandbox, || {
        start();
        let taken = std::net::TcpListener::bind("127.0.0.1:8081").unwrap();
        let both = server("two").replace("8080;", "8080;\n\tlisten 127.0.0.1:8081;");
        let order = plan(FILE, &server("one"), &both);
        let output = apply(&order).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("goes on with what it had"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
        assert_eq!(last_answer().as_deref(), Some("one"));
        assert_eq!(applies().last().unwrap()["outcome"], "rolled-back");
        drop(taken);
        ends(&mut apply(&order), 0);
        assert_eq!(last_answer().as_deref(), Some("two"));
    });
}

#[test]
fn killed_anywhere_the_program_reads_what_is_there() {
    const NAME: &str = "programs::killed_anywhere_the_program_reads_what_is_there";
    with_program("nginx", NAME, in_debug_build, || {
        start();
        killed_anywhere(&Subject { program: "nginx", file: FILE, text: server, last_answer });
    });
}

#[test]
fn killed_anywhere_haproxys_workers_read_what_is_there() {
    const NAME: &str = "programs::killed_anywhere_haproxys_workers_read_what_is_there";
    with_program("haproxy", NAME, in_debug_build, || {
        haproxy::write();
        haproxy::start();
        killed_anywhere(&Subject {
            program: "haproxy",
            file: haproxy::FILE,
            text: haproxy::config,
            last_answer: haproxy::last_answer,
        });
    });
}

/// A program that runs and answers `one`, and its file.
struct Subject {
    program: &'static str,
    file: &'static str,
    /// The file with which it answers so.
    text: fn(&str) -> String,
    last_answer: fn() -> Option<String>,
}

/// Kills the worker, and the worker and who started it, at each point that an apply passes.
fn killed_anywhere(subject: &Subject) {
    let Subject { program, file, text, last_answer } = *subject;
    let inode = || std::fs::metadata(file).unwrap().ino();
    let beside = || std::fs::read_dir(Path::new(file).parent().unwrap()).unwrap().count();
    let order = plan_for(program, file, &text("one"), &text("two"));
    ends(apply(&order).env("LASTACK_FAILPOINT_LOG", "/mnt/points"), 0);
    until("it has been taken", || answer().as_deref() == Some("two"));
    ends(&mut fix(&["--rollback", "last"]), 0);
    until("it has been taken back", || answer().as_deref() == Some("one"));
    let points = std::fs::read_to_string("/mnt/points").unwrap();
    let points: std::collections::BTreeSet<&str> = points.lines().collect();
    for needed in ["told", "reloaded", "file-swapped"] {
        assert!(points.contains(needed), "{needed} is not passed: {points:?}");
    }
    for point in points {
        for whom in ["", "!"] {
            let at = format!("{point}{whom}");
            std::fs::remove_dir_all(format!("{WORK}/state")).unwrap();
            let before = inode();
            apply(&order).env("LASTACK_FAILPOINT", &at).output().unwrap();
            ends(&mut fix(&["--log"]), 0);
            let kept = applies()
                .last()
                .is_some_and(|apply| apply["outcome"] == "kept" && apply["takes_back"].is_null());
            let expected = if kept { "two" } else { "one" };
            assert_eq!(std::fs::read_to_string(file).unwrap(), text(expected), "killed at {at}");
            assert_eq!(beside(), 1, "killed at {at}: something is left beside it");
            assert_eq!(inode() == before, !kept, "killed at {at}: not the very file that was there");
            assert_eq!(last_answer().as_deref(), Some(expected), "killed at {at}: not what is there");
            if kept {
                ends(&mut fix(&["--rollback", "last"]), 0);
                assert_eq!(last_answer().as_deref(), Some("one"), "taken back after {at}");
            }
        }
    }
}

#[test]
fn haproxy_takes_its_file_by_its_master() {
    const NAME: &str = "programs::haproxy_takes_its_file_by_its_master";
    const CONFIG: &str = haproxy::FILE;
    with_program("haproxy", NAME, in_sandbox, || {
        let config = haproxy::config;
        let plan = |to: &str| plan_for("haproxy", CONFIG, &config("one"), to);
        haproxy::write();
        let file = plan(&config("two"));
        refused(&apply(&file).output().unwrap(), "haproxy does not run here");
        haproxy::start();
        ends(&mut apply(&file), 0);
        until("haproxy has taken it", || answer().as_deref() == Some("two"));
        ends(&mut fix(&["--rollback", "last"]), 0);
        until("haproxy has taken it back", || answer().as_deref() == Some("one"));

        // What it cannot bind its test does not find.
        let taken = std::net::TcpListener::bind("127.0.0.1:8081").unwrap();
        let both = config("two").replace("8080\n", "8080\n\tbind 127.0.0.1:8081\n");
        let file = plan(&both);
        let output = apply(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("goes on with what it had"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(CONFIG).unwrap(), config("one"));
        drop(taken);
        let file = plan("nonsense\n");
        let output = apply(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("unknown keyword 'nonsense'"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(CONFIG).unwrap(), config("one"));
    });
}
