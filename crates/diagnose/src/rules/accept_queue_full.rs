//! Clients get no answer because a listener's queue is full, not because of TIME-WAIT.
//!
//! ## What it sees
//!
//! A listener with more connections waiting for `accept()` than its backlog allows, now (an error). Rises
//! of `TcpExtListenOverflows`: a handshake found such a queue during the look; the listeners with the
//! longest queues are named. Rises of `TcpExtTCPReqQFullDrop`: the queue of half-open handshakes is full
//! and SYN cookies are off. All three are certain: nothing else moves them.
//!
//! `TcpExtListenDrops` alone is not this: it also counts SYNs without a route back, without memory, or
//! dropped by `tcp_tw_recycle`.
//!
//! In a capture: SYNs sent again to a server that answers others, from 5 that are 5 % of its connections, less those
//! that an old connection answered (possible: a path that loses packets looks the same).
//!
//! `lastack lint` notes lines of sysctl files that make a full queue worse: `tcp_abort_on_overflow` set,
//! `tcp_syncookies = 0`, and a `somaxconn` below 128, which is less than any kernel begins with. Whether a queue
//! gets full, files do not tell.
//!
//! ## Why it hurts
//!
//! The kernel drops the SYN, or the last ACK of the handshake, without a word. The client tries again after
//! 1, 3, 7 s and then reports a timeout. It looks like a lost packet, or like the TIME-WAIT troubles that
//! are so much better known.
//!
//! ## How to prove it
//!
//! ```sh
//! ss -ltnp                                        # Recv-Q above Send-Q: the queue is full
//! nstat -n; sleep 10; nstat -z 'TcpExtListen*' TcpExtTCPReqQFullDrop     # or lastack doctor --for 10s
//! strace -f -e trace=accept4,epoll_wait -p PID    # does the process call accept() at all? EMFILE?
//! ```
//!
//! ## What to do
//!
//! First the process: it is stuck, too slow, or out of descriptors (EMFILE). More workers, or one listener
//! for each with `SO_REUSEPORT`. For bursts a longer queue: listen()'s backlog (nginx `listen ...
//! backlog=`), which `net.core.somaxconn` caps. Both take effect when listen() is called again, so restart
//! or reload the program.
//!
//! ## What not to do
//!
//! `tcp_abort_on_overflow = 1` answers with resets: clients fail at once where a second try would have
//! worked. `tcp_max_syn_backlog` is for half-open handshakes, not for this queue. A longer queue in front
//! of a process that is too slow only makes every client wait longer.
//!
//! ## Sources
//!
//! include/net/sock.h `sk_acceptq_is_full()` (full when *longer* than the backlog), net/ipv4/tcp_ipv4.c
//! `tcp_v4_syn_recv_sock()`, net/ipv4/tcp_input.c `tcp_conn_request()`. Measured on Linux 6.18: `accept()`
//! failing with EMFILE, queue 9 of 8, ListenOverflows and ListenDrops up by 32, clients time out.

use crate::configured::ConfigurationLook;
use crate::packets::{self, TrafficLook};
use crate::place::Place;
use crate::value::number_taken;
use crate::wording::{clipped, count, counted, length, percent, share};
use crate::{
    Applicability, Avoid, Change, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict,
    written,
};
use evidence::{Endpoint, Exchange, Listener, Unseen};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tcp::State;
use tcp::profile::linux;

/// From this part of the handshakes on, an overflow is not a burst that the next second forgets.
const SHARE: f64 = 0.01;
/// So near its limit of open files, accept() fails now and then.
const FILES_SHARE: f64 = 0.95;
/// A queue that is so full just after an overflow was probably the one.
const HALF_FULL: f64 = 0.5;
/// Old kernels keep the backlog in 16 bits.
const LONGEST_BACKLOG: u64 = 65_535;

/// What kernels before 5.4 begin with, and no other with less.
const SHORTEST_CAP: i64 = 128;

