//! Files of `sysctl.d`.

use crate::{folder, found, lint, text};
use serde_json::Value;

/// systemd and procps write what stands behind a value, and the kernel reads up to the blank.
#[test]
fn folklore_of_sysctl_is_read_as_the_kernel_reads_it() {
    let text = "net.ipv4.tcp_tw_recycle = 0 # never\nnet.ipv4.tcp_fin_timeout = 90 # was 60\nnet.ipv4.tcp_rfc1337 = 1\n\
                net.ipv4.tcp_timestamps = 0 # faster\nnet.ipv4.tcp_max_tw_buckets = 0x1388\n\
                net.core.somaxconn = 1024 # more\nnet.core.somaxconn = 1024\n";
    let folder = folder(&[
        ("90.conf", text),
        ("91.conf", "net.ipv4.tcp_tw_reuse = 1 # ports\n"),
        (
            "92.conf",
            "net.ipv4.tcp_tw_recycle = 1# x\nnet.ipv4.tcp_rfc1337 = 0\nnet.ipv4.tcp_timestamps = 1\n",
        ),
    ]);
    let sorted = |files: &[&str]| {
        let output = lint(folder.path(), &[files, &["--sarif", "--of", "sysctl"]].concat());
        let mut found = found(&output);
        found.sort();
        found
    };
    let alone = [
        "note reuse-without-effect 90.conf:4",
        "note syn-meets-time-wait 90.conf:3",
        "note time-wait-table-small 90.conf:5",
        "warning fin-timeout-misread 90.conf:2",
    ];
    assert_eq!(sorted(&["90.conf"]), alone);
    assert!(sorted(&["90.conf", "91.conf"]).contains(&"warning reuse-without-effect 91.conf:1".to_owned()));
    assert_eq!(sorted(&["92.conf"]), ["note setting-not-durable 92.conf:1"]);
}

#[test]
fn lines_that_the_kernel_refuses_or_does_not_have_are_notes() {
    let text = "net.ipv4.ip_local_port_range = 60999 32768\nnet.core.somaxconn = 1024\nnet.core.somaxconn = 4096# x\n\
                net.ipv4.tcp_tw_recyle = 1\nnet.ipv4.tcp_tw_reuse = 3\nnet.ipv4.tcp_retries1 = 3\n\
                net.ipv4.ip_conntrack_max = 65536\nnet.ipv4.netfilter.ip_conntrack_tcp_timeout_time_wait = 60\n\
                net.netfilter.nf_conntrack_max = 65536\nnet.ipv4.tcp_congestion_control = bbr\n";
    let folder = folder(&[
        ("90.conf", text),
        ("91.conf", "net.ipv4.ip_local_port_range = 1000 65000\n"),
        ("92.conf", "net.ipv4.ip_unprivileged_port_start = 0\n"),
    ]);
    let output = lint(folder.path(), &["90.conf", "--sarif"]);
    assert_eq!(output.status.code(), Some(0));
    let mut notes = found(&output);
    notes.sort();
    assert_eq!(
        notes,
        [
            "note conntrack-full 90.conf:7",
            "note conntrack-full 90.conf:8",
            "note setting-not-durable 90.conf:1",
            "note setting-not-durable 90.conf:3",
            "note setting-not-durable 90.conf:4",
            "note setting-not-durable 90.conf:5",
        ]
    );
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    // systemd drops the line before it, too: none of the two holds.
    let refused = results.iter().find(|result| result.to_string().contains("4096# x")).unwrap();
    let other = &refused["relatedLocations"][0];
    assert_eq!(other["physicalLocation"]["region"]["startLine"], 2, "{refused}");
    assert!(other["message"]["text"].as_str().unwrap().contains("systemd sets neither"), "{other}");
    assert!(!log.to_string().contains("which holds"));
    let meant = "net.ipv4.tcp_tw_recycle is probably meant";
    let meant = results.iter().find(|result| result.to_string().contains(meant)).unwrap();
    assert!(meant.to_string().contains("Take the line at 90.conf:4 out"), "it is never advised: {meant}");

    let output = lint(folder.path(), &["91.conf", "--sarif"]);
    assert_eq!(found(&output), ["note setting-not-durable 91.conf:1"]);
    let output = lint(folder.path(), &["91.conf", "92.conf", "--sarif"]);
    assert_eq!(found(&output), Vec::<String>::new(), "which of the two is set first decides");
}

