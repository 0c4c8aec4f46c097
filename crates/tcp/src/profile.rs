//! What kernels are known to do: every constant with the versions it holds for and where it was read.
//!
//! No other place in lastack has a number of a kernel's. A constant that was measured says on which kernel.
//! Versions are a hint for people; code that meets a kernel *probes* (does this setting exist?) because
//! distributions backport.

mod others;
mod stack;

pub use others::{freebsd, macos, windows};
pub use stack::Stack;

/// A fact about a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant<T> {
    /// The value, in the unit that the item's documentation names.
    pub value: T,
    /// The kernel versions it was checked on.
    pub kernel: &'static str,
    /// File and function in the kernel's source, or the document, or `measured`.
    pub source: &'static str,
}

/// Linux, as far as its TCP closes connections and hands out local ports.
pub mod linux {
    use super::Constant;
    use core::time::Duration;

    /// Length of TIME-WAIT. A vendor's `net.ipv4.tcp_tw_timeout`, where it exists, replaces it.
    pub const TIME_WAIT: Constant<Duration> = Constant {
        value: Duration::from_secs(60),
        kernel: "2.6.32 to 7.3",
        source: "include/net/tcp.h TCP_TIMEWAIT_LEN (60*HZ)",
    };

    /// How much later than its end a TIME-WAIT or FIN-WAIT-2 mini-socket may still be listed: timer wheel slack.
    pub const TIMER_SLACK: Constant<Duration> = Constant {
        value: Duration::from_secs(2),
        kernel: "6.18",
        source: "kernel/time/timer.c, measured at HZ=250: gone after 60.4 to 61.8 s",
    };

    /// Default of `net.ipv4.tcp_fin_timeout`: how long an orphan FIN-WAIT-2 is kept. Says nothing of TIME-WAIT.
    pub const FIN_TIMEOUT: Constant<Duration> = Constant {
        value: Duration::from_secs(60),
        kernel: "2.6.32 to 7.3",
        source: "include/net/tcp.h TCP_FIN_TIMEOUT (= TCP_TIMEWAIT_LEN)",
    };

    /// Default of `net.ipv4.ip_local_port_range`, both ends included.
    pub const LOCAL_PORT_RANGE: Constant<(u16, u16)> = Constant {
        value: (32_768, 60_999),
        kernel: "4.4 to 7.3 (61000 as upper end in 3.10)",
        source: "net/ipv4/af_inet.c inet_init_net()",
    };

    /// The same before Linux 4.4.
    pub const LOCAL_PORT_RANGE_BEFORE_4_4: Constant<(u16, u16)> =
        Constant { value: (32_768, 61_000), kernel: "3.10", source: "net/ipv4/af_inet.c inet_init_net()" };

    /// Default of `net.ipv4.ip_unprivileged_port_start`: `ip_local_port_range` must not begin below it.
    pub const UNPRIVILEGED_PORT_START: Constant<u16> = Constant {
        value: 1_024,
        kernel: "4.11 to 7.3",
        source: "include/net/sock.h PROT_SOCK; net/ipv4/sysctl_net_ipv4.c ipv4_local_port_range()",
    };

    /// Least and most that may be written to a setting of one number, where that is less than what 31 bits hold, and a
    /// sign before them. Older kernels take more of some.
    pub const SETTING_BOUNDS: Constant<&[(&str, i64, i64)]> = Constant {
        value: &[
            ("net.core.somaxconn", 0, i32::MAX as i64),
            ("net.ipv4.ip_autobind_reuse", 0, 1),
            ("net.ipv4.ip_unprivileged_port_start", 0, 65_535),
            ("net.ipv4.tcp_abort_on_overflow", 0, 255),
            ("net.ipv4.tcp_early_retrans", 0, 4),
            ("net.ipv4.tcp_invalid_ratelimit", 0, i32::MAX as i64),
            ("net.ipv4.tcp_keepalive_probes", 0, 255),
            ("net.ipv4.tcp_orphan_retries", 0, 255),
            ("net.ipv4.tcp_retries2", 0, 255),
            ("net.ipv4.tcp_rfc1337", 0, 255),
            ("net.ipv4.tcp_syn_linear_timeouts", 0, 127),
            ("net.ipv4.tcp_syn_retries", 1, 127),
            ("net.ipv4.tcp_synack_retries", 0, 255),
            ("net.ipv4.tcp_syncookies", 0, 255),
            ("net.ipv4.tcp_timestamps", 0, 255),
            ("net.ipv4.tcp_tw_reuse", 0, 2),
            ("net.ipv4.tcp_tw_reuse_delay", 1, 60_000),
        ],
        kernel: "6.18",
        source: "measured: each was written in a namespace; net/ipv4/sysctl_net_ipv4.c ipv4_net_table",
    };