const OVERFLOWS: &str = "TcpExtListenOverflows";
const DROPS: &str = "TcpExtListenDrops";
const HALF_OPEN_DROPS: &str = "TcpExtTCPReqQFullDrop";
const SOMAXCONN: &str = "net.core.somaxconn";
const ABORT: &str = "net.ipv4.tcp_abort_on_overflow";
const COOKIES: &str = "net.ipv4.tcp_syncookies";
const SYN_BACKLOG: &str = "net.ipv4.tcp_max_syn_backlog";

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let mut full = BTreeMap::<Endpoint, Vec<&Listener>>::new();
    for listener in look.namespace.sockets.listeners.iter().filter(|listener| is_full(listener)) {
        full.entry(listener.address).or_default().push(listener);
    }
    let mut findings: Vec<Finding> =
        full.iter().map(|(address, listeners)| full_now(look, *address, listeners)).collect();
    if findings.is_empty() && look.rise(OVERFLOWS) > 0 {
        findings.push(overflowed(look));
    }
    findings.extend(half_open(look));
    if findings.is_empty()
        && let Some(unwatched) = look.unwatched()
    {
        return unwatched;
    }
    look.found_or(findings, &[Unseen::Sockets])
}

/// What files set, by themselves: with a live host, its queues are judged.
pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let lines = [
        folklore(look, ABORT, |value| value != 0, "abort-on-overflow-line-out", |_| {
            "tcp_abort_on_overflow is set at boot: when a queue is full for a moment, clients get a reset where their \
             second try would have worked"
                .to_owned()
        }),
        folklore(look, COOKIES, |value| value == 0, "syn-cookies-line-out", |_| {
            "tcp_syncookies = 0: when a queue of half-open handshakes is full, SYNs are dropped without an answer".to_owned()
        }),
        folklore(look, SOMAXCONN, |value| value < SHORTEST_CAP, "somaxconn-line-out", |value| {
            let one_more = count(u64::try_from(value).unwrap_or_default() + 1);
            format!(
                "somaxconn = {value} lets no more than {one_more} connections wait for accept(), whatever backlog a program \
                 asks for: the default is {SHORTEST_CAP}, and {} since Linux 5.4",
                count(linux::SOMAXCONN.value)
            )
        }),
    ];
    look.most(lines.into_iter().flatten())
}

/// A line that sets what only hurts.
fn folklore(
    look: &ConfigurationLook<'_>,
    setting: &'static str,
    hurts: fn(i64) -> bool,
    remedy: &'static str,
    claim: fn(i64) -> String,
) -> Option<Finding> {
    let (line, at) = look.written(setting).filter(|_| look.alone)?;
    let value = number_taken(&line.value).filter(|value| hurts(*value))?;
    // It does nothing: `setting-not-durable` has it.
    if written::refusal(setting, &line.value).is_some() {
        return None;
    }
    Some(Finding {
        rule: "accept-queue-full",
        severity: Severity::Note,
        confidence: Confidence::Certain,
        claim: claim(value),
        subject: Subject { setting: Some(setting.to_owned()), ..Subject::default() },
        evidence: vec![Evidence::new(at.clone(), format!("sets it to {}", clipped(&line.value)))],
        remedies: vec![Remedy::advice(
            remedy,
            format!("Take the line at {at} out: the default is meant for servers"),
            "none",
            "a burst of clients costs some of them a second instead of an error",
        )],
        avoid: avoid(),
        next: None,
    })
}

fn is_full(listener: &Listener) -> bool {
    listener.backlog.is_some_and(|backlog| listener.queue > backlog)
}

fn full_now(look: &Look<'_>, address: Endpoint, listeners: &[&Listener]) -> Finding {
    let longest = listeners.iter().max_by_key(|listener| listener.queue).copied();
    let (queue, backlog) = longest.map_or((0, 0), |listener| (listener.queue, listener.backlog.unwrap_or(0)));
    let who = who(look, longest);
    let fate = if aborts(look) { "are reset" } else { "get no answer" };
    let mut evidence = vec![queues(listeners)];
    evidence.extend(closed_while_waiting(look, address));
    evidence.extend(longest.and_then(|listener| files(look, listener)));
    evidence.extend(
        [OVERFLOWS, DROPS].into_iter().filter(|name| look.rise(name) > 0).map(|name| look.risen(name)),
    );
    evidence.extend(settings(look, &[SOMAXCONN, ABORT]));
    let mut subject = look.subject();
    subject.listener = Some(address.to_string());
    if let Some(process) = longest.and_then(|listener| look.process(listener.process?)) {
        (subject.process, subject.pid) = (Some(process.name.clone()), Some(process.pid));
    }
    Finding {
        rule: "accept-queue-full",
        severity: Severity::Error,
        confidence: Confidence::Certain,
        claim: format!(
            "The queue of {address} is full: {} for accept() by {who}, {} allowed, and further clients {fate}",
            match queue {
                1 => "1 connection waits".to_owned(),
                _ => format!("{} connections wait", count(queue)),
            },
            count(backlog)
        ),
        subject,
        evidence,
        remedies: remedies(look, listeners, &who),
        avoid: avoid(),
        next: Some(look.command(&format!("ss -ltnp {}", Place::Port(address.port).filter()))),
    }
}

