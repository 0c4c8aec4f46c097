//! `tcp_tw_reuse` is set or relied on where it can do nothing.
//!
//! ## What it sees
//!
//! Four situations: it is 1 and `tcp_timestamps` is 0 (warning); it is 1 and TIME-WAIT is on ports that serve
//! (note); a budget of ports runs out, it is 2, the default, and neither end is a loopback address (note); it
//! applies, and yet ports of the second half are taken while old TIME-WAIT sockets fill the first, which
//! `connect()` would have reused: the old connections had no timestamps (warning, likely). With a capture
//! (`--capture`), where the SYN-ACKs of a destination have no timestamps, and its ports run out, that is certain.
//!
//! The lines of sysctl files that set it are named. `lastack lint` warns of files that set `tcp_tw_reuse` and turn
//! `tcp_timestamps` off, and notes those that only turn `tcp_timestamps` off.
//!
//! ## Why it hurts
//!
//! Somebody counts on a remedy that is not there. `tcp_tw_reuse` lets `connect()`, and only `connect()`, take a
//! port whose TIME-WAIT is older than 1 s (`tcp_tw_reuse_delay`), if the old connection used timestamps: they
//! tell old segments from new ones. Without them on either side nothing is reused, and turning them on later
//! does not help sockets that are in TIME-WAIT already.
//!
//! The value 2 means loopback only: 127.0.0.0/8 and ::1. A host's own address that is not one of these (its
//! address on eth0) is *not* loopback, though the packets never leave it. A new container starts with 2, not
//! with the host's value.
//!
//! ## How to prove it
//!
//! ```sh
//! sysctl net.ipv4.tcp_tw_reuse net.ipv4.tcp_timestamps
//! nstat -az TcpExtTWRecycled; sleep 5; nstat -az TcpExtTWRecycled      # rises by one each reuse
//! ss -tin state established '( dst 10.0.0.2:80 )'                      # "ts" if timestamps are used
//! ```
//!
//! ## What to do
//!
//! Turn timestamps on, on both sides. For a destination on this host use 127.0.0.1 or ::1, or a Unix socket.
//! Set 1 if connections to other hosts must reuse ports. Better than all of it: keep connections.
//!
//! ## What not to do
//!
//! On a server that is not also a client, do not set it at all: TIME-WAIT on the port that serves is not
//! touched by it. Never answer with `tcp_tw_recycle`, which drops clients behind NAT.
//!
//! ## Sources
//!
//! net/ipv4/tcp_ipv4.c `tcp_twsk_unique()`; RFC 6191; measured on Linux 6.18: 1,000 ports give 1,000 connections a
//! second with reuse, and 1,000 in all with timestamps off on either side; 2 works to 127.0.0.1 and not to the
//! host's other address.

use crate::configured::ConfigurationLook;
use super::ephemeral_ports_exhausted::severity;
use crate::value::number_taken;
use crate::wording::{count, counted, length, memory};
use crate::{
    Applicability, Avoid, Budget, Confidence, Evidence, Finding, Look, Remedy, Reuse, Severity, Subject,
    Verdict, myths,
};
use evidence::{Role, Unseen};
use tcp::State;
use tcp::profile::linux;

const REUSE: &str = "net.ipv4.tcp_tw_reuse";
const TIMESTAMPS: &str = "net.ipv4.tcp_timestamps";
/// So many TIME-WAIT sockets on ports that serve are why somebody set it...
const MANY: u32 = 1_000;
/// ...if there are that many times more of them than of those that it is for.
const TIMES_CLIENT: u32 = 10;

