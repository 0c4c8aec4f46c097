//! A process does not close connections that its peers have closed.
//!
//! ## What it sees
//!
//! Sockets in CLOSE-WAIT, added up by program and local port (or by program, for connections it opened
//! itself), with the time since the peer was last heard of. It fires from 10 sockets of at least 60 s
//! (likely), from 20 of at least 5 s that are 2 % of what the program holds there, and, where ages cannot
//! be read, from 100 such (both possible). It is an error from 5,000 sockets, or when they fill half of the
//! process's limit of open files.
//!
//! CLOSE-WAIT means: the peer's FIN has arrived, and our own process has not called `close()`. The kernel
//! waits for the process without any timer. Unread bytes mean that the process does not read these sockets
//! at all; sockets that nobody accepted mean that it does not call `accept()`.
//!
//! Two programs may rightly hold such sockets, and that is why this is never "certain": a protocol that
//! closes one direction and goes on in the other (the peer called `shutdown()` and waits for the rest), and
//! a server that still works on a request whose client has given up. Both end; a leak only grows.
//!
//! In a capture: connections that one side closed and the other had not 5 s later, from 10 that are 20 % of those
//! between two hosts (possible: it may have been at work).
//!
//! ## Why it hurts
//!
//! Every socket keeps its file descriptor, its buffers and, at a client, its port. When descriptors run
//! out, `accept()` and `connect()` fail with EMFILE and the service stands still. A pool that hands out
//! such a connection gets EPIPE or an empty answer.
//!
//! ## How to prove it
//!
//! ```sh
//! ss -tnp state close-wait          # the process; Recv-Q 1 is only the FIN, more is unread data
//! ls /proc/PID/fd | wc -l; grep 'open files' /proc/PID/limits
//! strace -f -e trace=read,recvfrom,shutdown,close -p PID    # read() gives 0, and no close() follows
//! ```
//!
//! Run it twice some minutes apart: with a leak, the same peers with the same ports are still there.
//!
//! ## What to do
//!
//! Fix the program: `read()` that returns 0 means `close()`. At a client: read response bodies to their end
//! and close them in every branch, also after an error; let the pool drop connections that have been idle
//! longer than the server keeps them, and check one before it is used again. Restart the process to win
//! time. `SO_KEEPALIVE` takes such sockets out of `ss` (the peer, long gone, answers the probe with a
//! reset), but the descriptor stays open: it hides the leak. Then `lsof -p PID` shows sockets with "can't
//! identify protocol".
//!
//! ## What not to do
//!
//! No sysctl helps: neither `tcp_fin_timeout` nor `tcp_tw_reuse` nor `tcp_keepalive_time` (without
//! `SO_KEEPALIVE`) knows this state. `ss -K` destroys the socket, not the descriptor.
//!
//! ## Sources
//!
//! RFC 9293 section 3.3.2 (CLOSE-WAIT) and 3.6 (half-closed connections); measured on Linux 6.18: no timer,
//! no counter moves while a process leaks; keepalive probes end CLOSE-WAIT and leave the descriptor; a
//! connection that was not accepted has inode 0.

use crate::packets::{self, TrafficLook, both_directions};
use crate::place::Place;
use crate::wording::{count, counted, length, percent, share};
use crate::{Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Verdict};
use evidence::{Exchange, Group, Idle, Unseen, Waiting};
use std::collections::BTreeMap;
use std::time::Duration;
use tcp::State;

/// So long after the peer's FIN no answer is still on its way: as long as a proxy waits for one by default.
const OLD_S: u32 = 60;
/// So many old ones are a habit and not an accident.
const OLD: u32 = 10;
/// A close that follows the peer's takes milliseconds; seconds are a slow program, or a leak that is young.
const RECENT_S: u32 = 5;
/// More of those than of the old ones, since slow requests make some on every busy host...
const RECENT: u32 = 20;
/// ...and this part of what the program holds there, so that a large proxy may have its slow few.
const RECENT_SHARE: f64 = 0.02;
/// Without ages a snapshot shows closes that are under way; so many at once are hardly that.
const AGELESS: u32 = 100;
/// So many cost more than descriptors: 5,000 sockets hold some 18 MB of kernel memory with their files.
const MANY: u32 = 5_000;
/// Half of the limit gone: `accept()` and `connect()` will fail next.
const LIMIT_SHARE: f64 = 0.5;
/// In a capture: so many are a habit...
const CAPTURED: u64 = 10;
/// ...if they are this part of all; slow answers to clients that left make a few.
const CAPTURED_SHARE: f64 = 0.2;

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let leaks = leaks(look);
    let mut found: Vec<(u32, Finding)> = leaks
        .iter()
        .filter_map(|((holder, side), leak)| Some((leak.sockets, leak.finding(look, holder, *side, &leaks)?)))
        .collect();
    found.sort_by_key(|(sockets, _)| std::cmp::Reverse(*sockets));
    let findings = found.into_iter().map(|(_, finding)| finding).collect();
    if leaks.values().any(|leak| leak.ageless >= OLD) {
        look.found_or(findings, &[Unseen::Sockets, Unseen::Ages])
    } else {
        look.found_or(findings, &[Unseen::Sockets])
    }
}