fn overflowed(look: &Look<'_>) -> Finding {
    let overflows = look.rise(OVERFLOWS);
    let handshakes = look.rise("TcpPassiveOpens").saturating_add(overflows);
    let mut nearest: Vec<&Listener> =
        look.namespace.sockets.listeners.iter().filter(|listener| listener.queue > 0).collect();
    nearest.sort_by(|one, other| fill(other).total_cmp(&fill(one)));
    nearest.truncate(3);
    let where_ = match nearest.first() {
        Some(listener) => {
            format!("; the longest queue now is that of {} ({})", listener.address, queue_of(listener))
        }
        None => "; all queues are empty now, so it was a burst".to_owned(),
    };
    let mut evidence = vec![look.risen(OVERFLOWS)];
    evidence.extend(
        [DROPS, "TcpPassiveOpens"]
            .into_iter()
            .filter(|name| look.rise(name) > 0)
            .map(|name| look.risen(name)),
    );
    if !nearest.is_empty() {
        evidence.push(queues(&nearest));
    }
    evidence.extend(nearest.first().and_then(|listener| files(look, listener)));
    evidence.extend(settings(look, &[SOMAXCONN, ABORT]));
    let fate = if aborts(look) { "reset" } else { "dropped without an answer" };
    let mut subject = look.subject();
    // The counter does not say which listener; a queue that is half full by now was it.
    let known = nearest.first().filter(|listener| fill(listener) >= HALF_FULL);
    subject.listener = known.map(|listener| listener.address.to_string());
    Finding {
        rule: "accept-queue-full",
        severity: if share(overflows, handshakes) >= SHARE { Severity::Error } else { Severity::Warning },
        confidence: Confidence::Certain,
        claim: format!(
            "{} of {} in {} found a listener's queue full and {} {fate}{where_}",
            count(overflows),
            counted(handshakes, "handshake", "handshakes"),
            length(look.interval()),
            if overflows == 1 { "was" } else { "were" }
        ),
        subject,
        evidence,
        remedies: remedies(look, &nearest[..nearest.len().min(1)], &who(look, nearest.first().copied())),
        avoid: avoid(),
        next: Some(look.command("ss -ltnp")),
    }
}

/// The other queue: of handshakes that are not complete.
fn half_open(look: &Look<'_>) -> Option<Finding> {
    let drops = look.rise(HALF_OPEN_DROPS);
    if drops == 0 {
        return None;
    }
    let mut evidence = vec![look.risen(HALF_OPEN_DROPS)];
    evidence.extend(settings(look, &[COOKIES, SYN_BACKLOG, SOMAXCONN]));
    let half_open = look.namespace.sockets.by_state.of(State::SynReceived);
    if half_open > 0 {
        evidence.push(Evidence::new("sock_diag", format!("{} in SYN-RECEIVED", count(half_open))));
    }
    let cookies = Remedy::advice(
        "syn-cookies",
        format!("Answer SYNs with cookies when the queue is full, as by default: {COOKIES} = 1"),
        "connections that begin with a cookie lose some TCP options if timestamps are off",
        format!("{HALF_OPEN_DROPS} stands still"),
    );
    let off = look.namespace.settings.number(COOKIES) == Some(0);
    let change = off.then(|| look.change(COOKIES, 1)).flatten();
    let mut subject = look.subject();
    subject.setting = Some(COOKIES.to_owned());
    Some(Finding {
        rule: "accept-queue-full",
        severity: Severity::Warning,
        confidence: Confidence::Certain,
        claim: format!(
            "{} dropped in {} because a queue of half-open handshakes is full and SYN cookies are not sent",
            if drops == 1 { "1 SYN was".to_owned() } else { format!("{} SYNs were", count(drops)) },
            length(look.interval())
        ),
        subject,
        evidence,
        remedies: vec![
            cookies.carried_out(Applicability::Safe, change, &[DROPS]),
            Remedy::advice(
                "find-the-flood",
                "See where the SYNs come from: many addresses that never finish are a flood",
                "none",
                "a filter before this host, or a longer queue if the clients are real",
            ),
        ],
        avoid: vec![Avoid::new(
            "fewer tcp_synack_retries alone",
            "it shortens each wait, and slow clients fail",
        )],
        next: Some(look.command("ss -tn state syn-recv")),
    })
}

