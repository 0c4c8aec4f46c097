//! A HAProxy of the test's own, with a master and one file that plans replace.

use crate::nginx::{answer, children};
use crate::sandbox::{WORK, run, until};

pub(crate) const FILE: &str = "/etc/haproxy/haproxy.cfg";

pub(crate) fn config(answer: &str) -> String {
    format!(
        "defaults\n\tmode http\n\ttimeout client 5s\n\ttimeout server 5s\n\ttimeout connect 5s\n\
         frontend app\n\tbind 127.0.0.1:8080\n\thttp-request return status 200 content-type text/plain string {answer}\n"
    )
}

/// Writes its file, which answers `one`.
pub(crate) fn write() {
    std::fs::create_dir_all("/etc/haproxy").unwrap();
    std::fs::write(FILE, config("one")).unwrap();
}

/// A HAProxy that answers what its file says.
pub(crate) fn start() {
    run("haproxy", &["-W", "-D", "-p", &format!("{WORK}/haproxy.pid"), "-f", FILE]);
    until("haproxy answers", || answer().as_deref() == Some("one"));
}

fn workers() -> Vec<u32> {
    let text = std::fs::read_to_string(format!("{WORK}/haproxy.pid")).unwrap_or_default();
    text.split_whitespace().next().and_then(|pid| pid.parse().ok()).map(children).unwrap_or_default()
}

/// What the one worker answers that is left when the others have ended.
pub(crate) fn last_answer() -> Option<String> {
    until("one worker is left", || workers().len() == 1);
    answer()
}
