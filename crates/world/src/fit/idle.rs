//! Connections that a server closes when they are idle, and the requests that meet such a close.
//!
//! When a client asks again after a quiet time is chance, but how often that came too late is in a capture: so many
//! requests met a close, and so many found the connection closed and went over a new one. The model asks in two
//! streams. One comes back just after the server's timeout, the other before it; together they have the requests, the
//! connections and the requests that were lost.

use super::{Assumption, Ends, HARD_LIMIT, Range, Talker};
use crate::scenario::{Client, Close, ClosesWhen, How, MOST_AT_ONCE};
use evidence::configuration::{address, haproxy, nginx};
use evidence::{Case, Endpoint, Exchange};
use serde::Serialize;

/// The request passed the FIN on its way,
const RACE: &str = "idle-timeout-race";
/// or came when the client could have known.
const AFTER_CLOSE: &str = "after-close";

/// Resets after a close have other causes too: so few are accidents.
const SOME: u64 = 3;

/// Who comes too late does so by this part of the timeout,
const LATE: f64 = 1.15;
/// and who comes in time comes after no more than this.
const IN_TIME: f64 = 0.8;

/// After so many turns each is as the one before.
const MOST_TURNS: f64 = 1_000.0;
/// Half of an interval so many times is exact enough.
const HALVINGS: u32 = 30;

/// Idle timeouts beyond this are as none, milliseconds.
const MOST_MS: u64 = 3_600_000;

/// What is known of connections that their server closes when they are idle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Idle {
    /// The server closes what is idle for so long, milliseconds.
    pub server_ms: u64,
    /// The client does so after this time, milliseconds; none: later than the server, if at all.
    pub client_ms: Option<u64>,
    /// Requests on all of the connections.
    pub requests: u64,
    /// Those that came when the server had closed the connection they would have taken.
    pub asked_after: u64,
    /// Those of them that met the close and were lost.
    pub met: u64,
    /// Connections that the client closed, too, when it saw that the server had.
    pub seen: u64,
}

impl Idle {
    /// What an exchange shows of them; none if no request met a close.
    pub(super) fn of(case: &Case, exchange: &Exchange) -> Option<Self> {
        let http = exchange.http.as_ref().filter(|http| http.kept.count > 0)?;
        let met = |cause: &str| exchange.resets.get(cause).map_or(0, |resets| resets.count);
        let by = exchange.resets_by.get(AFTER_CLOSE).copied().unwrap_or_default();
        let late = met(AFTER_CLOSE).min(by.server).min(exchange.closed_idle.server);
        let met = met(RACE).saturating_add(if late >= SOME { late } else { 0 });
        let closed = exchange.closed_idle.server;
        let shortest = exchange.idle_ms.map(|(least, _)| u64::from(least));
        let server_ms = served_for(case, exchange.server).or(shortest)?;
        if met == 0 || closed == 0 || server_ms == 0 || server_ms > MOST_MS {
            return None;
        }
        // Beyond those that were open at once, each new connection took the place of one that had been closed.
        let opened = exchange.connections.saturating_sub(u64::from(exchange.at_once));
        Some(Self {
            server_ms,
            client_ms: kept_for(case, exchange.server).filter(|client_ms| *client_ms > server_ms),
            requests: http.requests.max(exchange.connections),
            asked_after: met.saturating_add(opened.min(closed)),
            met,
            seen: exchange.time_wait_at.server.min(closed),
        })
    }

    /// What is taken for granted of them.
    pub(super) fn said(self, server: &Endpoint) -> Assumption {
        let Self { server_ms, asked_after, met, .. } = self;
        let late = self.server_ms as f64 * LATE;
        Assumption::new(
            format!(
                "{asked_after} requests to {server} come {late:.0} ms after the answer before, and {met} of them are lost, \
                 with their connections"
            ),
            format!(
                "the server closes what is idle for {server_ms} ms, {met} requests met that, and for the others a new \
                 connection was opened; the capture does not tell how long after it they came, nor which are sent again"
            ),
        )
    }

    /// How the server closes.
    pub(super) const fn close(self) -> Close {
        Close { after_ms: self.server_ms, ..Close::new(ClosesWhen::Idle, How::Fin) }
    }

