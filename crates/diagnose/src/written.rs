//! What the kernel does with a line of a file of settings at boot: values that it refuses, names that it does not have.

use crate::value::number_taken;
use evidence::{PortSet, SETTINGS};
use tcp::profile::linux;

const RANGE: &str = "net.ipv4.ip_local_port_range";
const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";

/// Settings that kernels have, and whose names are nearly those of others: of all in `/proc/sys/net/{core,ipv4,netfilter}`
/// of Linux 6.18, and of Documentation/networking/ip-sysctl.txt of older ones. A test holds the running kernel's names
/// against it.
const NEIGHBOURS: [&str; 5] = [
    "net.ipv4.tcp_retries1",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.udp_mem",
    "net.netfilter.nf_conntrack_sctp_timeout_established",
];

/// So many signs of a name are mistyped at most.
const MISTYPED: usize = 2;

/// Why the kernel refuses this value of a setting, as a clause; none if it takes it, or the setting is none of those
/// that are read.
pub(crate) fn refusal(setting: &str, text: &str) -> Option<String> {
    if !read().any(|(prefix, name)| setting.strip_prefix(prefix) == Some(name)) {
        return None;
    }
    match setting {
        RESERVED => (!is_list(text))
            .then(|| "it takes ports and ranges with commas, and nothing behind them".to_owned()),
        RANGE => range_refusal(text),
        _ => number_refusal(setting, text),
    }
}

fn number_refusal(setting: &str, text: &str) -> Option<String> {
    let Some(number) = number_taken(text) else {
        let begins = text.starts_with(|sign: char| sign.is_ascii_digit());
        let why = if begins { "behind the number, a blank must follow" } else { "it takes a number" };
        return Some(why.to_owned());
    };
    let (_, least, most) = linux::SETTING_BOUNDS.value.iter().find(|(name, ..)| *name == setting)?;
    (!(least..=most).contains(&&number)).then(|| format!("Linux 6.18 takes {least} to {most}"))
}

/// One number alone sets the first port, and leaves the last.
fn range_refusal(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let (first, last) = (words.next().and_then(number_taken), words.next().map(number_taken));
    let port = |number: Option<i64>| number.filter(|number| (1..=65_535).contains(number));
    match (port(first), last.map(port)) {
        (Some(first), Some(Some(last))) if first > last => {
            Some("the first port must not be above the last".to_owned())
        }
        (Some(_), Some(Some(_)) | None) => None,
        _ => Some("it takes two ports from 1 to 65535 with a blank between".to_owned()),
    }
}

/// `8080,9000-9010`, or nothing.
fn is_list(text: &str) -> bool {
    let in_order = |part: &str| {
        let ends = part.split_once('-').map(|(first, last)| (first.parse::<u16>(), last.parse::<u16>()));
        ends.is_none_or(|(first, last)| matches!((first, last), (Ok(first), Ok(last)) if first <= last))
    };
    let text = text.trim();
    !text.contains(char::is_whitespace) && PortSet::parse(text).is_some() && text.split(',').all(in_order)
}

/// The setting that is meant where no kernel has one of this name, and it differs from one that is read by a sign or
/// two.
pub(crate) fn meant(name: &str) -> Option<String> {
    if NEIGHBOURS.contains(&name) {
        return None;
    }
    let near = read().filter_map(|(prefix, known)| {
        let written = name.strip_prefix(prefix)?;
        Some((distance(written, known)?, format!("{prefix}{known}")))
    });
    near.min().filter(|(distance, _)| *distance > 0).map(|(_, meant)| meant)
}

/// How many signs must be put in, taken out or changed; none if more than are mistyped.
fn distance(one: &str, other: &str) -> Option<usize> {
    if one.len().abs_diff(other.len()) > MISTYPED {
        return None;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, sign) in one.bytes().enumerate() {
        let mut next = vec![above + 1];
        for ((left, its), pair) in other.bytes().enumerate().zip(row.windows(2)) {
            let &[diagonal, up] = pair else { continue };
            let change = diagonal + usize::from(sign != its);
            let least = change.min(up + 1).min(next.get(left).map_or(usize::MAX, |left| left + 1));
            next.push(least);
        }
        row = next;
    }
    row.last().copied().filter(|distance| *distance <= MISTYPED)
}

fn read() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.into_iter().flat_map(|(prefix, names)| names.iter().map(move |name| (prefix, *name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was written to a namespace's own setting on Linux 6.18.
    #[test]
    fn what_the_kernel_refuses_is_known() {
        let conntrack = "net.netfilter.nf_conntrack_max";
        for (setting, taken, refused) in [
            (
                RANGE,
                &["1024 65000", "32768", "5000 5000", "1024 65000 7", "0x400 60999", "1024 65000 # more"][..],
                &["60999 32768", "0 100", "1024 65536", "1024 x", "1024-65000", "-5 60000", "1024,65000", ""]
                    [..],
            ),
            (
                RESERVED,
                &["", "100,200", "8080,", "9000-9010", "0", "65535"],
                &["100 200", "70000", "200-100", "x", "8080 # x", "80-"],
            ),
            (
                "net.core.somaxconn",
                &["0", "2147483647", "4096 # x"],
                &["-1", "2147483648", "4096# x", "many"],
            ),
            ("net.ipv4.tcp_tw_reuse", &["0", "2"], &["-1", "3"]),
            ("net.ipv4.tcp_syncookies", &["0", "255"], &["-1", "256"]),
            ("net.ipv4.tcp_syn_retries", &["1", "127"], &["0", "128"]),
            ("net.ipv4.tcp_fin_timeout", &["-1", "0", "256"], &["35s"]),
            (conntrack, &["1000000"], &["1,000,000"]),
            // Not one of those that are read.
            ("net.ipv4.tcp_congestion_control", &["bbr"], &[]),
        ] {
            for text in taken {
                assert_eq!(refusal(setting, text), None, "{setting} = {text}");
            }
            for text in refused {
                assert!(refusal(setting, text).is_some(), "{setting} = {text}");
            }
        }
    }

    #[test]
    fn a_name_that_no_kernel_has_is_told_by_the_one_next_to_it() {
        for (name, expected) in [
            ("net.ipv4.tcp_tw_recyle", Some("net.ipv4.tcp_tw_recycle")),
            ("net.ipv4.tcp_tw_resue", Some("net.ipv4.tcp_tw_reuse")),
            ("net.ipv4.tcp_max_tw_bucket", Some("net.ipv4.tcp_max_tw_buckets")),
            ("net.core.somaxcon", Some("net.core.somaxconn")),
            ("net.ipv4.tcp_tw_reuse", None),
            ("net.ipv4.tcp_retries1", None),
            ("net.ipv4.tcp_tw_recycle_private_only", None),
            ("net.ipv4.tcp_tw_ignore_syn_tsval_zero", None),
            ("net.nf_conntrack_max", None),
            ("net.ipv4.conf.all.rp_filter", None),
            ("kernel.sem", None),
        ] {
            assert_eq!(meant(name).as_deref(), expected, "{name}");
        }
    }

    /// Names are compared with those of the kernel that runs the test.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test may look at its host")]
    fn no_setting_of_this_kernel_is_called_mistyped() {
        for (prefix, _) in SETTINGS {
            let Ok(folder) = std::fs::read_dir(format!("/proc/sys/{}", prefix.replace('.', "/"))) else {
                continue;
            };
            for entry in folder.flatten() {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                assert_eq!(meant(&name), None, "{name}");
            }
        }
    }
}