/// What files set, by themselves: the one needs the other.
pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let set = |setting: &str, wanted: i64| {
        look.written(setting).filter(|(written, _)| look.alone && number_taken(&written.value) == Some(wanted))
    };
    let Some((_, off_at)) = set(TIMESTAMPS, 0) else { return Verdict::Quiet };
    let off = Evidence::new(off_at.clone(), format!("sets {TIMESTAMPS} to 0"));
    let (severity, claim, setting, evidence) = match set(REUSE, 1) {
        Some((_, at)) => (
            Severity::Warning,
            "tcp_tw_reuse is set at boot and tcp_timestamps is turned off: no port is ever reused, for a TIME-WAIT \
             without a timestamp cannot tell old segments from new ones",
            REUSE,
            vec![Evidence::new(at, "sets it to 1"), off],
        ),
        None => (
            Severity::Note,
            "tcp_timestamps is turned off at boot: no TIME-WAIT is ever reused, old segments are not told from new ones \
             (PAWS), and round trips are hardly measured; it helps nobody behind a NAT",
            TIMESTAMPS,
            vec![off],
        ),
    };
    Verdict::Found(vec![Finding {
        rule: "reuse-without-effect",
        severity,
        confidence: Confidence::Certain,
        claim: claim.to_owned(),
        subject: Subject { setting: Some(setting.to_owned()), ..Subject::default() },
        evidence,
        remedies: vec![Remedy::advice(
            "timestamps-line-out",
            format!("Take the line at {off_at} out: timestamps are on by default"),
            "12 bytes in each segment",
            "ports of connections made from then on can be taken again",
        )],
        avoid: vec![myths::recycle(), myths::lower_fin_timeout(linux::TIME_WAIT.value)],
        next: None,
    }])
}

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let settings = &look.namespace.settings;
    let needed = [Unseen::Sockets, Unseen::Settings];
    let Some(reuse) = settings.number(REUSE).filter(|reuse| *reuse != 0) else {
        return look.quiet_unless_unseen(&needed);
    };
    let mut findings = Vec::new();
    if reuse == linux::TW_REUSE_LOOPBACK.value {
        findings.extend(loopback_only(look));
    } else if settings.timestamps() {
        findings.extend(server_side(look));
    } else {
        findings.push(no_timestamps(look));
    }
    findings.extend(fails(look));
    look.found_or(findings, &needed)
}

fn finding(look: &Look<'_>, severity: Severity, confidence: Confidence, claim: String) -> Finding {
    Finding {
        rule: "reuse-without-effect",
        severity,
        confidence,
        claim,
        subject: Subject { setting: Some(REUSE.to_owned()), ..look.subject() },
        evidence: look.set(REUSE).into_iter().chain(look.set_at_boot(REUSE)).collect(),
        remedies: Vec::new(),
        avoid: vec![myths::recycle(), myths::lower_fin_timeout(look.namespace.settings.time_wait())],
        next: Some(look.command("nstat -az TcpExtTWRecycled")),
    }
}

fn about(look: &Look<'_>, budget: &Budget) -> Subject {
    Subject {
        source: Some(budget.source.clone()),
        destination: Some(budget.destination.clone()),
        setting: Some(REUSE.to_owned()),
        ..look.subject()
    }
}

fn no_timestamps(look: &Look<'_>) -> Finding {
    let claim =
        "tcp_tw_reuse is set, but tcp_timestamps is 0: no port is ever reused, for a TIME-WAIT without a \
                 timestamp cannot tell old segments from new ones"
            .to_owned();
    let mut finding = finding(look, Severity::Warning, Confidence::Certain, claim);
    finding.evidence.extend(look.set(TIMESTAMPS));
    finding.evidence.extend(look.set_at_boot(TIMESTAMPS));
    finding.remedies = vec![
        Remedy::advice(
            "timestamps-on",
            "Turn timestamps on: tcp_timestamps = 1, here and at the peers",
            "12 bytes in each segment; an old server with tcp_tw_recycle drops clients behind NAT that use them",
            format!(
                "ports of connections made from now on can be taken again after {}",
                length(look.namespace.settings.tw_reuse_delay())
            ),
        )
        .carried_out(Applicability::Unsafe, look.change(TIMESTAMPS, 1), &[
            "TcpExtTWRecycled rises under load: ports are reused",
            "TcpAttemptFails does not rise faster than before",
            "TcpExtTCPSynRetrans does not rise faster than before",
        ]),
    ];
    finding
}

