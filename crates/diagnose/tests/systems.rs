//! No advice for Linux is given to a host that is not Linux: tried with every fixture of every rule.
#![allow(clippy::disallowed_methods, reason = "the fixtures are files; the crate itself opens none")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use diagnose::{Change, Diagnosis, Finding};
use evidence::{Case, System};
use std::collections::BTreeMap;
use std::path::Path;

/// What only Linux has, in whatever words a rule may speak of it.
const OF_LINUX: [&str; 20] = [
    "/proc",
    "net.ipv4",
    "net.core",
    "net.netfilter",
    "ip_local",
    "tcp_",
    "TcpExt",
    "nstat",
    "ss -",
    "sock_diag",
    "ip netns",
    "nsenter",
    "bpftrace",
    "strace",
    "conntrack",
    "iptables",
    "nft",
    "Linux",
    "IP_BIND_ADDRESS_NO_PORT",
    "lastack doctor --for",
];

fn fixtures() -> Vec<(String, Case)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut all = Vec::new();
    for folder in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let case = Case::from_bytes(&std::fs::read(&path).unwrap()).unwrap();
                all.push((path.file_name().unwrap().to_string_lossy().into_owned(), case));
            }
        }
    }
    assert!(all.len() > 50, "{}", all.len());
    all
}

/// Every text of a finding.
fn texts(finding: &Finding) -> Vec<String> {
    let mut all = vec![finding.claim.clone()];
    all.extend(finding.next.clone());
    for evidence in &finding.evidence {
        all.extend([evidence.source.clone(), evidence.says.clone()]);
    }
    for remedy in &finding.remedies {
        all.extend([remedy.summary.clone(), remedy.risk.clone(), remedy.expected.clone()]);
        all.extend(remedy.guards.clone());
        all.extend(remedy.changes.iter().map(|change| match change {
            Change::Setting { setting, .. } | Change::AtBoot { setting, .. } => setting.clone(),
            Change::Program(change) => change.what.clone(),
        }));
    }
    for avoid in &finding.avoid {
        all.extend([avoid.what.clone(), avoid.because.clone()]);
    }
    all
}

fn diagnosed(system: System) -> Vec<(String, Diagnosis)> {
    fixtures()
        .into_iter()
        .map(|(name, mut case)| {
            case.set_system(system);
            (name, diagnose::diagnose(&case))
        })
        .collect()
}

#[test]
fn nothing_of_linux_is_said_of_other_systems() {
    for system in [System::Windows, System::Macos, System::Other] {
        let mut fired = BTreeMap::<&str, u32>::new();
        for (name, diagnosis) in diagnosed(system) {
            for finding in &diagnosis.findings {
                *fired.entry(finding.rule).or_default() += 1;
                // How much a TIME-WAIT takes is known of Linux.
                let sized = [" kB", " MB"].into_iter().find(|unit| finding.claim.contains(unit));
                assert_eq!(sized, None, "{system:?}, {name}: {}", finding.claim);
                for text in texts(finding) {
                    let word = OF_LINUX.into_iter().find(|word| text.contains(word));
                    assert_eq!(word, None, "{system:?}, {name}, {}: {text}", finding.rule);
                }
            }
            for unknown in &diagnosis.unknown {
                let word = ["sysctl", "nstat", "net.ipv4", "ss -", "/proc"]
                    .into_iter()
                    .find(|word| unknown.because.contains(word) || unknown.how_to_see.contains(word));
                assert_eq!(word, None, "{system:?}, {name}: {unknown:?}");
            }
        }
        // The states of sockets, and packets, mean the same everywhere.
        for rule in ["time-wait-at-client", "time-wait-at-server", "close-wait-leak", "client-without-pool"] {
            assert!(fired.contains_key(rule), "{system:?}: {rule} never fired; {fired:?}");
        }
        for rule in ["time-wait-recycle", "reuse-without-effect", "conntrack-full"] {
            assert!(!fired.contains_key(rule), "{system:?}: {rule} is about Linux");
        }
    }
}

#[test]
fn windows_is_given_its_own_means() {
    let mut rules = BTreeMap::<&str, Vec<String>>::new();
    for (_, diagnosis) in diagnosed(System::Windows) {
        for finding in diagnosis.findings {
            assert!(
                finding.remedies.iter().all(|remedy| remedy.changes.is_empty()),
                "no program of ours does it"
            );
            let ranges = finding.remedies.iter().filter(|remedy| remedy.summary.contains("range of"));
            assert!(ranges.count() <= 1, "{finding:?}");
            rules.entry(finding.rule).or_default().extend(texts(&finding));
        }
    }
    let says = |rule: &str, word: &str| rules[rule].iter().any(|text| text.contains(word));
    assert!(says("time-wait-at-client", "netsh int ipv4 set dynamicport tcp start=10000 num=55536"));
    let linux = rules.values().flatten().find(|text| text.contains("EADDRNOTAVAIL"));
    assert_eq!(linux, None, "Winsock has other names");
    assert!(says("time-wait-at-client", "TcpTimedWaitDelay"));
    assert!(says("listener-in-ephemeral-range", "excludedportrange"));
    assert!(says("close-wait-leak", "netstat -ano"));
}
