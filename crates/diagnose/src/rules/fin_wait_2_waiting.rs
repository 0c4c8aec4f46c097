//! Connections that this host has closed are not closed by the peer.
//!
//! ## What it sees
//!
//! Sockets in FIN-WAIT-2: our FIN is acknowledged, the peer's has not come. There are two kinds.
//!
//! Our process called `close()`: the kernel keeps the connection for `tcp_fin_timeout` as a mini-socket of
//! 256 bytes. The rule counts those that have waited for 2 s or more, for each port or destination. From 50
//! that are 20 % of what was closed there (TIME-WAIT and FIN-WAIT-2 together) it is a note, from 1,000 a
//! warning.
//!
//! Our process called `shutdown()` and keeps the socket open: then no timer runs at all, and the socket
//! stays until the process closes it. From 20 that have been silent for 60 s it is a warning.
//!
//! The time waited is what `tcp_fin_timeout` gave less what is left. A program that sets `TCP_LINGER2`
//! gives its sockets less, and they look older than they are.
//!
//! In a capture: 50 connections or more that one side closed and the other had not 5 s later, a fifth of those
//! between two hosts: a note (possible). It is the other side of `close-wait-leak`.
//!
//! ## Why it hurts
//!
//! The peer has a CLOSE-WAIT for each of them, or is gone without a word: its program leaks, or stalls.
//! Here they hold memory, count against `tcp_max_tw_buckets`, and at a client each holds a port. A full
//! socket holds its descriptor too. When the peer does close in the end, its FIN meets a reset.
//!
//! ## How to prove it
//!
//! ```sh
//! ss -tnop state fin-wait-2     # timer:timewait: closed here; a process and no timer: shutdown only
//! ss -tnp state close-wait      # on the peer: the process that does not close
//! ```
//!
//! ## What to do
//!
//! Fix the peer: `lastack doctor` there says `close-wait-leak` and names the process. Where that is not
//! possible, `tcp_fin_timeout` of 15 to 30 s lets go of them sooner. It does nothing for sockets whose
//! process only called `shutdown()`: that process must call `close()` after a read timeout.
//!
//! ## What not to do
//!
//! Do not set `tcp_fin_timeout` between 61 and 89: above 60 s the kernel keeps the full socket for N - 60 s
//! and a mini-socket for N - 60 s more, so that 61 means 2 s and 90 means 60 s. Do not expect anything of
//! it for TIME-WAIT, which always lasts 60 s: a FIN that comes in time starts a full one.
//!
//! ## Sources
//!
//! net/ipv4/tcp.c `tcp_close()`, net/ipv4/tcp_input.c `tcp_rcv_state_process()`, net/ipv4/tcp_timer.c
//! `tcp_keepalive_timer()`; measured on Linux 6.18 for 2, 5, 20, 60, 61, 65 and 90 s. A process that called
//! `shutdown()` keeps its FIN-WAIT-2 without a timer: measured with `tcp_fin_timeout` of 5 s.

use crate::packets::{self, TrafficLook, both_directions};
use crate::place::Place;
use crate::wording::{count, counted, length, percent, share};
use crate::{Applicability, Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Verdict};
use evidence::{Exchange, Group, Unseen, Waiting};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;
use tcp::State;
use tcp::profile::linux;

/// A peer that closes when it reads the end needs a round trip; 2 s is longer than any but the worst.
const WAITED_S: u64 = 2;
/// Fewer are left by clients that vanish from any busy server.
const SOME: u32 = 50;
/// So many are a program, not accidents.
const MANY: u32 = 1_000;
/// Part of the connections closed there; vanishing clients make a few percent.
const SHARE: f64 = 0.2;
/// Half-closed sockets that wait so long are not in the middle of an answer...
const HALF_CLOSED_S: u32 = 60;
/// ...and so many are not one odd tunnel.
const HALF_CLOSED: u32 = 20;
/// `tcp_fin_timeout` to go to: well below 60 s, and longer than a slow peer needs to close.
const SHORT_S: u64 = 20;

