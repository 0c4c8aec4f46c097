//! The output of one tool, so that the bytes reach its own parser at once: what comes first is its title or its first
//! line, and its command is known.

use evidence::Case;
use pasted::{PastedError, Text, read};

/// What an output begins with, and the command that wrote it; without one, the first line of the bytes is the command.
pub(crate) struct Output {
    command: Option<&'static str>,
    begins: &'static str,
}

const fn output(command: &'static str, begins: &'static str) -> Output {
    Output { command: Some(command), begins }
}

/// The targets, each with the outputs that its bytes are given to.
pub(crate) const TARGETS: [(&str, &[Output]); 11] = [
    // What surrounds outputs: names of hosts, sums, command lines, dates.
    (
        "pasted_around",
        &[output("hostname", ""), output("ss -s", "Total: 11\n"), Output { command: None, begins: "" }],
    ),
    (
        "pasted_bsd",
        &[output(
            "netstat -anv -p tcp",
            "Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)\n",
        )],
    ),
    (
        "pasted_conntrack",
        &[
            output(
                "conntrack -L",
                "tcp      6 117 TIME_WAIT src=10.0.0.1 dst=10.0.0.2 sport=5000 dport=80\n",
            ),
            output("conntrack -S", "cpu=0 found=0 insert_failed=2 drop=1\n"),
        ],
    ),
    (
        "pasted_netstat",
        &[output(
            "netstat -antpeo",
            "Proto Recv-Q Send-Q Local Address           Foreign Address         State\n",
        )],
    ),
    ("pasted_nstat", &[output("nstat -az", "#kernel\n")]),
    (
        "pasted_powershell",
        &[
            output(
                "Get-NetTCPConnection",
                "LocalAddress LocalPort RemoteAddress RemotePort State       AppliedSetting OwningProcess\n",
            ),
            output("Get-NetTCPConnection", "LocalAddress   : 10.0.0.5\n"),
        ],
    ),
    (
        "pasted_proc_tcp",
        &[output(
            "cat /proc/net/tcp",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
        )],
    ),
    (
        "pasted_settings",
        &[
            output("sysctl -a", "net.ipv4.tcp_tw_reuse = 2\n"),
            output(
                "reg query HKLM",
                "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters\n",
            ),
            output("netsh int ipv4 show dynamicport tcp", "Protocol tcp Dynamic Port Range\n"),
            output("Get-NetTCPSetting", "SettingName : Internet\n"),
        ],
    ),
    (
        "pasted_ss",
        &[output("ss -tanpoei", "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n")],
    ),
    (
        "pasted_statistics",
        &[output("netstat -s", "Tcp:\n"), output("netstat -s -p tcp", "TCP Statistics for IPv4\n")],
    ),
    ("pasted_windows", &[output("netstat -anob", "Active Connections\n\n  Proto  Local Address\n")]),
];

/// The bytes as each output of a target.
pub(crate) fn check(target: &str, bytes: &[u8]) {
    let (_, outputs) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .unwrap_or_else(|| panic!("{target} has no outputs in fuzz/checks/pasted_outputs.rs"));
    for output in *outputs {
        if let Some(command) = output.command {
            written_by(command, &[output.begins.as_bytes(), bytes].concat());
            continue;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (line, rest) = bytes.split_at(end);
        if let Ok(command) = std::str::from_utf8(line) {
            written_by(command, rest);
        }
    }
}

/// Read to an end, or refused in one line with its place; as much is found as there are lines, and no more; and the
/// same as quoted mail.
fn written_by(command: &str, whole: &[u8]) {
    let text = Text::written_by(command, "ticket.txt", whole);
    let found = match read(&[text], 7) {
        Ok(found) => found,
        Err(error) => return refused(&error),
    };
    let lines = whole.split(|byte| *byte == b'\n').count() as u64;
    for namespace in &found.namespaces {
        assert!(namespace.sockets.by_state.total() <= lines);
        assert!(namespace.processes.len() as u64 <= lines);
        // A line of /proc/net/snmp has many.
        assert!(namespace.counters.end.len() as u64 <= whole.len() as u64);
        assert!(namespace.settings.values.len() as u64 <= 2 * lines);
        let entries = namespace.conntrack.as_ref().map_or(0, |conntrack| {
            conntrack.tcp_by_state.values().sum::<u64>().saturating_add(conntrack.other_protocols)
        });
        assert!(entries <= lines);
    }
    for gap in &found.gaps {
        assert!(!gap.because.is_empty() && !gap.because.chars().any(char::is_control), "{gap:?}");
    }
    assert_eq!(Case::from_bytes(&found.to_bytes()).as_ref(), Ok(&found));
    if let Some(quoted) = quoted(whole) {
        let again = read(&[Text::written_by(command, "ticket.txt", quoted.as_bytes())], 7);
        let again = again.expect("it was read without marks");
        assert_eq!(again.namespaces, found.namespaces, "{quoted}");
    }
}

fn refused(error: &PastedError) {
    let said = error.to_string();
    assert!(said.starts_with("ticket.txt: ") && said.len() < 1_000, "{said:?}");
    assert!(!said.chars().any(char::is_control), "{said:?}");
    let has_line = matches!(error, PastedError::Empty { .. }) || said.contains("line ");
    assert!(has_line, "{said:?}");
}

/// The text as mail quotes it, unless it has such marks, or something else that stands before lines, already.
fn quoted(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_plain = |line: &str| {
        let first = line.trim_start().chars().next();
        first.is_none_or(|first| !first.is_ascii_digit() && !['>', '|', '│', '┃', '['].contains(&first))
    };
    let odd = text.contains(['&', '\u{1b}', '\u{feff}', '\r']) || !text.lines().all(is_plain);
    (!odd).then(|| format!("> {}", text.replace('\n', "\n> ")))
}
