//! How the TCP of a system differs from another's, where closing depends on it.

use super::{freebsd, linux, macos, windows};
use core::time::Duration;

/// A system's TCP as far as the close machine needs it: the numbers and habits that differ. Settings of the host
/// (`tcp_rfc1337`, a full table) are conditions of the endpoint, not of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Stack {
    /// What it is, for people.
    pub name: &'static str,
    /// Length of TIME-WAIT.
    pub time_wait: Duration,
    /// How long an orphan's FIN-WAIT-2 is kept (`tcp_fin_timeout`); none: until the peer closes or is given up.
    pub fin_timeout: Option<Duration>,
    /// An orphan's FIN-WAIT-2 is kept as a mini-socket that answers as TIME-WAIT does.
    pub mini_fin_wait_2: bool,
    /// Shortest time between two ACKs to segments that are not acceptable; none: no limit.
    pub invalid_ratelimit: Option<Duration>,
    /// TIME-WAIT looks at the timestamps of a SYN.
    pub time_wait_reads_timestamps: bool,
    /// A reset that `tcp_rfc1337` makes TIME-WAIT ignore restarts its timer all the same.
    pub ignored_reset_restarts: bool,
    /// In ESTABLISHED it drops an acknowledgement of what was never sent without an answer.
    pub quiet_about_unsent: bool,
    /// After its first SYN was answered by a bad ACK, the SYN is sent again after this time; none: at the usual time.
    pub bad_ack_resends_syn: Option<Duration>,
    /// It gives up by the time since the first retransmission, not by how many there were.
    pub gives_up_by_time: bool,
    /// Before the first retransmission it sends a probe of the tail's loss (RFC 8985 section 7).
    pub loss_probe: bool,
    /// First retransmission timeout, doubled each time.
    pub retransmit: Duration,
    /// The same for a SYN.
    pub retransmit_syn: Duration,
    /// How often something is sent again before it is given up.
    pub retries: u32,
    /// The same for a SYN.
    pub syn_retries: u32,
    /// The same for a listener's SYN,ACK.
    pub syn_ack_retries: u32,
    /// Retransmissions of a SYN, on top of those, between which the time does not double.
    pub syn_linear_timeouts: u32,
    /// The same once the socket is an orphan; 0: [`linux::ORPHAN_RETRIES`], while its timeout is not the longest.
    pub orphan_retries: u32,
    /// A timestamp heard longer ago than this rejects nothing any more (RFC 7323 section 5.5).
    pub paws_forgets: Duration,
    /// A reset with an older timestamp is rejected only so long after the last timestamp.
    pub paws_spares_resets: Duration,
    /// It knows `tcp_tw_recycle`.
    pub has_recycle: bool,
    /// How old a TIME-WAIT must be for connect() to take it over; none: it never does.
    pub reuse_delay: Option<Duration>,
}

impl Stack {
    /// Linux as of 6.14 and later. That it answers an acknowledgement of what was never sent is measured on 6.18.44.
    pub const LINUX: Self = Self {
        name: "Linux 6.14",
        time_wait: linux::TIME_WAIT.value,
        fin_timeout: Some(linux::FIN_TIMEOUT.value),
        mini_fin_wait_2: true,
        invalid_ratelimit: Some(linux::INVALID_RATELIMIT.value),
        time_wait_reads_timestamps: true,
        ignored_reset_restarts: false,
        quiet_about_unsent: false,
        bad_ack_resends_syn: Some(linux::BAD_ACK_RESENDS_SYN.value),
        gives_up_by_time: true,
        loss_probe: true,
        retransmit: linux::RETRANSMIT.value,
        retransmit_syn: linux::RETRANSMIT_SYN.value,
        retries: linux::RETRIES2.value,
        syn_retries: linux::SYN_RETRIES.value,
        syn_ack_retries: linux::SYN_ACK_RETRIES.value,
        syn_linear_timeouts: linux::SYN_LINEAR_TIMEOUTS.value,
        orphan_retries: 0,
        paws_forgets: linux::PAWS_FORGETS.value,
        paws_spares_resets: linux::PAWS_SPARES_RESETS.value,
        has_recycle: false,
        reuse_delay: Some(linux::TW_REUSE_DELAY.value),
    };