/// Who holds sockets, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    /// All processes of one name: workers of one service share its mistake.
    Program { name: String, container: Option<String> },
    /// Only the user is known.
    User(u32),
    /// Nobody yet: the connections wait for `accept()`.
    Unaccepted,
    /// Not known.
    Unknown,
}

/// Which side of its connections the holder is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// It serves this port.
    Port(Option<u16>),
    /// It connects; a leak of response bodies goes to many destinations.
    Client,
}

type Leaks = BTreeMap<(Holder, Side), Leak>;

/// A number of which only bounds are known, because ages are kept for a group and not for each holder.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    least: u32,
    most: u32,
}

impl Bounds {
    /// Adds a holder's part of a group's number: `others` sockets belong to other holders.
    fn add(&mut self, number: u32, mine: u32, others: u32) {
        self.least = self.least.saturating_add(number.saturating_sub(others).min(mine));
        self.most = self.most.saturating_add(number.min(mine));
    }

    fn text(self) -> String {
        if self.least == self.most {
            count(self.least)
        } else if self.least == 0 {
            format!("up to {}", count(self.most))
        } else {
            format!("{} to {}", count(self.least), count(self.most))
        }
    }
}

/// What one holder holds on one side.
#[derive(Clone, Debug, Default)]
struct Leak {
    /// Sockets in CLOSE-WAIT.
    sockets: u32,
    /// All its live sockets there.
    live: u64,
    /// Of `sockets`: the peer was last heard of at least [`OLD_S`] ago.
    old: Bounds,
    /// At least [`RECENT_S`] ago.
    recent: Bounds,
    /// With bytes that were not read.
    unread: Bounds,
    /// Of unknown age.
    ageless: u32,
    /// The longest, in milliseconds, in a group that is shared with no other holder.
    longest_ms: u32,
    /// Sockets by process index.
    processes: BTreeMap<u32, u32>,
    /// Sockets by place.
    places: BTreeMap<Place, u32>,
}

fn leaks(look: &Look<'_>) -> Leaks {
    let mut leaks = Leaks::new();
    for group in &look.namespace.sockets.groups {
        let place = Place::of(group);
        let side = match place {
            Place::Port(port) => Side::Port(port),
            Place::Destination(_) => Side::Client,
        };
        let none = Waiting::new(State::CloseWait);
        let waiting = group.waiting_in(State::CloseWait).unwrap_or(&none);
        let total = group.states.of(State::CloseWait);
        for (holder, part) in parts(look, group, waiting, side) {
            let leak = leaks.entry((holder, side)).or_default();
            leak.live = leak.live.saturating_add(part.live);
            if part.sockets > 0 {
                leak.add(&part, total.saturating_sub(part.sockets), waiting, place);
            }
        }
    }
    leaks.retain(|_, leak| leak.sockets > 0);
    leaks
}

/// One holder's part of a group.
#[derive(Default)]
struct Part {
    sockets: u32,
    live: u64,
    processes: Vec<(u32, u32)>,
}

fn parts(look: &Look<'_>, group: &Group, waiting: &Waiting, side: Side) -> BTreeMap<Holder, Part> {
    let mut parts = BTreeMap::<Holder, Part>::new();
    for owner in &group.owners {
        let sockets = owner.states.of(State::CloseWait);
        let process = owner.process.and_then(|index| Some((index, look.process(index)?)));
        let holder = match (process, owner.uid) {
            (Some((_, process)), _) => {
                Holder::Program { name: process.name.clone(), container: process.container.clone() }
            }
            (None, Some(uid)) => Holder::User(uid),
            (None, None) => Holder::Unknown,
        };
        let part = parts.entry(holder).or_default();
        part.sockets = part.sockets.saturating_add(sockets);
        part.live = part.live.saturating_add(owner.states.live());
        if let Some((index, _)) = process.filter(|_| sockets > 0) {
            part.processes.push((index, sockets));
        }
    }
    let unowned = group.unowned(State::CloseWait);
    // A connection that was not accepted has no file, hence no inode; a closed one would be in LAST-ACK.
    let unaccepted = if side == Side::Client { 0 } else { unowned.min(waiting.orphans) };
    for (holder, sockets) in [(Holder::Unaccepted, unaccepted), (Holder::Unknown, unowned - unaccepted)] {
        if sockets > 0 {
            let part = parts.entry(holder).or_default();
            part.sockets = part.sockets.saturating_add(sockets);
            part.live = part.live.saturating_add(group.states.live());
        }
    }
    parts
}

