//! What Windows says of its TCP beside its sockets: dynamic ports, the registry, statistics.

use crate::sections::Strays;
use crate::text::Line;
use evidence::{DYNAMIC_PORT_COUNT, DYNAMIC_PORT_START, Settings, TIMED_WAIT_DELAY};
use std::collections::BTreeMap;

/// `netsh int ipv4 show dynamicport tcp`: in whatever language, the first number is the first port, the second how
/// many.
pub(crate) fn dynamic_ports<'a>(lines: impl Iterator<Item = Line<'a>>, settings: &mut Settings) {
    let numbers = lines.filter_map(|line| {
        let (_, number) = line.says.rsplit_once(':')?;
        number.trim().parse::<u16>().ok()
    });
    for (name, number) in [DYNAMIC_PORT_START, DYNAMIC_PORT_COUNT].into_iter().zip(numbers) {
        settings.values.insert(name.to_owned(), number.to_string());
    }
}

/// `Get-NetTCPSetting`: of several settings, that for the Internet, which is what connections get unless rules say
/// otherwise.
pub(crate) fn tcp_setting<'a>(lines: impl Iterator<Item = Line<'a>>, settings: &mut Settings) {
    let mut decides = true;
    for Line { says, .. } in lines {
        let Some((name, value)) = says.split_once(':').map(|(name, value)| (name.trim(), value.trim()))
        else {
            continue;
        };
        let setting = match name {
            "SettingName" => {
                decides = value == "Internet";
                continue;
            }
            "DynamicPortRangeStartPort" => DYNAMIC_PORT_START,
            "DynamicPortRangeNumberOfPorts" => DYNAMIC_PORT_COUNT,
            _ => continue,
        };
        if value.parse::<u16>().is_ok() && (decides || settings.text(setting).is_none()) {
            settings.values.insert(setting.to_owned(), value.to_owned());
        }
    }
}

/// `reg query HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters`: `TcpTimedWaitDelay REG_DWORD 0x1e`.
pub(crate) fn registry<'a>(
    lines: impl Iterator<Item = Line<'a>>,
    settings: &mut Settings,
    strays: &mut Strays,
) {
    const KEPT: [&str; 4] =
        [TIMED_WAIT_DELAY, "MaxUserPort", "TcpNumConnections", "TcpMaxDataRetransmissions"];
    for Line { number, says, .. } in lines {
        let mut words = says.split_whitespace();
        let Some(kept) =
            words.next().and_then(|name| KEPT.into_iter().find(|kept| kept.eq_ignore_ascii_case(name)))
        else {
            continue;
        };
        let value = words.next().filter(|kind| *kind == "REG_DWORD").and_then(|_| words.next());
        match value.and_then(|value| u32::from_str_radix(value.strip_prefix("0x")?, 16).ok()) {
            Some(value) => {
                settings.values.insert(kept.to_owned(), value.to_string());
            }
            None => strays.add(number),
        }
    }
}

/// `netstat -s -p tcp`, of both families added up, under the names that RFC 4022 gives these counters.
pub(crate) fn statistics<'a>(
    lines: impl Iterator<Item = Line<'a>>,
    strays: &mut Strays,
) -> BTreeMap<String, u64> {
    const NAMES: [(&str, &str); 8] = [
        ("Active Opens", "TcpActiveOpens"),
        ("Passive Opens", "TcpPassiveOpens"),
        ("Failed Connection Attempts", "TcpAttemptFails"),
        ("Reset Connections", "TcpEstabResets"),
        ("Current Connections", "TcpCurrEstab"),
        ("Segments Received", "TcpInSegs"),
        ("Segments Sent", "TcpOutSegs"),
        ("Segments Retransmitted", "TcpRetransSegs"),
    ];
    let mut counters = BTreeMap::<String, u64>::new();
    for Line { number, says, .. } in lines {
        let Some((words, value)) = says.split_once('=') else { continue };
        let name = NAMES.iter().find(|(shown, _)| *shown == words.trim());
        match (name, value.trim().parse::<u64>()) {
            (Some((_, name)), Ok(value)) => {
                let sum = counters.entry((*name).to_owned()).or_default();
                *sum = sum.saturating_add(value);
            }
            _ => strays.add(number),
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::lines;

    #[test]
    fn ports_are_read_in_any_language() {
        for text in [
            "Protocol tcp Dynamic Port Range\n---------------------------------\nStart Port      : 49152\nNumber of Ports : 16384\n",
            "Plage de ports dynamique du protocole tcp\n---------------------------------\nPort de démarrage   : 49152\nNombre de ports     : 16384\n",
            "Protokoll tcp Dynamischer Portbereich\n---------------------------------\nStartport        : 49152\nAnzahl von Ports : 16384\n",
        ] {
            let mut settings = Settings::default();
            dynamic_ports(lines(text, 0, 1), &mut settings);
            assert_eq!(settings.number(DYNAMIC_PORT_START), Some(49_152));
            assert_eq!(settings.number(DYNAMIC_PORT_COUNT), Some(16_384));
        }
    }

    #[test]
    fn of_several_settings_that_for_the_internet_decides() {
        let of = |name: &str, start: &str| {
            format!(
                "SettingName                   : {name}\nDynamicPortRangeStartPort     : {start}\n\
                     DynamicPortRangeNumberOfPorts : 16384\n\n"
            )
        };
        let text =
            [of("Automatic", ""), of("Datacenter", "1025"), of("Internet", "49152"), of("Compat", "2000")]
                .concat();
        let mut settings = Settings::default();
        tcp_setting(lines(&text, 0, 1), &mut settings);
        assert_eq!(settings.number(DYNAMIC_PORT_START), Some(49_152));
        assert_eq!(settings.number(DYNAMIC_PORT_COUNT), Some(16_384));
    }

    #[test]
    fn the_registry_is_read_in_hexadecimal() {
        let text = "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters\n    \
                    tcptimedwaitdelay    REG_DWORD    0x1e\n    Hostname    REG_SZ    web1\n    MaxUserPort    REG_SZ   x\n";
        let (mut settings, mut strays) = <(Settings, Strays)>::default();
        registry(lines(text, 0, 1), &mut settings, &mut strays);
        assert_eq!(settings.number(TIMED_WAIT_DELAY), Some(30));
        assert_eq!(strays, Strays { count: 1, first: 4 });
    }

    #[test]
    fn statistics_of_both_families_are_added() {
        let text = "TCP Statistics for IPv4\n\n  Active Opens                        = 1234\n  Angels = 5\n\
                    TCP Statistics for IPv6\n\n  Active Opens                        = 6\n";
        let mut strays = Strays::default();
        let counters = statistics(lines(text, 0, 1), &mut strays);
        assert_eq!(counters, BTreeMap::from([("TcpActiveOpens".to_owned(), 1_240)]));
        assert_eq!(strays, Strays { count: 1, first: 4 });
    }
}