    /// Linux 5.6 to 6.6: PAWS remembers for 24 days.
    pub const LINUX_5_6: Self = Self {
        name: "Linux 5.6",
        quiet_about_unsent: true,
        syn_linear_timeouts: 0,
        paws_forgets: linux::PAWS_FORGETS_BEFORE_6_7.value,
        ..Self::LINUX
    };

    /// Linux 4.12 to 5.5: the client's SYN goes out again after the usual second.
    pub const LINUX_4_12: Self = Self { name: "Linux 4.12", bad_ack_resends_syn: None, ..Self::LINUX_5_6 };

    /// Linux 4.0 to 4.11: with `tcp_tw_recycle`.
    pub const LINUX_4_4: Self = Self { name: "Linux 4.4", has_recycle: true, ..Self::LINUX_4_12 };

    /// Linux 3.x: no limit on the ACKs of TIME-WAIT; an ignored reset restarts its timer.
    pub const LINUX_3_10: Self =
        Self { name: "Linux 3.10", invalid_ratelimit: None, ignored_reset_restarts: true, ..Self::LINUX_4_4 };

    /// Linux 2.6.32: the first SYN is sent again after 3 s.
    pub const LINUX_2_6_32: Self = Self {
        name: "Linux 2.6.32",
        loss_probe: false,
        retransmit_syn: linux::RETRANSMIT_SYN_BEFORE_3_1.value,
        syn_retries: linux::SYN_RETRIES_BEFORE_3_7.value,
        ..Self::LINUX_3_10
    };

    /// Windows since Vista. Known: the length of TIME-WAIT, and that a SYN meeting it is judged by its sequence
    /// number alone. All else is unknown here and taken from RFC 9293 or Linux.
    pub const WINDOWS: Self = Self {
        name: "Windows",
        time_wait: windows::TIME_WAIT.value,
        time_wait_reads_timestamps: false,
        ..Self::UNKNOWN
    };

    /// macOS. Known: the length of TIME-WAIT. All else is unknown here and taken from RFC 9293 or Linux.
    pub const MACOS: Self = Self { name: "macOS", time_wait: macos::TIME_WAIT.value, ..Self::UNKNOWN };

    /// FreeBSD. Known: the length of TIME-WAIT and of an orphan's FIN-WAIT-2. All else is unknown here and taken
    /// from RFC 9293 or Linux.
    pub const FREEBSD: Self = Self {
        name: "FreeBSD",
        time_wait: freebsd::TIME_WAIT.value,
        fin_timeout: Some(freebsd::FIN_WAIT_2.value),
        ..Self::UNKNOWN
    };

    /// Without what is known of Linux alone.
    const UNKNOWN: Self = Self {
        name: "unknown",
        fin_timeout: None,
        mini_fin_wait_2: false,
        invalid_ratelimit: None,
        quiet_about_unsent: false,
        gives_up_by_time: false,
        loss_probe: false,
        retransmit: linux::RETRANSMIT_MIN.value,
        orphan_retries: linux::ORPHAN_RETRIES.value,
        syn_linear_timeouts: 0,
        bad_ack_resends_syn: None,
        has_recycle: false,
        reuse_delay: None,
        ..Self::LINUX
    };

    /// Every stack there is.
    pub const ALL: [Self; 9] = [
        Self::LINUX,
        Self::LINUX_5_6,
        Self::LINUX_4_12,
        Self::LINUX_4_4,
        Self::LINUX_3_10,
        Self::LINUX_2_6_32,
        Self::WINDOWS,
        Self::MACOS,
        Self::FREEBSD,
    ];
}