impl Leak {
    fn add(&mut self, part: &Part, others: u32, waiting: &Waiting, place: Place) {
        let Idle { known, longest_ms, .. } = waiting.idle;
        self.sockets = self.sockets.saturating_add(part.sockets);
        self.old.add(waiting.idle.at_least(OLD_S), part.sockets, others);
        self.recent.add(waiting.idle.at_least(RECENT_S), part.sockets, others);
        self.unread.add(waiting.unread, part.sockets, others);
        if known == 0 {
            self.ageless = self.ageless.saturating_add(part.sockets);
        }
        if others == 0 {
            self.longest_ms = self.longest_ms.max(longest_ms);
        }
        for (index, sockets) in &part.processes {
            let held = self.processes.entry(*index).or_default();
            *held = held.saturating_add(*sockets);
        }
        let here = self.places.entry(place).or_default();
        *here = here.saturating_add(part.sockets);
    }

    fn confidence(&self) -> Option<Confidence> {
        let of_its_own = |number: u32| share(number, self.live) >= RECENT_SHARE;
        if self.old.least >= OLD {
            Some(Confidence::Likely)
        } else if self.old.most >= OLD
            || self.recent.most >= RECENT && of_its_own(self.recent.most)
            || self.ageless >= AGELESS && of_its_own(self.ageless)
        {
            Some(Confidence::Possible)
        } else {
            None
        }
    }

    fn finding(&self, look: &Look<'_>, holder: &Holder, side: Side, all: &Leaks) -> Option<Finding> {
        let confidence = self.confidence()?;
        let files = self.fullest_process(look, all);
        let full = files.is_some_and(|(_, taken, limit)| share(taken, limit) >= LIMIT_SHARE);
        let many = self.old.least.saturating_add(self.ageless) >= MANY;
        let mut evidence = vec![Evidence::new("sock_diag", self.ages())];
        if self.unread.most > 0 {
            let says = format!("{} hold bytes that were not read", self.unread.text());
            evidence.push(Evidence::new("sock_diag", says));
        }
        if self.places.len() > 1 {
            evidence.push(Evidence::new("sock_diag", self.largest_places()));
        }
        if let Some((pid, taken, limit)) = files {
            let says = format!(
                "{} of at most {} open files are in CLOSE-WAIT ({})",
                count(taken),
                count(limit),
                percent(taken, limit)
            );
            evidence.push(Evidence::new(format!("/proc/{pid}/limits"), says));
        }
        Some(Finding {
            rule: "close-wait-leak",
            severity: if full || many { Severity::Error } else { Severity::Warning },
            confidence,
            claim: self.claim(look, holder, side),
            subject: self.subject(look, holder, side),
            evidence,
            remedies: remedies(holder, side, &self.who(look, holder)),
            avoid: avoid(holder),
            next: Some(look.command(&self.next())),
        })
    }

    fn claim(&self, look: &Look<'_>, holder: &Holder, side: Side) -> String {
        let place = match (side, self.places.len(), self.places.keys().next()) {
            (Side::Port(port), ..) => Place::Port(port).preposition(),
            (Side::Client, 1, Some(place)) => place.preposition(),
            (Side::Client, places, _) => format!("to {} destinations", count(places as u64)),
        };
        let age = if self.ageless == self.sockets {
            "for how long is not known".to_owned()
        } else if self.old.most >= OLD {
            let old = self.of_them(self.old);
            let longest = if self.longest_ms > 0 && self.old.least > 0 {
                format!(", the longest for {}", length(Duration::from_millis(self.longest_ms.into())))
            } else {
                String::new()
            };
            format!("{old} for at least {OLD_S} s{longest}")
        } else {
            format!("{} for at least {RECENT_S} s", self.of_them(self.recent))
        };
        let who = self.who(look, holder);
        let connections = counted(self.sockets, "connection", "connections");
        if *holder == Holder::Unaccepted {
            format!(
                "{connections} {place} that the clients have closed still wait for accept() by {who}, {age}"
            )
        } else {
            let who = who.strip_prefix("a ").map_or_else(|| who.clone(), |rest| format!("A {rest}"));
            format!("{who} has not closed {connections} {place} that the peers have closed, {age}")
        }
    }

