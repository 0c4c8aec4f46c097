//! Files of programs: replaced, tested by the program, and taken by it; and all of that back.

use crate::sandbox::{WORK, applies, ends, fix, in_sandbox, run, said, until};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Output};

const FILE: &str = "/etc/nginx/conf.d/app.conf";

fn server(answer: &str) -> String {
    format!("server {{\n\tlisten 127.0.0.1:8080;\n\tlocation / {{ return 200 \"{answer}\"; }}\n}}\n")
}

/// An nginx that answers `one`.
fn start_nginx() {
    std::fs::create_dir_all("/etc/nginx/conf.d").unwrap();
    std::fs::write("/etc/passwd", "root:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write("/etc/group", "root:x:0:\n").unwrap();
    let main = format!(
        "user root root;\npid {WORK}/nginx.pid;\nerror_log {WORK}/error.log;\nworker_processes 1;\nevents {{}}\n\
         http {{ access_log off; include conf.d/*.conf;\n{} }}\n",
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {WORK}/{kind};"))
            .concat()
    );
    std::fs::write("/etc/nginx/nginx.conf", main).unwrap();
    std::fs::write(FILE, server("one")).unwrap();
    std::fs::set_permissions(FILE, std::fs::Permissions::from_mode(0o604)).unwrap();
    run("nginx", &["-c", "/etc/nginx/nginx.conf"]);
    until("nginx answers", || answer().as_deref() == Some("one"));
}

fn stop_nginx() {
    run("nginx", &["-s", "stop"]);
    until("nginx has ended", || !std::path::Path::new(&format!("{WORK}/nginx.pid")).exists());
    until("nginx has ended", || answer().is_none());
}

/// What nginx answers.
fn answer() -> Option<String> {
    let mut stream = TcpStream::connect("127.0.0.1:8080").ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split("\r\n\r\n").nth(1).map(str::to_owned)
}

/// The processes that have this one as parent, and are not ended.
fn children(parent: u32) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields.first().is_some_and(|state| *state != "Z") && fields.get(1) == Some(&&*parent.to_string())
    };
    pids.filter(is_child).collect()
}

/// nginx's master.
fn master() -> u32 {
    std::fs::read_to_string(format!("{WORK}/nginx.pid")).unwrap().trim().parse().unwrap()
}

fn workers() -> Vec<u32> {
    children(master())
}

/// What the one worker answers that is left when the others have ended.
fn last_answer() -> Option<String> {
    until("one worker is left", || workers().len() == 1);
    answer()
}

/// A plan that replaces the file.
fn plan(file: &str, from: &str, to: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = format!(
        "schema = \"lastack.plan/1\"\nhost = \"{}\"\n[[remedy]]\napply = true\nname = \"a-test\"\n\
         rule = \"upstream-keepalive-off\"\nnetns = \"pid:1\"\napplicability = \"safe\"\nsummary = \"Test it\"\n\
         [[remedy.change]]\nfile = \"{file}\"\nprogram = \"nginx\"\nfrom = '''\n{from}'''\nto = '''\n{to}'''\n",
        host.trim()
    );
    let place = format!("{WORK}/plan.toml");
    std::fs::write(&place, text).unwrap();
    place
}

fn apply(order: &str) -> Command {
    fix(&["--plan", order, "--apply", "--yes", "--guard", "0"])
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(2), "{}", said(output));
    assert!(said(output).contains(why), "{}", said(output));
}

fn has_nginx(name: &str) -> bool {
    let has = Command::new("nginx").arg("-v").output().is_ok();
    if !has {
        namespaced::skip(name, "nginx is not installed");
    }
    has
}

#[test]
fn a_file_is_tested_and_taken_and_goes_back() {
    const NAME: &str = "programs::a_file_is_tested_and_taken_and_goes_back";
    if !has_nginx(NAME) {
        return;
    }
    in_sandbox(NAME, || {
        start_nginx();
        let (mode, inode) = (std::fs::metadata(FILE).unwrap().mode(), std::fs::metadata(FILE).unwrap().ino());
        let order = plan(FILE, &server("one"), &server("two"));
        let page = ends(&mut fix(&["--plan", &order]), 1);
        let shown = |line: &str| page.lines().any(|other| other.trim_start().starts_with(line));
        assert!(shown("- ") && shown("+ ") && page.contains("return 200 \"two\""), "{page}");
        ends(&mut apply(&order), 0);
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
        stop_nginx();
        refused(&apply(&order).output().unwrap(), "nginx does not run here");
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
    });
}