/// How full a queue is; above 1 it is full.
fn fill(listener: &Listener) -> f64 {
    listener.backlog.map_or(0.0, |backlog| f64::from(listener.queue) / (f64::from(backlog) + 1.0))
}

fn queue_of(listener: &Listener) -> String {
    match listener.backlog {
        Some(backlog) => format!("{} of {}", count(listener.queue), count(backlog)),
        None => count(listener.queue),
    }
}

fn queues(listeners: &[&Listener]) -> Evidence {
    let mut longest = listeners.to_vec();
    longest.sort_by_key(|listener| Reverse(listener.queue));
    let named: Vec<String> = longest
        .iter()
        .take(3)
        .map(|listener| format!("{}: {} waiting", listener.address, queue_of(listener)))
        .collect();
    let more = match longest.len().saturating_sub(3) {
        0 => String::new(),
        more => format!(", and {more} more sockets"),
    };
    Evidence::new("sock_diag", format!("{}{more}", named.join(", ")))
}

fn who(look: &Look<'_>, listener: Option<&Listener>) -> String {
    match listener.and_then(|listener| look.process(listener.process?)) {
        Some(process) => format!("{} (pid {})", process.name, process.pid),
        None => "the server".to_owned(),
    }
}

/// What settings are, and the lines that set them at boot.
fn settings(look: &Look<'_>, names: &[&str]) -> Vec<Evidence> {
    names.iter().flat_map(|name| look.set(name).into_iter().chain(look.set_at_boot(name))).collect()
}

fn aborts(look: &Look<'_>) -> bool {
    look.namespace.settings.number(ABORT).is_some_and(|value| value > 0)
}

/// Connections whose clients gave up while they waited: they have no file yet, and the peer's FIN came.
fn closed_while_waiting(look: &Look<'_>, address: Endpoint) -> Option<Evidence> {
    let groups = look.namespace.sockets.groups.iter();
    let here = groups.filter(|group| Place::of(group) == Place::Port(address.port));
    let gone = here
        .filter_map(|group| group.waiting_in(State::CloseWait))
        .fold(0_u32, |sum, waiting| sum.saturating_add(waiting.orphans));
    let says = format!(
        "the clients of {} that wait there have given up",
        counted(gone, "connection", "connections")
    );
    (gone > 0).then(|| Evidence::new("sock_diag", says))
}

/// A process that has no descriptors left cannot accept.
fn files(look: &Look<'_>, listener: &Listener) -> Option<Evidence> {
    let process = look.process(listener.process?)?;
    let (open, limit) = (process.open_files?, process.open_files_limit?);
    (share(open, limit) >= FILES_SHARE).then(|| {
        let says = format!(
            "{} of at most {} files are open ({}): accept() fails with EMFILE",
            count(open),
            count(limit),
            percent(open, limit)
        );
        Evidence::new(format!("/proc/{}/limits", process.pid), says)
    })
}

fn remedies(look: &Look<'_>, listeners: &[&Listener], who: &str) -> Vec<Remedy> {
    let mut remedies = keep_up(who);
    if aborts(look) {
        let quiet = Remedy::advice(
            "abort-on-overflow-off",
            format!("Let clients try again instead of failing, as by default: {ABORT} = 0"),
            "clients of a server that never catches up wait for their timeouts",
            "a burst costs clients a second instead of an error",
        );
        let change = look.change(ABORT, 0);
        remedies.push(quiet.carried_out(Applicability::Safe, change, &[OVERFLOWS]));
    }
    let cap = look.namespace.settings.number(SOMAXCONN);
    let capped = cap.is_some_and(|cap| listeners.iter().any(|listener| listener.backlog.map(u64::from) == Some(cap)));
    remedies.push(if capped { raise_cap(look, cap.unwrap_or_default()) } else { longer_queue(cap) });
    remedies
}

fn keep_up(who: &str) -> Vec<Remedy> {
    vec![
        Remedy::advice(
            "accept-again",
            format!(
                "Find out what keeps {who} from accept(): a lock, a full pool of workers, EMFILE, no CPU"
            ),
            "none",
            "the queue empties, and SYNs are answered at once",
        ),
        Remedy::advice(
            "more-workers",
            "Start more workers, or give each its own listener with SO_REUSEPORT",
            "with SO_REUSEPORT, what waits at a worker that stops is reset",
            "accept() keeps up with the clients",
        ),
    ]
}

