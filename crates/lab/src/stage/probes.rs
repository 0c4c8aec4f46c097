//! Crafted segments: what comes back, and what becomes of the socket they meet.

use super::StageError;
use super::running::Running;
use crate::differential::{Found, Sockets, Tuple};
use crate::host::Order;
use crate::peer;
use kernel::{Root, Selection, netns};
use std::net::SocketAddr;
use std::time::Duration;
use tcp::{Flags, State};
use world::Met;
use world::scenario::{Close, ClosesWhen, How, Http, Into, Probe};

/// The first port of the played clients.
const FIRST_PORT: u16 = 20_000;

/// Between a close and the segment: a timer that begins again then shows.
const AGE: Duration = Duration::from_millis(400);

/// A timer that has this much more left than before, milliseconds, has begun again.
const RESTARTED_MS: u32 = 150;

/// A probe under way.
struct Approached<'a> {
    probe: &'a Probe,
    /// Places of the hosts of the client and of the server.
    places: (usize, usize),
    tuple: Tuple,
}

/// What was done to the server before the segment.
enum StandIn {
    /// Nothing.
    None,
    /// It ended.
    Ended,
    /// Another one listens, whose queue is filled by the load of this number.
    Filled(u32),
}

impl<'a> Running<'a> {
    /// Runs all probes, before anybody else connects.
    pub(super) fn probe(&mut self) -> Result<(), StageError> {
        let mut approached = Vec::new();
        for (number, probe) in self.world.probes.iter().enumerate() {
            let next = u16::try_from(number).unwrap_or(u16::MAX);
            approached.extend(self.approach(probe, FIRST_PORT.saturating_add(next))?);
        }
        if !approached.is_empty() {
            std::thread::sleep(AGE);
        }
        for probe in approached {
            self.meet(&probe)?;
        }
        Ok(())
    }

    fn approach(&mut self, probe: &'a Probe, port: u16) -> Result<Option<Approached<'a>>, StageError> {
        let world = self.world;
        let Some(from) = world.host(&probe.host) else { return Ok(None) };
        let to = self.network.outside(from, &probe.to, 1).into_iter().next();
        let (Some(server), Some((at, _))) = (to, world.destination(&probe.to)) else { return Ok(None) };
        let client = SocketAddr::new(self.network.played(from), port);
        let places = (self.place(&probe.host), self.place(at));
        let closes = probe.into == Into::TimeWait;
        let order = Order::Approach { client, server, timestamps: probe.timestamps, closes };
        self.hosts[places.0].make(&order)?;
        Ok(Some(Approached { probe, places, tuple: Tuple { local: server, peer: client } }))
    }

    fn meet(&mut self, approached: &Approached<'a>) -> Result<(), StageError> {
        let Approached { probe, places, tuple } = approached;
        let before = self.find(places.1, *tuple)?;
        let stood_in = self.stand_in(probe, places.0)?;
        let flags: Flags = probe.send.flags.parse().unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers wrap")]
        let order = Order::Craft {
            client: tuple.peer,
            flags: flags.bits(),
            seq: probe.send.seq as u32,
            timestamp: probe.send.ts.map(|timestamp| timestamp as u32),
            bytes: probe.send.bytes,
        };
        let reply = self.hosts[places.0].craft(&order)?.map(Flags::from_bits);
        let after = self.find(places.1, *tuple)?;
        self.step_back(probe, places.0, &stood_in)?;
        let state = |found: Option<Found>| found.map_or(State::Closed, |found| found.state);
        let restarted = match (before, after) {
            (Some(before), Some(after)) => after.left_ms > before.left_ms.saturating_add(RESTARTED_MS),
            _ => false,
        };
        let met = Met::new(state(before), reply, state(after), restarted);
        met.measure(probe, &mut self.measures);
        self.probes.insert(probe.name.clone(), met);
        Ok(())
    }

    fn find(&self, place: usize, tuple: Tuple) -> Result<Option<Found>, StageError> {
        let here = Selection::These(vec![format!("pid:{}", self.hosts[place].pid())]);
        let looked = |error: netns::NetnsError| StageError::Look(error.into());
        let found = netns::find(&Root::default(), &here, &mut Vec::new()).map_err(looked)?;
        let Some(found) = found.first() else { return Ok(None) };
        let socket = netns::enter(found, || Sockets::open()?.find(tuple)).map_err(looked)?;
        socket.map_err(StageError::io("the socket that a segment met"))
    }

    /// Before the segment: nobody listens any more, or the queue is full.
    fn stand_in(&mut self, probe: &Probe, from: usize) -> Result<StandIn, StageError> {
        if !probe.no_listener && !probe.queue_full {
            return Ok(StandIn::None);
        }
        self.end(&probe.to)?;
        if !probe.queue_full {
            return Ok(StandIn::Ended);
        }
        let world = self.world;
        let Some(server) = world.servers.iter().find(|server| server.name == probe.to) else {
            return Ok(StandIn::Ended);
        };
        let deaf = world::scenario::Server { accepts: false, backlog: 0, ..server.clone() };
        self.serve(&deaf)?;
        // A queue of length 0 takes one; the second finds it full.
        let to = self.network.outside(&world.hosts[from], &probe.to, 1);
        let load = peer::Load {
            to,
            turns: 2,
            per_second: None,
            burst: 1,
            concurrency: 1,
            for_ms: 1_000,
            requests: 0,
            request_bytes: 0,
            think_ms: 0,
            http: Http::V1_1,
            pool: None,
            pool_idle_ms: None,
            ports: None,
            bind: None,
            timeout_ms: 100,
            close: Close::new(ClosesWhen::Never, How::Fin),
        };
        let id = self.hosts[from].begin(&Order::Load { load })?;
        while !self.hosts[from].is_done(id)? {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(StandIn::Filled(id))
    }

    /// Afterwards all is as it was.
    fn step_back(&mut self, probe: &Probe, from: usize, stood_in: &StandIn) -> Result<(), StageError> {
        match stood_in {
            StandIn::None => return Ok(()),
            StandIn::Ended => {}
            StandIn::Filled(id) => {
                self.end(&probe.to)?;
                self.hosts[from].cut_short(*id)?;
            }
        }
        let world = self.world;
        match world.servers.iter().find(|server| server.name == probe.to) {
            Some(server) => Ok(self.serve(server)?),
            None => Ok(()),
        }
    }
}
