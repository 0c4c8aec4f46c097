//! A setting is not what the next boot sets: a file says another value, or a line that loses to another.
//!
//! ## What it sees
//!
//! A setting of the host's own namespace (of those that lastack reads: how connections open and close, local ports,
//! conntrack) whose value is not the one that the files of `sysctl.d` and `/etc/sysctl.conf` set at boot, in the
//! order in which systemd applies them. It is a note: nothing is wrong now. What the kernel refuses changes nothing
//! (`30# shorter`; `30 # shorter` is 30).
//!
//! `lastack lint` has no host to compare with. It says which lines of the files given lose to a later one with
//! another value: both are there, and only one is meant.
//!
//! ## Why it hurts
//!
//! A repair that was made with `sysctl -w` is gone after the next boot, in the middle of the night in which the
//! host restarts for another reason. Or the other way round: a file was changed, nobody applied it, and the change
//! comes at that boot, when nobody expects it. A line that loses is believed by whoever reads its file.
//!
//! ## How to prove it
//!
//! ```sh
//! sysctl net.ipv4.tcp_tw_reuse                              # now
//! grep -rs tcp_tw_reuse /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d
//! systemd-analyze cat-config sysctl.d                        # in the order in which they are applied
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
//! systemd only if a link in `sysctl.d` leads to it.

use crate::configured::ConfigurationLook;
use crate::value;
use crate::wording::clipped;
use crate::{
    Applicability, Avoid, Change, Confidence, Evidence, Finding, Remedy, Severity, Subject, Verdict,
};
use evidence::configuration::sysctl::{Loses, Sysctl, SysctlValue};
use evidence::{Configuration, Namespace};

const RULE: &str = "setting-not-durable";

pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    if look.alone {
        let contradictions = look.sysctls().flat_map(|(files, sysctl)| contradictions(look, files, sysctl));
        return look.most(contradictions);
    }
    let Some(host) = look.host() else { return Verdict::Quiet };
    let differs = host.settings.values.iter().filter_map(|(setting, now)| {
        let (written, at) = look.written(setting)?;
        let changes = value::is_taken(setting, &written.value) && !value::same(setting, &written.value, now);
        changes.then(|| until_boot(host, setting, (&written.value, &at), now))
    });
    look.most(differs)
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
