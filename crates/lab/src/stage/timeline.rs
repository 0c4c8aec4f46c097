//! What happens when: loads that begin, faults that come and go, steps.

use std::fmt::Write as _;
use world::scenario::{Drops, Fault, World};

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

/// The rules that make a fault.
pub(super) fn rules(place: usize, fault: &Fault) -> String {
    let hook = if fault.incoming { "prerouting" } else { "postrouting" };
    let what = match fault.drop {
        // Without data: options make a header of at most 60 bytes, that of IPv6 has 40. A segment so small that
        // carries data has PSH.
        Drops::PureAcks => "tcp flags & (fin | syn | rst | psh | ack) == ack meta length <= 100",
        Drops::Fins => "tcp flags & fin == fin",
        Drops::Resets => "tcp flags & rst == rst",
        Drops::Syns => "tcp flags & (syn | ack) == syn",
        Drops::Data => "tcp flags & psh == psh",
        Drops::Everything => "meta l4proto tcp",
    };
    let table = format!("inet lab_fault{place}");
    let mut rules =
        format!("add table {table}\nadd chain {table} drops {{ type filter hook {hook} priority raw; }}\n");
    // Writing to a string does not fail.
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
    rules
}

/// The rule that ends it.
pub(super) fn mended(place: usize) -> String {
    format!("delete table inet lab_fault{place}\n")
}

/// What `ss` calls a state.
pub(super) fn ss_name(state: &str) -> String {
    match state {
        "SYN-RECEIVED" => "syn-recv".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}
