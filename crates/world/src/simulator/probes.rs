//! Probes: one segment meets a socket that is closing.

use super::settings::Tuned;
use crate::scenario::{Into, Probe, ProbeSegment, World};
use crate::{Measures, Met};
use evidence::Settings;
use std::collections::BTreeMap;
use tcp::machine::{Call, Condition, Endpoint, Nanos};
use tcp::{Flags, Segment, Seq, State, Timestamps};

/// How long after the close the segment comes.
const AFTER_NS: Nanos = 1_000_000_000;
/// Where the clock of the one who probes begins.
const CLOCK: u32 = 50_000;

/// Runs every probe of a world by itself, and gives what each met.
pub(super) fn run(world: &World, measures: &mut Measures) -> BTreeMap<String, Met> {
    let mut all = BTreeMap::new();
    for probe in &world.probes {
        let Some(server) = world.servers.iter().find(|server| server.name == probe.to) else { continue };
        let Some(host) = world.host(&server.host) else { continue };
        let tuned = Tuned::new(world, host, &Settings::default());
        let (met, after) = meet(probe, &tuned);
        met.measure(probe, measures);
        all.insert(probe.name.clone(), met);
        // What is left of it is there at the end.
        if matches!(after, State::TimeWait | State::FinWait2) {
            let sockets = format!("{}.sockets.{after}", server.host);
            let others = measures.get(&sockets).unwrap_or(0.0);
            measures.set(sockets, others + 1.0);
        }
    }
    all
}

/// What the segment meets, and the state afterwards.
fn meet(probe: &Probe, tuned: &Tuned) -> (Met, State) {
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
    let (before, ended_at) = (server.state(), server.poll_timeout());
    let segment = crafted(&probe.send, &server);
    server.handle_segment(AFTER_NS, &segment);
    let reply = server.poll_transmit(AFTER_NS).map(|answer| answer.flags);
    let after = server.state();
    let restarted = after != State::Closed && server.poll_timeout() != ended_at;
    (Met::new(before, reply, after, restarted), after)
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
