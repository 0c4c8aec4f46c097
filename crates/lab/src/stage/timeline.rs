//! What happens when: loads that begin, faults that come and go, steps.

use crate::host::{Delay, Order};
use std::fmt::Write as _;
use world::scenario::{Fault, Harm, Segments, World};

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A client begins, by its place in the world.
    Begin(usize),
    /// A fault begins.
    Fault(usize),
    /// It ends.
    Mend(usize),
    /// A step is taken.
    Step(usize),
}

/// All deeds by their time in milliseconds, the earliest first.
pub(super) fn deeds(world: &World) -> Vec<(u64, Deed)> {
    let mut deeds = Vec::new();
    // At the same time first what goes wrong, so that it does for whoever begins then.
    for (place, fault) in world.faults.iter().enumerate() {
        deeds.push((fault.from_ms, Deed::Fault(place)));
        if let Some(length) = fault.for_ms {
            deeds.push((fault.from_ms.saturating_add(length), Deed::Mend(place)));
        }
    }
    deeds.extend(world.steps.iter().enumerate().map(|(place, step)| (step.at_ms, Deed::Step(place))));
    deeds.extend(
        world.clients.iter().enumerate().map(|(place, client)| (client.start_ms, Deed::Begin(place))),
    );
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}

/// What a host is told when a fault begins.
pub(super) fn begin(place: usize, fault: &Fault) -> Order {
    let Fault { incoming, segments, port, .. } = *fault;
    match fault.harm {
        Harm::Drop => Order::Nft { script: rules(place, fault) },
        Harm::Delay(ms) => {
            Order::HoldBack { number: number(place), delay: Delay { incoming, segments, port, ms } }
        }
    }
}

/// And when it ends.
pub(super) fn mend(place: usize, fault: &Fault) -> Order {
    match fault.harm {
        Harm::Drop => Order::Nft { script: format!("delete table inet lab_fault{place}\n") },
        Harm::Delay(_) => Order::LetGo { number: number(place) },
    }
}

/// A scenario has few faults.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The rules that drop what a fault means.
fn rules(place: usize, fault: &Fault) -> String {
    let hook = if fault.incoming { "prerouting" } else { "postrouting" };
    // Without data: options make a header of at most 60 bytes, that of IPv6 has 40. A segment so small that carries
    // data has PSH.
    let what: &[&str] = match fault.segments {
        Segments::PureAcks => &["tcp flags & (fin | syn | rst | psh | ack) == ack meta length <= 100"],
        Segments::Fins => &["tcp flags & fin == fin"],
        Segments::Resets => &["tcp flags & rst == rst"],
        Segments::Syns => &["tcp flags & (syn | ack) == syn"],
        Segments::Data => &["tcp flags & psh == psh", "meta l4proto tcp meta length > 100"],
        Segments::Everything => &["meta l4proto tcp"],
    };
    let table = format!("inet lab_fault{place}");
    let mut rules =
        format!("add table {table}\nadd chain {table} drops {{ type filter hook {hook} priority raw; }}\n");
    // Writing to a string does not fail.
    for what in what {
        match fault.port {
            Some(port) => {
                for end in ["sport", "dport"] {
                    let _ = writeln!(rules, "add rule {table} drops tcp {end} {port} {what} drop");
                }
            }
            None => {
                let _ = writeln!(rules, "add rule {table} drops {what} drop");
            }
        }
    }
    rules
}

/// What `ss` calls a state.
pub(super) fn ss_name(state: &str) -> String {
    match state {
        "SYN-RECEIVED" => "syn-recv".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}