    /// Default of `net.ipv4.tcp_max_tw_buckets` and of `net.ipv4.tcp_max_orphans` on a machine with 262,144 entries
    /// in its table of connections (see [`HASH_ENTRIES_PER_TIME_WAIT`]).
    pub const MAX_TIME_WAIT: Constant<u64> = Constant {
        value: 131_072,
        kernel: "6.18",
        source: "measured; net/ipv4/tcp_ipv4.c tcp_set_hashinfo()",
    };

    /// How old a TIME-WAIT socket must be before connect() may take its port again with `tcp_tw_reuse`;
    /// `net.ipv4.tcp_tw_reuse_delay`, where it exists, replaces it.
    pub const TW_REUSE_DELAY: Constant<Duration> = Constant {
        value: Duration::from_secs(1),
        kernel: "4.4 to 7.3 (a setting since 6.14)",
        source: "net/ipv4/tcp_ipv4.c tcp_twsk_unique()",
    };

    /// Value of `net.ipv4.tcp_tw_reuse` that covers loopback addresses only; the default since 4.18.
    pub const TW_REUSE_LOOPBACK: Constant<u64> =
        Constant { value: 2, kernel: "4.18 to 7.3", source: "net/ipv4/tcp_ipv4.c tcp_twsk_unique()" };

    /// Shortest time between two ACKs that answer an unacceptable segment of one socket
    /// (`net.ipv4.tcp_invalid_ratelimit`).
    pub const INVALID_RATELIMIT: Constant<Duration> = Constant {
        value: Duration::from_millis(500),
        kernel: "4.4 to 7.3",
        source: "net/ipv4/tcp_input.c tcp_oow_rate_limited()",
    };

    /// When a SYN is sent again that was answered by an ACK of something else, if it was the first: two jiffies.
    pub const BAD_ACK_RESENDS_SYN: Constant<Duration> = Constant {
        value: Duration::from_millis(8),
        kernel: "5.6 to 7.3; measured on 6.18 at HZ=250: 9 to 15 ms",
        source: "net/ipv4/tcp_input.c tcp_rcv_synsent_state_process(), include/net/tcp.h TCP_TIMEOUT_MIN",
    };

    /// Shortest retransmission timeout.
    pub const RETRANSMIT_MIN: Constant<Duration> = Constant {
        value: Duration::from_millis(200),
        kernel: "2.6.32 to 7.3",
        source: "include/net/tcp.h TCP_RTO_MIN (HZ/5)",
    };

    /// The first retransmission timeout where the network is near: the shortest, and the round trip, in whole ticks.
    pub const RETRANSMIT: Constant<Duration> = Constant {
        value: Duration::from_millis(204),
        kernel: "measured on 6.18 with 250 ticks a second; 201 with 1,000",
        source: "net/ipv4/tcp_input.c tcp_set_rto(), include/net/tcp.h __tcp_set_rto()",
    };

    /// The longest retransmission timeout.
    pub const RETRANSMIT_MAX: Constant<Duration> = Constant {
        value: Duration::from_secs(120),
        kernel: "2.6.32 to 7.3 (since 6.15 the default of net.ipv4.tcp_rto_max_ms)",
        source: "include/net/tcp.h TCP_RTO_MAX",
    };

    /// Timers of at least the first come on average the second late: they wait in slots of 8, 64 and 512 ticks.
    pub const TIMER_LATE: Constant<[(Duration, Duration); 3]> = Constant {
        value: [
            (Duration::from_millis(252), Duration::from_millis(16)),
            (Duration::from_millis(2_016), Duration::from_millis(128)),
            (Duration::from_millis(16_128), Duration::from_millis(1_024)),
        ],
        kernel: "4.8 to 7.3, with 250 ticks a second; measured on 6.18",
        source: "kernel/time/timer.c LVL_START(), LVL_GRAN()",
    };

