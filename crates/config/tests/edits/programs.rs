//! The programs themselves judge the results, where they are installed.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

fn skip(name: &str, reason: &str) {
    eprintln!("SKIP {name}: {reason}");
    if let Some(path) = std::env::var_os("LASTACK_SKIP_LOG") {
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        log.write_all(format!("{name}\t{reason}\n").as_bytes()).unwrap();
    }
}

fn installed(program: &str) -> bool {
    let paths = std::env::var("PATH").unwrap_or_default();
    paths.split(':').chain(["/usr/sbin"]).any(|folder| Path::new(folder).join(program).is_file())
}

/// What `nginx -t` or `haproxy -c` says of a configuration, empty if it takes it; none if the program is not installed.
pub(crate) fn refuses(program: &str, name: &str, text: &[u8]) -> Option<String> {
    if !installed(program) {
        skip(name, &format!("the package {program} is not installed"));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("configuration");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    if program == "nginx" {
        command
            .args(["-t", "-q", "-g", "pid nginx.pid; error_log stderr;", "-p"])
            .arg(folder.path())
            .arg("-c");
    } else {
        command.args(["-c", "-f"]);
    }
    let output = command.arg(&file).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() { String::new() } else { said })
}