const SETTING: &str = "net.ipv4.tcp_fin_timeout";

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let lifetime = lifetime(look);
    let mut places = BTreeMap::<Place, Here<'_>>::new();
    for group in look.namespace.sockets.groups.iter().filter(|group| group.states.of(State::FinWait2) > 0) {
        places.entry(Place::of(group)).or_default().add(group, lifetime);
    }
    // What was closed is compared with everything that was closed there, also by groups without FIN-WAIT-2.
    for group in &look.namespace.sockets.groups {
        if let Some(here) = places.get_mut(&Place::of(group)) {
            let closed = group.states.of(State::TimeWait).saturating_add(group.states.of(State::FinWait2));
            here.closed = here.closed.saturating_add(closed);
        }
    }
    let mut found = Vec::new();
    for (place, here) in &places {
        found.extend(here.closed_here(look, *place, lifetime).map(|finding| (here.waited, finding)));
        found.extend(here.half_closed(look, *place).map(|finding| (here.held_long, finding)));
    }
    found.sort_by_key(|(sockets, _)| Reverse(*sockets));
    look.found_or(found.into_iter().map(|(_, finding)| finding).collect(), &[Unseen::Sockets])
}

/// How long an orphan in FIN-WAIT-2 is kept. If the setting was not read: what the youngest has left, which is
/// at most that, so that nothing is called older than it is.
fn lifetime(look: &Look<'_>) -> Duration {
    let settings = &look.namespace.settings;
    if settings.number(SETTING).is_some() {
        return linux::orphan_fin_wait_2_lifetime_for(settings.fin_timeout(), settings.time_wait());
    }
    let left =
        look.namespace.sockets.groups.iter().flat_map(|group| group.fin_wait_2.by_second().into_keys());
    Duration::from_secs(left.max().unwrap_or(0).into())
}

/// What waits in one place.
#[derive(Default)]
struct Here<'a> {
    groups: Vec<&'a Group>,
    /// Closed by their process and waiting for at least [`WAITED_S`].
    waited: u32,
    /// The same by peer, to see whether it is one.
    peers: Vec<(u32, &'a Group)>,
    /// Only half-closed, and their process holds them.
    held: u32,
    /// Of them: silent for at least [`HALF_CLOSED_S`].
    held_long: u32,
    longest_ms: u32,
    /// All sockets in TIME-WAIT and FIN-WAIT-2.
    closed: u32,
}

impl<'a> Here<'a> {
    fn add(&mut self, group: &'a Group, lifetime: Duration) {
        self.groups.push(group);
        let none = Waiting::new(State::FinWait2);
        let full = group.waiting_in(State::FinWait2).unwrap_or(&none);
        let held = full.sockets.saturating_sub(full.orphans);
        self.held = self.held.saturating_add(held);
        // Ages are read for all full sockets together: what the orphans cannot make up is the process's.
        let long = full.idle.at_least(HALF_CLOSED_S);
        self.held_long = self.held_long.saturating_add(long.saturating_sub(full.orphans).min(held));
        if long > 0 && full.orphans == 0 {
            self.longest_ms = self.longest_ms.max(full.idle.longest_ms);
        }
        // Full orphans are those of a tcp_fin_timeout above the length of TIME-WAIT.
        let full_orphans = full.idle.at_least(5).saturating_sub(held).min(full.orphans);
        let waited = waited(group, lifetime).saturating_add(full_orphans);
        self.waited = self.waited.saturating_add(waited);
        if waited > 0 {
            self.peers.push((waited, group));
        }
    }