    /// A call that waits for seconds (connect() with `SO_SNDTIMEO`) gives up late by about this part of its time:
    /// the slack of the timer wheel is between an eighth and a sixty-fourth, and half of it is usual.
    pub const WAIT_SLACK_PART: Constant<u64> = Constant {
        value: 32,
        kernel: "4.8 to 7.3; measured on 6.18: after 4 s, the SYN of the fourth second was always out",
        source: "kernel/time/timer.c calc_index() (LVL_CLK_SHIFT)",
    };

    /// How long the acknowledgement of data or a FIN waits for something to go out with it.
    pub const DELAYED_ACK_MIN: Constant<Duration> = Constant {
        value: Duration::from_millis(40),
        kernel: "2.6.32 to 7.3",
        source: "include/net/tcp.h TCP_DELACK_MIN, TCP_ATO_MIN (HZ/25)",
    };

    /// So many acknowledgements go out at once when data begins to come, until the socket answers it.
    pub const QUICK_ACKS: Constant<u8> = Constant {
        value: 16,
        kernel: "2.6.32 to 7.3",
        source: "include/net/tcp.h TCP_MAX_QUICKACKS, net/ipv4/tcp_input.c tcp_event_data_recv()",
    };

    /// First retransmission timeout of a SYN or SYN,ACK.
    pub const RETRANSMIT_SYN: Constant<Duration> = Constant {
        value: Duration::from_secs(1),
        kernel: "3.1 to 7.3",
        source: "include/net/tcp.h TCP_TIMEOUT_INIT (RFC 6298)",
    };

    /// The same before Linux 3.1.
    pub const RETRANSMIT_SYN_BEFORE_3_1: Constant<Duration> = Constant {
        value: Duration::from_secs(3),
        kernel: "2.6.32",
        source: "include/net/tcp.h TCP_TIMEOUT_INIT",
    };

    /// Default of `net.ipv4.tcp_retries2`: retransmissions of data before the connection is given up.
    pub const RETRIES2: Constant<u32> =
        Constant { value: 15, kernel: "2.6.32 to 7.3", source: "include/net/tcp.h TCP_RETR2" };

    /// Default of `net.ipv4.tcp_syn_retries`.
    pub const SYN_RETRIES: Constant<u32> =
        Constant { value: 6, kernel: "3.7 to 7.3", source: "include/net/tcp.h TCP_SYN_RETRIES" };

    /// The same before Linux 3.7.
    pub const SYN_RETRIES_BEFORE_3_7: Constant<u32> =
        Constant { value: 5, kernel: "2.6.32", source: "include/net/tcp.h TCP_SYN_RETRIES" };

    /// Default of `net.ipv4.tcp_synack_retries`: the same for a listener's SYN,ACK.
    pub const SYN_ACK_RETRIES: Constant<u32> =
        Constant { value: 5, kernel: "2.6.32 to 7.3", source: "include/net/tcp.h TCP_SYNACK_RETRIES" };

    /// Default of `net.ipv4.tcp_syn_linear_timeouts`: so often a SYN is sent again after the same time, before
    /// the time doubles; they come on top of `tcp_syn_retries`.
    pub const SYN_LINEAR_TIMEOUTS: Constant<u32> = Constant {
        value: 4,
        kernel: "6.5 to 7.3; measured on 6.18",
        source: "net/ipv4/tcp_timer.c tcp_retransmit_timer(), tcp_write_timeout()",
    };

    /// How long a peer's timestamp rejects older ones: until half of its numbers may have passed.
    pub const PAWS_FORGETS: Constant<Duration> = Constant {
        value: Duration::from_secs(2_147),
        kernel: "6.8 to 7.3",
        source: "include/net/tcp.h TCP_PAWS_WRAP (INT_MAX / USEC_PER_SEC)",
    };

    /// The same before Linux 6.7: 24 days.
    pub const PAWS_FORGETS_BEFORE_6_7: Constant<Duration> = Constant {
        value: Duration::from_secs(24 * 24 * 3_600),
        kernel: "2.6.32 to 6.5",
        source: "include/net/tcp.h TCP_PAWS_24DAYS",
    };

