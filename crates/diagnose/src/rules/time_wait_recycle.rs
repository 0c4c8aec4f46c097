//! `tcp_tw_recycle` is on: this host drops connections from clients behind NAT.
//!
//! ## What it sees
//!
//! The setting exists (kernels before 4.12) and is not 0. With timestamps on it is an error, and
//! `TcpExtPAWSPassive` rising shows SYNs being dropped. With timestamps off it has no effect: a note.
//!
//! A line of a sysctl file that sets it is named as well: where the kernel has no such setting, the line does nothing
//! but fail at each boot (a note). `lastack lint` warns of it, for the file may meet an older kernel.
//!
//! ## Why it hurts
//!
//! The kernel then remembers one timestamp for each peer *address* and drops every SYN, silently, whose
//! timestamp is older than what that address sent in the last 60 s, or that has none while others had. Hosts
//! behind one NAT or load balancer share an address and not a clock: some of them cannot connect, others can,
//! and it changes by the minute. `connect()` there hangs and ends in ETIMEDOUT.
//!
//! It needs no NAT: Linux since 4.10, and again the stable kernels of 2026, hash the timestamp's start by
//! address or by connection, so that one up-to-date client alone can look "older" each time.
//!
//! ## How to prove it
//!
//! ```sh
//! sysctl net.ipv4.tcp_tw_recycle net.ipv4.tcp_timestamps
//! nstat -az TcpExtPAWSPassive TcpExtListenDrops      # both rise while clients hang
//! tcpdump -ni any 'tcp[tcpflags] & tcp-syn != 0 and port 80'     # SYNs again and again, no answer
//! ```
//!
//! ## What to do
//!
//! Set it to 0: at once, and in the files that set it at boot. Nothing needs it. Then look at what it was meant
//! for: TIME-WAIT at a server costs 256 bytes each, and ports at a client are saved by a pool.
//!
//! ## What not to do
//!
//! Do not turn timestamps off instead, here or at the clients: that costs PAWS, round-trip measurement and
//! `tcp_tw_reuse`. Do not keep it "for internal clients": containers and balancers are NAT, too.
//!
//! ## Sources
//!
//! net/ipv4/tcp_input.c `tcp_conn_request()` and net/ipv4/tcp_metrics.c `tcp_peer_is_proven()` of 4.4; removed by
//! commit 4396e46187ca (Linux 4.12); RFC 6191 is what it claimed to do, for the connection's own ports only.

use crate::configured::ConfigurationLook;
use crate::value::number_taken;
use crate::wording::{count, length};
use crate::{
    Applicability, Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict,
};
use evidence::Unseen;

const SETTING: &str = "net.ipv4.tcp_tw_recycle";

/// What a file sets, where no kernel shows that it has the setting.
pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let on = |value: &str| number_taken(value).is_some_and(|number| number != 0);
    let Some((written, at)) = look.written(SETTING).filter(|(written, _)| on(&written.value)) else {
        return Verdict::Quiet;
    };
    // With the setting, the namespace is judged, and names the line.
    // A pattern stands only for settings that are there.
    let gone = written.pattern.is_none() && look.host_lacks(SETTING);
    if !look.alone && !gone {
        return Verdict::Quiet;
    }
    let claim = if look.alone {
        "tcp_tw_recycle is set at boot: kernels before 4.12 then drop SYNs of clients that share an address (NAT, load \
         balancers), and later ones do not have it"
    } else {
        "a file sets tcp_tw_recycle, which this kernel does not have: the line does nothing but fail at each boot"
    };
    let netns = look.host().map(|host| host.name.clone()).filter(|_| !look.alone);
    Verdict::Found(vec![Finding {
        rule: "time-wait-recycle",
        severity: if look.alone { Severity::Warning } else { Severity::Note },
        confidence: Confidence::Certain,
        claim: claim.to_owned(),
        subject: Subject {
            netns: netns.unwrap_or_default(),
            setting: Some(SETTING.to_owned()),
            ..Subject::default()
        },
        evidence: vec![Evidence::new(at.clone(), format!("sets it to {}", crate::wording::clipped(&written.value)))],
        remedies: vec![line_out(look, &at)],
        avoid: vec![Avoid::new("tcp_timestamps = 0", "it costs PAWS, round-trip measurement and tcp_tw_reuse")],
        next: None,
    }])
}

