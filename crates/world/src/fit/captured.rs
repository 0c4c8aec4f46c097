//! Talkers of a capture: every close and every request is in it.

use super::{Assumption, Ends, LASTING_SECONDS, Pace, Party, Place, Range, Talker, idle, sum};
use crate::scenario::Http;
use evidence::{Case, Exchange, Role, Traffic};

/// A way to end that fewer than one in so many connections took is added to the way that most took.
const ONE_IN: u64 = 50;

/// A peer that closes does so within this time, milliseconds.
const QUIET_MS: i64 = 1_000;

/// Talkers of the captures of a case.
pub(super) fn talkers(case: &Case, place: &Place, assumptions: &mut Vec<Assumption>) -> Vec<Talker> {
    let Some(traffic) = &case.traffic else { return Vec::new() };
    let lasts = lasts(traffic);
    let mut talkers = Vec::new();
    let (mut failed, mut few) = (0_u64, 0_u64);
    for exchange in &traffic.exchanges {
        let lost = |how: &str| exchange.handshakes.get(how).copied().unwrap_or(0);
        failed = failed.saturating_add(lost("refused")).saturating_add(lost("unanswered"));
        failed = failed.saturating_add(never_opened(exchange));
        few =
            few.saturating_add(of_exchange(case, place, traffic, exchange, lasts, &mut talkers, assumptions));
    }
    if failed > 0 {
        assumptions.push(Assumption::new(
            match failed {
                1 => "1 connect that was refused, not answered or not completed is left out".to_owned(),
                _ => {
                    format!("{failed} connects that were refused, not answered or not completed are left out")
                }
            },
            "the capture shows them; why they failed is not a part of the model",
        ));
    }
    if few > 0 {
        assumptions.push(Assumption::new(
            match few {
                1 => "1 connection ends as most of its kind do".to_owned(),
                _ => format!("{few} connections end as most of their kind do"),
            },
            "the capture shows that they ended otherwise: fewer than 1 in 50",
        ));
    }
    if talkers.is_empty() {
        return talkers;
    }
    if !place.is_known {
        assumptions.push(Assumption::new(
            "settings of all hosts are the kernel's defaults",
            "a capture does not show them; --case or --set names them",
        ));
    }
    assumptions.push(if lasts {
        Assumption::new(
            "the load goes on as the capture shows it",
            format!("connections end in each second or so of its {:.1} s", traffic.length_ms as f64 / 1e3),
        )
    } else {
        Assumption::new(
            "the load is played once, as the capture shows it",
            format!(
                "it is {} long, which does not tell whether it goes on; --lasting says that it does",
                length(traffic.length_ms)
            ),
        )
    });
    talkers
}

fn length(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1e3) }
}

/// True if connections ended all along, for some seconds.
fn lasts(traffic: &Traffic) -> bool {
    let seconds = usize::try_from(traffic.length_ms / 1_000).unwrap_or(usize::MAX);
    seconds >= LASTING_SECONDS && traffic.time_wait_by_second.len().saturating_mul(2) >= seconds
}

/// The ways in which the connections of one exchange ended. Returns how many were added to another way.
fn of_exchange(
    case: &Case,
    place: &Place,
    traffic: &Traffic,
    exchange: &Exchange,
    lasts: bool,
    talkers: &mut Vec<Talker>,
    assumptions: &mut Vec<Assumption>,
) -> u64 {
    let Some(port) = exchange.server.port else { return 0 };
    let mut ways = ways(exchange, was_quiet(case, traffic));
    let idle = idle::taken_out(case, exchange, &mut ways);
    let all = sum(ways.iter().map(|(_, count)| *count));
    ways.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut few = 0_u64;
    ways.retain(|(ends, count)| {
        // What nobody closes holds its port for ever, few or not.
        let kept = count.saturating_mul(ONE_IN) >= all || *ends == Ends::StaysOpen && !lasts;
        few = few.saturating_add(if kept { 0 } else { *count });
        kept && *count > 0
    });
    if let Some((_, most)) = ways.first_mut() {
        *most = most.saturating_add(few);
    }
    let (client, server) = parties(place, exchange, port);
    if let Some(idle) = idle {
        assumptions.push(idle.said(&exchange.server));
    }
    let over_ms = if lasts { traffic.length_ms } else { exchange.length_ms }.max(1);
    for (ends, connections) in ways {
        let rate = connections as f64 * 1e3 / over_ms as f64;
        let at_once = exchange.at_once.max(1);
        let mut talker = Talker::new(client, server, port, ends);
        talker.connections = connections;
        talker.over_ms = over_ms;
        talker.pace = if lasts { Pace::GoesOn } else { Pace::Once };
        talker.at_once = u32::try_from(connections).unwrap_or(u32::MAX).min(at_once);
        // Arrivals by chance differ so much from one look to the next.
        let chance = if lasts { (connections as f64).sqrt() / connections as f64 } else { 0.0 };
        talker.per_second = Range { low: rate * (1.0 - chance).max(0.1), high: rate * (1.0 + chance) };
        if lasts || u64::from(at_once) >= connections {
            talker.burst = talker.at_once;
        }
        talker.open_ms = open_ms(exchange, rate).min(over_ms);
        if let Some(http) = exchange.http.as_ref().filter(|http| http.connections > 0) {
            talker.is_http = true;
            let each = http.requests.saturating_add(http.connections / 2) / http.connections;
            talker.requests = u32::try_from(each).unwrap_or(u32::MAX).max(1);
            talker.http = if http.old_version.saturating_mul(2) > http.connections {
                Http::V1_0
            } else if http.client_asks_to_close.count.saturating_mul(2) > http.connections {
                Http::V1_1Close
            } else {
                Http::V1_1
            };
        }
        talker.without_timestamps =
            exchange.without_timestamps.count.saturating_mul(2) > exchange.connections;
        talker.idle = idle.filter(|_| ends == Ends::ServerClosesIdle);
        if client == Party::Here {
            talker.ports_held = held(case, exchange);
        }
        talkers.push(talker);
    }
    few
}