    /// A reset with an older timestamp is taken when the last timestamp is this old.
    pub const PAWS_SPARES_RESETS: Constant<Duration> = Constant {
        value: Duration::from_secs(60),
        kernel: "2.6.32 to 7.3",
        source: "include/net/tcp.h TCP_PAWS_MSL, tcp_paws_reject()",
    };

    /// A SYN that opens a connection in TIME-WAIT, or takes its port by `tcp_tw_reuse`, begins so far behind the
    /// last number of the old one.
    pub const TIME_WAIT_ISN_STEP: Constant<u32> = Constant {
        value: 65_537,
        kernel: "2.6.32 to 7.3",
        source: "net/ipv4/tcp_minisocks.c tcp_timewait_state_process() (tw_snd_nxt + 65535 + 2)",
    };

    /// What `net.ipv4.tcp_orphan_retries = 0` means while the timeout is not the longest: retransmissions of a FIN, and
    /// probes of a closed window that are not answered.
    pub const ORPHAN_RETRIES: Constant<u32> =
        Constant { value: 8, kernel: "2.6.32 to 7.3", source: "net/ipv4/tcp_timer.c tcp_orphan_retries()" };

    /// Memory of one TIME-WAIT (or FIN-WAIT-2) mini-socket, in bytes of slab.
    pub const TIME_WAIT_BYTES: Constant<u64> = Constant {
        value: 256,
        kernel: "6.18",
        source: "measured: slab tw_sock_TCP, 248 bytes in a slot of 256",
    };

    /// Memory that a local port in use pins besides, in bytes of slab: one pair of bind buckets per local
    /// (address, port). Paid once by a listener's port, once per port by a client's.
    pub const BIND_BUCKETS_BYTES: Constant<u64> = Constant {
        value: 256,
        kernel: "6.18",
        source: "measured: slabs tcp_bind_bucket 128 + tcp_bind2_bucket 128",
    };

    /// Memory of one established socket with its file, in bytes of slab.
    pub const ESTABLISHED_BYTES: Constant<u64> = Constant {
        value: 3_584,
        kernel: "6.18",
        source: "measured: slabs TCP 2368, sock_inode_cache 832, filp 192, dentry 192",
    };

    /// connect() looks first at the half of the range that has the parity of its first port; when that half
    /// is taken, every connect() walks it in vain. Cost of one connect() before, in microseconds.
    pub const CONNECT_BEFORE_KNEE_US: Constant<u64> = Constant {
        value: 7,
        kernel: "6.18",
        source: "net/ipv4/inet_hashtables.c __inet_hash_connect(), measured: 5 to 7 with 28,232 ports",
    };

    /// The same past the knee, when the first half is taken, in microseconds for a default range.
    pub const CONNECT_PAST_KNEE_US: Constant<u64> = Constant {
        value: 900,
        kernel: "6.18",
        source: "net/ipv4/inet_hashtables.c __inet_hash_connect(), measured: 780 to 1080 with 28,232 ports; \
                 1320 to 1500 while others used the processors",
    };

    /// So many bytes of a list of ports one write to its setting takes; what is beyond is dropped without an error.
    pub const PORT_LIST_BYTES: Constant<usize> = Constant {
        value: 4_095,
        kernel: "6.18",
        source: "kernel/sysctl.c proc_do_large_bitmap() (PAGE_SIZE - 1), measured: 4,090 of 189,047 bytes taken",
    };

    /// Entries of the table of connections for each place in the table of TIME-WAIT sockets, by default.
    pub const HASH_ENTRIES_PER_TIME_WAIT: Constant<u64> = Constant {
        value: 2,
        kernel: "2.6.32 to 7.3",
        source: "net/ipv4/tcp_ipv4.c tcp_set_hashinfo(): sysctl_max_tw_buckets = ehash_entries / 2",
    };

    /// How long conntrack keeps a connection in its own TIME_WAIT
    /// (`net.netfilter.nf_conntrack_tcp_timeout_time_wait`), whatever the sockets do.
    pub const CONNTRACK_TIME_WAIT: Constant<Duration> = Constant {
        value: Duration::from_secs(120),
        kernel: "2.6.32 to 7.3",
        source: "net/netfilter/nf_conntrack_proto_tcp.c tcp_timeouts[]",
    };

