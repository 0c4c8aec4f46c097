//! A setting is not what the next boot sets: a file says another value, or a line that loses to another.
//!
//! ## What it sees
//!
//! A setting of the host's own namespace (of those that lastack reads: how connections open and close, local ports,
//! conntrack) whose value is not the one that the files of `sysctl.d` and `/etc/sysctl.conf` set at boot, in the
//! order in which systemd applies them. It is a note: nothing is wrong now.
//!
//! A line that does nothing, of the settings that lastack reads: the kernel refuses the value (`30# shorter`, while
//! `30 # shorter` is 30; a port range whose first port is above the last; a number out of bounds), or no kernel has a
//! setting of that name, and one is called nearly so (`tcp_tw_recyle`).
//!
//! `lastack lint` has no host to compare with. It says which lines of the files given lose to a later one with
//! another value: both are there, and only one is meant. Where the kernel refuses the later one, neither is set.
//!
//! ## Why it hurts
//!
//! A repair that was made with `sysctl -w` is gone after the next boot, in the middle of the night in which the
//! host restarts for another reason. Or the other way round: a file was changed, nobody applied it, and the change
//! comes at that boot, when nobody expects it. A line that loses, or that the kernel refuses, is believed by whoever
//! reads its file; the refusal is one line in the journal of a boot.
//!
//! ## How to prove it
//!
//! ```sh
//! sysctl net.ipv4.tcp_tw_reuse                              # now
//! grep -rs tcp_tw_reuse /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d
//! systemd-analyze cat-config sysctl.d                        # in the order in which they are applied
//! journalctl -b -u systemd-sysctl                            # what the kernel refused
//! ```
//!
//! ## What to do
//!
//! Decide which value is meant: files and kernel do not tell.
//!
//! Is it the one that is set now, `lastack fix --remedy keep-at-boot` writes it into lastack's own file of
//! `/etc/sysctl.d`, with the reason. Where another file wins over that one nevertheless, it says which, and
//! writes nothing. Is it the one of the file, apply it: `sysctl --system`. Take the other lines out.
//!
//! ## What not to do
//!
//! Do not write it into a file of `/usr/lib/sysctl.d`: the next package overwrites it. Do not rely on the order of
//! names: the line that wins today loses to a file that somebody adds. Do not make durable what hurts: a value
//! that lastack never sets (`tcp_timestamps = 0`, a smaller `somaxconn`) is not offered to be kept, and the
//! finding says why.
//!
//! Settings of other network namespaces are not compared: they begin with what the kernel presets, whatever files
//! say, and a container's are set by whoever starts it.
//!
//! ## Sources
//!
//! sysctl.d(5) for the order; systemd-sysctl.service(8). `sysctl --system` of procps reads `/etc/sysctl.conf` last,
//! systemd only if a link in `sysctl.d` leads to it. Values: each was written to a setting of Linux 6.18. A later
//! line that is refused: systemd 252 sets nothing, `sysctl -p` of procps 4.0.2 leaves what the earlier one set.

use crate::configured::ConfigurationLook;
use crate::wording::clipped;
use crate::{value, written};
use crate::{
    Applicability, Avoid, Change, Confidence, Evidence, Finding, Remedy, Severity, Subject, Verdict,
};
use evidence::configuration::sysctl::{Loses, Sysctl, SysctlValue};
use evidence::{Configuration, Namespace};
use std::borrow::Cow;
use tcp::profile::linux;

const RULE: &str = "setting-not-durable";

const RANGE: &str = "net.ipv4.ip_local_port_range";
const UNPRIVILEGED: &str = "net.ipv4.ip_unprivileged_port_start";

pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let idle = look.sysctls().flat_map(|(files, sysctl)| without_effect(look, files, sysctl));
    if look.alone {
        let contradictions = look.sysctls().flat_map(|(files, sysctl)| contradictions(look, files, sysctl));
        return look.most(idle.chain(contradictions));
    }
    let Some(host) = look.host() else { return Verdict::Quiet };
    let differs = host.settings.values.iter().filter_map(|(setting, now)| {
        let (written, at) = look.written(setting)?;
        let changes =
            refusal(look, setting, &written.value).is_none() && !value::same(setting, &written.value, now);
        changes.then(|| until_boot(host, setting, (&written.value, &at), now))
    });
    look.most(differs.chain(idle))
}

