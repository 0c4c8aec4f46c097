//! `lastack collect`: one file with everything, and none of its addresses if that is asked for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::{Case, Unseen};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    for variable in ["COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"] {
        command.env_remove(variable);
    }
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn fine(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

fn read(file: &Path) -> Case {
    Case::from_bytes(&std::fs::read(file).unwrap()).unwrap()
}

fn cases_in(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "case")).collect()
}

#[test]
fn this_host_is_collected_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), &["collect", "--for", "0", "--json"]);
    let contents: Value = serde_json::from_str(fine(&said)).unwrap();
    let files = cases_in(folder.path());
    assert_eq!(files.len(), 1, "without --save there is one file, here");
    let case = read(&files[0]);
    assert_eq!(contents["schema"], "lastack.contents/1");
    assert_eq!(contents["file"], files[0].file_name().unwrap().to_str().unwrap());
    assert_eq!(contents["bytes"], std::fs::metadata(&files[0]).unwrap().len());
    assert_eq!(contents["namespaces"].as_array().unwrap().len(), case.namespaces.len());
    assert_eq!(contents["coverage"].as_array().unwrap().len(), case.gaps.len());
    assert_eq!(contents["stand_ins"], Value::Null);
    // The kernel was asked for the ports that bind() took, unless the sockets of a namespace could not be read at all.
    let unread = case.gaps.iter().any(|gap| gap.unseen == Unseen::Sockets);
    assert!(unread || case.namespaces.iter().all(|namespace| namespace.sockets.bound.named.is_some()));
    let opened = run(folder.path(), &["doctor", "--json", "--case", files[0].to_str().unwrap()]);
    assert!(opened.status.code().unwrap() < 2);
}

#[test]
fn what_is_there_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, dangling) = (folder.path().join("mine"), folder.path().join("dangling"));
    std::fs::write(&mine, "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    for file in ["mine", "dangling"] {
        let refused = run(folder.path(), &["collect", "--for", "0", "--save", file]);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(said, format!("lastack: {file}: is there already; name another file\n"));
    }
    assert_eq!(std::fs::read(&mine).unwrap(), b"mine");
    assert!(dangling.symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
}

const TICKET: &str = "\
$ hostname
db7.example.com
$ ss -tan
State Recv-Q Send-Q Local Address:Port Peer Address:Port
ESTAB 0 0 10.20.30.40:51034 [2001:db8:7::9]:5432
TIME-WAIT 0 0 10.20.30.40:51035 192.0.2.77:80
LISTEN 0 128 127.0.0.1:80 0.0.0.0:*
";

const NGINX: &str = "\
events {}
http {
    upstream ip-10-20-30-40 { server 192.0.2.77:80; server [2001:DB8:7::9]:80; keepalive 4; }
    server { listen 10.20.30.40:80; server_name db7.example.com; location / {
        proxy_pass http://ip-10-20-30-40; proxy_bind 10.20.30.40; } }
}
";

#[test]
fn no_address_and_no_host_is_left_in_a_redacted_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("10.20.30.40.txt"), TICKET).unwrap();
    std::fs::write(folder.path().join("nginx.conf"), NGINX).unwrap();
    let source = ["--from", "10.20.30.40.txt", "--nginx", "nginx.conf"];
    let plain = run(folder.path(), &[&["collect", "--save", "plain.case"], &source[..]].concat());
    assert!(fine(&plain).contains("of db7.example.com"), "{}", fine(&plain));
    let said = run(
        folder.path(),
        &[&["collect", "--save", "r.case", "--redact", "addresses"], &source[..]].concat(),
    );
    let page = fine(&said);
    assert!(
        page.contains("3 addresses have stand-ins") && page.contains("lastack doctor --case r.case"),
        "{page}"
    );
    // A redacted copy of a case that was saved before says the same.
    fine(&run(
        folder.path(),
        &["collect", "--case", "plain.case", "--save", "again.case", "--redact", "addresses"],
    ));
    for file in ["r.case", "again.case"] {
        let case = read(&folder.path().join(file));
        let json = serde_json::to_string(&case).unwrap().to_lowercase();
        for hidden in ["10.20.30.40", "10-20-30-40", "192.0.2.77", "2001:db8", "db7"] {
            assert!(!json.contains(hidden) && !page.contains(hidden), "{hidden} is left in {file}: {json}");
        }
        let sockets = &case.namespaces[0].sockets;
        let nginx = case.configurations[0].nginx.as_ref().unwrap();
        let peer = sockets.groups.iter().find(|group| group.states.of(tcp::State::TimeWait) == 1).unwrap();
        assert_eq!(peer.remote.to_string(), nginx.upstreams[0].servers[0].address, "they still meet");
        assert_eq!(
            nginx.passes[0].bind.as_ref().unwrap().value().cloned(),
            peer.local.address.map(|at| at.to_string())
        );
        assert_eq!(sockets.listeners[0].address.to_string(), "127.0.0.1:80");
        assert_eq!(case.gaps[0].unseen, Unseen::Addresses);
    }
}
