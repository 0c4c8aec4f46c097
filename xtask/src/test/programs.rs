//! Programs that the tests run beside ours, and how a machine gets them.

use super::step::Outcome;
use crate::debian::{self, found};
use std::path::Path;

/// A program, the Debian package it is in, and what the tests do with it.
const PROGRAMS: [(&str, &str, &str); 18] = [
    ("ss", "iproute2", "counts are compared with its counts"),
    ("ip", "iproute2", "sets up network namespaces"),
    ("tc", "iproute2", "takes the queue off a device"),
    ("netstat", "net-tools", "its tables are read as people paste them"),
    ("nft", "nftables", "turns connection tracking on, and drops segments"),
    ("unshare", "util-linux", "makes network namespaces"),
    ("nsenter", "util-linux", "enters network namespaces"),
    ("setpriv", "util-linux", "runs a stage as a user without privilege"),
    ("sysctl", "procps", "settings are compared with what it prints"),
    ("tcpdump", "tcpdump", "captures the links of a stage"),
    ("ansible-playbook", "ansible-core", "rolls a plan out over hosts that are namespaces"),
    ("ansible-lint", "ansible-lint", "judges the playbook"),
    ("ssh", "openssh-client", "begins sessions that are lost while `fix` changes something"),
    ("ssh-keygen", "openssh-client", "makes the keys of these sessions"),
    ("sshd", "openssh-server", "has the other end of these sessions"),
    ("python3", "python3", "stands in for a HAProxy that is not packaged here"),
    ("nginx", "nginx", "is the proxy of scenarios that name it, and judges edited configuration"),
    ("haproxy", "haproxy", "is the proxy of scenarios that name it, and judges edited configuration"),
];

/// A file of a package that is no program: the examples of nginx's documentation, which are read and written back. A
/// system may leave documentation out whatever is installed; the test that reads them then says so.
const EXAMPLES: (&str, &str) = ("/usr/share/doc/nginx/examples/http", "nginx-doc");

/// Installs what is missing if this is root on Debian and it may; says in one line what stays missing.
pub(super) fn ensure(may_install: bool) -> anyhow::Result<Outcome> {
    let mut missing = missing();
    let has_examples = Path::new(EXAMPLES.0).is_file();
    if missing.is_empty() && has_examples {
        return Ok(Outcome::Passed);
    }
    let root = rustix::process::geteuid().is_root();
    if may_install && root && found("apt-get") {
        let mut packages: Vec<_> = missing.iter().map(|(_, package, _)| *package).collect();
        packages.dedup();
        packages.extend((!has_examples).then_some(EXAMPLES.1));
        println!("installing {}", packages.join(", "));
        debian::install(&packages)?;
        missing = self::missing();
    }
    if missing.is_empty() {
        return Ok(Outcome::Passed);
    }
    let list: Vec<_> = missing
        .iter()
        .map(|(program, package, why)| format!("{program} (package {package}; {why})"))
        .collect();
    Ok(Outcome::Skipped(format!("not installed: {}", list.join(", "))))
}

fn missing() -> Vec<(&'static str, &'static str, &'static str)> {
    PROGRAMS.into_iter().filter(|(program, ..)| !found(program)).collect()
}