    /// A part of the sockets: `all`, `25 of them`.
    fn of_them(&self, part: Bounds) -> String {
        if part.least >= self.sockets { "all".to_owned() } else { format!("{} of them", part.text()) }
    }

    /// The holder in a sentence.
    fn who(&self, look: &Look<'_>, holder: &Holder) -> String {
        match holder {
            Holder::Program { name, .. } => {
                let most = self
                    .processes
                    .iter()
                    .max_by_key(|(index, sockets)| (**sockets, std::cmp::Reverse(**index)));
                let pid = most.and_then(|(index, _)| look.process(*index)).map_or(0, |process| process.pid);
                match self.processes.len() {
                    0 | 1 => format!("{name} (pid {pid})"),
                    processes => format!("{name} ({processes} processes, most of it pid {pid})"),
                }
            }
            Holder::User(uid) => format!("a process of user {uid}"),
            Holder::Unaccepted => self
                .listener(look)
                .map_or_else(|| "the server".to_owned(), |(name, pid)| format!("{name} (pid {pid})")),
            Holder::Unknown => "an unknown process".to_owned(),
        }
    }

    /// The process that listens where these connections wait.
    fn listener<'a>(&self, look: &Look<'a>) -> Option<(&'a str, u32)> {
        let listeners = look.namespace.sockets.listeners.iter();
        let mut here =
            listeners.filter(|listener| self.places.contains_key(&Place::Port(listener.address.port)));
        let process = here.find_map(|listener| look.process(listener.process?))?;
        Some((&process.name, process.pid))
    }

    fn subject(&self, look: &Look<'_>, holder: &Holder, side: Side) -> crate::Subject {
        let mut subject = look.subject();
        match (side, self.places.len(), self.places.keys().next()) {
            (Side::Port(port), ..) => subject = Place::Port(port).into_subject(subject),
            (Side::Client, 1, Some(place)) => subject = place.into_subject(subject),
            (Side::Client, ..) => {}
        }
        if let Holder::Program { name, .. } = holder {
            subject.process = Some(name.clone());
            let most =
                self.processes.iter().max_by_key(|(index, sockets)| (**sockets, std::cmp::Reverse(**index)));
            subject.pid = most.and_then(|(index, _)| look.process(*index)).map(|process| process.pid);
        } else if *holder == Holder::Unaccepted
            && let Some((name, pid)) = self.listener(look)
        {
            (subject.process, subject.pid) = (Some(name.to_owned()), Some(pid));
        }
        subject
    }

    /// The process with the largest part of its open files in CLOSE-WAIT, over all it does: (pid, taken, limit).
    fn fullest_process(&self, look: &Look<'_>, all: &Leaks) -> Option<(u32, u64, u64)> {
        let taken = |index: u32| -> u64 {
            all.values()
                .filter_map(|leak| leak.processes.get(&index))
                .map(|sockets| u64::from(*sockets))
                .sum()
        };
        self.processes
            .keys()
            .filter_map(|index| {
                let process = look.process(*index)?;
                let limit = process.open_files_limit.filter(|limit| *limit > 0)?;
                Some((process.pid, taken(*index), limit))
            })
            .max_by(|one, other| share(one.1, one.2).total_cmp(&share(other.1, other.2)))
    }

    fn ages(&self) -> String {
        let sockets = format!("{} in CLOSE-WAIT", counted(self.sockets, "socket", "sockets"));
        if self.ageless == self.sockets {
            return format!("{sockets}, ages not read");
        }
        let unknown = match self.ageless {
            0 => String::new(),
            ageless => format!(", age of {} not read", count(ageless)),
        };
        let (recent, old) = (self.recent.text(), self.old.text());
        format!("{sockets}: {recent} silent for at least {RECENT_S} s, {old} for at least {OLD_S} s{unknown}")
    }

    fn largest_places(&self) -> String {
        let mut places: Vec<_> = self.places.iter().collect();
        places.sort_by_key(|(_, sockets)| std::cmp::Reverse(**sockets));
        let named: Vec<String> = places
            .iter()
            .take(3)
            .map(|(place, sockets)| format!("{} {}", count(**sockets), place.preposition()))
            .collect();
        format!("most of them: {}", named.join(", "))
    }

    fn next(&self) -> String {
        let filter = match self.places.keys().next() {
            Some(place) if self.places.len() == 1 => place.filter(),
            _ => String::new(),
        };
        format!("ss -tnp state close-wait {filter}").trim_end().to_owned()
    }
}