fn raise_cap(look: &Look<'_>, cap: u64) -> Remedy {
    let to = if cap < linux::SOMAXCONN.value {
        linux::SOMAXCONN.value
    } else {
        cap.saturating_mul(2).min(LONGEST_BACKLOG)
    };
    let change: Option<Change> = (to > cap).then(|| look.change(SOMAXCONN, to)).flatten();
    Remedy::advice(
        "raise-somaxconn",
        format!(
            "For bursts, raise the cap that this backlog has reached: {SOMAXCONN} = {to}; then let the program ask \
             for as much and restart it, since listen() reads it once"
        ),
        "if the program is too slow and not only surprised, clients wait longer in a longer queue",
        format!("bursts of up to {} connections fit", count(to)),
    )
    .carried_out(Applicability::Safe, change, &[OVERFLOWS])
}

fn longer_queue(cap: Option<u64>) -> Remedy {
    let cap = cap.map_or_else(String::new, |cap| format!(" (up to {SOMAXCONN}, {})", count(cap)));
    Remedy::advice(
        "longer-backlog",
        format!("For bursts, let the program ask for a longer queue in listen(){cap}, and restart it"),
        "if the program is too slow and not only surprised, clients wait longer in a longer queue",
        "bursts up to the new length fit",
    )
}

fn avoid() -> Vec<Avoid> {
    vec![
        Avoid::new(
            "tcp_abort_on_overflow = 1",
            "clients fail with ECONNRESET where their second try would have worked",
        ),
        Avoid::new("tcp_max_syn_backlog", "it is for half-open handshakes; this queue is of complete ones"),
        Avoid::new("tcp_tw_reuse, tcp_fin_timeout", "no TIME-WAIT is involved"),
    ]
}

/// In a capture: fewer SYNs sent again are lost packets...
const AGAIN: u64 = 5;
/// ...as are those below this part of the connections.
const AGAIN_SHARE: f64 = 0.05;

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    if look.conntrack_drops() {
        // `conntrack-full` tells why they went unanswered.
        return Verdict::Quiet;
    }
    let mut servers = BTreeMap::<Endpoint, Vec<&Exchange>>::new();
    for exchange in look.traffic.exchanges.iter().filter(|exchange| exchange.server.address.is_some()) {
        servers.entry(exchange.server).or_default().push(exchange);
    }
    let full = servers.into_iter().filter_map(|(server, exchanges)| captured(look, server, &exchanges));
    look.most(full.collect())
}

/// SYNs that were sent again for want of any answer.
fn again(exchange: &Exchange) -> u64 {
    exchange.syn_again.count.saturating_sub(exchange.challenged.count)
}

fn captured(look: &TrafficLook<'_>, server: Endpoint, exchanges: &[&Exchange]) -> Option<(u64, Finding)> {
    let sum = |of: fn(&Exchange) -> u64| {
        exchanges.iter().fold(0_u64, |sum, exchange| sum.saturating_add(of(exchange)))
    };
    let (dropped, connections) = (sum(again), sum(|exchange| exchange.connections));
    let complete = sum(|exchange| exchange.handshakes.get("complete").copied().unwrap_or(0));
    let unanswered = sum(|exchange| exchange.unanswered.count);
    // A server that is off, or behind a filter, answers nobody.
    if dropped < AGAIN || share(dropped, connections) < AGAIN_SHARE || complete <= unanswered {
        return None;
    }
    let worst = exchanges.iter().max_by_key(|exchange| again(exchange))?;
    let who = packets::server(server);
    let mut evidence = look.shows(&worst.syn_again, "the SYN was sent again, since no answer came");
    if unanswered > 0 {
        let first = exchanges.iter().find(|exchange| exchange.unanswered.count > 0);
        evidence.extend(
            first
                .into_iter()
                .flat_map(|exchange| look.shows(&exchange.unanswered, "no SYN was answered at all")),
        );
    }
    evidence.push(
        look.sums(format!("{who} completed {} meanwhile", counted(complete, "handshake", "handshakes"))),
    );
    let finding = Finding {
        rule: "accept-queue-full",
        severity: Severity::Warning,
        confidence: Confidence::Possible,
        claim: format!(
            "{who} left SYNs of {} of {} unanswered, {} of them to the end, while it answered others: its queue is \
             full, or the path loses packets",
            count(dropped),
            counted(connections, "connection", "connections"),
            count(unanswered)
        ),
        subject: Subject { destination: Some(server.to_string()), ..Subject::default() },
        evidence,
        remedies: keep_up("the server"),
        avoid: avoid(),
        next: look.next(worst, &worst.syn_again),
    };
    Some((dropped, finding))
}