/// It is on for a host that serves.
fn server_side(look: &Look<'_>) -> Option<Finding> {
    let groups = look.namespace.sockets.groups.iter();
    let (client, server) = groups.fold((0_u32, 0_u32), |(client, server), group| {
        let time_wait = group.states.of(State::TimeWait);
        match group.role {
            Role::Client => (client.saturating_add(time_wait), server),
            Role::Server => (client, server.saturating_add(time_wait)),
        }
    });
    if server < MANY || server / TIMES_CLIENT < client {
        return None;
    }
    let claim = format!(
        "tcp_tw_reuse is set, but {} of {} TIME-WAIT sockets are on ports that serve, where it does nothing: only \
         connect() looks at it",
        count(server),
        count(server.saturating_add(client))
    );
    let mut finding = finding(look, Severity::Note, Confidence::Certain, claim);
    let says =
        format!("{} in TIME-WAIT at the server side, {} at the client side", count(server), count(client));
    finding.evidence.push(Evidence::new("sock_diag", says));
    finding.remedies.push(Remedy::advice(
        "leave-the-server-alone",
        format!(
            "Do nothing against them: they cost {} of memory and no port",
            memory(u64::from(server) * linux::TIME_WAIT_BYTES.value)
        ),
        "none",
        "nothing changes; the setting may stay for the connections that this host opens",
    ));
    Some(finding)
}

/// It is at its default where more is needed.
fn loopback_only(look: &Look<'_>) -> Option<Finding> {
    let mut in_trouble = look.budgets.iter().filter(|budget| {
        budget.reuse == Reuse::LoopbackOnly
            && severity(budget).is_some()
            && budget.time_wait * 2 > budget.blocked()
    });
    let budget = in_trouble.next()?;
    let own = own_address(look, budget);
    let claim = format!(
        "tcp_tw_reuse = {} covers loopback addresses only, and the ports from {} to {} run out without it{}",
        linux::TW_REUSE_LOOPBACK.value,
        budget.source,
        budget.destination,
        if own { ": an address of this host that is not 127.0.0.0/8 or ::1 is not loopback" } else { "" }
    );
    let mut finding = finding(look, Severity::Note, Confidence::Certain, claim);
    finding.subject = about(look, budget);
    let says = format!("{} in TIME-WAIT hold {} ports", count(budget.time_wait), count(budget.ports));
    finding.evidence.push(Evidence::new("sock_diag", says));
    let more = in_trouble.count();
    if more > 0 {
        let says = format!("the same for {}", counted(more as u64, "more destination", "more destinations"));
        finding.evidence.push(Evidence::new("sock_diag", says));
    }
    if own {
        finding.remedies.push(Remedy::advice(
            "use-loopback",
            "Connect to 127.0.0.1 or ::1, or to a Unix socket, instead of the host's own address",
            "the service must listen there",
            format!("ports come back after {}", length(look.namespace.settings.tw_reuse_delay())),
        ));
    }
    finding.remedies.push(Remedy::advice(
        "keep-connections",
        "Keep connections: a pool, HTTP keep-alive",
        "a kept connection may be closed by the peer while idle: keep it shorter than the peer does",
        "no TIME-WAIT to reuse",
    ));
    if budget.without_timestamps == 0 {
        finding.remedies.push(
            Remedy::advice(
                "tw-reuse",
                "Or set tcp_tw_reuse = 1",
                "none as long as the timestamps of both ends only grow; does nothing if the peer has none",
                format!("ports come back after {}", length(look.namespace.settings.tw_reuse_delay())),
            )
            .carried_out(
                Applicability::Unsafe,
                look.change(REUSE, 1).filter(|_| look.namespace.settings.timestamps()),
                &["TcpExtTWRecycled rises: it is used", "TcpExtTCPSynRetrans does not rise faster than before"],
            ),
        );
    }
    Some(finding)
}

