//! The output of one tool, so that the bytes reach its own parser at once: what comes first is its title or its first
//! line, and its command is known.

use evidence::Case;
use pasted::{PastedError, Text, read};

/// What an output begins with, and the command that wrote it.
struct Output {
    command: &'static str,
    begins: &'static str,
}

const SS: Output = Output {
    command: "ss -tanpoei",
    begins: "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n",
};
const NETSTAT: Output = Output {
    command: "netstat -antpeo",
    begins: "Proto Recv-Q Send-Q Local Address           Foreign Address         State\n",
};
const BSD: Output = Output {
    command: "netstat -anv -p tcp",
    begins: "Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)\n",
};
const WINDOWS: Output =
    Output { command: "netstat -anob", begins: "Active Connections\n\n  Proto  Local Address\n" };
const POWERSHELL: Output = Output {
    command: "Get-NetTCPConnection",
    begins: "LocalAddress LocalPort RemoteAddress RemotePort State       AppliedSetting OwningProcess\n",
};
const POWERSHELL_LIST: Output =
    Output { command: "Get-NetTCPConnection", begins: "LocalAddress   : 10.0.0.5\n" };
const PROC_TCP: Output = Output {
    command: "cat /proc/net/tcp",
    begins: "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
};
const STATISTICS: Output = Output { command: "netstat -s", begins: "Tcp:\n" };
const WINDOWS_STATISTICS: Output =
    Output { command: "netstat -s -p tcp", begins: "TCP Statistics for IPv4\n" };
const NSTAT: Output = Output { command: "nstat -az", begins: "#kernel\n" };
const SYSCTL: Output = Output { command: "sysctl -a", begins: "net.ipv4.tcp_tw_reuse = 2\n" };
const CONNTRACK: Output = Output {
    command: "conntrack -L",
    begins: "tcp      6 117 TIME_WAIT src=10.0.0.1 dst=10.0.0.2 sport=5000 dport=80\n",
};
const CONNTRACK_STATS: Output =
    Output { command: "conntrack -S", begins: "cpu=0 found=0 insert_failed=2 drop=1\n" };
const SS_SUMMARY: Output = Output { command: "ss -s", begins: "Total: 11\n" };
const REGISTRY: Output = Output {
    command: "reg query HKLM",
    begins: "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters\n",
};
const DYNAMIC_PORTS: Output =
    Output { command: "netsh int ipv4 show dynamicport tcp", begins: "Protocol tcp Dynamic Port Range\n" };
const TCP_SETTING: Output = Output { command: "Get-NetTCPSetting", begins: "SettingName : Internet\n" };
const HOST: Output = Output { command: "hostname", begins: "" };

pub(crate) fn ss(bytes: &[u8]) {
    check(&SS, bytes);
}

pub(crate) fn netstat(bytes: &[u8]) {
    check(&NETSTAT, bytes);
}

pub(crate) fn bsd(bytes: &[u8]) {
    check(&BSD, bytes);
}

pub(crate) fn windows(bytes: &[u8]) {
    check(&WINDOWS, bytes);
}

pub(crate) fn powershell(bytes: &[u8]) {
    check(&POWERSHELL, bytes);
    check(&POWERSHELL_LIST, bytes);
}

pub(crate) fn proc_tcp(bytes: &[u8]) {
    check(&PROC_TCP, bytes);
}

pub(crate) fn statistics(bytes: &[u8]) {
    check(&STATISTICS, bytes);
    check(&WINDOWS_STATISTICS, bytes);
}

pub(crate) fn nstat(bytes: &[u8]) {
    check(&NSTAT, bytes);
}

pub(crate) fn settings(bytes: &[u8]) {
    for output in [&SYSCTL, &REGISTRY, &DYNAMIC_PORTS, &TCP_SETTING] {
        check(output, bytes);
    }
}

pub(crate) fn conntrack(bytes: &[u8]) {
    check(&CONNTRACK, bytes);
    check(&CONNTRACK_STATS, bytes);
}

/// What surrounds outputs: names of hosts, sums, command lines, dates.
pub(crate) fn around(bytes: &[u8]) {
    check(&HOST, bytes);
    check(&SS_SUMMARY, bytes);
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Ok(command) = std::str::from_utf8(line) {
        let rest = bytes.get(line.len()..).unwrap_or_default();
        let _ = read(&[Text::written_by(command, "ticket.txt", rest)], 7);
    }
}

/// Read to an end, or refused in one line with its place; as much is found as there are lines, and no more; and the same
/// as quoted mail.
fn check(output: &Output, bytes: &[u8]) {
    let whole = [output.begins.as_bytes(), bytes].concat();
    let text = Text::written_by(output.command, "ticket.txt", &whole);
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
    if let Some(quoted) = quoted(&whole) {
        let again = read(&[Text::written_by(output.command, "ticket.txt", quoted.as_bytes())], 7);
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
