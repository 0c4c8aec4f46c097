//! A service listens on a port that `connect()` and `bind()` may hand to anybody else.
//!
//! ## What it sees
//!
//! Listening sockets whose port a program chose by number, inside `ip_local_port_range` and outside
//! `ip_local_reserved_ports`. Listeners on loopback count too. Ports that the kernel chose itself (`bind()` to
//! port 0) do not: nobody expects them to be the same after a restart. Where the kernel does not tell which are
//! which, the finding is "possible". One finding names all such ports of a network namespace.
//!
//! ## Why it hurts
//!
//! Not while the service runs: `connect()` passes over a port that is listened on (it has one port less for
//! every destination). But while the service is down, the port is free for any outgoing connection, and a
//! connection that holds it, or its TIME-WAIT of 60 s, makes the service's `bind()` fail with EADDRINUSE, with
//! or without `SO_REUSEADDR`. So a restart fails by chance, more often the more connections leave the host.
//!
//! ## How to prove it
//!
//! ```sh
//! sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports
//! ss -Htln                                       # listening ports
//! ss -tan '( sport = :PORT )'                    # when a restart fails: who holds the port
//! ```
//!
//! ## What to do
//!
//! Reserve the port: `ip_local_reserved_ports` takes it out of the automatic choice of both `connect()` and
//! `bind()`; a service that names it gets it as before. The setting holds one list for the namespace: merge,
//! do not replace. Or move the service below the range, or start the range above the service. Each container
//! has its own list. Where that would leave less than half of the range to choose from, move the services.
//!
//! ## What not to do
//!
//! Do not count on `SO_REUSEADDR`: it helps over the service's own TIME-WAIT, not over that of a client. Do not
//! narrow the range to get around one port: each port less is one connection less to each destination.
//!
//! ## Sources
//!
//! Documentation/networking/ip-sysctl.rst (`ip_local_reserved_ports`); net/ipv4/inet_connection_sock.c
//! `inet_csk_get_port()`; measured on Linux 6.18: a client's TIME-WAIT on the port blocked a new listener in 4
//! of 4 cases, with and without `SO_REUSEADDR`.

use crate::wording::{clipped, counted, length, share};
use crate::{
    Applicability, Avoid, Change, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict,
};
use evidence::{Listener, PortSet, Unseen};
use std::fmt::Write as _;
use tcp::profile::linux;

const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";
/// So many ports are named; a host with more has a habit, not a slip.
const NAMED: usize = 5;
/// If reserving leaves less than this part of the range to choose from, it is the range that is wrong.
const MUST_STAY: f64 = 0.5;

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let settings = &look.namespace.settings;
    let (range, reserved) = (settings.local_port_range(), settings.reserved_ports());
    let mut inside: Vec<(u16, &Listener)> = look
        .namespace
        .sockets
        .listeners
        .iter()
        .filter(|listener| listener.autobound != Some(true))
        .filter_map(|listener| Some((listener.address.port?, listener)))
        .filter(|(port, _)| range.contains(*port) && !reserved.contains(*port))
        .collect();
    // Several sockets may share a port; one that is known to be named says more than one that is not.
    inside.sort_by_key(|(port, listener)| (*port, listener.autobound.is_none()));
    inside.dedup_by_key(|(port, _)| *port);
    let needed = [Unseen::Sockets, Unseen::Settings];
    if inside.is_empty() || look.gap(Unseen::Settings).is_some() {
        return look.quiet_unless_unseen(&needed);
    }
    Verdict::Found(vec![finding(look, &inside)])
}

/// Listening ports that a program chose by number, or may have.
pub(super) fn named_ports(look: &Look<'_>) -> Vec<u16> {
    let mut ports = PortSet::default();
    let listeners = look.namespace.sockets.listeners.iter();
    ports.extend(
        listeners
            .filter(|listener| listener.autobound != Some(true))
            .filter_map(|listener| listener.address.port),
    );
    ports.iter().collect()
}

/// The change that reserves these ports besides those that are; none without any, or if the list could not
/// be read, or is longer than the kernel takes.
pub(super) fn reserve(look: &Look<'_>, ports: &[u16]) -> Option<Change> {
    let mut all = PortSet::parse(look.namespace.settings.text(RESERVED)?)?;
    all.extend(ports.iter().copied());
    let list = list(&all);
    if ports.is_empty() || list.len() > linux::PORT_LIST_BYTES.value {
        None
    } else {
        look.change(RESERVED, list)
    }
}

/// A set of ports as the kernel prints it: `8080,9000-9100`.
fn list(ports: &PortSet) -> String {
    let mut text = String::new();
    let mut run: Option<(u16, u16)> = None;
    let mut write = |run: Option<(u16, u16)>| {
        if let Some((first, last)) = run {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = if first == last {
                write!(text, "{comma}{first}")
            } else {
                write!(text, "{comma}{first}-{last}")
            };
        }
    };
    for port in ports.iter() {
        match &mut run {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => write(run.replace((port, port))),
        }
    }
    write(run);
    text
}

