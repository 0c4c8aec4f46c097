//! Values of settings: which may be set, which never, and when two texts say the same.

use crate::finding::Applicability;
use evidence::{PortRange, PortSet};
use tcp::profile::linux;

/// What a setting takes, and what lastack sets it to.
struct Known {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    /// A whole number within these bounds.
    Number(u64, u64),
    /// A whole number within these bounds that is not less than before.
    NotLess(u64, u64),
    /// First and last port.
    Range,
    /// A list of ports and ranges.
    Ports,
}

/// Every setting that a remedy of a rule changes, with the bounds of what may be advised.
const KNOWN: &[Known] = &[
    Known { name: "net.ipv4.ip_local_port_range", kind: Kind::Range },
    Known { name: "net.ipv4.ip_local_reserved_ports", kind: Kind::Ports },
    Known { name: "net.ipv4.tcp_tw_reuse", kind: Kind::Number(0, 2) },
    Known { name: "net.ipv4.tcp_tw_recycle", kind: Kind::Number(0, 1) },
    Known { name: "net.ipv4.tcp_max_tw_buckets", kind: Kind::Number(0, i32::MAX as u64) },
    Known { name: "net.ipv4.tcp_fin_timeout", kind: Kind::Number(1, i32::MAX as u64) },
    Known { name: "net.ipv4.tcp_timestamps", kind: Kind::Number(0, 2) },
    Known { name: "net.ipv4.tcp_rfc1337", kind: Kind::Number(0, 1) },
    Known { name: "net.ipv4.tcp_orphan_retries", kind: Kind::Number(1, 255) },
    Known { name: "net.ipv4.tcp_syncookies", kind: Kind::Number(1, 2) },
    Known { name: "net.ipv4.tcp_abort_on_overflow", kind: Kind::Number(0, 0) },
    Known { name: "net.core.somaxconn", kind: Kind::NotLess(1, i32::MAX as u64) },
    Known { name: "net.netfilter.nf_conntrack_max", kind: Kind::NotLess(1, i32::MAX as u64) },
    Known { name: "net.netfilter.nf_conntrack_tcp_timeout_time_wait", kind: Kind::Number(30, 3_600) },
];

/// The rule whose remedy may shorten `tcp_fin_timeout`.
const FIN_WAIT_2_RULE: &str = "fin-wait-2-waiting";

/// That remedy.
const SHORTER_FIN_TIMEOUT: &str = "shorter-fin-timeout";

/// What rules offer to set: the remedy, each setting that it changes, and whether that is safe. A remedy of one name is
/// the same whichever rule offers it.
const OFFERED: &[(&str, &str, Applicability)] = &[
    ("abort-on-overflow-off", "net.ipv4.tcp_abort_on_overflow", Applicability::Safe),
    ("default-fin-timeout", "net.ipv4.tcp_fin_timeout", Applicability::Safe),
    ("fewer-orphan-retries", "net.ipv4.tcp_orphan_retries", Applicability::Unsafe),
    ("larger-table", "net.ipv4.tcp_max_tw_buckets", Applicability::Safe),
    ("raise-conntrack-max", "net.netfilter.nf_conntrack_max", Applicability::Safe),
    ("raise-somaxconn", "net.core.somaxconn", Applicability::Safe),
    ("recycle-off", "net.ipv4.tcp_tw_recycle", Applicability::Safe),
    ("reserve-ports", "net.ipv4.ip_local_reserved_ports", Applicability::Safe),
    ("rfc1337-off", "net.ipv4.tcp_rfc1337", Applicability::Safe),
    (
        "shorter-conntrack-time-wait",
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
        Applicability::Unsafe,
    ),
    (SHORTER_FIN_TIMEOUT, "net.ipv4.tcp_fin_timeout", Applicability::Safe),
    ("syn-cookies", "net.ipv4.tcp_syncookies", Applicability::Safe),
    ("timestamps-on", "net.ipv4.tcp_timestamps", Applicability::Unsafe),
    ("tw-reuse", "net.ipv4.tcp_tw_reuse", Applicability::Unsafe),
    ("wider-port-range", "net.ipv4.ip_local_port_range", Applicability::Unsafe),
    ("wider-port-range", "net.ipv4.ip_local_reserved_ports", Applicability::Unsafe),
];