    /// The clients that ask so, made of one that is the talker's in all else. `for_ms` is how long they go on; none: as
    /// long as they did.
    pub(super) fn clients(
        self,
        talker: &Talker,
        client: &Client,
        for_ms: Option<u64>,
        met: f64,
    ) -> Vec<Client> {
        let timeout = self.server_ms as f64;
        let (apart, all_s) = (timeout * LATE, talker.over_ms.max(1) as f64 / 1e3);
        let at_once = u64::from(talker.at_once.clamp(1, MOST_AT_ONCE));
        let turns = ((talker.over_ms as f64 - timeout) / apart).floor().max(1.0);
        let late = whole(self.asked_after as f64 / turns).clamp(1, at_once);
        // A load that goes on has been going on: the first connections of this stream are those that are open.
        let goes_on = for_ms.map(|ms| ms as f64 / 1e3);
        let times = goes_on.map_or(1.0, |seconds| seconds / all_s);
        let asked_late = self.asked_after as f64 * times + late as f64;
        let bursts = (asked_late / late as f64 - 1.0).max(1.0);
        // It asks until the end, even if it must wait for longer between; but not until the client gives them up by
        // itself.
        let spread = goes_on.map_or(apart, |seconds| (seconds * 1e3 - timeout) / bursts);
        let given_up = self.client_ms.map_or(f64::INFINITY, |client| f64::midpoint(timeout, client as f64));
        let apart = spread.min(given_up).max(apart);
        let pooled = |size: u64, requests: f64, per_second: f64, burst: f64| Client {
            connections: count(requests.min(HARD_LIMIT)),
            per_second: Some(per_second.clamp(1e-6, 1e7)),
            burst: count(burst),
            concurrency: count(size as f64),
            requests: 1,
            think_ms: 0,
            pool: Some(count(size as f64)),
            pool_idle_ms: self.client_ms,
            close: Close::new(ClosesWhen::Requests, How::Fin),
            ..client.clone()
        };
        let mut clients = vec![Client {
            misses_close: if self.seen > 0 {
                met / (met + self.seen as f64)
            } else {
                missed(late as f64, self.asked_after as f64 / late as f64, met)
            },
            ..pooled(late, asked_late, late as f64 * 1e3 / apart, late as f64)
        }];
        let rest = (self.requests as f64 * times - asked_late).max(0.0);
        let others = at_once.saturating_sub(late).max(u64::from(rest >= 1.0));
        if others > 0 && rest >= 1.0 {
            let rate = rest / (all_s * times);
            let burst = (rate * timeout / 1e3 * IN_TIME).floor().clamp(1.0, others as f64);
            let name = format!("{}-in-time", client.name);
            clients.push(Client { name, ..pooled(others, rest, rate, burst) });
        }
        clients
    }

    /// How many requests meet a close in what was seen: chance may have it otherwise if it goes on.
    pub(super) fn met_range(self, lasts: bool) -> Range {
        let met = self.met as f64;
        let chance = if lasts { met.sqrt() } else { 0.0 };
        Range { low: (met - chance).max(met * 0.1), high: met + chance }
    }
}

/// How such connections end, and what is known of them, taken out of the ways in which all of an exchange did.
pub(super) fn taken_out(case: &Case, exchange: &Exchange, ways: &mut Vec<(Ends, u64)>) -> Option<Idle> {
    let idle = Idle::of(case, exchange)?;
    let all = exchange.closed_idle.server;
    let mut left = all;
    for (_, count) in
        ways.iter_mut().filter(|(ends, _)| matches!(ends, Ends::ServerCloses | Ends::ClientNeverCloses))
    {
        let taken = left.min(*count);
        *count -= taken;
        left -= taken;
    }
    ways.push((Ends::ServerClosesIdle, all - left));
    Some(idle)
}

/// How long nginx or HAProxy keeps idle connections of its clients, if one of them is this server and says so.
fn served_for(case: &Case, server: Endpoint) -> Option<u64> {
    let is_here = |listens: Vec<Endpoint>| address::are_met(&listens, server);
    let of_nginx = |nginx: &nginx::Nginx| {
        let servers = nginx.servers.iter().filter(|one| !one.stream);
        let mut own =
            servers.filter(|one| one.listen.iter().any(|listen| is_here(address::listens_of_nginx(listen))));
        own.find_map(|one| one.keepalive_timeout_ms.value().copied())
    };
    let of_haproxy = |haproxy: &haproxy::Haproxy| {
        let binds_here = |one: &&haproxy::Proxy| {
            one.binds.iter().any(|bind| is_here(address::listens_of_haproxy(&bind.address)))
        };
        let mut own = haproxy.proxies.iter().filter(binds_here);
        own.find_map(|one| one.keep_alive_ms()?.value().copied())
    };
    let known = case.configurations.iter();
    known.filter(|known| known.running.is_some()).find_map(|known| {
        known.nginx.as_ref().and_then(of_nginx).or(known.haproxy.as_ref().and_then(of_haproxy))
    })
}

/// How long nginx keeps idle connections to this server, if it passes requests to it.
fn kept_for(case: &Case, server: Endpoint) -> Option<u64> {
    let nginx = case.configurations.iter().filter(|known| known.running.is_some());
    let mut upstreams = nginx.filter_map(|known| known.nginx.as_ref()).flat_map(|nginx| &nginx.upstreams);
    let own = upstreams.find(|upstream| {
        upstream.servers.iter().any(|one| address::of_nginx(&one.address, 80).contains(&server))
    });
    own?.keepalive_timeout_ms.value().copied().flatten()
}

/// Where no close was seen: the part of the closed connections that a client must miss so that `met` of its requests
/// are lost. It comes back `turns` times with `late` requests, and a lost request leaves no connection for the next
/// time.
fn missed(late: f64, turns: f64, met: f64) -> f64 {
    let lost = |part: f64| {
        let (mut kept, mut lost, mut turn) = (late, 0.0, 0.0);
        while turn < turns.min(MOST_TURNS) {
            lost += part * kept;
            kept = late - part * kept;
            turn += 1.0;
        }
        lost * turns / turn.max(1.0)
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if lost(middle) < met { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

fn whole(count: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let whole = count.ceil() as u64;
    whole
}

/// As many as a world can have, and one at least.
fn count(count: f64) -> u32 {
    u32::try_from(whole(count)).unwrap_or(u32::MAX).max(1)
}
