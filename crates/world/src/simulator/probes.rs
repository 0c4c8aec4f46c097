//! Probes: one segment meets a socket that is closing.

use super::settings::Tuned;
use crate::Measures;
use crate::scenario::{Into, Probe, ProbeSegment, World};
use evidence::Settings;
use tcp::machine::{Call, Condition, Endpoint, Nanos};
use tcp::{Flags, Segment, Seq, State, Timestamps};

/// How long after the close the segment comes.
const AFTER_NS: Nanos = 1_000_000_000;
/// Where the clock of the one who probes begins.
const CLOCK: u32 = 50_000;

/// Runs every probe of a world by itself.
pub(super) fn run(world: &World, measures: &mut Measures) {
    for probe in &world.probes {
        let Some(server) = world.servers.iter().find(|server| server.name == probe.to) else { continue };
        let Some(host) = world.host(&server.host) else { continue };
        let tuned = Tuned::new(world, host, &Settings::default());
        let (reply, after, restarts) = meet(probe, &tuned);
        let name = &probe.name;
        measures.set(format!("{name}.reply"), f64::from(reply == probe.reply));
        measures.set(format!("{name}.after"), f64::from(after.name() == probe.after));
        if let Some(expected) = probe.restarts {
            measures.set(format!("{name}.timer"), f64::from(restarts == expected));
        }
        // What is left of it is there at the end.
        if matches!(after, State::TimeWait | State::FinWait2) {
            let sockets = format!("{}.sockets.{after}", server.host);
            let others = measures.get(&sockets).unwrap_or(0.0);
            measures.set(sockets, others + 1.0);
        }
    }
}

/// What comes back, the state afterwards, and whether its timer began again.
fn meet(probe: &Probe, tuned: &Tuned) -> (String, State, bool) {
    let mut server = Endpoint::new(&tuned.stack, Seq::new(700_000)).with_timestamps(900_000);
    let mut client = Endpoint::new(&tuned.stack, Seq::new(4_000_000));
    if probe.timestamps {
        client = client.with_timestamps(CLOCK);
    }
    server.set(Condition::Rfc1337, tuned.rfc1337);
    server.handle_call(0, Call::Listen);
    client.handle_call(0, Call::Connect);
    exchange(&mut client, &mut server, 0);
    server.handle_call(0, Call::Close);
    exchange(&mut client, &mut server, 0);
    if probe.into == Into::TimeWait {
        client.handle_call(0, Call::Close);
        exchange(&mut client, &mut server, 0);
    }
    server.set(Condition::Listener, !probe.no_listener);
    server.set(Condition::QueueFull, probe.queue_full);
    let ended_at = server.poll_timeout();
    let segment = crafted(&probe.send, &server);
    server.handle_segment(AFTER_NS, &segment);
    let answer = server.poll_transmit(AFTER_NS);
    let reply = answer.map_or_else(|| "nothing".to_owned(), |answer| written(answer.flags));
    let restarts = server.state() != State::Closed && server.poll_timeout() != ended_at;
    (reply, server.state(), restarts)
}

fn exchange(client: &mut Endpoint, server: &mut Endpoint, now: Nanos) {
    loop {
        let (to_server, to_client) = (client.poll_transmit(now), server.poll_transmit(now));
        if to_server.is_none() && to_client.is_none() {
            return;
        }
        if let Some(segment) = to_server {
            server.handle_segment(now, &segment);
        }
        if let Some(segment) = to_client {
            client.handle_segment(now, &segment);
        }
    }
}

fn crafted(send: &ProbeSegment, server: &Endpoint) -> Segment {
    let flags: Flags = send.flags.parse().unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers wrap")]
    let (seq, ts) = (send.seq as u32, send.ts.map(|ts| ts as u32));
    Segment {
        flags,
        seq: server.rcv_nxt().plus(seq),
        ack: if flags.has(Flags::ACK) { server.snd_nxt() } else { Seq::new(0) },
        length: send.bytes,
        window: u16::MAX,
        timestamps: ts.map(|ts| Timestamps { value: CLOCK.wrapping_add(ts), echo: 0 }),
    }
}

/// The flags as probes write them: PSH and URG do not count.
fn written(flags: Flags) -> String {
    let said = Flags::SYN.with(Flags::RST).with(Flags::FIN).with(Flags::ACK).bits();
    Flags::from_bits(flags.bits() & said).to_string()
}