/// Whether rules offer a setting's change under this name, and as what.
pub fn offered(remedy: &str, setting: &str) -> Option<Applicability> {
    let found = OFFERED.iter().find(|(name, its, _)| *name == remedy && *its == setting);
    found.map(|(.., applicability)| *applicability)
}

/// True if two values of a setting mean the same: the kernel separates by tabs, joins ports to ranges, and of numbers
/// takes those that a text begins with.
pub fn same(setting: &str, one: &str, other: &str) -> bool {
    let ports = |text: &str| {
        if text.trim().is_empty() { Some(PortSet::default()) } else { PortSet::parse(text) }
    };
    if one.split_whitespace().eq(other.split_whitespace()) {
        return true;
    }
    if setting == "net.ipv4.ip_local_reserved_ports" {
        return ports(one).is_some() && ports(one) == ports(other);
    }
    taken(one).next().is_some() && taken(one).eq(taken(other))
}

/// The whole number that the kernel sets where this is written to a setting of one number; none if it refuses it.
/// systemd and procps write what stands behind the value, too: `0 # never` is 0, and so it is for the kernel, while it
/// refuses `0# never` (proc_dointvec(); measured on 6.18).
pub(crate) fn number_taken(text: &str) -> Option<i64> {
    taken(text).next()
}

/// The numbers that a text begins with, each up to a blank. As in C, `0x10` is 16 and `010` is 8.
fn taken(text: &str) -> impl Iterator<Item = i64> {
    text.split_whitespace().map_while(|word| {
        let (sign, digits) = word.strip_prefix('-').map_or((1, word), |digits| (-1, digits));
        let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
        let (digits, radix) = match hexadecimal {
            Some(digits) => (digits, 16),
            None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
            None => (digits, 10),
        };
        let plain = digits.starts_with(|sign: char| sign.is_ascii_hexdigit());
        i64::from_str_radix(digits, radix).ok().filter(|_| plain).map(|number| sign * number)
    })
}

/// The value with single spaces, as it is written.
pub fn plain(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Why a change is never made, as the end of a sentence; none if it may be. `rule` is what asks for it.
pub fn refused(rule: &str, setting: &str, from: &str, to: &str) -> Option<String> {
    let Some(known) = KNOWN.iter().find(|known| known.name == setting) else {
        return Some("no rule of lastack changes this setting; use sysctl for others".to_owned());
    };
    if let Some(why) = malformed(known, from, to) {
        return Some(why);
    }
    trap(setting, to).or_else(|| never(rule, setting, from, to).map(str::to_owned))
}

/// Why a value that a setting has now is never made the one of the next boot, which is to be `from` so far; none if
/// it may be. It may be of any setting that is read: the kernel has taken the value already.
pub fn refused_at_boot(rule: &str, setting: &str, from: &str, to: &str) -> Option<String> {
    if KNOWN.iter().any(|known| known.name == setting) {
        return refused(rule, setting, from, to);
    }
    let mut read =
        evidence::SETTINGS.iter().flat_map(|(prefix, names)| names.iter().map(move |name| (prefix, name)));
    if !read.any(|(prefix, name)| setting.strip_prefix(prefix) == Some(name)) {
        return Some("lastack does not read this setting".to_owned());
    }
    let numbers = to.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b',' | b'-'));
    (!numbers || to.is_empty()).then(|| "the value must be numbers".to_owned())
}

fn malformed(known: &Known, from: &str, to: &str) -> Option<String> {
    let within = |least: u64, most: u64| match number(to) {
        Some(value) if (least..=most).contains(&value) => None,
        Some(_) if least == most => Some(format!("the one value to set is {least}")),
        _ => Some(format!("the value must be a whole number from {least} to {most}")),
    };
    match known.kind {
        Kind::Number(least, most) => within(least, most),
        Kind::NotLess(least, most) => within(least, most).or_else(|| {
            let less = number_before(from).zip(number(to)).is_some_and(|(from, to)| to < from);
            less.then(|| format!("less than {from} would drop what fits with that"))
        }),
        Kind::Range => {
            let two = to.split_whitespace().count() == 2;
            let range = PortRange::parse(to).filter(|range| range.first > 0 && range.first < range.last);
            (!two || range.is_none())
                .then(|| "the value must be two ports, the first below the last: 10240 65535".to_owned())
        }
        Kind::Ports => {
            let plain = to.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b',' | b'-'));
            (!plain || !to.is_empty() && PortSet::parse(to).is_none())
                .then(|| "the value must be a list of ports such as 8080,9000-9010".to_owned())
        }
    }
}

