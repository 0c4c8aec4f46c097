//! A load that pools have taken up is not played to its end: each further request would go as those before it.
//!
//! That is so where every client that goes on asks over a pool whose connections nobody ends, no connection has begun
//! for some turns of the load, and nothing is left anywhere that time would change. Requests that would still come are
//! answered then.

use super::Simulation;
use super::servers::ms;
use crate::scenario::{Client, ClosesWhen};
use tcp::machine::Nanos;

/// No connection has begun for so long,
const QUIET_NS: Nanos = 2_000_000_000;
/// nor for so many bursts.
const QUIET_BURSTS: f64 = 4.0;

/// What was seen at the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calm {
    /// Connects until then, and calls that failed.
    begun: u64,
    /// Since when these are so many.
    since: Nanos,
}

impl Simulation<'_> {
    /// True if what is to come would change nothing but the number of answers.
    pub(super) fn is_absorbed(&mut self) -> bool {
        let (world, now) = (self.world, self.now);
        let quiet = world.clients.iter().filter_map(burst_ns).fold(QUIET_NS, Nanos::max);
        let failed = |failed: &std::collections::BTreeMap<_, u64>| failed.values().sum::<u64>();
        let begun = self.clients.iter().map(|client| client.calls + failed(&client.failed)).sum();
        let calm = &mut self.calm;
        if calm.begun != begun {
            *calm = Calm { begun, since: now };
        }
        let ends_none = |close| matches!(close, ClosesWhen::Peer | ClosesWhen::Never);
        let goes_on = |number: usize| !self.is_done(number);
        now.saturating_sub(self.calm.since) >= quiet
            && self.ends.is_none()
            && world.proxies.is_empty()
            && world.faults.is_empty()
            && world.steps.is_empty()
            && world
                .servers
                .iter()
                .all(|server| server.accepts && server.keepalive_s.is_none() && ends_none(server.close.when))
            && world.clients.iter().enumerate().all(|(number, client)| {
                // Who has asked for the last time does not think: a pool that is small overflows then.
                let takes_all = client.think_ms == 0 || client.pool >= Some(client.concurrency);
                let is_pooled = client.pool.is_some() && client.pool_idle_ms.is_none() && takes_all;
                let keeps_up = is_in_time(client, self.clients[number].begun, now);
                !goes_on(number)
                    || keeps_up
                        && is_pooled
                        && client.per_second.is_some()
                        && client.for_ms.is_none()
                        && client.start_ms == 0
            })
            && (0..self.clients.len()).any(goes_on)
            && self.hosts.iter().all(|host| host.minis.len() == 0 && host.orphans == 0)
            && self.lives_going_on() == 0
    }

    /// Answers what would still be asked, and ends when that would have ended.
    pub(super) fn absorb(&mut self) {
        let limit = ms(self.world.limit_ms);
        let mut end = self.now;
        for (config, running) in self.world.clients.iter().zip(&mut self.clients) {
            let rate = config.per_second.unwrap_or(f64::INFINITY);
            let last = config.connections.saturating_sub(1) / config.burst.max(1) * config.burst;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within a week")]
            let until = (f64::from(last) / rate * 1e9) as Nanos;
            if config.pool.is_none() || running.begun >= config.connections && running.active == 0 {
                continue;
            }
            // Until the limit no more of them begin.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most those there are"
            )]
            let begin = (limit as f64 / 1e9 * rate).min(f64::from(config.connections)) as u32;
            running.begun = running.begun.max(begin);
            // Each that begins is answered, or has failed before.
            let failed: u64 = running.failed.values().sum();
            running.requests = running.requests.max(u64::from(running.begun).saturating_sub(failed));
            running.active = 0;
            running.planned = false;
            running.last_end = until.min(limit).max(self.now);
            end = end.max(running.last_end);
        }
        self.now = end.saturating_add(ms(self.world.settle_ms)).min(limit).max(self.now);
    }
}

/// True if a client has begun what it should have begun, but for what is due now.
fn is_in_time(client: &Client, begun: u32, now: Nanos) -> bool {
    let due = client.per_second.map_or(0.0, |rate| rate * now as f64 / 1e9);
    f64::from(begun) + f64::from(client.burst) + 1.0 >= due
}

/// How long it is from a burst of a client to its next, several times.
fn burst_ns(client: &Client) -> Option<Nanos> {
    let apart = f64::from(client.burst) / client.per_second?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let apart = (apart * QUIET_BURSTS * 1e9) as Nanos;
    Some(apart)
}
