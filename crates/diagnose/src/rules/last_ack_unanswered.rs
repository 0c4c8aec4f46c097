//! The last FINs are sent again and again, and nobody acknowledges them.
//!
//! ## What it sees
//!
//! Sockets in LAST-ACK, FIN-WAIT-1 and CLOSING that have retransmitted at least twice without an answer. A
//! healthy close is through these states in a round trip. It warns from 10 such sockets that are 10 % of
//! all sockets of a local port or destination (TIME-WAIT counted), and notes 50 or more that are 1 % of all
//! sockets of the namespace, wherever they are.
//!
//! LAST-ACK: the peer closed first, then we, and the ACK of our FIN does not come. FIN-WAIT-1: we closed
//! first, and our FIN, or data before it, is not acknowledged; or the peer reads nothing and keeps its
//! window shut. CLOSING: both at once.
//!
//! In a capture: connections that both sides closed and whose last FIN nobody acknowledged, or whose FIN was sent
//! again, from 5 that are 10 % of those between two hosts (possible: the ACK may have missed the capture only, or
//! the FIN was lost behind it).
//!
//! ## Why it hurts
//!
//! Each keeps a full socket with its unsent data, at a client also a port, and counts as an orphan against
//! `tcp_max_orphans` for about 107 s: `tcp_orphan_retries` of 0 means 8 retransmissions. Beyond that limit
//! the kernel resets connections. Worse is what it shows: something eats the last segments of connections.
//!
//! ## How to prove it
//!
//! ```sh
//! ss -tno state last-ack state fin-wait-1   # timer:(on,.,N): sent N times again; (persist,.): see below
//! tcpdump -ni any 'host PEER and tcp port PORT'       # here and at the peer: FINs, and no ACK of them
//! ```
//!
//! A persist timer means that the peer's window is shut, or that a filter on this host drops what it sends.
//! The peer sees our FIN and answers: the ACK dies on the way back. It sees nothing: the FIN dies on the
//! way. It sees it and stays silent: its own firewall drops it.
//!
//! ## What to do
//!
//! Find the box that drops. Usual places: a stateful filter that has forgotten the connection (conntrack
//! keeps its CLOSE_WAIT for 60 s only and its LAST_ACK for 30 s; a FIN that comes later is INVALID, and `ct
//! state invalid drop` eats it); a load balancer with an idle timeout; a NAT. Clients that vanish (mobile
//! phones, a power cut) look the same, but in small numbers, spread over many peers.
//!
//! `TCP_USER_TIMEOUT` in the program ends such a connection after the time it says, also after `close()`.
//! `tcp_orphan_retries` of 1, 2 or 3 (gone after 1.8, 3.4 or 6.8 s) brings relief while the cause is looked for.
//!
//! ## What not to do
//!
//! `tcp_fin_timeout` is for FIN-WAIT-2 only; `tcp_tw_reuse` is for TIME-WAIT only. SO_LINGER with 0 would
//! send a reset instead, and throw away data that the peer still wants.
//!
//! ## Sources
//!
//! RFC 9293 section 3.6; net/ipv4/tcp_timer.c `tcp_orphan_retries()`;
//! net/netfilter/nf_conntrack_proto_tcp.c `tcp_timeouts[]`. Measured on Linux 6.18, on loopback: FINs at 0,
//! 0.2 (a tail loss probe), 0.4, 0.8, 1.7, 3.3, 6.7, 13 s..., gone after about 107 s; with
//! `tcp_early_retrans` of 0 no probe, and gone 0.2 s sooner.

use crate::myths;
use crate::packets::{self, TrafficLook, both_directions};
use crate::place::Place;
use crate::wording::{count, counted, percent, share};
use crate::{Applicability, Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict};
use evidence::{Exchange, Group, Unseen};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tcp::State;
use tcp::profile::linux;

/// States that wait for the acknowledgement of our FIN.
const STATES: [State; 3] = [State::LastAck, State::FinWait1, State::Closing];
/// Fewer are clients that vanished.
const SOME: u32 = 10;
/// A tenth of all connections of a place do not vanish by themselves.
const SHARE: f64 = 0.1;
/// In a capture: fewer were cut off by its end.
const CAPTURED: u64 = 5;
/// Spread over the host: vanishing clients of a public service make this many...
const SPREAD: u32 = 50;
/// ...but not this part of its sockets.
const SPREAD_SHARE: f64 = 0.01;
/// So many peers do not all fail at once: what they share is near this host.
const MANY_PEERS: usize = 5;
/// `tcp_orphan_retries` to go to for relief: 6.8 s instead of about 107 s.
const FEWER_RETRIES: u64 = 3;

