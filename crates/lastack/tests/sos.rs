//! Reports of `sos` as folders and archives: what they hold is read, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::{Case, Unseen};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tcp::State;

const SS: &str = r#"Netid State      Recv-Q Send-Q                             Local Address:Port           Peer Address:Port Process
nl    UNCONN     0      0                                           rtnl:systemd/1                 *       sk:5 cb->(..)
	 skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d0)
u_str LISTEN     0      4096                        /run/systemd/private 20483                     * 0     users:(("systemd",pid=1,fd=19)) <->
	 skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d0)
tcp   LISTEN     0      511                                      0.0.0.0:80                  0.0.0.0:*     users:(("nginx",pid=812,fd=6)) ino:20001 sk:1 cgroup:/system.slice/nginx.service <->
	 skmem:(r0,rb131072,t0,tb16384,f0,w0,o0,bl0,d0) cubic rto:1000 mss:536 cwnd:10
tcp   TIME-WAIT  0      0                                     10.0.0.5:40001              10.0.0.9:8080  timer:(timewait,51sec,0) ino:0 sk:2
	 skmem:(r0,rb0,t0,tb0,f0,w0,o0,bl0,d0)
tcp   CLOSE-WAIT 1      0                                     10.0.0.5:40002              10.0.0.9:8080  users:(("nginx",pid=812,fd=9)) uid:33 ino:20007 sk:3 cgroup:/system.slice/nginx.service <->
	 skmem:(r1,rb131072,t0,tb16384,f0,w0,o0,bl0,d0) ts sack cubic wscale:7,7 rto:204 rtt:0.1/0.05 lastsnd:91000 lastrcv:91000 lastack:91000
"#;

const FILES: [(&str, &str); 21] = [
    ("sos_commands/networking/ss_-peaonmi", SS),
    (
        "sos_commands/networking/netstat_-W_-neopa",
        "Active Internet connections (servers and established)\n\
         Proto Recv-Q Send-Q Local Address           Foreign Address         State       User       Inode      PID/Program name     Timer\n\
         tcp        0      0 0.0.0.0:80              0.0.0.0:*               LISTEN      0          20001      812/nginx            off (0.00/0/0)\n\
         tcp        0      0 10.0.0.5:40001          10.0.0.9:8080           TIME_WAIT   0          0          -                    timewait (51.20/0/0)\n",
    ),
    (
        "sos_commands/networking/nstat_-zas",
        "#kernel\nIpInReceives                    100                0.0\nTcpActiveOpens                  17                 0.0\nTcpExtTCPTimeWaitOverflow       3                  0.0\n",
    ),
    (
        "sos_commands/networking/netstat_-s",
        "Tcp:\n    17 active connection openings\nTcpExt:\n    TCPTimeWaitOverflow: 3\n",
    ),
    ("sos_commands/networking/ip_-o_addr", "1: lo    inet 127.0.0.1/8 scope host lo\n"),
    (
        "sos_commands/networking/namespaces/blue/ip_netns_exec_blue_netstat_-W_-neopa",
        "Active Internet connections (servers and established)\n\
         Proto Recv-Q Send-Q Local Address           Foreign Address         State       User       Inode      PID/Program name     Timer\n\
         tcp        0      0 10.1.0.5:40001          10.1.0.9:5432           ESTABLISHED 0          3          9/x                  off (0.00/0/0)\n",
    ),
    (
        "sos_commands/networking/namespaces/blue/ip_netns_exec_blue_sysctl_-a",
        "net.ipv4.ip_local_port_range = 40000\t40099\nsysctl: permission denied on key 'net.ipv4.x'\n",
    ),
    (
        "sos_commands/kernel/sysctl_-a",
        "kernel.hostname = web1.example.com\nkernel.osrelease = 5.14.0-427.el9.x86_64\nnet.ipv4.ip_local_port_range = 32768\t60999\nnet.ipv4.tcp_fin_timeout = 15\nnet.ipv4.tcp_tw_reuse = 2\nnet.ipv4.tcp_max_tw_buckets = 131072\n",
    ),
    (
        "sos_commands/kernel/uname_-a",
        "Linux web1.example.com 5.14.0-427.el9.x86_64 #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux\n",
    ),
    ("sos_commands/host/hostname", "web1.example.com\n"),
    ("sos_commands/date/date", "Sat Nov 21 10:29:23 CET 2026\n"),
    ("sos_commands/date/date_--utc", "Sat Nov 21 09:29:23 UTC 2026\n"),
    ("sos_commands/conntrack/conntrack_-S", "sh: conntrack: command not found\n"),
    ("sos_commands/nginx/nginx_-V", "nginx version: nginx/1.20.1\nbuilt by gcc\n"),
    ("proc/net/sockstat", "sockets: used 312\nTCP: inuse 9 orphan 0 tw 1 alloc 12 mem 3\n"),
    ("etc/nginx/nginx.conf", "events {}\nhttp { include conf.d/*.conf; }\n"),
    (
        "etc/nginx/conf.d/app.conf",
        "upstream app { server 10.0.0.9:8080; }\nserver { listen 80; location / { proxy_pass http://app; } }\n",
    ),
    ("etc/haproxy/haproxy.cfg", "defaults\n mode http\nbackend app\n server s 10.0.0.9:8080\n"),
    (
        "sos_commands/rpm/sh_-c_rpm_--nodigest_-qa_--qf_-59_NVRA_INSTALLTIME_date_sort_-V",
        "haproxy-1.8.27-5.el8.x86_64          Tue Sep  3 10:00:00 2024\n\
         nginx-1.24.0-1.el9.x86_64            Tue Sep  3 10:00:00 2024\n",
    ),
    ("etc/sysctl.conf", "net.ipv4.tcp_fin_timeout = 15\n"),
    ("etc/shadow", "root:secret:::\n"),
];

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("sosreport-web1-2026-11-21-abcdefg");
    for (path, text) in files {
        let path = report.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::create_dir_all(report.join("etc/sysctl.d")).unwrap();
    std::os::unix::fs::symlink("../sysctl.conf", report.join("etc/sysctl.d/99-sysctl.conf")).unwrap();
    std::os::unix::fs::symlink("sos_commands/date/date", report.join("date")).unwrap();
    // A link that leaves the report is not followed.
    std::fs::write(folder.path().join("outside.conf"), "upstream outside { server 192.0.2.66:1; }\n")
        .unwrap();
    std::fs::create_dir_all(report.join("etc/nginx/conf.d")).unwrap();
    std::os::unix::fs::symlink("../../../../outside.conf", report.join("etc/nginx/conf.d/evil.conf"))
        .unwrap();
    folder
}