/// True if the destination is an address of this host: it connects to itself, or somebody listens there.
fn own_address(look: &Look<'_>, budget: &Budget) -> bool {
    let sockets = &look.namespace.sockets;
    let Some(address) = budget.destination.parse::<evidence::Endpoint>().ok().and_then(|end| end.address)
    else {
        return false;
    };
    budget.source == address.to_string()
        || sockets.listeners.iter().any(|listener| listener.address.address == Some(address))
        || sockets.groups.iter().any(|group| group.local.address == Some(address))
}

/// It is on and should work, and does not.
fn fails(look: &Look<'_>) -> Option<Finding> {
    let mut without = look.budgets.iter().filter(|budget| match budget.reuse {
        Reuse::WithoutEffect => true,
        Reuse::PeerWithoutTimestamps => {
            severity(budget).is_some() && budget.time_wait * 2 > budget.blocked()
        }
        _ => false,
    });
    let budget = without.next()?;
    let captured = budget.reuse == Reuse::PeerWithoutTimestamps;
    let delay = length(look.namespace.settings.tw_reuse_delay());
    let claim = format!(
        "tcp_tw_reuse is set, but ports from {} to {} are not reused after {delay}: {} {}",
        budget.source,
        budget.destination,
        budget.destination,
        if captured { "has no timestamps" } else { "seems to have no timestamps" }
    );
    let confidence = if captured { Confidence::Certain } else { Confidence::Likely };
    let mut finding = finding(look, Severity::Warning, confidence, claim);
    finding.subject = about(look, budget);
    if captured {
        let says = format!(
            "{} from {} offered timestamps, and the SYN-ACKs of {} have none",
            counted(budget.without_timestamps, "connection", "connections"),
            budget.source,
            budget.destination
        );
        finding.evidence.push(Evidence::new("capture", says));
        let says = format!("{} in TIME-WAIT on {} ports", count(budget.time_wait), count(budget.ports));
        finding.evidence.push(Evidence::new("sock_diag", says));
    } else {
        let says = format!(
            "{} in TIME-WAIT on {} ports: connect() went on to the second half, though at {} closes in the worst \
             second the first held enough older than {delay}",
            count(budget.time_wait),
            count(budget.ports),
            count(budget.peak_per_second)
        );
        finding.evidence.push(Evidence::new("sock_diag", says));
    }
    if look.namespace.counters.watched() && look.namespace.counters.has("TcpExtTWRecycled") {
        finding.evidence.push(look.risen("TcpExtTWRecycled"));
    }
    finding.evidence.extend(look.set(TIMESTAMPS));
    let more = without.count();
    if more > 0 {
        let says = format!("the same for {}", counted(more as u64, "more destination", "more destinations"));
        finding.evidence.push(Evidence::new("sock_diag", says));
    }
    finding.remedies = vec![
        Remedy::advice(
            "timestamps-at-the-peer",
            format!("Turn timestamps on at {} (or at the load balancer in front of it)", budget.destination),
            "12 bytes in each segment",
            "ports of connections made from then on are reused; within one TIME-WAIT of setting tcp_tw_reuse here, \
             wait first: older sockets may be from before",
        ),
        Remedy::advice(
            "keep-connections",
            "Keep connections: a pool, HTTP keep-alive",
            "a kept connection may be closed by the peer while idle: keep it shorter than the peer does",
            "no TIME-WAIT to reuse",
        ),
    ];
    finding.avoid.push(Avoid::new(
        "tcp_timestamps = 0 here, too",
        "it takes reuse from all other destinations, and the protection against old segments",
    ));
    finding.next = Some(look.command(&format!("ss -tin '( dst {} )'", budget.destination)));
    Some(finding)
}