/// Why the kernel refuses a value, with what else is set on that host.
fn refusal(look: &ConfigurationLook<'_>, setting: &str, value: &str) -> Option<String> {
    written::refusal(setting, value).or_else(|| {
        let first = value::number_taken(value).filter(|_| setting == RANGE)?;
        // Where files set that too, which is first decides.
        let from = match look.written(UNPRIVILEGED) {
            Some(_) => return None,
            None if look.alone => u64::from(linux::UNPRIVILEGED_PORT_START.value),
            None => look.host()?.settings.number(UNPRIVILEGED)?,
        };
        let below = u64::try_from(first).is_ok_and(|first| first < from);
        below.then(|| format!("since Linux 4.11 the first port must not be below ip_unprivileged_port_start, {from}"))
    })
}

/// Lines that decide and set nothing: the kernel refuses the value, or has no such setting.
fn without_effect<'c>(
    look: &'c ConfigurationLook<'_>,
    files: &'c Configuration,
    sysctl: &'c Sysctl,
) -> impl Iterator<Item = Finding> + 'c {
    let decided = sysctl.keys.iter().filter_map(|key| Some((key, key.winner.as_ref()?)));
    let decided = decided.filter(|(_, winner)| winner.pattern.is_none());
    decided.filter_map(move |(key, winner)| {
        let at = files.at(winner.place);
        let (claim, remedy, confidence) = match (refusal(look, &key.name, &winner.value), written::meant(&key.name)) {
            (Some(why), _) => (
                refused(&key.name, &winner.value, &why),
                format!("Write at {at} a value that the kernel takes, or take the line out"),
                Confidence::Certain,
            ),
            (None, Some(meant)) => (
                format!("{} is set, and no kernel has it: {meant} is probably meant", clipped(&key.name)),
                match value::refused_at_boot(RULE, &meant, "", &winner.value) {
                    None => format!("Write at {at} {meant}, or take the line out"),
                    Some(_) => format!("Take the line at {at} out"),
                },
                // A vendor's kernel may have it.
                Confidence::Likely,
            ),
            (None, None) => return None,
        };
        let mut evidence = vec![Evidence::new(at, format!("sets it to {}, without effect", said(&winner.value)))];
        let earlier = key.overridden.iter().rev().find(|lost| {
            matches!(lost.by, Loses::Later) && written::refusal(&key.name, &lost.assignment.value).is_none()
        });
        evidence.extend(earlier.filter(|_| look.alone).map(|lost| {
            let value = clipped(&lost.assignment.value);
            let says = format!("sets it to {value}, and loses to that line: systemd sets neither");
            Evidence::new(files.at(lost.assignment.place), says)
        }));
        let subject = Subject { setting: Some(key.name.clone()), ..Subject::default() };
        let subject = match look.host() {
            Some(host) if !look.alone => Subject { netns: host.name.clone(), ..subject },
            _ => subject,
        };
        let finding = finding(claim, subject, evidence);
        let write_it = Remedy::advice(
            "one-line-in-a-file",
            remedy,
            "what was meant takes effect for the first time",
            "the file does what it says",
        );
        Some(Finding { confidence, remedies: vec![write_it], ..finding })
    })
}

/// That the kernel refuses a value.
fn refused(name: &str, value: &str, why: &str) -> String {
    format!("{name} is set to {}, which the kernel refuses: {why}", said(value))
}

/// A value as a sentence has it.
fn said(value: &str) -> Cow<'_, str> {
    if value.is_empty() { "nothing".into() } else { clipped(value) }
}

