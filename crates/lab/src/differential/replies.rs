//! What the kernel sends held against what the machine says: what of a segment counts, and what was only sent again.

use tcp::machine::Endpoint;
use tcp::{Flags, Segment, Seq};

/// True if both said the same.
pub(super) fn are_same(replies: &[Segment], said: &[Segment]) -> bool {
    replies.len() == said.len()
        && replies.iter().zip(said).all(|(kernel, machine)| seen(kernel) == seen(machine))
}

/// What counts of a segment.
fn seen(segment: &Segment) -> (u8, Seq, Seq, u32, Option<u32>) {
    let flags = segment.flags.bits() & !Flags::PSH.bits();
    let ack = if segment.flags.has(Flags::ACK) { segment.ack } else { Seq::new(0) };
    (flags, segment.seq, ack, segment.length, segment.timestamps.map(|timestamps| timestamps.echo))
}

/// Data or a FIN that was sent before.
pub(super) fn is_resent(machine: &Endpoint, segment: &Segment) -> bool {
    !segment.flags.has(Flags::SYN)
        && !segment.flags.has(Flags::RST)
        && segment.span() > 0
        && segment.seq.before(machine.snd_nxt())
}

/// The replies without what was sent before, and without more of a SYN or SYN,ACK than the machine says.
pub(super) fn without_repeats(before: &Endpoint, replies: &[Segment], said: &[Segment]) -> Vec<Segment> {
    let mut fresh: Vec<Segment> = Vec::new();
    for reply in replies {
        let like = |all: &[Segment]| all.iter().filter(|one| one.flags == reply.flags).count();
        let repeats = is_resent(before, reply) || is_again(before, reply) && like(&fresh) >= like(said);
        if !repeats {
            fresh.push(*reply);
        }
    }
    fresh
}

/// What a timer of the kernel sends again.
pub(super) fn is_again(machine: &Endpoint, segment: &Segment) -> bool {
    is_resent(machine, segment) || segment.flags.has(Flags::SYN) && segment.seq == machine.iss()
}