#[test]
fn what_makes_a_full_queue_worse_is_a_note() {
    let folder = folder(&[
        (
            "90.conf",
            "net.ipv4.tcp_abort_on_overflow = 1 # fast\nnet.ipv4.tcp_syncookies = 0\nnet.core.somaxconn = 16\n",
        ),
        (
            "91.conf",
            "net.ipv4.tcp_abort_on_overflow = 0\nnet.ipv4.tcp_syncookies = 1\nnet.core.somaxconn = 128\n",
        ),
        ("92.conf", "net.ipv4.tcp_syncookies = 0# off\nnet.core.somaxconn = -1\n"),
    ]);
    let output = lint(folder.path(), &["90.conf", "--sarif"]);
    assert_eq!(output.status.code(), Some(0));
    let mut notes = found(&output);
    notes.sort();
    assert_eq!(notes, [1, 2, 3].map(|line| format!("note accept-queue-full 90.conf:{line}")));
    assert_eq!(found(&lint(folder.path(), &["90.conf", "91.conf", "--sarif"])).len(), 3, "lines that lose");
    assert_eq!(found(&lint(folder.path(), &["91.conf", "--sarif"])), Vec::<String>::new());
    // What is refused hurts nobody.
    let refused = found(&lint(folder.path(), &["92.conf", "--sarif"]));
    assert_eq!(refused, [2, 1].map(|line| format!("note setting-not-durable 92.conf:{line}")));
}

#[test]
fn a_line_that_is_none_does_not_hide_what_a_file_of_sysctl_sets() {
    let lines = "; ours\nnet.ipv4.tcp_tw_recycle = 1\nvm.swappiness\nnet/ipv4/ip_forward=1\n";
    let folder = folder(&[("90.conf", lines), ("program", "\u{7f}ELF\u{0};\u{0} { ; }")]);
    let output = lint(folder.path(), &["90.conf"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("90.conf:2: warning: tcp_tw_recycle is set at boot"));
    assert!(!text(&output.stdout).contains("   balancers"), "{}", text(&output.stdout));
    let output = lint(folder.path(), &["program"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
}

/// A file with what the SARIF log of it says that it should be.
fn without_lines(text: &str, results: &Value) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    for result in results.as_array().unwrap() {
        for fix in result["fixes"].as_array().unwrap() {
            for change in fix["artifactChanges"][0]["replacements"].as_array().unwrap() {
                let (region, content) = (&change["deletedRegion"], &change["insertedContent"]["text"]);
                let line = |name: &str| usize::try_from(region[name].as_u64().unwrap()).unwrap() - 1;
                assert_eq!(
                    (region["startColumn"].as_u64(), content.as_str()),
                    (Some(1), Some("")),
                    "{change}"
                );
                lines[line("startLine")..line("endLine")].fill("");
            }
        }
    }
    lines.concat()
}

#[test]
fn lines_of_sysctl_that_do_nothing_or_harm_may_be_taken_out() {
    let before = "# tuning\nnet.ipv4.tcp_tw_recycle = 1\nnet.core.somaxconn = 1024\nnet.ipv4.tcp_fin_timeout = 90\n\
        net/ipv4/tcp_tw_recycle = 1\nnet.core.somaxconn = 4096\n";
    let folder = folder(&[("90.conf", before)]);
    let output = lint(folder.path(), &["90.conf", "--sarif"]);
    assert_eq!(found(&output).len(), 3, "{:?}", found(&output));
    let sarif: Value = serde_json::from_slice(&output.stdout).unwrap();
    let after = without_lines(before, &sarif["runs"][0]["results"]);
    // Which fin_timeout is meant nobody knows.
    assert_eq!(after, "# tuning\nnet.ipv4.tcp_fin_timeout = 90\nnet.core.somaxconn = 4096\n");
    std::fs::write(folder.path().join("90.conf"), after).unwrap();
    let rest = found(&lint(folder.path(), &["90.conf", "--sarif"]));
    assert_eq!(rest, ["warning fin-timeout-misread 90.conf:2"]);
}
