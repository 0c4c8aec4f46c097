//! The same evidence in everything that mail, wikis, terminals and tools wrap it into.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::{Case, System, Unseen};
use pasted::{PastedError, Text, read};
use std::fmt::Write as _;
use tcp::State;

fn try_case(text: &[u8]) -> Result<Case, PastedError> {
    read(&[Text::pasted("ticket.txt", text)], 1)
}

fn case(text: &str) -> Case {
    try_case(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

const OUTPUT: &str = "\
$ ss -tanpo
State      Recv-Q Send-Q Local Address:Port               Peer Address:Port
LISTEN     0      128          *:22                       *:*                   users:((\"sshd\",pid=1018,fd=3))
ESTAB      0      0      10.0.0.1:22                 10.0.0.9:51034               users:((\"sshd\",pid=2044,fd=3)) timer:(keepalive,119min,0)
TIME-WAIT  0      0      10.0.0.1:40001              10.0.0.2:80                  timer:(timewait,59sec,0)
TIME-WAIT  0      0      10.0.0.1:40003              10.0.0.2:80                  timer:(timewait,12sec,0)
CLOSE-WAIT 1      0      10.0.0.1:40005              10.0.0.2:80                  users:((\"java\",pid=77,fd=9))
$ sysctl net.ipv4.tcp_tw_reuse
net.ipv4.tcp_tw_reuse = 2
";

/// The output with something done to each of its lines.
fn each(wrap: impl Fn(usize, &str) -> String) -> String {
    OUTPUT.lines().enumerate().fold(String::new(), |mut text, (number, line)| {
        let _ = writeln!(text, "{}", wrap(number + 1, line));
        text
    })
}

#[track_caller]
fn says_the_same(text: &str) {
    let (plain, wrapped) = (case(OUTPUT), case(text));
    let (plain, host) = (&plain.namespaces[0], &wrapped.namespaces[0]);
    assert_eq!(host.sockets, plain.sockets, "{text}");
    assert_eq!(host.processes, plain.processes, "{text}");
    assert_eq!(host.settings, plain.settings, "{text}");
}

#[test]
fn wrapping_changes_nothing() {
    assert_eq!(case(OUTPUT).namespaces[0].sockets.by_state.total(), 5);
    says_the_same(&format!("Hi, see **web1**:\n\n```console\n{OUTPUT}```\n\nthanks!\n"));
    says_the_same(&format!("h3. Output\n{{noformat}}\n{OUTPUT}{{noformat}}\nand {{code:bash}}\n"));
    says_the_same(&format!(
        "On Monday, Bob wrote:\n{}\nI see no problem.\n",
        each(|_, line| format!("> {line}"))
    ));
    says_the_same(&each(|_, line| format!(">> {line}")));
    says_the_same(&each(|_, line| format!("> > {line}")));
    says_the_same(&each(|number, line| format!("{number:6}\t{line}")));
    says_the_same(&each(|number, line| format!("{number}: {line}")));
    says_the_same(&each(|_, line| format!("2026-11-21T09:29:23.123456Z {line}")));
    says_the_same(&each(|_, line| format!("[2026-11-21 09:29:23] {line}")));
    says_the_same(&each(|_, line| format!("Nov 21 09:29:23 {line}")));
    says_the_same(&each(|_, line| format!("Nov  2 09:29:23 web1 script[812]: {line}")));
    says_the_same(&each(|_, line| format!("2026-11-21T09:29:23.123456789Z stdout F {line}")));
    says_the_same(&each(|_, line| format!("09:29:23.123 {line}")));
    says_the_same(&each(|_, line| format!("│ {line} │")));
    says_the_same(&each(|_, line| format!("    {line}")));
    says_the_same(&OUTPUT.replace('\n', "\r\n"));
    says_the_same(&OUTPUT.replace("  ", " \u{a0}"));
    says_the_same(&format!("<pre>\n{}</pre>\n", OUTPUT.replace('"', "&quot;")));
    says_the_same(
        &OUTPUT
            .replace("$ ss", "Every 2.0s: ss")
            .replace("-tanpo\n", "-tanpo     web1: Sat Nov 21 09:29:23 2026\n\n"),
    );
    says_the_same(&OUTPUT.replace("$ ss", "➜  ~ git:(main) ✗ ss"));
    says_the_same(&OUTPUT.replace("$ ", "\u{1b}[01;32mroot@web1\u{1b}[00m:\u{1b}[01;34m~\u{1b}[00m# "));
}

#[test]
fn what_a_terminal_cut_is_said_and_not_guessed() {
    let cut = each(|_, line| if line.len() > 62 { format!("{}>", &line[..62]) } else { line.to_owned() });
    let case = case(&cut);
    assert_eq!(case.namespaces[0].sockets.by_state.total(), 1);
    let odd = case.gaps.iter().find(|gap| gap.because.contains("not understood")).unwrap();
    assert!(odd.because.starts_with("4 lines of ticket.txt (output of ss)"), "{}", odd.because);
}

#[test]
fn other_languages_are_read_or_named() {
    let german = case(
        "$ netstat -ant\nAktive Internetverbindungen (Server und stehende Verbindungen)\n\
         Proto Recv-Q Send-Q Local Address           Foreign Address         State      \n\
         tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN     \n\
         tcp        0      0 10.0.0.5:40001          10.0.0.9:8080           VERBUNDEN  \n\
         tcp        0      0 10.0.0.5:40002          10.0.0.9:8080           CONECTADO  \n",
    );
    let counts = &german.namespaces[0].sockets.by_state;
    assert_eq!((counts.of(State::Listen), counts.of(State::Established), counts.total()), (1, 1, 2));
    assert!(
        german.gaps.iter().any(|gap| gap.because.starts_with("line 6 of ticket.txt (output of netstat)"))
    );
    // In the console's code page, which is no UTF-8.
    let chinese = b"C:\\Users\\Administrator>netstat -ano\r\n\r\n\xbb\xee\xb6\xaf\xc1\xac\xbd\xd3\r\n\r\n\
        \x20 \xd0\xad\xd2\xe9  \xb1\xbe\xb5\xd8\xb5\xd8\xd6\xb7          PID\r\n\
        \x20 TCP    0.0.0.0:135            0.0.0.0:0              LISTENING       1012\r\n\
        \x20 TCP    10.0.0.5:49721         10.0.0.9:443           TIME_WAIT       0\r\n\r\n\
        C:\\Users\\Administrator>netsh int ipv4 show dynamicport tcp\r\n\r\n\
        \xd0\xad\xd2\xe9 tcp \xb6\xaf\xcc\xac\r\n---------------------------------\r\n\
        \xc6\xf4\xb6\xaf\xb6\xcb\xbf\xda        : 50000\r\n\xb6\xcb\xbf\xda\xca\xfd          : 1000\r\n";
    let chinese = try_case(chinese).unwrap();
    assert_eq!(chinese.host.system, System::Windows);
    assert_eq!(chinese.namespaces[0].sockets.by_state.total(), 2);
    let range = chinese.namespaces[0].settings.local_port_range();
    assert_eq!((range.first, range.ports()), (50_000, 1_000));
}

#[test]
fn powershell_is_read_as_a_table_and_as_a_list() {
    let case = case(
        "PS C:\\Users\\op> Get-NetTCPConnection\n\n\
LocalAddress                        LocalPort RemoteAddress                       RemotePort State       AppliedSetting OwningProcess\n\
------------                        --------- -------------                       ---------- -----       -------------- -------------\n\
::                                  49669     ::                                  0          Listen                     700\n\
10.0.0.5                            49720     10.0.0.9                            443        Established Internet       4321\n\
10.0.0.5                            49721     10.0.0.9                            443        TimeWait                   0\n\
fe80::1c3d:a8b2:91ff:...            50000     fe80::2                             445        Established Internet       4\n\n\n\
PS C:\\Users\\op> Get-NetTCPSetting -SettingName Internet\n\n\n\
SettingName                     : Internet\nMinRto(ms)                      : 300\n\
DynamicPortRangeStartPort       : 49152\nDynamicPortRangeNumberOfPorts   : 1000\n",
    );
    assert_eq!(case.host.system, System::Windows);
    let host = &case.namespaces[0];
    assert_eq!((host.sockets.by_state.total(), host.sockets.listeners.len()), (3, 1));
    assert_eq!(host.settings.local_port_range().ports(), 1_000);
    assert_eq!(host.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [700, 4_321]);
    let cut = case.gaps.iter().find(|gap| gap.because.contains("cut off")).unwrap();
    assert!(
        cut.unseen == Unseen::Sockets && cut.because.starts_with("line 8 of ticket.txt"),
        "{}",
        cut.because
    );
    let listed = self::case(
        "PS C:\\> Get-NetTCPConnection -State TimeWait | fl\n\nLocalAddress   : 10.0.0.5\nLocalPort      : 49721\n\
         RemoteAddress  : 10.0.0.9\nRemotePort     : 443\nState          : TimeWait\nOwningProcess  : 0\n",
    );
    assert_eq!(listed.namespaces[0].sockets.by_state.of(State::TimeWait), 1);
    assert!(
        listed.gaps.iter().any(|gap| gap.because.contains("the command did not ask")),
        "{:?}",
        listed.gaps
    );
}

#[test]
fn two_hosts_are_never_one() {
    for text in [
        "root@web1:~# ss -tan\nESTAB 0 0 10.0.0.1:80 10.0.0.2:5000\nroot@db2:~# ss -tan\nESTAB 0 0 10.0.0.2:5000 10.0.0.1:80\n",
        "web1 | CHANGED | rc=0 >>\nESTAB 0 0 10.0.0.1:80 10.0.0.2:5000\nweb2 | CHANGED | rc=0 >>\nESTAB 0 0 10.0.0.1:80 10.0.0.2:5000\n",
        "root@web1:~# ss -tan\nESTAB 0 0 10.0.0.1:80 10.0.0.2:5000\n$ hostname\nweb2\n",
    ] {
        let error = try_case(text.as_bytes()).unwrap_err();
        assert!(matches!(error, PastedError::OtherHost { .. }), "{error}");
    }
    // One name may be longer, and an inventory has names of its own.
    let one = case(
        "lb-front | SUCCESS | rc=0 >>\nroot@web1:~# ss -tan\nESTAB 0 0 10.0.0.1:80 10.0.0.2:5000\n# hostname\nweb1.example.com\n",
    );
    assert_eq!(one.host.name, "web1");
}

#[test]
fn the_last_date_is_when_it_was_seen() {
    let at = |text: &str| case(&format!("{text}\nESTAB 0 0 10.0.0.1:80 10.0.0.2:5000\n")).host.taken_at;
    assert_eq!(at("# date\nSat Nov 21 10:29:23 CET 2026"), "2026-11-21T09:29:23.000000000Z");
    assert_eq!(
        at("# date -Is; ss\n2026-11-21T09:29:23+00:00\n2026-11-21T09:30:23+00:00"),
        "2026-11-21T09:30:23.000000000Z"
    );
    assert_eq!(at("# date\nSat Nov 21 10:29:23 IST 2026"), "", "India's, Israel's, or Ireland's");
}

#[test]
fn rows_that_were_left_out_are_missed() {
    for mark in ["...", "[...]", "<snip>", "…", "--- cut ---", "[truncated]"] {
        let case = case(&format!(
            "$ ss -tan\nESTAB 0 0 10.0.0.1:80 10.0.0.2:5000\n{mark}\nESTAB 0 0 10.0.0.1:80 10.0.0.2:5001\n"
        ));
        assert_eq!(case.namespaces[0].sockets.by_state.total(), 2);
        let says = "sockets that were left out of ticket.txt, line 3";
        assert!(
            case.gaps.iter().any(|gap| gap.unseen == Unseen::Sockets && gap.because == says),
            "{mark}: {:?}",
            case.gaps
        );
    }
}

#[test]
fn what_only_counts_is_refused_with_a_reason() {
    let text = "$ ss -tan | awk '{print $1}' | sort | uniq -c\n   2341 ESTAB\n     17 LISTEN\n";
    let error = try_case(text.as_bytes()).unwrap_err();
    assert!(matches!(error, PastedError::NothingOfIt { line: 1, .. }), "{error}");
}

#[test]
fn a_table_without_line_breaks_and_masked_addresses_are_named() {
    let rows = "TIME-WAIT 0 0 10.0.0.1:40001 10.0.0.2:80 ".repeat(9);
    let flat = format!("State Recv-Q Send-Q Local Address:Port Peer Address:Port {rows}");
    let error = try_case(flat.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("line 1: the line breaks of this table are lost"), "{error}");
}

#[test]
fn sockets_with_masked_addresses_are_counted_by_their_ports() {
    let plain = case(OUTPUT);
    for (server, client) in [
        ("x.x.x.x", "10.0.0.XXX"),
        ("<redacted>", "<redacted>"),
        ("***.***.***.***", "10.0.*.*"),
        ("web1.corp", "laptop"),
    ] {
        let masked = case(&OUTPUT.replace("10.0.0.2", server).replace("10.0.0.9", client));
        let says = |words: &str| masked.gaps.iter().any(|gap| gap.because.contains(words));
        assert!(
            says("4 lines of ticket.txt (sockets) are shown without their addresses"),
            "{:?}",
            masked.gaps
        );
        assert!(!says("more different peers"), "{:?}", masked.gaps);
        assert!(!says("the command did not ask for them"), "it did: {:?}", masked.gaps);
        let (sockets, whole) = (&masked.namespaces[0].sockets, &plain.namespaces[0].sockets);
        assert_eq!(sockets.by_state, whole.by_state);
        assert_eq!(sockets.folded, 4);
        let to_80 = sockets.groups.iter().find(|group| group.remote.port == Some(80)).unwrap();
        assert_eq!((to_80.remote.address, to_80.states.of(State::TimeWait)), (None, 2), "{to_80:?}");
        assert_eq!(to_80.time_wait.total(), 2, "its timers are known");
        assert_eq!(masked.namespaces[0].processes, plain.namespaces[0].processes);
    }
    let rows = (33_000..53_000).fold(String::new(), |mut rows, port| {
        let _ = writeln!(rows, "TIME-WAIT 0 0 10.0.0.1:{port} x.x.x.x:80");
        rows
    });
    let many = case(&format!("$ ss -tan\nState Recv-Q Send-Q Local Address:Port Peer Address:Port\n{rows}"));
    assert_eq!(many.namespaces[0].sockets.by_state.of(State::TimeWait), 20_000);
}

#[test]
fn a_heading_that_names_a_program_leaves_out_nothing() {
    for heading in ["**ss**", "## ss", "### netstat -s", "ss:", "$ ss -tn"] {
        let text = format!(
            "{heading}\n```\nState Recv-Q Send-Q Local Address:Port Peer Address:Port\n\
             TIME-WAIT 0 0 10.0.0.1:40001 10.0.0.2:80\nESTAB 0 0 10.0.0.1:40003 10.0.0.2:80\n```\n"
        );
        let case = case(&text);
        assert_eq!(case.namespaces[0].sockets.by_state.of(State::TimeWait), 1, "{heading}");
    }
}

#[test]
fn an_empty_table_of_conntrack_is_one() {
    let text = "# conntrack -L\nconntrack v1.4.7 (conntrack-tools): 0 flow entries have been shown.\n";
    let conntrack = case(text).namespaces[0].conntrack.clone().unwrap();
    assert_eq!((conntrack.entries, conntrack.partial), (0, false));
}