const SETTING: &str = "net.ipv4.tcp_orphan_retries";

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let mut places = BTreeMap::<Place, Here<'_>>::new();
    let mut everywhere = Here::default();
    for group in &look.namespace.sockets.groups {
        places.entry(Place::of(group)).or_default().add(group);
        everywhere.add(group);
    }
    let mut found: Vec<(u32, Finding)> = places
        .iter()
        .filter(|(_, here)| here.unanswered >= SOME && share(here.unanswered, here.sockets) >= SHARE)
        .map(|(place, here)| (here.unanswered, here.finding(look, Some(*place))))
        .collect();
    found.sort_by_key(|(unanswered, _)| Reverse(*unanswered));
    let mut findings: Vec<Finding> = found.into_iter().map(|(_, finding)| finding).collect();
    let spread =
        everywhere.unanswered >= SPREAD && share(everywhere.unanswered, everywhere.sockets) >= SPREAD_SHARE;
    if findings.is_empty() && spread {
        findings.push(everywhere.finding(look, None));
    }
    look.found_or(findings, &[Unseen::Sockets])
}

/// The sockets of one place, or of all.
#[derive(Default)]
struct Here<'a> {
    /// All sockets, TIME-WAIT included: connections that closed well count against an alarm.
    sockets: u64,
    /// Retransmitted at least twice.
    unanswered: u32,
    /// The same by state.
    by_state: BTreeMap<State, u32>,
    /// In these states and closed by their process.
    orphans: u32,
    /// The groups that have some.
    groups: Vec<&'a Group>,
}

impl<'a> Here<'a> {
    fn add(&mut self, group: &'a Group) {
        self.sockets = self.sockets.saturating_add(group.states.total());
        let before = self.unanswered;
        for waiting in STATES.into_iter().filter_map(|state| group.waiting_in(state)) {
            if waiting.retransmitting > 0 {
                self.unanswered = self.unanswered.saturating_add(waiting.retransmitting);
                let here = self.by_state.entry(waiting.state).or_default();
                *here = here.saturating_add(waiting.retransmitting);
                self.orphans = self.orphans.saturating_add(waiting.orphans);
            }
        }
        if self.unanswered > before {
            self.groups.push(group);
        }
    }

    fn finding(&self, look: &Look<'_>, place: Option<Place>) -> Finding {
        let by_state: Vec<String> =
            self.by_state.iter().map(|(state, sockets)| format!("{} in {state}", count(*sockets))).collect();
        let mut evidence = vec![Evidence::new(
            "sock_diag",
            format!("retransmitted at least twice without an answer: {}", by_state.join(", ")),
        )];
        evidence.extend(self.peers().map(|says| Evidence::new("sock_diag", says)));
        evidence.extend(look.set(SETTING));
        let where_ = place.map_or_else(|| "of this namespace".to_owned(), Place::preposition);
        let filter = place.map(Place::filter).unwrap_or_default();
        Finding {
            rule: "last-ack-unanswered",
            severity: if place.is_some() { Severity::Warning } else { Severity::Note },
            confidence: Confidence::Likely,
            claim: format!(
                "{} of {} {where_} ({}) sent their last segments at least three times and got no answer: {}",
                count(self.unanswered),
                counted(self.sockets, "socket", "sockets"),
                percent(self.unanswered, self.sockets),
                by_state.join(", ")
            ),
            subject: self.subject(look, place),
            evidence,
            remedies: self.remedies(look),
            avoid: avoid(),
            next: Some(look.command(
                format!("ss -tno state last-ack state fin-wait-1 state closing {filter}").trim_end(),
            )),
        }
    }

    fn subject(&self, look: &Look<'_>, place: Option<Place>) -> Subject {
        let Some(place) = place else { return look.subject() };
        let mut subject = place.into_subject(look.subject());
        if let Some((process, _)) = look.holder(self.groups.iter().copied(), &STATES) {
            (subject.process, subject.pid) = (Some(process.name.clone()), Some(process.pid));
        }
        subject
    }