#[test]
fn what_somebody_else_told_the_program_meanwhile_is_told_again() {
    const NAME: &str = "programs::what_somebody_else_told_the_program_meanwhile_is_told_again";
    if !has_nginx(NAME) {
        return;
    }
    if !cfg!(debug_assertions) {
        namespaced::skip(NAME, "a release build has no failpoints");
        return;
    }
    in_sandbox(NAME, || {
        start_nginx();
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
        stop_nginx();
        ends(&mut fix(&["--log"]), 0);
        assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
        assert!(applies().iter().all(|apply| apply["outcome"] == "rolled-back"));
    });
}

#[test]
fn a_reload_that_fails_where_the_test_does_not_is_taken_back() {
    const NAME: &str = "programs::a_reload_that_fails_where_the_test_does_not_is_taken_back";
    if !has_nginx(NAME) {
        return;
    }
    in_sandbox(NAME, || {
        start_nginx();
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
    if !has_nginx(NAME) {
        return;
    }
    if !cfg!(debug_assertions) {
        namespaced::skip(NAME, "a release build has no failpoints");
        return;
    }
    in_sandbox(NAME, || {
        start_nginx();
        let inode = || std::fs::metadata(FILE).unwrap().ino();
        let order = plan(FILE, &server("one"), &server("two"));
        ends(apply(&order).env("LASTACK_FAILPOINT_LOG", "/mnt/points"), 0);
        until("nginx has taken it", || answer().as_deref() == Some("two"));
        ends(&mut fix(&["--rollback", "last"]), 0);
        until("nginx has taken it back", || answer().as_deref() == Some("one"));
        let text = std::fs::read_to_string("/mnt/points").unwrap();
        let points: std::collections::BTreeSet<&str> = text.lines().collect();
        assert!(points.contains("reloaded") && points.contains("file-swapped"), "{points:?}");
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
                assert_eq!(std::fs::read_to_string(FILE).unwrap(), server(expected), "killed at {at}");
                assert_eq!(std::fs::read_dir("/etc/nginx/conf.d").unwrap().count(), 1, "killed at {at}");
                assert_eq!(inode() == before, !kept, "killed at {at}: not the very file that was there");
                assert_eq!(last_answer().as_deref(), Some(expected), "killed at {at}: not what is there");
                if kept {
                    ends(&mut fix(&["--rollback", "last"]), 0);
                    assert_eq!(last_answer().as_deref(), Some("one"), "taken back after {at}");
                }
            }
        }
    });
}

#[test]
fn haproxy_takes_its_file_by_its_master() {
    const NAME: &str = "programs::haproxy_takes_its_file_by_its_master";
    const CONFIG: &str = "/etc/haproxy/haproxy.cfg";
    if Command::new("haproxy").arg("-v").output().is_err() {
        namespaced::skip(NAME, "haproxy is not installed");
        return;
    }
    in_sandbox(NAME, || {
        std::fs::create_dir_all("/etc/haproxy").unwrap();
        let config = |answer: &str| {
            format!(
                "defaults\n\tmode http\n\ttimeout client 5s\n\ttimeout server 5s\n\ttimeout connect 5s\n\
                 frontend app\n\tbind 127.0.0.1:8080\n\thttp-request return status 200 content-type text/plain string {answer}\n"
            )
        };
        std::fs::write(CONFIG, config("one")).unwrap();
        let file = plan(CONFIG, &config("one"), &config("two"));
        let of_haproxy = |file: &str| {
            let text = std::fs::read_to_string(file).unwrap().replace("\"nginx\"", "\"haproxy\"");
            std::fs::write(file, text).unwrap();
        };
        of_haproxy(&file);
        refused(&apply(&file).output().unwrap(), "haproxy does not run here");
        run("haproxy", &["-W", "-D", "-f", CONFIG]);
        until("haproxy answers", || answer().as_deref() == Some("one"));
        ends(&mut apply(&file), 0);
        until("haproxy has taken it", || answer().as_deref() == Some("two"));
        ends(&mut fix(&["--rollback", "last"]), 0);
        until("haproxy has taken it back", || answer().as_deref() == Some("one"));

        // What it cannot bind its test does not find.
        let taken = std::net::TcpListener::bind("127.0.0.1:8081").unwrap();
        let both = config("two").replace("8080\n", "8080\n\tbind 127.0.0.1:8081\n");
        let file = plan(CONFIG, &config("one"), &both);
        of_haproxy(&file);
        let output = apply(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("goes on with what it had"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(CONFIG).unwrap(), config("one"));
        drop(taken);
        let file = plan(CONFIG, &config("one"), "nonsense\n");
        of_haproxy(&file);
        let output = apply(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("unknown keyword 'nonsense'"), "{}", said(&output));
        assert_eq!(std::fs::read_to_string(CONFIG).unwrap(), config("one"));
    });
}
