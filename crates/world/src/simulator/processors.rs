//! Processors that all hosts of a world share.
//!
//! What a connection takes of them is taken at once when it begins: it waits until they have caught up with what began
//! before. Over some connections that is what a queue for each call would give, and one that is alone waits for
//! nothing. What goes on inside of it does not depend on the others, so it can be played from a template.
//!
//! With few at once there is more to wait for than that: calls of one connection fall on those of another while a
//! processor idles. With k at once, each of which takes the time L alone and keeps all processors busy for s, a
//! turn takes the root of L^2 + (k^2 - 1) s^2: L for one, k s for many. Measured with 1, 2, 4 and 8 at once, whoever
//! closes first: within 10 %.

use super::Simulation;
use super::servers::ms;
use crate::scenario::{ClosesWhen, How, NatKind};
use tcp::machine::Nanos;

/// How far they have caught up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Processors {
    number: Option<u32>,
    free_at: Nanos,
}

impl Processors {
    pub(super) const fn new(number: Option<u32>) -> Self {
        Self { number, free_at: 0 }
    }

    /// Takes so much processor time; gives how long whoever needs it waits before.
    pub(super) fn take(&mut self, now: Nanos, demand: Nanos) -> Nanos {
        let Some(number) = self.number else { return 0 };
        let begins = self.free_at.max(now);
        self.free_at = begins.saturating_add(demand / Nanos::from(number.max(1)));
        begins - now
    }
}

/// What a client's connections take of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Demand {
    /// The way to its destination and back.
    pub(super) round_trip: Nanos,
    /// Processor time of a connection from its beginning to its end, without its own connect().
    pub(super) connection: Nanos,
    /// Of a request on a connection that there is.
    pub(super) request: Nanos,
    /// How long a turn takes where nobody else is, without what it sleeps,
    alone: Nanos,
    /// and so many thousandths of the whole that is.
    awake: u64,
}

impl Simulation<'_> {
    /// A turn of a client begins that takes so much processor time, and itself so much longer than usual: how long it
    /// waits.
    pub(super) fn queue(&mut self, client: usize, taken: Nanos, longer: Nanos) -> Nanos {
        let Some(number) = self.world.costs.processors else { return 0 };
        let waits = self.processors.take(self.now, taken);
        // Thousandths of turns that are awake, this one with them.
        let turns = self
            .clients
            .iter()
            .zip(&self.demands)
            .map(|(running, demand)| u64::from(running.active) * demand.awake);
        let demand = &self.demands[client];
        let others = turns.sum::<u64>().saturating_sub(demand.awake);
        let each = taken / Nanos::from(number.max(1));
        let more = others.saturating_mul(others.saturating_add(2_000)) / 1_000;
        let alone = demand.alone.saturating_add(longer);
        let square = alone.saturating_mul(alone);
        let crowded = square.saturating_add(each.saturating_mul(each).saturating_mul(more) / 1_000).isqrt();
        waits.max(crowded.saturating_sub(alone))
    }

    /// What connections of a client take, by its first destination.
    pub(super) fn demand(&mut self, client: usize) -> Demand {
        let (config, costs) = (&self.world.clients[client], &self.world.costs);
        let from = self.client_hosts[client];
        let first = self.destinations[client].first().copied();
        let path = first.and_then(|(_, place)| self.network.path(from, place.address));
        let between = path.map_or(0, |path| path.through.len() as u64);
        let name = config.to.first();
        let translates =
            self.world.hosts.iter().flat_map(|host| &host.nat).find(|nat| nat.name.as_ref() == name);
        let (there, back) = match translates.map(|nat| nat.kind) {
            None => (between, between),
            Some(NatKind::DirectRouting) => (between + 1, between),
            Some(_) => (between + 1, between + 1),
        };
        let latency = |hops| self.network.latency(hops);
        let is_proxied = self.world.proxies.iter().any(|proxy| Some(&proxy.name) == name);
        // A proxy takes for its requests when they come.
        let request = if is_proxied { 0 } else { costs.request };
        let requests = if config.pool.is_some() { 1 } else { u64::from(config.requests) };
        let closes = if config.close.when == ClosesWhen::Peer { 0 } else { costs.close };
        let taken = costs.connection + closes + requests * request + costs.forwarding(there + back);
        let round_trip = latency(there) + latency(back);
        let alone = costs.turn
            + costs.connect
            + round_trip
            + costs.accept.saturating_sub(costs.wake)
            + requests * (round_trip + 2 * costs.wake)
            // Until the other side is woken and has closed, too, and then its own process.
            + if config.close.how == How::Linger { round_trip + 2 * costs.wake } else { 0 };
        let server = self.world.servers.iter().find(|server| Some(&server.name) == name);
        let answers = server.map_or(0, |server| server.answer.after_ms * requests + server.close.after_ms);
        let sleeps = ms(config.close.after_ms + config.think_ms * (requests - 1) + answers);
        let awake = alone.saturating_mul(1_000) / alone.saturating_add(sleeps).max(1);
        Demand { round_trip, connection: taken + round_trip, request, alone, awake }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processors_do_two_things_at_a_time_and_no_more() {
        let mut processors = Processors::new(Some(2));
        assert_eq!([0, 0, 0, 500].map(|now| processors.take(now, 100)), [0, 50, 100, 0]);
        let mut enough = Processors::new(None);
        assert_eq!([0, 0, 0].map(|now| enough.take(now, 100)), [0, 0, 0]);
    }
}