/// The line goes, and where files are judged alone each that sets it: the next one would hold in its place.
fn line_out(look: &ConfigurationLook<'_>, at: &str) -> Remedy {
    let advice = Remedy::advice(
        "recycle-line-out",
        format!("Take the line at {at} out"),
        "none",
        "the file does on every kernel what it says",
    );
    let lines = look.sysctls().filter(|_| look.alone).flat_map(|(files, sysctl)| {
        let keys = sysctl.keys.iter().filter(|key| key.name == SETTING);
        let values = keys.flat_map(|key| key.winner.iter().chain(key.overridden.iter().map(|lost| &lost.assignment)));
        values.filter(|value| value.pattern.is_none() && !value.value.is_empty()).map(move |value| (files, value.place))
    });
    let changes: Vec<_> =
        lines.filter_map(|(files, place)| look.without_line(files, place, "no line sets tcp_tw_recycle")).collect();
    if changes.is_empty() { advice } else { advice.carried_out(Applicability::Safe, changes, &[]) }
}

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let settings = &look.namespace.settings;
    if settings.number(SETTING).is_none_or(|value| value == 0) {
        return look.quiet_unless_unseen(&[Unseen::Settings]);
    }
    let dropped = look.rise("TcpExtPAWSPassive");
    let effective = settings.timestamps();
    let claim = if !effective {
        "tcp_tw_recycle is on; it is without effect only because tcp_timestamps is 0".to_owned()
    } else if dropped > 0 {
        format!(
            "tcp_tw_recycle is on, and {} SYNs were dropped because of it in {}: clients behind NAT cannot connect",
            count(dropped),
            length(look.interval())
        )
    } else {
        "tcp_tw_recycle is on: SYNs of clients that share an address (NAT, load balancers) are dropped without an \
         answer"
            .to_owned()
    };
    let mut evidence: Vec<_> =
        look.set(SETTING).into_iter().chain(look.set("net.ipv4.tcp_timestamps")).collect();
    evidence.extend(look.set_at_boot(SETTING));
    if look.namespace.counters.watched() && look.namespace.counters.has("TcpExtPAWSPassive") {
        evidence.push(look.risen("TcpExtPAWSPassive"));
    }
    let off = Remedy::advice(
        "recycle-off",
        "Set tcp_tw_recycle to 0, and remove it from /etc/sysctl.conf and /etc/sysctl.d",
        "TIME-WAIT sockets then last their 60 s: more of them, at 256 B each",
        "SYNs are answered again at once; TcpExtPAWSPassive stops rising",
    )
    .carried_out(
        Applicability::Safe,
        look.change(SETTING, 0),
        &["TcpExtPAWSPassive stops rising", "TcpExtTCPTimeWaitOverflow does not rise"],
    );
    Verdict::Found(vec![Finding {
        rule: "time-wait-recycle",
        severity: if effective { Severity::Error } else { Severity::Note },
        confidence: Confidence::Certain,
        claim,
        subject: Subject { setting: Some(SETTING.to_owned()), ..look.subject() },
        evidence,
        remedies: vec![off],
        avoid: vec![
            Avoid::new("tcp_timestamps = 0", "it costs PAWS, round-trip measurement and tcp_tw_reuse"),
            Avoid::new("keep it for internal clients", "containers and load balancers share addresses, too"),
        ],
        next: Some(look.command("nstat -az TcpExtPAWSPassive TcpExtListenDrops")),
    }])
}