/// A setting that the next boot changes: what a file says of it, and what it is now.
fn until_boot(host: &Namespace, setting: &str, (boot, at): (&str, &str), now: &str) -> Finding {
    let (said, is) = (clipped(boot), clipped(now));
    let change = Change::AtBoot { setting: setting.to_owned(), from: boot.to_owned(), to: value::plain(now) };
    let refused = value::refused_at_boot(RULE, setting, boot, &value::plain(now));
    let keep = refused.is_none().then(|| {
        Remedy::advice(
            "keep-at-boot",
            format!("Set {setting} = {is} at boot as well: in a file of /etc/sysctl.d, with the reason"),
            format!("if {said} is what was meant, and {is} was only tried, the trial becomes the rule"),
            "the host is after a boot what it is now",
        )
        .carried_out(Applicability::Unsafe, [change], &[])
    });
    let apply = Remedy::advice(
        "one-line-in-a-file",
        format!("Write the value that is meant at {at}, and apply it: sysctl --system"),
        "sysctl --system sets all that the files say, not this alone",
        "the host is after a boot what it is now",
    );
    Finding {
        remedies: keep.into_iter().chain([apply]).collect(),
        avoid: refused.map(|because| Avoid::new(format!("keep {setting} = {is}"), because)).into_iter().collect(),
        ..finding(
            format!("{setting} is {is} now, and the next boot sets it to {said}"),
            Subject { netns: host.name.clone(), setting: Some(setting.to_owned()), ..Subject::default() },
            vec![
                Evidence::new(setting, format!("is {is}")),
                Evidence::new(at, format!("sets it to {said} at boot")),
            ],
        )
    }
}

/// Lines that lose to another one with another value.
fn contradictions<'c>(
    look: &'c ConfigurationLook<'_>,
    files: &'c Configuration,
    sysctl: &'c Sysctl,
) -> impl Iterator<Item = Finding> + 'c {
    let decided = sysctl.keys.iter().filter_map(|key| Some((key, key.winner.as_ref()?)));
    // A line that the kernel refuses does not hold.
    let decided = decided.filter(|(key, winner)| refusal(look, &key.name, &winner.value).is_none());
    decided.flat_map(move |(key, winner)| {
        let lost = key.overridden.iter().map(|lost| (&lost.assignment, lost.by));
        let lost = lost.filter(move |(line, by)| {
            matches!(by, Loses::Later) && !value::same(&key.name, &line.value, &winner.value)
        });
        lost.map(move |(line, _)| contradiction(look, files, &key.name, (line, winner)))
    })
}

/// One that loses, and what it loses to.
fn contradiction(
    look: &ConfigurationLook<'_>,
    files: &Configuration,
    name: &str,
    (lost, winner): (&SysctlValue, &SysctlValue),
) -> Finding {
    let (at, wins) = (files.at(lost.place), files.at(winner.place));
    let (value, winning) = (clipped(&lost.value), clipped(&winner.value));
    let keep_one = Remedy::advice(
        "one-line-in-a-file",
        format!("Keep one of the two lines; the one at {at} does nothing"),
        "none, if it is the value that the host runs with",
        "the host is after a boot what it is now",
    );
    // Without it the files set what they set with it.
    let plain = lost.pattern.is_none() && !lost.value.is_empty();
    let out = look.without_line(files, lost.place, "the line that does nothing goes");
    let keep_one = match out.filter(|_| plain) {
        Some(out) => keep_one.carried_out(Applicability::Safe, [out], &[]),
        None => keep_one,
    };
    let finding = finding(
        format!("{name} is set to {value}, and a later line sets it to {winning}"),
        Subject { setting: Some(name.to_owned()), ..Subject::default() },
        vec![
            Evidence::new(at.clone(), format!("sets it to {value}, without effect")),
            Evidence::new(wins, format!("sets it to {winning}, which holds")),
        ],
    );
    Finding { remedies: vec![keep_one], ..finding }
}

fn finding(claim: String, subject: Subject, evidence: Vec<Evidence>) -> Finding {
    Finding {
        rule: RULE,
        severity: Severity::Note,
        confidence: Confidence::Certain,
        claim,
        subject,
        evidence,
        remedies: Vec::new(),
        avoid: Vec::new(),
        next: None,
    }
}