    /// One peer points at that peer or its path; many at a box near this host.
    fn peers(&self) -> Option<String> {
        let mut peers = BTreeMap::new();
        for group in &self.groups {
            let unanswered: u32 = STATES
                .into_iter()
                .filter_map(|state| group.waiting_in(state))
                .map(|waiting| waiting.retransmitting)
                .fold(0, u32::saturating_add);
            let peer = peers.entry(group.remote.address?).or_insert(0_u32);
            *peer = peer.saturating_add(unanswered);
        }
        let (peer, most) = peers.iter().max_by_key(|(_, unanswered)| **unanswered)?;
        Some(if peers.len() == 1 {
            format!("all with one peer, {peer}: look there and on the way to it first")
        } else {
            let near = if peers.len() >= MANY_PEERS { ": a box near this host is more likely" } else { "" };
            format!("with {} peers, most with {peer} ({}){near}", count(peers.len() as u64), count(*most))
        })
    }

    fn remedies(&self, look: &Look<'_>) -> Vec<Remedy> {
        let conntrack = if look.namespace.conntrack.is_some() {
            "; conntrack is active in this namespace, so begin with its rules for INVALID packets"
        } else {
            ""
        };
        let mut remedies = advice(conntrack);
        let retries = look.namespace.settings.number(SETTING);
        let zero_means = u64::from(linux::ORPHAN_RETRIES.value);
        let means = retries.map(|retries| if retries == 0 { zero_means } else { retries });
        if self.orphans > 0 && means.is_none_or(|means| means > FEWER_RETRIES) {
            let fewer = Remedy::advice(
                "fewer-orphan-retries",
                format!("For relief until the cause is found: {SETTING} = {FEWER_RETRIES}"),
                "clients on slow or interrupted paths lose the end of their answers after 7 s without an ACK",
                "sockets that their process has closed end after about 7 s instead of about 107 s",
            );
            let change = look.change(SETTING, FEWER_RETRIES);
            remedies.push(fewer.carried_out(Applicability::Unsafe, change, &["TcpOutRsts"]));
        }
        remedies
    }
}

fn avoid() -> Vec<Avoid> {
    vec![
        Avoid::new("lower tcp_fin_timeout", "it is for FIN-WAIT-2, when our FIN has been acknowledged"),
        myths::linger_zero(),
    ]
}

fn advice(conntrack: &str) -> Vec<Remedy> {
    vec![
        Remedy::advice(
            "find-what-drops",
            format!(
                "Capture FINs here and at the peer, and find the firewall, NAT or load balancer that drops them or \
                 their ACKs{conntrack}"
            ),
            "none",
            "closes end in a round trip again",
        ),
        Remedy::advice(
            "tcp-user-timeout",
            "Let the program set TCP_USER_TIMEOUT to what it would wait for an answer, such as 10 s",
            "connections over a path that fails for longer than that break, where they would have lived on",
            "each ends after that time, also after close()",
        ),
    ]
}

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let unanswered = look.traffic.exchanges.iter().filter_map(|exchange| {
        let fins = exchange.last_fin_unacknowledged.count.saturating_add(exchange.fin_again.count);
        let fires =
            fins >= CAPTURED && share(fins, exchange.connections) >= SHARE && both_directions(exchange);
        fires.then(|| (fins, captured(look, exchange)))
    });
    look.most(unanswered.collect())
}

fn captured(look: &TrafficLook<'_>, exchange: &Exchange) -> Finding {
    let (never, again) = (&exchange.last_fin_unacknowledged, &exchange.fin_again);
    let total = never.count.saturating_add(again.count);
    let fins = if never.count > 0 { never } else { again };
    let mut evidence = Vec::new();
    if never.count > 0 {
        evidence.extend(look.shows(never, "both sides closed, and no ACK of the last FIN follows"));
    }
    if again.count > 0 {
        evidence.extend(look.shows(again, "the FIN was sent again before its ACK came through"));
    }
    Finding {
        rule: "last-ack-unanswered",
        severity: Severity::Warning,
        confidence: Confidence::Possible,
        claim: format!(
            "The last FIN was not acknowledged, or not in time, on {} of {} from {} to {} ({})",
            count(total),
            counted(exchange.connections, "connection", "connections"),
            packets::client(exchange),
            packets::server(exchange.server),
            percent(total, exchange.connections)
        ),
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies: advice(""),
        avoid: avoid(),
        next: look.next(exchange, fins),
    }
}
