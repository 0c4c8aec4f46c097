//! `tcp_fin_timeout` was changed against TIME-WAIT, which it does not touch.
//!
//! ## What it sees
//!
//! The setting is below its default of 60 s while there are 1,000 TIME-WAIT sockets or more: somebody hoped to
//! shorten them (a note). Or it is between 61 and 119 s, where it does the opposite of what it says, whatever
//! sockets there are: a note, and a warning while there are sockets in FIN-WAIT-2.
//!
//! The line of a sysctl file that sets it is named. `lastack lint` judges the line alone: a warning from 61 to 119, a
//! note below 60.
//!
//! ## Why it hurts
//!
//! `tcp_fin_timeout` is how long the kernel keeps a connection whose process is gone and whose peer has not
//! closed (an orphan in FIN-WAIT-2). TIME-WAIT comes after that and is 60 s, compiled in. A low value gives slow
//! peers less time to close; what they send later is answered with a reset.
//!
//! Above 60 s a FIN-WAIT-2 first stays a full socket for N - 60 s and then a mini-socket for as long again, so
//! that it lives 2 x (N - 60) s: with 61 for 2 s, with 65 for 10 s, with 89 for 58 s. From 120 s on, it is at
//! least what it says.
//!
//! ## How to prove it
//!
//! ```sh
//! sysctl net.ipv4.tcp_fin_timeout
//! ss -Htan -o state time-wait | head             # the timer starts at 60 s whatever the setting
//! ss -tan -o state fin-wait-2                    # here it is the setting
//! ```
//!
//! ## What to do
//!
//! Go back to 60. If ports run out, see `ephemeral-ports-exhausted`; if FIN-WAIT-2 sockets pile up, the peers do
//! not close: see `fin-wait-2-waiting`. There a value of 15 to 30 s is a fair remedy for memory.
//!
//! ## What not to do
//!
//! Never 61 to 119. Do not expect a port or a TIME-WAIT less from any value.
//!
//! ## Sources
//!
//! net/ipv4/tcp.c `tcp_close()`, `tcp_fin_time()`; include/net/tcp.h TCP_TIMEWAIT_LEN; tcp(7); measured on Linux
//! 6.18: TIME-WAIT gone after 60.4 to 61.8 s with the setting at 5 and at 60; orphans in FIN-WAIT-2 after 2.4,
//! 10.5 and 61.9 s with 61, 65 and 90.

use crate::configured::ConfigurationLook;
use crate::value::number_taken;
use crate::wording::{count, counted, length};
use crate::{
    Applicability, Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict, myths,
};
use evidence::Unseen;
use std::time::Duration;
use tcp::State;
use tcp::profile::linux;

const SETTING: &str = "net.ipv4.tcp_fin_timeout";
/// Below, nobody changed it because of TIME-WAIT.
const MANY: u32 = 1_000;

