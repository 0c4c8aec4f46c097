//! One pass over the sockets of the namespace that the calling thread is in.

use crate::sock_diag::{Dumped, Ports, Query, SockDiag, States};
use evidence::{Gap, Role, Tally, TallyOptions, Unseen};
use std::collections::HashSet;
use std::io;
use tcp::State;

/// Up to so many sockets, the walks that bound ports need cost less than anybody would notice.
const FEW_SOCKETS: u64 = 1_000;

/// From this part of the range on, bound ports matter whatever the walk costs.
const PORTS_MATTER: f64 = 0.25;

/// Whether the kernel is asked for ports that bind() took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoundWalk {
    /// Where they can matter.
    IfItMatters {
        /// How many sockets of any kind the processes of this namespace hold open (`sockets: used` of
        /// /proc/net/sockstat), if that is known.
        open_sockets: Option<u64>,
    },
    /// Whatever that costs.
    Always,
}

/// Reads every socket into a tally. `gap` takes what could not be seen.
pub(crate) fn tally(options: TallyOptions, walk: BoundWalk, gap: &mut impl FnMut(Gap)) -> io::Result<Tally> {
    let ports_in_range = f64::from(options.range.ports());
    let mut tally = Tally::new(options);
    let mut diag = SockDiag::open()?;
    let mut dumped = listeners(&mut diag, &mut tally)?;
    dumped.merge(diag.dump(Query::all(States::CONNECTED), |socket, _| tally.add(socket))?);
    if dumped.malformed > 0 {
        gap(sockets_gap(format!("{} records of the kernel made no sense", dumped.malformed)));
    }
    if dumped.interrupted {
        gap(sockets_gap("the socket table changed while it was read".to_owned()));
    }
    idle_times(&mut diag, &mut tally, gap);
    if let BoundWalk::IfItMatters { open_sockets } = walk
        && !bound_ports_matter(&tally, ports_in_range, open_sockets)
    {
        return Ok(tally);
    }
    bound_ports(&mut diag, &mut tally);
    Ok(tally)
}

fn sockets_gap(because: String) -> Gap {
    Gap { unseen: Unseen::Sockets, netns: None, because, how_to_see: "look again".to_owned() }
}

/// Listening sockets, and which of them chose their port.
fn listeners(diag: &mut SockDiag, tally: &mut Tally) -> io::Result<Dumped> {
    let chosen_query = Query { ports: Ports::Chosen, ..Query::all(States::LISTEN) };
    let mut cookies = HashSet::new();
    let asked = diag.dump(chosen_query, |socket, _| {
        cookies.insert(socket.cookie);
    });
    let chosen = asked.is_ok().then_some(cookies);
    diag.dump(Query::all(States::LISTEN), |socket, _| {
        tally.add_listener(socket, chosen.as_ref().map(|chosen| chosen.contains(&socket.cookie)));
    })
}

/// How long sockets that wait for something have been idle. A walk of its own, made only if there are any.
fn idle_times(diag: &mut SockDiag, tally: &mut Tally, gap: &mut impl FnMut(Gap)) {
    let waits = |state: &State| match state {
        // Most FIN-WAIT-2 are mini-sockets, which carry their time with them.
        State::FinWait2 => tally.groups().iter().any(|group| group.waiting_in(State::FinWait2).is_some()),
        state => tally.count(*state) > 0,
    };
    let states = [State::FinWait1, State::FinWait2, State::CloseWait, State::Closing, State::LastAck];
    if !states.iter().any(waits) {
        return;
    }
    let query = Query { idle: true, ..Query::all(States::WAITING) };
    let mut without = 0_u64;
    let result = diag.dump(query, |socket, idle| match idle {
        Some(idle_ms) if !socket.mini => tally.add_idle(socket, idle_ms),
        None if !socket.mini => without += 1,
        _ => {}
    });
    let because = match result {
        Err(error) => format!("the kernel gave no TCP_INFO: {error}"),
        Ok(_) if without > 0 => format!("the kernel gave no TCP_INFO for {without} sockets"),
        Ok(_) => return,
    };
    let how_to_see = "look twice: sockets that are still there are at least that old".to_owned();
    gap(Gap { unseen: Unseen::Ages, netns: None, because, how_to_see });
}

/// Whether ports that bind() took can matter. The kernel walks its whole bind table for them, TIME-WAIT sockets and
/// all: at ten thousand sockets that takes longer than everything else together. So it is asked when there are few
/// sockets, or when a quarter of the range may be gone: to one destination, or to sockets that are open and not
/// connected.
fn bound_ports_matter(tally: &Tally, ports_in_range: f64, open_sockets: Option<u64>) -> bool {
    let sockets: u64 = State::ALL.into_iter().map(|state| u64::from(tally.count(state))).sum();
    let connected = tally.inodes().filter(|inode| *inode != 0).count() as u64;
    let unconnected = open_sockets.map_or(0, |open| open.saturating_sub(connected));
    let fullest = tally
        .groups()
        .iter()
        .filter(|group| group.role == Role::Client)
        .map(|group| group.ports.taken().total())
        .max();
    let most = f64::from(fullest.unwrap_or(0)).max(unconnected as f64);
    sockets <= FEW_SOCKETS || most >= ports_in_range * PORTS_MATTER
}

/// Ports that bind() took.
fn bound_ports(diag: &mut SockDiag, tally: &mut Tally) {
    // A kernel before 6.8 knows no such state and answers with nothing: then the count stays unknown.
    let mut bound = Vec::new();
    if diag.dump(Query::all(States::BOUND), |socket, _| bound.push(socket.local_port)).is_ok() {
        for port in bound {
            tally.add_idle_bound(port);
        }
    }
    let named = Query { ports: Ports::Named, ..Query::all(States::LIVE) };
    let mut ports = Vec::new();
    if diag.dump(named, |socket, _| ports.push(socket.local_port)).is_ok() {
        tally.asked_for_named_ports();
        for port in ports {
            tally.add_named_port(port);
        }
    }
}