    /// How long conntrack keeps a connection in its other states, in seconds
    /// (`net.netfilter.nf_conntrack_tcp_timeout_*`).
    pub const CONNTRACK_TIMEOUTS_S: Constant<&[(&str, u64)]> = Constant {
        value: &[
            ("syn_sent", 120),
            ("established", 432_000),
            ("fin_wait", 120),
            ("close_wait", 60),
            ("last_ack", 30),
            ("time_wait", CONNTRACK_TIME_WAIT.value.as_secs()),
            ("close", 10),
        ],
        kernel: "2.6.32 to 7.3",
        source: "net/netfilter/nf_conntrack_proto_tcp.c tcp_timeouts[]",
    };

    /// Entries of conntrack's table on a machine with some memory (`net.netfilter.nf_conntrack_max`).
    pub const CONNTRACK_MAX: Constant<u64> = Constant {
        value: 262_144,
        kernel: "5.15 to 7.3, with more than 4 GB",
        source: "net/netfilter/nf_conntrack_core.c nf_conntrack_init_start()",
    };

    /// How many ports SNAT looks at for a free one at first, and how few remain when it gives up.
    pub const NAT_ATTEMPTS: Constant<(u32, u32)> = Constant {
        value: (128, 16),
        kernel: "5.0 to 7.3",
        source: "net/netfilter/nf_nat_core.c NF_NAT_MAX_ATTEMPTS, nf_nat_l4proto_unique_tuple()",
    };

    /// How long `tcp_tw_recycle` remembers what an address showed.
    pub const RECYCLE_REMEMBERS: Constant<Duration> = Constant {
        value: Duration::from_secs(60),
        kernel: "2.6.32 to 4.11",
        source: "net/ipv4/tcp_metrics.c TCP_PAWS_MSL",
    };

    /// Length of TIME-WAIT under `tcp_tw_recycle`: 3.5 times the retransmission timeout, here the shortest.
    pub const RECYCLED_TIME_WAIT: Constant<Duration> = Constant {
        value: Duration::from_millis(700),
        kernel: "2.6.32 to 4.11",
        source: "net/ipv4/tcp_minisocks.c tcp_time_wait() (rto * 3.5)",
    };

    /// A mini-socket whose time is shorter counts as TWKilled, not TW: what the fast timer of old held.
    pub const TW_KILLED_WITHIN: Constant<Duration> = Constant {
        value: Duration::from_secs(4),
        kernel: "2.6.32 to 7.3",
        source: "net/ipv4/inet_timewait_sock.c __inet_twsk_schedule()",
    };

    /// What the settings of closing are where nobody changed them, as the kernel prints them: every default
    /// that one of these kernels has. Settings whose default follows from the machine's memory
    /// (`tcp_max_tw_buckets`, `tcp_max_orphans`) are not in it.
    pub const DEFAULT_SETTINGS: Constant<&[(&str, &[&str])]> = Constant {
        value: &[
            ("net.core.somaxconn", &["4096", "128"]),
            ("net.ipv4.ip_local_port_range", &["32768\t60999", "32768\t61000"]),
            ("net.ipv4.ip_local_port_step_width", &["0"]),
            ("net.ipv4.ip_local_reserved_ports", &[""]),
            ("net.ipv4.ip_autobind_reuse", &["0"]),
            ("net.ipv4.tcp_abort_on_overflow", &["0"]),
            ("net.ipv4.tcp_fin_timeout", &["60"]),
            ("net.ipv4.tcp_invalid_ratelimit", &["500"]),
            ("net.ipv4.tcp_migrate_req", &["0"]),
            ("net.ipv4.tcp_orphan_retries", &["0"]),
            ("net.ipv4.tcp_retries2", &["15"]),
            ("net.ipv4.tcp_rfc1337", &["0"]),
            ("net.ipv4.tcp_syn_retries", &["6"]),
            ("net.ipv4.tcp_synack_retries", &["5"]),
            ("net.ipv4.tcp_syncookies", &["1"]),
            ("net.ipv4.tcp_timestamps", &["1"]),
            ("net.ipv4.tcp_tw_recycle", &["0"]),
            ("net.ipv4.tcp_tw_reuse", &["2", "0"]),
            ("net.ipv4.tcp_tw_reuse_delay", &["1000"]),
            ("net.ipv4.tcp_tw_timeout", &["60"]),
            ("net.netfilter.nf_conntrack_tcp_be_liberal", &["0"]),
            ("net.netfilter.nf_conntrack_tcp_loose", &["1"]),
            ("net.netfilter.nf_conntrack_tcp_timeout_close_wait", &["60"]),
            ("net.netfilter.nf_conntrack_tcp_timeout_time_wait", &["120"]),
        ],
        kernel: "3.10 to 7.3; read on 6.18 in a new network namespace",
        source: "net/ipv4/tcp_ipv4.c tcp_sk_init(), net/ipv4/af_inet.c inet_init_net(), \
                 include/linux/socket.h SOMAXCONN (128 before 5.4), net/netfilter/nf_conntrack_proto_tcp.c; \
                 tcp_tw_reuse 0 before 4.18, tcp_tw_timeout: Alibaba Cloud Linux",
    };