fn report_of(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("sosreport-web1-2026-11-21-abcdefg")
}

fn doctor(file: &Path, save: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    command
        .args(["doctor", "--color", "never", "--save"])
        .arg(save)
        .arg("--from")
        .arg(file)
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn case_of(file: &Path) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let save = folder.path().join("x.case");
    let output = doctor(file, &save);
    assert!(output.status.code().unwrap() < 2, "{}", String::from_utf8_lossy(&output.stderr));
    Case::from_bytes(&std::fs::read(save).unwrap()).unwrap()
}

fn tar(report: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all(report.file_name().unwrap(), report).unwrap();
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn check(case: &Case) {
    let names: Vec<&str> = case.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["host", "blue"]);
    assert_eq!(
        (case.host.name.as_str(), case.host.kernel.as_str()),
        ("web1.example.com", "5.14.0-427.el9.x86_64")
    );
    assert_eq!(case.host.taken_at, "2026-11-21T09:29:23.000000000Z");
    let (host, blue) = (&case.namespaces[0], &case.namespaces[1]);
    let counts = &host.sockets.by_state;
    // ss tells more than netstat: each socket is counted once.
    assert_eq!([State::TimeWait, State::CloseWait, State::Listen].map(|state| counts.of(state)), [1, 1, 1]);
    assert_eq!(host.sockets.listeners[0].backlog, Some(511));
    let waiting = host.sockets.groups.iter().find_map(|group| group.waiting_in(State::CloseWait)).unwrap();
    assert_eq!(waiting.idle.longest_ms, 91_000);
    assert_eq!(host.settings.fin_timeout().as_secs(), 15);
    assert_eq!(host.counters.end.get("TcpExtTCPTimeWaitOverflow"), Some(&3));
    assert_eq!(host.sockstat.get("TCP.tw"), Some(&1));
    assert_eq!(blue.sockets.by_state.of(State::Established), 1);
    assert_eq!(blue.settings.local_port_range().ports(), 100);
    let nginx = case.configurations.iter().find(|one| one.nginx.is_some()).unwrap();
    assert_eq!(nginx.version.as_deref(), Some("1.20.1"), "it said so itself");
    let haproxy = case.configurations.iter().find(|one| one.haproxy.is_some()).unwrap();
    assert_eq!(haproxy.version.as_deref(), Some("1.8.27"), "its package says so");
    // What depends on the version is known: before 2.0 connections are not shared.
    let reuse = &haproxy.haproxy.as_ref().unwrap().proxies[0].http_reuse;
    assert_eq!(reuse.value().map(String::as_str), Some("never"));
    let upstreams = &nginx.nginx.as_ref().unwrap().upstreams;
    assert_eq!(upstreams.iter().map(|upstream| upstream.name.as_str()).collect::<Vec<_>>(), ["app"]);
    let boot = case.configurations.iter().find(|one| one.sysctl.is_some()).unwrap();
    let winner = boot.sysctl.as_ref().unwrap().winner("net.ipv4.tcp_fin_timeout").unwrap();
    assert_eq!(boot.at(winner.place), "/etc/sysctl.d/99-sysctl.conf:1");
    let json = serde_json::to_string(case).unwrap();
    assert!(!json.contains("192.0.2.66") && !json.contains("secret"));
    // What it could not tell is said, by the path in the report.
    let gap = |unseen, says: &str| {
        assert!(
            case.gaps.iter().any(|gap| gap.unseen == unseen && gap.because.contains(says)),
            "{says}: {:#?}",
            case.gaps
        );
    };
    gap(Unseen::Text, "sos_commands/conntrack/conntrack_-S");
    gap(Unseen::Conntrack, "nothing of conntrack");
    gap(Unseen::Counters, "counters were pasted 2 times, and the time between them");
}