    fn closed_here(&self, look: &Look<'_>, place: Place, lifetime: Duration) -> Option<Finding> {
        if self.waited < SOME || share(self.waited, self.closed) < SHARE {
            return None;
        }
        let peer = self.peer();
        let who = match (place, &peer) {
            (Place::Destination(_), _) | (_, None) => "the peer has".to_owned(),
            (Place::Port(_), Some((sockets, peer))) if *sockets == self.waited => format!("{peer} has"),
            (Place::Port(_), Some(_)) => "the peers have".to_owned(),
        };
        let mut evidence = vec![Evidence::new(
            "sock_diag",
            format!(
                "{} closed by their process wait in FIN-WAIT-2 for {WAITED_S} s or more; TIME-WAIT and FIN-WAIT-2 {} \
                 are {} together",
                counted(self.waited, "socket", "sockets"),
                place.preposition(),
                count(self.closed)
            ),
        )];
        if let (Place::Port(_), Some((sockets, peer))) = (place, &peer) {
            evidence.push(Evidence::new("sock_diag", format!("{} of them are from {peer}", count(*sockets))));
        }
        evidence.extend(look.set(SETTING));
        let kept = match look.namespace.settings.number(SETTING) {
            Some(_) => format!("; the kernel keeps each for {}", length(lifetime)),
            None => String::new(),
        };
        let mut subject = place.into_subject(look.subject());
        if let Some((process, _)) = look.holder(self.groups.iter().copied(), &[State::FinWait2]) {
            (subject.process, subject.pid) = (Some(process.name.clone()), Some(process.pid));
        }
        Some(Finding {
            rule: "fin-wait-2-waiting",
            severity: if self.waited >= MANY { Severity::Warning } else { Severity::Note },
            confidence: Confidence::Likely,
            claim: format!(
                "{} {} were closed here at least {WAITED_S} s ago and {who} not closed them, {} of what was closed \
                 there{kept}",
                counted(self.waited, "connection", "connections"),
                place.preposition(),
                percent(self.waited, self.closed)
            ),
            subject,
            evidence,
            remedies: orphan_remedies(look, lifetime),
            avoid: orphan_avoid(look),
            next: Some(look.command(format!("ss -tno state fin-wait-2 {}", place.filter()).trim_end())),
        })
    }

    fn half_closed(&self, look: &Look<'_>, place: Place) -> Option<Finding> {
        if self.held_long < HALF_CLOSED {
            return None;
        }
        let holder = look.holder(self.groups.iter().copied(), &[State::FinWait2]);
        let mut subject = place.into_subject(look.subject());
        if let Some((process, _)) = holder {
            (subject.process, subject.pid) = (Some(process.name.clone()), Some(process.pid));
        }
        let who = holder.map_or_else(
            || "an unknown process".to_owned(),
            |(process, _)| format!("{} (pid {})", process.name, process.pid),
        );
        let longest = match self.longest_ms {
            0 => String::new(),
            longest => format!(", the longest for {}", length(Duration::from_millis(longest.into()))),
        };
        Some(Finding {
            rule: "fin-wait-2-waiting",
            severity: Severity::Warning,
            confidence: Confidence::Likely,
            claim: format!(
                "{} {} were half-closed by {who}, which waits for peers that do not close: at least {} of them for \
                 {HALF_CLOSED_S} s or more{longest}, and no timer will end it",
                counted(self.held, "connection", "connections"),
                place.preposition(),
                count(self.held_long)
            ),
            subject,
            evidence: vec![Evidence::new(
                "sock_diag",
                format!(
                    "{} in FIN-WAIT-2 with an open descriptor, at least {} silent for {HALF_CLOSED_S} s or more",
                    counted(self.held, "socket", "sockets"),
                    count(self.held_long)
                ),
            )],
            remedies: vec![
                Remedy::advice(
                    "close-after-shutdown",
                    format!(
                        "Let {who} call close() when the peer sends nothing for some seconds after shutdown()"
                    ),
                    "what a very slow peer still sends is lost",
                    "the kernel takes over: the socket becomes a mini-socket and ends after tcp_fin_timeout",
                ),
                fix_the_peer(),
            ],
            avoid: vec![Avoid::new(
                "lower tcp_fin_timeout",
                "it is for sockets that were closed; for one that was only shut down no timer runs",
            )],
            next: Some(look.command(format!("ss -tnpo state fin-wait-2 {}", place.filter()).trim_end())),
        })
    }