fn remedies(holder: &Holder, side: Side, who: &str) -> Vec<Remedy> {
    let fix = match (holder, side) {
        (Holder::Unaccepted, _) => Remedy::advice(
            "accept-again",
            format!(
                "Find out what keeps {who} from calling accept(): a lock, a full pool of workers, EMFILE"
            ),
            "none",
            "the queue is accepted, and what the clients have closed is read to its end and closed",
        ),
        (_, Side::Port(_)) => Remedy::advice(
            "close-after-end-of-file",
            format!("Fix {who}: when read() returns 0, close the socket, also in the branches for errors"),
            "none: the peer has closed and will read nothing that is written from now on, unless it half-closed",
            "CLOSE-WAIT goes back to the few that are being closed",
        ),
        (_, Side::Client) => Remedy::advice(
            "close-responses",
            format!(
                "Fix {who}: read answers (response bodies) to their end and close them in every branch; let its pool \
                 drop connections that were idle longer than the server keeps them"
            ),
            "none",
            "CLOSE-WAIT goes back to the few that are being closed",
        ),
    };
    let restart = Remedy::advice(
        "restart",
        format!("Restart {who} to win time"),
        "connections that are in use break; the leak begins anew",
        "all of its descriptors come back",
    );
    let keepalive = Remedy::advice(
        "so-keepalive",
        "Let the program set SO_KEEPALIVE if it cannot be fixed soon",
        "it hides the leak: the sockets leave `ss`, their descriptors stay open and still run out",
        "the kernel's memory for these sockets comes back after the probes",
    );
    if *holder == Holder::Unaccepted { vec![fix, restart] } else { vec![fix, restart, keepalive] }
}

fn avoid(holder: &Holder) -> Vec<Avoid> {
    if *holder == Holder::Unaccepted {
        let because = "a longer queue only holds more connections whose clients have given up";
        return vec![Avoid::new("raise the backlog or net.core.somaxconn", because)];
    }
    vec![
        Avoid::new(
            "any sysctl (tcp_fin_timeout, tcp_tw_reuse, tcp_keepalive_time)",
            "no timer runs in CLOSE-WAIT: only close() by the process ends it",
        ),
        Avoid::new("ss -K", "it destroys the socket and leaves the descriptor open, so the leak goes on"),
    ]
}

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let leaks = look.traffic.exchanges.iter().flat_map(|exchange| {
        let open = exchange.not_closed_by;
        let sides = [(open.client, Side::Client), (open.server, Side::Port(exchange.server.port))];
        sides.into_iter().filter_map(|(sockets, side)| {
            let fires = sockets >= CAPTURED && share(sockets, exchange.connections) >= CAPTURED_SHARE;
            (fires && both_directions(exchange)).then(|| (sockets, captured(look, exchange, sockets, side)))
        })
    });
    look.most(leaks.collect())
}

fn captured(look: &TrafficLook<'_>, exchange: &Exchange, sockets: u64, side: Side) -> Finding {
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let (who, peer) = if side == Side::Client { (&client, &server) } else { (&server, &client) };
    Finding {
        rule: "close-wait-leak",
        severity: Severity::Warning,
        confidence: Confidence::Possible,
        claim: format!(
            "{who} has not closed {} of {} that {peer} closed at least {RECENT_S} s before the capture ended",
            count(sockets),
            counted(exchange.connections, "connection", "connections"),
        ),
        subject: TrafficLook::subject(exchange),
        evidence: look.shows(&exchange.not_closed, "a FIN of one side, and none of the other until the end"),
        remedies: remedies(&Holder::Unknown, side, &format!("the program at {who}")),
        avoid: avoid(&Holder::Unknown),
        next: look.next(exchange, &exchange.not_closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_whoever_the_old_sockets_belong_to() {
        // 100 of 200 are old, and each of two holders has 100: each may have none or all of them.
        let mut bounds = Bounds::default();
        bounds.add(100, 100, 100);
        assert_eq!((bounds.least, bounds.most), (0, 100));
        // 150 are old: at least 50 of each.
        let mut bounds = Bounds::default();
        bounds.add(150, 100, 100);
        assert_eq!((bounds.least, bounds.most), (50, 100));
        // Ages are read after the count: more of them than sockets is no reason to claim more.
        let mut bounds = Bounds::default();
        bounds.add(12, 10, 0);
        assert_eq!((bounds.least, bounds.most), (10, 10));
    }
}
