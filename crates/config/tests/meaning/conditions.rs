//! HAProxy itself judges what conditions mean, where it is installed.

use crate::programs::refuses;
use config::haproxy::{Tree, evaluate};
use evidence::Said;

/// What `haproxy -v` says; none if it is not installed.
fn version() -> Option<String> {
    refuses("haproxy", "haproxy_reads_the_same_branch", b"")?;
    let mut command = std::process::Command::new("haproxy");
    let output = command.arg("-v").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn threads(text: &str, version: &str) -> Said<u64> {
    let configuration = evaluate(&[("haproxy.cfg".to_owned(), Tree::parse(text))], Some(version));
    configuration.haproxy.unwrap().threads
}

/// HAProxy itself says which of two branches it reads: it refuses a word that it does not know.
#[test]
fn haproxy_reads_the_same_branch() {
    const ATOMS: [&str; 14] = [
        "1",
        "0",
        "-2",
        "!1",
        "defined(A)",
        "defined(B)",
        "!defined(C)",
        "streq(\"$A\",x y)",
        "strneq(\"${D-z}\",z)",
        "streq(\"$C\",)",
        "version_atleast(2.4)",
        "version_before(2.4.1)",
        "version_atleast(99)",
        "feature(OPENSSL)",
    ];
    let Some(version) = version() else { return };
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    let mut decided = 0;
    for _ in 0..60 {
        let mut condition = ATOMS[next(ATOMS.len())].to_owned();
        for _ in 0..next(4) {
            let (operator, atom) = ([" && ", " || ", "||"][next(3)], ATOMS[next(ATOMS.len())]);
            condition = match next(3) {
                0 => format!("({condition}){operator}{atom}"),
                1 => format!("!({condition} ){operator} {atom}"),
                _ => format!("{condition}{operator}{atom}"),
            };
        }
        let text = format!(
            "global\n setenv A \"x y\"\n presetenv B 1\n unsetenv C\n presetenv D z\n.if {condition}\n retries-yes\n.else\n \
             retries-no\n.endif\n"
        );
        let read_as = text.replace("retries-yes", "nbthread 1").replace("retries-no", "nbthread 2");
        let threads = threads(&read_as, &version);
        let refused = refuses("haproxy", "haproxy_reads_the_same_branch", text.as_bytes()).unwrap();
        let taken = match (refused.contains("retries-yes"), refused.contains("retries-no")) {
            (true, false) => 1,
            (false, true) => 2,
            _ => panic!("{condition}: {refused}"),
        };
        if let Some(known) = threads.value() {
            decided += 1;
            assert_eq!(*known, taken, "{condition}");
        }
    }
    assert!(decided > 20, "{decided} were decided");
}