#[test]
fn a_report_is_read_as_a_folder_and_as_an_archive() {
    let folder = folder(&FILES);
    let report = report_of(&folder);
    let whole = case_of(&report);
    check(&whole);
    let tar = tar(&report);
    let left_before = std::fs::read_dir(folder.path()).unwrap().count();
    for (name, bytes) in [("r.tar", tar.clone()), ("r.tar.gz", gzip(&tar)), ("r.tar.xz", xz(&tar))] {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(case_of(&file).to_bytes(), whole.to_bytes(), "{name}");
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), left_before, "nothing is unpacked");
}

#[test]
fn a_report_without_ss_says_so() {
    let without: Vec<_> = FILES.into_iter().filter(|(path, _)| !path.contains("/ss_")).collect();
    let case = case_of(&report_of(&folder(&without)));
    assert_eq!(case.namespaces[0].sockets.by_state.of(State::TimeWait), 1);
    assert!(case.gaps.iter().any(|gap| gap.because.contains("no output of ss")), "{:#?}", case.gaps);
}

/// An archive whose first member is a name of so many bytes for the second.
fn long_name(length: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(length as u64);
    header.set_cksum();
    archive.append(&header, &*vec![b'x'; length]).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn what_is_no_report_is_refused_in_one_line() {
    let folder = folder(&[("var/log/messages", "hello\n")]);
    let report = report_of(&folder);
    let tar = tar(&report);
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    // A name that leads out of the archive is none of those that are looked for.
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..24].copy_from_slice(b"r/sos_commands/../../etc");
    header.set_size(0);
    header.set_cksum();
    let escape = [&header.as_bytes()[..], &[0; 1_024]].concat();
    for (name, bytes, says) in [
        ("none.tar", tar.clone(), "no report of sos"),
        ("none.tar.gz", gzip(&tar), "no report of sos"),
        ("escape.tar", escape, "no report of sos"),
        ("half.tar.gz", half(gzip(&tar)), "half.tar.gz: "),
        ("half.tar.xz", half(xz(&tar)), "half.tar.xz: "),
        ("text.xz", xz(b"State Recv-Q"), "no archive of a report of sos"),
        ("text.gz", gzip(b"State Recv-Q"), "text.gz: "),
        ("case.gz", gzip(b"{\"schema\":\"lastack.case/1\"}"), "is a case, no text"),
        ("half.gz", half(gzip(&[b'x'; 4_000])), "half.gz: "),
        ("name.tar.gz", gzip(&long_name(1 << 20)), "a name of more than 64 KiB"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let output = doctor(&file, &folder.path().join("x.case"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{name}: {said}");
        assert!(said.contains(name) && said.contains(says), "{name}: {said}");
    }
    let output = doctor(&report, &folder.path().join("x.case"));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no report of sos"));
}
