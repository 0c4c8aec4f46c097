//! Settings: `sysctl -a`, `sysctl NAME`, and files below /proc/sys with their values.

use crate::sections::Strays;
use crate::text::Line;
use evidence::{MSL, PORT_RANGE_FIRST, PORT_RANGE_LAST, SETTINGS, Settings};

/// The longest value that is kept: `ip_local_reserved_ports` with every other port is shorter.
const MAX_VALUE: usize = 256 << 10;

/// Reads settings that a case holds; all others are passed over, and what is no setting is counted.
pub(crate) fn read<'a>(lines: impl Iterator<Item = Line<'a>>, settings: &mut Settings, strays: &mut Strays) {
    for Line { number, says, .. } in lines {
        let line = says.trim();
        if line.is_empty() {
            continue;
        }
        if let Some(complaint) = line.strip_prefix("sysctl: ") {
            // Of the many settings that only root may read, it matters for those that are kept.
            if complaint
                .split(['\'', '"', ' ', ':'])
                .any(|word| is_kept(&word.trim_start_matches("/proc/sys/").replace('/', ".")))
            {
                strays.add(number);
            }
            continue;
        }
        let Some((name, value)) = setting(line) else {
            strays.add(number);
            continue;
        };
        let value: String = value.chars().take(MAX_VALUE).collect();
        if is_kept(&name) {
            settings.values.insert(name, value);
        }
    }
}

fn is_kept(name: &str) -> bool {
    [MSL, PORT_RANGE_FIRST, PORT_RANGE_LAST].contains(&name)
        || SETTINGS
            .iter()
            .any(|(prefix, names)| name.strip_prefix(prefix).is_some_and(|rest| names.contains(&rest)))
}

/// `net.ipv4.tcp_tw_reuse = 2`, `net/ipv4/tcp_tw_reuse=2`, `/proc/sys/net/ipv4/tcp_tw_reuse:2`.
pub(crate) fn setting(line: &str) -> Option<(String, &str)> {
    let (name, value) = match line.strip_prefix("/proc/sys/") {
        Some(rest) => rest.split_once(':')?,
        // macOS: `net.inet.tcp.msl: 15000`.
        None if line.starts_with("net.inet") => line.split_once([':', '='])?,
        None => line.split_once('=')?,
    };
    let name = name.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/@:".contains(&byte);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(plain) {
        return None;
    }
    let name = if name.contains('/') { name.replace('/', ".") } else { name.to_owned() };
    Some((name, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::lines;

    #[test]
    fn settings_are_read_however_they_are_written() {
        let text = "net.ipv4.tcp_tw_reuse = 2\nnet/ipv4/tcp_fin_timeout=30\n/proc/sys/net/core/somaxconn:4096\n\
                    net.ipv4.ip_local_port_range = 32768\t60999\nkernel.hostname = web1\nvm.swappiness = 60\n\
                    sysctl: permission denied on key 'net.ipv4.tcp_fastopen_key'\nnet.ipv4.ip_local_reserved_ports = \n";
        let (mut settings, mut strays) = <(Settings, Strays)>::default();
        read(lines(text, 0, 1), &mut settings, &mut strays);
        assert_eq!(settings.number("net.ipv4.tcp_tw_reuse"), Some(2));
        assert_eq!(settings.fin_timeout().as_secs(), 30);
        assert_eq!(settings.number("net.core.somaxconn"), Some(4_096));
        assert_eq!(settings.local_port_range().ports(), 28_232);
        assert_eq!(settings.text("net.ipv4.ip_local_reserved_ports"), Some(""));
        assert_eq!(settings.values.len(), 5);
        assert_eq!(strays, Strays::default(), "nobody needs that key");
        let text = "sysctl: permission denied on key 'net.ipv4.tcp_mem'\nsysctl: cannot stat /proc/sys/net/ipv4/tcp_tw_recycle: No such file or directory\nthanks!\n";
        read(lines(text, 0, 1), &mut settings, &mut strays);
        assert_eq!(strays, Strays { count: 3, first: 1 });
    }
}
