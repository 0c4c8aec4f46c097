//! An nginx of the test's own, with one file that plans replace.

use crate::sandbox::{WORK, run, until};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

pub(crate) const FILE: &str = "/etc/nginx/conf.d/app.conf";

/// What stands before its file. Without it a test of that file fails: here is nobody but root.
const BEFORE: &str = "user root root; worker_rlimit_core 0;";

pub(crate) fn server(answer: &str) -> String {
    format!("server {{\n\tlisten 127.0.0.1:8080;\n\tlocation / {{ return 200 \"{answer}\"; }}\n}}\n")
}

/// An nginx that answers `one`.
pub(crate) fn start() {
    start_as("nginx");
}

/// The same by another name of the program.
pub(crate) fn start_as(program: &str) {
    std::fs::create_dir_all("/etc/nginx/conf.d").unwrap();
    std::fs::write("/etc/passwd", "root:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write("/etc/group", "root:x:0:\n").unwrap();
    let main = format!(
        "pid {WORK}/nginx.pid;\nerror_log {WORK}/error.log;\nworker_processes 1;\nevents {{}}\n\
         http {{ access_log off; include conf.d/*.conf;\n{} }}\n",
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {WORK}/{kind};"))
            .concat()
    );
    std::fs::write("/etc/nginx/nginx.conf", main).unwrap();
    std::fs::write(FILE, server("one")).unwrap();
    std::fs::set_permissions(FILE, std::fs::Permissions::from_mode(0o604)).unwrap();
    begin(program);
    until("nginx answers", || answer().as_deref() == Some("one"));
}

/// With the files that are there.
pub(crate) fn begin(program: &str) {
    run(program, &["-c/etc/nginx/nginx.conf", "-g", BEFORE]);
}

pub(crate) fn stop() {
    run("nginx", &["-s", "stop", "-g", BEFORE]);
    until("nginx has ended", || !std::path::Path::new(&format!("{WORK}/nginx.pid")).exists());
    until("nginx has ended", || answer().is_none());
}

/// What nginx answers.
pub(crate) fn answer() -> Option<String> {
    let mut stream = TcpStream::connect("127.0.0.1:8080").ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split("\r\n\r\n").nth(1).map(str::to_owned)
}

/// The processes that have this one as parent, and are not ended.
pub(crate) fn children(parent: u32) -> Vec<u32> {
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
pub(crate) fn master() -> u32 {
    std::fs::read_to_string(format!("{WORK}/nginx.pid")).unwrap().trim().parse().unwrap()
}

pub(crate) fn workers() -> Vec<u32> {
    children(master())
}

/// What the one worker answers that is left when the others have ended.
pub(crate) fn last_answer() -> Option<String> {
    until("one worker is left", || workers().len() == 1);
    answer()
}

/// A plan that replaces a file of nginx.
pub(crate) fn plan(file: &str, from: &str, to: &str) -> String {
    plan_for("nginx", file, from, to)
}

/// A plan that replaces a file of a program.
pub(crate) fn plan_for(program: &str, file: &str, from: &str, to: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = format!(
        "schema = \"lastack.plan/1\"\nhost = \"{}\"\n[[remedy]]\napply = true\nname = \"a-test\"\n\
         rule = \"upstream-keepalive-off\"\nnetns = \"pid:1\"\napplicability = \"unsafe\"\nsummary = \"Test it\"\n\
         [[remedy.change]]\nfile = \"{file}\"\nprogram = \"{program}\"\nfrom = '''\n{from}'''\nto = '''\n{to}'''\n",
        host.trim()
    );
    let place = format!("{WORK}/plan.toml");
    std::fs::write(&place, text).unwrap();
    place
}
