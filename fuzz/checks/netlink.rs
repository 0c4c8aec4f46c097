//! What the kernel sends is read without trust: a recorded dump may come from anyone.

use evidence::{Tally, TallyOptions};
use kernel::addresses::{self, MAX_ADDRESSES};
use kernel::conntrack;
use kernel::netlink;
use kernel::sock_diag::{self, Dumped};
use std::collections::BTreeMap;
use tcp::State;

/// Bytes of a header and `struct inet_diag_msg`.
const SMALLEST_RECORD: usize = netlink::HEADER + 72;

/// Any datagram is read to an end, gives at most the sockets that fit it, and each of them is counted once.
pub(crate) fn netlink(datagram: &[u8]) {
    let mut sockets = Vec::new();
    let mut dumped = Dumped::default();
    let progress = sock_diag::parse(datagram, &mut dumped, &mut |socket, idle| sockets.push((*socket, idle)));
    assert!(
        sockets.len() <= datagram.len() / SMALLEST_RECORD,
        "{} in {} bytes",
        sockets.len(),
        datagram.len()
    );

    let mut again = Vec::new();
    let mut dumped_again = Dumped::default();
    let progress_again =
        sock_diag::parse(datagram, &mut dumped_again, &mut |socket, idle| again.push((*socket, idle)));
    assert_eq!((&sockets, dumped, progress), (&again, dumped_again, progress_again));

    // An error of the kernel's, or a datagram that makes no sense, ends such a dump; what came before it counts.
    let mut entries = conntrack::Count::default();
    let _ = entries.add(datagram);
    let most = (datagram.len() / netlink::HEADER) as u64;
    assert!(entries.by_state().values().sum::<u64>() + entries.other() <= most, "{entries:?}");
    let mut sums = BTreeMap::new();
    let _ = conntrack::add_stats(datagram, &mut sums);
    assert!(sums.values().all(|sum| *sum <= u64::from(u32::MAX) * datagram.len() as u64), "{sums:?}");

    let mut found = addresses::Found::default();
    let _ = found.add(datagram);
    assert!(found.addresses.len() <= MAX_ADDRESSES);
    assert!(found.addresses.len() as u64 + found.malformed + found.left_out <= most, "{found:?}");

    for message in netlink::messages(datagram) {
        if let netlink::Message::Record { body, .. } = message {
            assert!(netlink::attributes(body).map(|(_, value)| value.len()).sum::<usize>() <= body.len());
        }
    }

    if sockets.is_empty() {
        return;
    }
    let mut tally = Tally::new(TallyOptions::default());
    let (listeners, others): (Vec<_>, Vec<_>) =
        sockets.iter().copied().partition(|(socket, _)| socket.state == State::Listen);
    for (listener, _) in &listeners {
        tally.add_listener(listener, None);
    }
    for (socket, idle) in others {
        tally.add(&socket);
        if let Some(idle) = idle {
            tally.add_idle(&socket, idle);
        }
    }
    let counted = tally.finish();
    assert_eq!(counted.by_state.total(), sockets.len() as u64);
    let grouped: u64 = counted.groups.iter().map(|group| group.states.total()).sum();
    assert_eq!(grouped + listeners.len() as u64, sockets.len() as u64);
}