/// How long one of them is open, milliseconds: the mean, if it was measured; else, by Little's law, what it is at most.
fn open_ms(exchange: &Exchange, rate: f64) -> u64 {
    let never = |how: &str| exchange.endings.get(how).copied().unwrap_or(0);
    let opened = exchange.connections.saturating_sub(never("refused")).saturating_sub(never("unanswered"));
    if exchange.open_us > 0 && opened > 0 {
        return exchange.open_us / opened / 1_000;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let most = (f64::from(exchange.at_once.max(1)) * 1e3 / rate) as u64;
    most
}

/// Local ports that the case shows to be held towards this server.
fn held(case: &Case, exchange: &Exchange) -> u64 {
    let groups = case.namespaces.iter().flat_map(|namespace| &namespace.sockets.groups);
    let same = groups.filter(|group| group.role == Role::Client && group.remote == exchange.server);
    same.map(|group| u64::from(group.ports.taken().total())).max().unwrap_or(0)
}

/// Whom this host is. A capture at a host has it at one end of every connection: it serves the ports it listens on, and
/// is the client of the others.
fn parties(place: &Place, exchange: &Exchange, port: u16) -> (Party, Party) {
    let (client, server) = (place.party(exchange.client.address), place.party(exchange.server.address));
    match (client, server) {
        (Party::Here, _) | (_, Party::Here) => (client, server),
        _ if !place.is_known => (client, server),
        _ if place.listens.contains(&port) => (client, Party::Here),
        _ => (Party::Here, server),
    }
}

/// True if nothing was sent for so long before the sockets were listed: who had not closed by then does not close.
fn was_quiet(case: &Case, traffic: &Traffic) -> bool {
    let at = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let (Some(taken), Some(start)) = (at(&case.host.taken_at), at(&traffic.start)) else { return false };
    let length = i64::try_from(traffic.length_ms).unwrap_or(i64::MAX);
    taken.as_millisecond().saturating_sub(start.as_millisecond()).saturating_sub(length) >= QUIET_MS
}

/// SYNs whose SYN,ACK was never acknowledged, and nothing more was seen of them: no connection stays open there.
fn never_opened(exchange: &Exchange) -> u64 {
    let count =
        |counts: &std::collections::BTreeMap<String, u64>, of: &str| counts.get(of).copied().unwrap_or(0);
    count(&exchange.handshakes, "half").min(count(&exchange.endings, "open"))
}

/// How many connections ended in which way.
fn ways(exchange: &Exchange, was_quiet: bool) -> Vec<(Ends, u64)> {
    let ending = |how: &str| exchange.endings.get(how).copied().unwrap_or(0);
    let aborted = |by: fn(&evidence::Ends) -> u64| {
        let causes = ["abort-by-linger", "unread-data"].into_iter();
        sum(causes.filter_map(|cause| exchange.resets_by.get(cause)).map(by))
    };
    let resets = ending("reset");
    let by_client = aborted(|by| by.client).min(resets);
    let by_server = aborted(|by| by.server.saturating_add(by.both)).min(resets - by_client);
    // Who resets what nobody has closed ends it, even where the capture does not tell why.
    let closed = ["graceful", "simultaneous", "half-closed"].into_iter().map(ending);
    let unclosed = sum(closed.chain([resets])).saturating_sub(exchange.first_closer.total());
    let unexplained = unclosed.min(resets).saturating_sub(by_client.saturating_add(by_server));
    let reset_by = exchange.reset_by;
    let of_server = reset_by.server.saturating_add(reset_by.both).saturating_sub(by_server).min(unexplained);
    let of_client = reset_by.client.saturating_sub(by_client).min(unexplained - of_server);
    let (by_client, by_server) = (by_client + of_client, by_server + of_server);
    let half = ending("half-closed");
    let (mut server_never, mut client_never) = (exchange.not_closed_by.server, exchange.not_closed_by.client);
    if was_quiet && server_never == 0 && client_never == 0 {
        // What closed first is all that the capture shows of them, and nothing came after it.
        let first = exchange.first_closer;
        server_never = first.client.saturating_add(first.both);
        client_never = first.server;
    }
    let server_never = server_never.min(half);
    let client_never = client_never.min(half - server_never);
    // The others were closed by FINs, whatever came after them.
    let rest = ending("graceful")
        .saturating_add(ending("simultaneous"))
        .saturating_add(resets - by_client - by_server)
        .saturating_add(half - server_never - client_never);
    let first = exchange.first_closer;
    let clients = first.client.saturating_add(first.both).saturating_sub(server_never);
    let servers = first.server.saturating_sub(client_never);
    let known = clients.saturating_add(servers).max(1);
    let of_servers = u64::try_from(u128::from(rest) * u128::from(servers) / u128::from(known)).unwrap_or(0);
    vec![
        (Ends::ClientCloses, rest.saturating_sub(of_servers)),
        (Ends::ServerCloses, of_servers.min(rest)),
        (Ends::ClientResets, by_client),
        (Ends::ServerResets, by_server),
        (Ends::ServerNeverCloses, server_never),
        (Ends::ClientNeverCloses, client_never),
        (Ends::StaysOpen, ending("open").saturating_sub(never_opened(exchange))),
    ]
}
