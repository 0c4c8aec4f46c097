//! What is often advised against TIME-WAIT and does not help, in the same words wherever it is warned of.

use crate::Avoid;
use crate::wording::length;
use std::time::Duration;
use tcp::profile::linux;

pub(crate) fn lower_fin_timeout(time_wait: Duration) -> Avoid {
    Avoid::new(
        "lower tcp_fin_timeout",
        format!(
            "it is how long an orphan FIN-WAIT-2 is kept; TIME-WAIT stays {} whatever it says",
            length(time_wait)
        ),
    )
}

pub(crate) fn smaller_table() -> Avoid {
    Avoid::new(
        "lower tcp_max_tw_buckets",
        "closing connections then skip TIME-WAIT: late FINs meet a reset, and old segments a new connection",
    )
}

pub(crate) fn recycle() -> Avoid {
    Avoid::new(
        "tcp_tw_recycle = 1",
        "it drops clients behind NAT and every client that hashes its timestamps; gone since Linux 4.12",
    )
}

pub(crate) fn linger_zero() -> Avoid {
    Avoid::new(
        "SO_LINGER with 0 seconds",
        "close() then sends a reset: the peer loses what it has not read yet and reports an error",
    )
}

pub(crate) fn reuse_where_nobody_connects() -> Avoid {
    Avoid::new(
        "tcp_tw_reuse = 1",
        "only connect() looks at it; TIME-WAIT on a port that serves is never touched by it",
    )
}

pub(crate) fn ignore_resets() -> Avoid {
    Avoid::new(
        "tcp_rfc1337 = 1",
        format!(
            "a client that meets an old TIME-WAIT clears it with a reset and connects at once; with 1 it waits up \
             to {}",
            length(linux::TIME_WAIT.value)
        ),
    )
}