    /// The peer with most of what waited.
    fn peer(&self) -> Option<(u32, String)> {
        let mut peers = BTreeMap::<String, u32>::new();
        for (waited, group) in &self.peers {
            group.remote.address?;
            let sockets = peers.entry(group.remote.to_string()).or_default();
            *sockets = sockets.saturating_add(*waited);
        }
        peers.into_iter().map(|(peer, sockets)| (sockets, peer)).max_by_key(|(sockets, _)| *sockets)
    }
}

/// Mini-sockets that have surely waited for [`WAITED_S`].
fn waited(group: &Group, lifetime: Duration) -> u32 {
    let waited = |left: u32| u64::from(left) + 1 + WAITED_S <= lifetime.as_secs();
    let left =
        group.fin_wait_2.by_second().into_iter().filter(|(left, _)| waited(*left)).map(|(_, count)| count);
    left.fold(group.fin_wait_2.overdue(), u32::saturating_add)
}

fn fix_the_peer() -> Remedy {
    Remedy::advice(
        "fix-the-peer",
        "Look at the peer with `lastack doctor`: it has these connections in CLOSE-WAIT; let its process close them",
        "none",
        "its FIN comes at once, and FIN-WAIT-2 becomes TIME-WAIT",
    )
}

fn orphan_remedies(look: &Look<'_>, lifetime: Duration) -> Vec<Remedy> {
    let mut remedies = vec![fix_the_peer()];
    if lifetime > Duration::from_secs(SHORT_S + SHORT_S / 2)
        && let Some(change) = look.change(SETTING, SHORT_S)
    {
        let shorter = Remedy::advice(
            "shorter-fin-timeout",
            format!("Let go of them after {SHORT_S} s: {SETTING} = {SHORT_S}"),
            "a peer that closes later than that gets a reset in answer to its FIN; nobody here would have read more",
            format!("each lives {SHORT_S} s instead of {}, so about {} remain", length(lifetime), {
                percent(SHORT_S, lifetime.as_secs())
            }),
        );
        remedies.push(shorter.carried_out(Applicability::Safe, [change], &["TcpOutRsts"]));
    }
    remedies
}

fn orphan_avoid(look: &Look<'_>) -> Vec<Avoid> {
    let time_wait = look.namespace.settings.time_wait().as_secs();
    let (first, last) =
        (time_wait.saturating_add(1), time_wait.saturating_add(time_wait.div_ceil(2).saturating_sub(1)));
    vec![
        Avoid::new(
            format!("tcp_fin_timeout from {first} to {last}"),
            format!("above {time_wait} s the kernel keeps twice what is above: {first} means 2 s"),
        ),
        Avoid::new("tcp_tw_reuse", "it takes ports from TIME-WAIT, not from FIN-WAIT-2"),
    ]
}

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let waiting = look.traffic.exchanges.iter().filter_map(|exchange| {
        let open = exchange.not_closed_by.total();
        let fires = open >= u64::from(SOME) && share(open, exchange.connections) >= SHARE;
        (fires && both_directions(exchange)).then(|| (open, captured(look, exchange, open)))
    });
    look.most(waiting.collect())
}

fn captured(look: &TrafficLook<'_>, exchange: &Exchange, open: u64) -> Finding {
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let by = exchange.not_closed_by;
    let who = if by.server >= by.client { &client } else { &server };
    Finding {
        rule: "fin-wait-2-waiting",
        severity: Severity::Note,
        confidence: Confidence::Possible,
        claim: format!(
            "{who} waits in FIN-WAIT-2: {} of {} between {client} and {server} were closed by one side only, 5 s or \
             more before the capture ended",
            count(open),
            counted(exchange.connections, "connection", "connections"),
        ),
        subject: TrafficLook::subject(exchange),
        evidence: look.shows(&exchange.not_closed, "a FIN of one side, and none of the other until the end"),
        remedies: vec![fix_the_peer()],
        avoid: vec![Avoid::new("tcp_tw_reuse", "it takes ports from TIME-WAIT, not from FIN-WAIT-2")],
        next: look.next(exchange, &exchange.not_closed),
    }
}