    /// Default of `net.core.somaxconn`, the cap of every listener's backlog.
    pub const SOMAXCONN: Constant<u64> = Constant {
        value: 4_096,
        kernel: "5.4 to 7.3 (128 before)",
        source: "include/linux/socket.h SOMAXCONN",
    };

    /// How long an orphan FIN-WAIT-2 lives for a given `net.ipv4.tcp_fin_timeout`.
    ///
    /// Up to [`TIME_WAIT`] it is the setting. Above, the socket stays full for `setting - 60 s` and becomes a
    /// mini-socket for as long again, so that 61 to 89 s *shorten* it: net/ipv4/tcp.c `tcp_close()` and
    /// `tcp_fin_time()`, measured on 6.18 (61 gives 2 s, 65 gives 10 s, 90 gives 60 s).
    pub const fn orphan_fin_wait_2_lifetime(fin_timeout: Duration) -> Duration {
        orphan_fin_wait_2_lifetime_for(fin_timeout, TIME_WAIT.value)
    }

    /// Values of `net.ipv4.tcp_fin_timeout`, in seconds, that are longer than its default and keep an orphan
    /// FIN-WAIT-2 for less; derived from [`orphan_fin_wait_2_lifetime`].
    pub const FIN_TIMEOUT_TRAP: Constant<core::ops::RangeInclusive<u64>> = Constant {
        value: 61..=89,
        kernel: "2.6.32 to 7.3",
        source: "net/ipv4/tcp.c tcp_close(), include/net/tcp.h tcp_fin_time(); measured on 6.18",
    };

    /// [`orphan_fin_wait_2_lifetime`] where a vendor's `tcp_tw_timeout` replaces the length of TIME-WAIT.
    pub const fn orphan_fin_wait_2_lifetime_for(fin_timeout: Duration, time_wait: Duration) -> Duration {
        match fin_timeout.checked_sub(time_wait) {
            Some(beyond) if !beyond.is_zero() => beyond.saturating_mul(2),
            _ => fin_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::linux::{
        FIN_TIMEOUT, FIN_TIMEOUT_TRAP, orphan_fin_wait_2_lifetime, orphan_fin_wait_2_lifetime_for,
    };
    use core::time::Duration;

    #[test]
    fn fin_timeout_just_above_sixty_shortens_fin_wait_2() {
        for (setting, lifetime) in [(2, 2), (60, 60), (61, 2), (65, 10), (90, 60), (120, 120), (130, 140)] {
            assert_eq!(
                orphan_fin_wait_2_lifetime(Duration::from_secs(setting)),
                Duration::from_secs(lifetime)
            );
        }
    }

    #[test]
    fn the_trap_is_what_the_lifetime_says() {
        let default = FIN_TIMEOUT.value;
        for seconds in 0..300 {
            let setting = Duration::from_secs(seconds);
            let shortens = setting > default && orphan_fin_wait_2_lifetime(setting) < default;
            assert_eq!(FIN_TIMEOUT_TRAP.value.contains(&seconds), shortens, "{seconds}");
        }
    }

    #[test]
    fn a_vendors_time_wait_moves_where_that_begins() {
        let lifetime = |setting, time_wait| {
            orphan_fin_wait_2_lifetime_for(Duration::from_secs(setting), Duration::from_secs(time_wait))
                .as_secs()
        };
        assert_eq!((lifetime(5, 5), lifetime(20, 5), lifetime(60, 30)), (5, 30, 60));
    }
}