/// A decimal number without sign, spaces or zeros in front, which some would take for octal.
fn number(text: &str) -> Option<u64> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if decimal { text.parse().ok() } else { None }
}

/// What a setting is set to so far, perhaps by a line of a file.
fn number_before(text: &str) -> Option<u64> {
    number_taken(text).and_then(|number| u64::try_from(number).ok())
}

/// A longer `tcp_fin_timeout` that makes the wait shorter.
fn trap(setting: &str, to: &str) -> Option<String> {
    let trap = linux::FIN_TIMEOUT_TRAP.value;
    let caught =
        setting == "net.ipv4.tcp_fin_timeout" && number(to).is_some_and(|value| trap.contains(&value));
    caught.then(|| {
        format!(
            "from {} to {} it shortens the wait it is meant to lengthen: the kernel waits twice for what exceeds {} s",
            trap.start(),
            trap.end(),
            linux::TIME_WAIT.value.as_secs()
        )
    })
}

/// What is never advised, whoever asks: docs/fix.md has the list.
fn never(rule: &str, setting: &str, from: &str, to: &str) -> Option<&'static str> {
    let (was, becomes) = (number_before(from), number(to));
    let less = was.zip(becomes).is_some_and(|(was, becomes)| becomes < was);
    match setting.rsplit('.').next().unwrap_or_default() {
        "tcp_tw_recycle" if becomes != Some(0) => {
            Some("it drops clients behind NAT and every client that hashes its timestamps")
        }
        "tcp_timestamps" if becomes == Some(0) => {
            Some("without timestamps there is no tcp_tw_reuse and no protection against old segments (PAWS)")
        }
        "tcp_rfc1337" if becomes != Some(0) => {
            Some("a client that meets an old TIME-WAIT then waits for its end instead of clearing it")
        }
        "tcp_max_tw_buckets" if less || becomes == Some(0) => Some(
            "closing connections then skip TIME-WAIT: late FINs meet a reset, and old segments a new connection",
        ),
        "tcp_fin_timeout"
            if less
                && rule != FIN_WAIT_2_RULE
                && becomes.is_some_and(|seconds| seconds < linux::FIN_TIMEOUT.value.as_secs()) =>
        {
            Some("it does not shorten TIME-WAIT; it is how long an orphan FIN-WAIT-2 is kept")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REUSE: &str = "net.ipv4.tcp_tw_reuse";
    const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";

    #[test]
    fn values_are_compared_by_what_they_mean() {
        assert!(same("net.ipv4.ip_local_port_range", "32768\t60999", "32768 60999"));
        assert!(same(RESERVED, "8080,8081,9000", "8080-8081,9000"));
        assert!(same(RESERVED, "", "\n"));
        assert!(!same(RESERVED, "", "80"));
        assert!(!same(RESERVED, "x", "y"));
        assert!(!same(REUSE, "1", "2"));
    }

    /// Each was written to `/proc/sys/net/ipv4/tcp_fin_timeout` or `tcp_timestamps` of Linux 6.18, and read again.
    #[test]
    fn the_kernel_takes_the_number_that_a_text_begins_with() {
        for (text, number) in [
            ("90 # was 60", Some(90)),
            ("0 # never", Some(0)),
            ("65 ; x", Some(65)),
            ("30 40", Some(30)),
            ("  33  ", Some(33)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("80# x", None),
            ("70;", None),
            ("+5", None),
            ("08", None),
            ("\"34\"", None),
            ("35s", None),
            ("5,000", None),
            ("# x", None),
            ("", None),
        ] {
            assert_eq!(number_taken(text), number, "{text:?}");
        }
        assert!(same(REUSE, "1 # pool first", "1") && !same(REUSE, "1# pool", "1") && !same(REUSE, "x", "y"));
        assert!(same("net.ipv4.ip_local_port_range", "1024 65000 # more", "1024\t65000"));
        assert!(!same("net.ipv4.tcp_congestion_control", "reno # old", "reno"));
        // The kernel refuses it here.
        assert!(!same(RESERVED, "8080,9000-9010 # mine", "8080,9000-9010"));
        let keep = refused_at_boot("setting-not-durable", "net.core.somaxconn", "4096 # busy", "128");
        assert!(keep.is_some_and(|why| why.contains("4096")));
    }

    #[test]
    fn what_is_never_advised_is_refused_whoever_asks() {
        for (setting, from, to) in [
            ("net.ipv4.tcp_tw_recycle", "0", "1"),
            ("net.ipv4.tcp_timestamps", "1", "0"),
            ("net.ipv4.tcp_rfc1337", "0", "1"),
            ("net.ipv4.tcp_max_tw_buckets", "131072", "5000"),
            ("net.ipv4.tcp_max_tw_buckets", "131072", "0"),
            ("net.ipv4.tcp_fin_timeout", "60", "15"),
            ("net.ipv4.tcp_fin_timeout", "60", "75"),
            ("net.ipv4.tcp_abort_on_overflow", "0", "1"),
            ("net.ipv4.tcp_syncookies", "1", "0"),
            ("net.core.somaxconn", "4096", "128"),
            ("net.netfilter.nf_conntrack_max", "65536", "1000"),
            ("net.netfilter.nf_conntrack_tcp_timeout_time_wait", "120", "5"),
            ("net.ipv4.tcp_orphan_retries", "0", "0"),
            ("net.ipv4.tcp_mem", "1 2 3", "4 5 6"),
            ("kernel.core_pattern", "core", "|/bin/sh"),
        ] {
            assert!(refused("time-wait-at-server", setting, from, to).is_some(), "{setting} {from} -> {to}");
        }
        assert_eq!(refused(FIN_WAIT_2_RULE, "net.ipv4.tcp_fin_timeout", "60", "15"), None);
        assert_eq!(refused("fin-timeout-misread", "net.ipv4.tcp_fin_timeout", "5", "60"), None);
        assert_eq!(refused("fin-timeout-misread", "net.ipv4.tcp_fin_timeout", "61", "60"), None);
        assert!(refused("fin-timeout-misread", "net.ipv4.tcp_fin_timeout", "61", "59").is_some());
        assert_eq!(refused("time-wait-table-full", "net.ipv4.tcp_max_tw_buckets", "5000", "131072"), None);
    }

    #[test]
    fn what_is_never_advised_is_not_kept_at_boot_either() {
        let refused =
            |setting: &str, boot: &str, now: &str| refused_at_boot("setting-not-durable", setting, boot, now);
        assert!(refused("net.ipv4.tcp_timestamps", "1", "0").is_some());
        assert!(refused("net.core.somaxconn", "4096", "128").is_some());
        assert!(refused("net.ipv4.tcp_fin_timeout", "60", "15").is_some());
        assert_eq!(refused("net.core.somaxconn", "128", "4096"), None);
        // No rule changes these, but somebody has.
        assert_eq!(refused("net.ipv4.tcp_keepalive_time", "7200", "600"), None);
        assert_eq!(refused("net.ipv4.tcp_mem", "1 2 3", "4 5 6"), None);
        for (setting, now) in
            [("kernel.core_pattern", "1"), ("net.ipv4.tcp_mem", ""), ("net.ipv4.tcp_mem", "1\n2")]
        {
            assert!(refused(setting, "", now).is_some(), "{setting} = {now:?}");
        }
    }

    #[test]
    fn a_value_must_be_one() {
        for to in ["", "3", "-1", "+1", "01", "1 ", "1\n2", "0x1", "1;reboot", "18446744073709551616"] {
            assert!(refused("any", REUSE, "2", to).is_some(), "{to:?}");
        }
        assert_eq!(refused("any", REUSE, "2", "1"), None);
        let range = "net.ipv4.ip_local_port_range";
        for to in ["10240", "10240 70000", "0 100", "60000 10240", "1 2 3", "10240-65535", "5 5"] {
            assert!(refused("any", range, "32768\t60999", to).is_some(), "{to:?}");
        }
        assert_eq!(refused("any", range, "32768\t60999", "10240 65535"), None);
        for to in ["8080;", "80-", "a", "8080 9090", "70000"] {
            assert!(refused("any", RESERVED, "", to).is_some(), "{to:?}");
        }
        assert_eq!(refused("any", RESERVED, "", "8080,9000-9010"), None);
        assert_eq!(refused("any", RESERVED, "8080", ""), None);
    }
}