/// What a file sets, by itself.
pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let Some((written, at)) = look.written(SETTING).filter(|_| look.alone) else { return Verdict::Quiet };
    let default = linux::FIN_TIMEOUT.value;
    let kept = linux::TIME_WAIT.value;
    let seconds = number_taken(&written.value).and_then(|seconds| u64::try_from(seconds).ok());
    let Some(timeout) = seconds.map(Duration::from_secs).filter(|timeout| *timeout != default) else {
        return Verdict::Quiet;
    };
    let lifetime = linux::orphan_fin_wait_2_lifetime_for(timeout, kept);
    let seconds = timeout.as_secs();
    let (severity, claim) = if timeout > kept && lifetime < timeout {
        let lives = length(lifetime);
        (Severity::Warning, format!("tcp_fin_timeout = {seconds} keeps an orphan FIN-WAIT-2 for {lives}, not for what it says"))
    } else if timeout < default {
        let claim = format!(
            "tcp_fin_timeout = {seconds} does not shorten TIME-WAIT, which lasts {} with any value; it gives slow peers \
             less time to close",
            length(kept)
        );
        (Severity::Note, claim)
    } else {
        return Verdict::Quiet;
    };
    Verdict::Found(vec![Finding {
        rule: "fin-timeout-misread",
        severity,
        confidence: Confidence::Certain,
        claim,
        subject: Subject { setting: Some(SETTING.to_owned()), ..Subject::default() },
        evidence: vec![Evidence::new(at.clone(), format!("sets it to {seconds}"))],
        remedies: vec![Remedy::advice(
            "fin-timeout-line-out",
            format!("Take the line at {at} out, unless FIN-WAIT-2 sockets are what it is about; then 15 to 60"),
            "an orphan FIN-WAIT-2, whose peer does not close, is kept for longer",
            "TIME-WAIT stays as it is; slow peers can close without a reset",
        )],
        avoid: vec![myths::lower_fin_timeout(kept), myths::recycle()],
        next: None,
    }])
}

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let needed = [Unseen::Sockets, Unseen::Settings];
    let settings = &look.namespace.settings;
    let Some(timeout) = settings.number(SETTING).map(Duration::from_secs) else {
        return look.quiet_unless_unseen(&needed);
    };
    let kept = settings.time_wait();
    let lifetime = linux::orphan_fin_wait_2_lifetime_for(timeout, kept);
    let states = &look.namespace.sockets.by_state;
    let (time_wait, fin_wait_2) = (states.of(State::TimeWait), states.of(State::FinWait2));
    let (severity, shown, claim) = if timeout > kept && lifetime < timeout {
        let claim = format!(
            "tcp_fin_timeout = {} keeps an orphan FIN-WAIT-2 for {}, not for {}: between {} and {} the kernel \
             counts twice what is beyond {}",
            timeout.as_secs(),
            length(lifetime),
            length(timeout),
            kept.as_secs() + 1,
            (kept * 2).as_secs().saturating_sub(1),
            length(kept)
        );
        (if fin_wait_2 > 0 { Severity::Warning } else { Severity::Note }, "fin-wait-2", claim)
    } else if timeout < linux::FIN_TIMEOUT.value && time_wait >= MANY {
        let claim = format!(
            "tcp_fin_timeout = {} does not shorten TIME-WAIT: the {} here last {} each, as with any other value",
            timeout.as_secs(),
            count(time_wait),
            length(kept)
        );
        (Severity::Note, "time-wait", claim)
    } else {
        return look.quiet_unless_unseen(&needed);
    };
    let default = linux::FIN_TIMEOUT.value;
    let says = format!(
        "{} in TIME-WAIT, {} in FIN-WAIT-2",
        counted(time_wait, "socket", "sockets"),
        count(fin_wait_2)
    );
    let back = Remedy::advice(
        "default-fin-timeout",
        format!("Set tcp_fin_timeout back to {}", default.as_secs()),
        format!(
            "an orphan FIN-WAIT-2, whose peer does not close, is kept for {} instead of {}: {} B each",
            length(default),
            length(lifetime),
            linux::TIME_WAIT_BYTES.value
        ),
        "TIME-WAIT stays as it is; slow peers can close without a reset",
    )
    .carried_out(
        Applicability::Safe,
        look.change(SETTING, default.as_secs()),
        &[
            "TCP.orphan in /proc/net/sockstat stays below net.ipv4.tcp_max_orphans",
            "TcpExtTCPTimeWaitOverflow does not rise: FIN-WAIT-2 mini-sockets count towards the same limit",
        ],
    );
    Verdict::Found(vec![Finding {
        rule: "fin-timeout-misread",
        severity,
        confidence: Confidence::Certain,
        claim,
        subject: Subject { setting: Some(SETTING.to_owned()), ..look.subject() },
        evidence: look
            .set(SETTING)
            .into_iter()
            .chain(look.set_at_boot(SETTING))
            .chain([Evidence::new("sock_diag", says)])
            .collect(),
        remedies: vec![back],
        avoid: vec![
            myths::lower_fin_timeout(kept),
            myths::recycle(),
            Avoid::new(
                "a value from 61 to 119",
                "an orphan FIN-WAIT-2 then lives for twice what is beyond 60 s: 61 means 2 s",
            ),
        ],
        next: Some(look.command(&format!("ss -tan -o state {shown}"))),
    }])
}