fn finding(look: &Look<'_>, inside: &[(u16, &Listener)]) -> Finding {
    let who = |listener: &Listener| {
        let process = listener.process.and_then(|process| look.process(process));
        process.map(|process| format!(" ({} pid {})", process.name, process.pid)).unwrap_or_default()
    };
    let named: Vec<String> =
        inside.iter().take(NAMED).map(|(port, listener)| format!("{port}{}", who(listener))).collect();
    let more = match inside.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {}", counted(more as u64, "more", "more")),
    };
    let range = look.namespace.settings.local_port_range();
    let ports: Vec<u16> = inside.iter().map(|(port, _)| *port).collect();
    let unsure = inside.iter().any(|(_, listener)| listener.autobound.is_none());
    let (first, listener) = inside[0];
    let process = listener.process.and_then(|process| look.process(process)).filter(|_| inside.len() == 1);
    let mut evidence = vec![Evidence::new(
        "sock_diag",
        format!(
            "{} in the range and not reserved",
            counted(ports.len() as u64, "listening port is", "listening ports are")
        ),
    )];
    if unsure {
        let says =
            "this kernel does not tell which listening ports a program named and which were chosen for it";
        evidence.push(Evidence::new("sock_diag", says));
    }
    let says = format!("is {} to {}", range.first, range.last);
    evidence.push(Evidence::new("net.ipv4.ip_local_port_range", says));
    let says = match look.namespace.settings.text(RESERVED) {
        None => "could not be read".to_owned(),
        Some("") => "is empty".to_owned(),
        Some(list) => format!("is {}", clipped(list)),
    };
    evidence.push(Evidence::new(RESERVED, says));
    Finding {
        rule: "listener-in-ephemeral-range",
        severity: Severity::Note,
        confidence: if unsure { Confidence::Possible } else { Confidence::Certain },
        claim: format!(
            "{} {}{more} {} in the range of automatically chosen ports ({} to {}) and not reserved: while the service is \
             down, an outgoing connection may take its port, and the restart fails with EADDRINUSE",
            if inside.len() == 1 { "Listening port" } else { "Listening ports" },
            named.join(", "),
            if inside.len() == 1 { "is" } else { "are" },
            range.first,
            range.last
        ),
        subject: Subject {
            listener: (inside.len() == 1).then(|| listener.address.to_string()),
            process: process.map(|process| process.name.clone()),
            pid: process.map(|process| process.pid),
            ..look.subject()
        },
        evidence,
        remedies: remedies(look, &ports),
        avoid: vec![Avoid::new(
            "count on SO_REUSEADDR",
            format!(
                "it helps over the service's own TIME-WAIT; a client's on this port blocks bind() for {} all the same",
                length(look.namespace.settings.time_wait())
            ),
        )],
        next: Some(look.command(&format!("ss -tan '( sport = :{first} )'"))),
    }
}

fn remedies(look: &Look<'_>, ports: &[u16]) -> Vec<Remedy> {
    let number = ports.len() as u64;
    let reserve_them = Remedy::advice(
        "reserve-ports",
        format!(
            "Reserve {}: no automatic choice takes a reserved port",
            counted(number, "the port", "ports").trim_start_matches("1 ")
        ),
        format!(
            "{} less for outgoing connections to each destination, once the service is down",
            counted(number, "port", "ports")
        ),
        "the service gets its port at every start; a connection that holds it now keeps it until it ends",
    );
    let range = look.namespace.settings.local_port_range();
    let mut reserved = look.namespace.settings.reserved_ports();
    reserved.extend(ports.iter().copied());
    let left = share(range.halves_without(&reserved).total(), range.ports());
    let guards = ["ephemeral-ports-exhausted does not fire: each destination has a few ports less"];
    let first = range.first;
    let move_it = Remedy::advice(
        "move-the-service",
        format!("{} the service listen below {first}", if left < MUST_STAY { "Let" } else { "Or let" }),
        "clients must learn the new port",
        "the port is out of the range without a setting",
    );
    if left < MUST_STAY {
        return vec![move_it];
    }
    vec![reserve_them.carried_out(Applicability::Safe, reserve(look, ports), &guards), move_it]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_no_port_to_choose_is_not_offered() {
        let case = evidence::Case::default();
        let settings =
            evidence::Settings::from_iter([(RESERVED, ""), ("net.ipv4.ip_local_port_range", "1000\t1009")]);
        let namespace = evidence::Namespace { settings, ..evidence::Namespace::default() };
        let look = Look::new(&case, &namespace);
        let names =
            |ports: &[u16]| -> Vec<_> { remedies(&look, ports).iter().map(|remedy| remedy.name).collect() };
        assert_eq!(names(&[1_000, 1_001, 1_002, 1_003, 1_004]), ["reserve-ports", "move-the-service"]);
        assert_eq!(names(&[1_000, 1_001, 1_002, 1_003, 1_004, 1_005]), ["move-the-service"]);
    }

    #[test]
    fn a_list_that_the_kernel_would_cut_is_not_offered() {
        let case = evidence::Case::default();
        let settings = evidence::Settings::from_iter([(RESERVED, "")]);
        let namespace = evidence::Namespace { settings, ..evidence::Namespace::default() };
        let look = Look::new(&case, &namespace);
        let odd: Vec<u16> = (10_001..12_001).step_by(2).collect();
        assert!(reserve(&look, &odd).is_none());
        assert!(reserve(&look, &odd[..600]).is_some_and(|change| matches!(change, Change::Setting { to, .. } if to.len() == 3_599)));
    }

    #[test]
    fn a_list_of_ports_is_written_as_the_kernel_does() {
        for text in ["", "1", "1,3-5,65535", "0-65535"] {
            assert_eq!(list(&PortSet::parse(text).unwrap()), text);
        }
    }
}
