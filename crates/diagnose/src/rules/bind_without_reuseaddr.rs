//! A server that stopped cannot bind its port again while TIME-WAIT is on it, without `SO_REUSEADDR`.
//!
//! ## What it sees
//!
//! A local port outside the range of ephemeral ports with two or more sockets in TIME-WAIT, no listener and
//! no connection that still lives: a server that closed first was here less than a minute ago. Socket
//! options of what is gone cannot be seen, so it is only possible that the restart fails, and a note.
//!
//! Port 20 is left out: an active FTP server connects from it.
//!
//! ## Why it hurts
//!
//! bind() fails with EADDRINUSE until the last TIME-WAIT on the port has ended, up to 60 s, or longer where
//! stray segments start a timer anew. A supervisor that gives up sooner leaves the service down.
//!
//! It succeeds only if *both* had `SO_REUSEADDR`: the sockets that died (accepted ones have it from their
//! listener) and the new one. So the first restart after the option was added may fail once more.
//!
//! ## How to prove it
//!
//! ```sh
//! ss -tan '( sport = :PORT )'                               # TIME-WAIT only, no LISTEN
//! strace -f -e trace=setsockopt,bind,listen SERVER          # no SO_REUSEADDR before bind()
//! ```
//!
//! ## What to do
//!
//! Set `SO_REUSEADDR` in the server before bind(). `SO_REUSEPORT` on both works too. Better still for
//! restarts under load: hand the listener on (systemd socket activation), so that the port is never
//! unbound. And let the clients close first, then TIME-WAIT is theirs.
//!
//! ## What not to do
//!
//! No linger 0: it avoids TIME-WAIT by resetting connections, and clients lose data. `tcp_tw_reuse` is for
//! connect() only. `tcp_fin_timeout` does not shorten TIME-WAIT. `tcp_max_tw_buckets = 0` removes
//! TIME-WAIT, and its protection, from all of the namespace.
//!
//! ## Sources
//!
//! net/ipv4/inet_connection_sock.c `inet_csk_get_port()`, `inet_bind_conflict()`; measured on Linux 6.18:
//! all four combinations of the option on the old and the new socket; only both together bind.

use crate::myths;
use crate::wording::{counted, length};
use crate::{Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Verdict};
use evidence::{Group, Role, Unseen};
use std::collections::BTreeMap;
use std::time::Duration;
use tcp::State;
use tcp::profile::linux;

/// One alone may be a client that bound a low port; two on one port are a service.
const SOME: u32 = 2;
/// Active FTP servers connect *from* this port (RFC 959 section 3.2), and nobody ever listens on it.
const FTP_DATA: u16 = 20;

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let sockets = &look.namespace.sockets;
    let (range, reserved) =
        (look.namespace.settings.local_port_range(), look.namespace.settings.reserved_ports());
    let mut ports = BTreeMap::<u16, Vec<&Group>>::new();
    for group in sockets.groups.iter().filter(|group| group.role == Role::Server) {
        if let Some(port) = group.local.port {
            ports.entry(port).or_default().push(group);
        }
    }
    for listener in &sockets.listeners {
        listener.address.port.and_then(|port| ports.remove(&port));
    }
    let findings: Vec<Finding> = ports
        .iter()
        .filter(|(port, _)| **port != FTP_DATA && (!range.contains(**port) || reserved.contains(**port)))
        .filter_map(|(port, groups)| finding(look, *port, groups))
        .collect();
    // A listener that was not seen would make every busy port look like this.
    match look.quiet_unless_unseen(&[Unseen::Sockets]) {
        Verdict::Quiet => findings.into(),
        unseen => unseen,
    }
}

fn finding(look: &Look<'_>, port: u16, groups: &[&Group]) -> Option<Finding> {
    let of =
        |state: State| groups.iter().fold(0_u32, |sum, group| sum.saturating_add(group.states.of(state)));
    let time_wait = of(State::TimeWait);
    // Connections that live without a listener belong to a server that is still there and winds down.
    let lives =
        [State::Established, State::CloseWait, State::SynReceived].into_iter().any(|state| of(state) > 0);
    if time_wait < SOME || lives {
        return None;
    }
    let left = groups.iter().flat_map(|group| group.time_wait.by_second().into_keys()).max();
    // Whole seconds left, rounded up, and the slack of the timer wheel.
    let left =
        left.map_or(look.namespace.settings.time_wait(), |left| Duration::from_secs(u64::from(left) + 1));
    let left = length(left.saturating_add(linux::TIMER_SLACK.value));
    let mut subject = look.subject();
    subject.listener = Some(format!("*:{port}"));
    let who = look.holder(groups.iter().copied(), &[State::TimeWait]).map(|(process, _)| process);
    if let Some(process) = who {
        (subject.process, subject.pid) = (Some(process.name.clone()), Some(process.pid));
    }
    let sockets = counted(time_wait, "socket", "sockets");
    Some(Finding {
        rule: "bind-without-reuseaddr",
        severity: Severity::Note,
        confidence: Confidence::Possible,
        claim: format!(
            "Nothing listens on port {port}, where {sockets} are in TIME-WAIT: a server that starts there without \
             SO_REUSEADDR fails with EADDRINUSE for up to {left}"
        ),
        subject,
        evidence: vec![
            Evidence::new(
                "sock_diag",
                format!("port {port}: {sockets} in TIME-WAIT, the last for up to {left}"),
            ),
            Evidence::new("sock_diag", format!("no listener and no live connection on port {port}")),
        ],
        remedies: remedies(port, &left),
        avoid: avoid(look),
        next: Some(look.command(&format!("ss -tano '( sport = :{port} )'"))),
    })
}

fn remedies(port: u16, left: &str) -> Vec<Remedy> {
    vec![
        Remedy::advice(
            "set-so-reuseaddr",
            "Let the server set SO_REUSEADDR before bind()",
            "none on Linux: two listeners on one address still exclude each other",
            format!(
                "later restarts bind port {port} at once; the first one may still fail, as the old sockets lack it"
            ),
        ),
        Remedy::advice(
            "wait",
            format!("Until then start it again after {left}"),
            "the service is down as long",
            "bind() succeeds when the last TIME-WAIT has ended",
        ),
        Remedy::advice(
            "keep-the-listener",
            "Hand the listener on at restarts (systemd socket activation), so that the port is never unbound",
            "connections wait in the queue while the server restarts",
            "no bind() at restarts, and no client is refused",
        ),
    ]
}

fn avoid(look: &Look<'_>) -> Vec<Avoid> {
    vec![
        myths::linger_zero(),
        Avoid::new("tcp_tw_reuse", "it is for connect() only; bind() does not look at it"),
        myths::lower_fin_timeout(look.namespace.settings.time_wait()),
    ]
}
