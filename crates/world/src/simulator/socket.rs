//! Sockets with a process or a timer behind them, and where their host keeps them.

use super::acks::Acks;
use super::host::Tuple;
use super::ports::{Address, FlowId};
use super::round_trip::RoundTrip;
use super::tap::Content;
use tcp::machine::{Endpoint, Nanos};
use tcp::{Seq, State};

/// Where a socket is: place and turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    at: u32,
    turn: u32,
}

impl Slot {
    /// Where it is, whatever its turn.
    pub(super) const fn place(self) -> u32 {
        self.at
    }
}

/// A socket of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SocketRef {
    pub(super) host: usize,
    pub(super) slot: Slot,
}

/// A port that is taken while its socket or what remains of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    /// None: a port that bind() took, before connect().
    pub(super) flow: Option<FlowId>,
    pub(super) source: Address,
    pub(super) port: u16,
    /// bind() chose or named it.
    pub(super) bound: bool,
}

/// Whose socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Client(usize),
    Server(usize),
    /// A proxy's connection from its client.
    Front(usize),
    /// A proxy's connection to its upstream.
    Back(usize),
}

/// Ends of messages that may be sent again.
const ENDS: u32 = 4;

/// What its owner has said and heard.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Talk {
    /// Requests sent (client) or heard (server).
    pub(super) asked: u32,
    /// Answers heard in full (client) or given (server).
    pub(super) answered: u32,
    /// Messages that came and were not looked at.
    pub(super) unread: u32,
    /// The end of the stream was seen.
    pub(super) eof: bool,
    /// The other side asked for the close.
    pub(super) goodbye: bool,
    /// The answer goes on until the end of the stream.
    pub(super) until_eof: bool,
    /// Somebody will look at what came.
    pub(super) woken: bool,
    /// It decided to close.
    pub(super) closing: bool,
    /// close() was called: there is no descriptor any more.
    pub(super) closed: bool,
    /// close() waits until its FIN is acknowledged.
    pub(super) lingers: bool,
    /// Its client counts it as done.
    pub(super) done: bool,
    /// It counts among those whose requests were all answered.
    pub(super) ok: bool,
    /// It waits in the accept queue.
    pub(super) queued: bool,
    /// The connection is gone, which its owner hears from its next call.
    pub(super) broken: Option<&'static str>,
    /// When something came last.
    pub(super) heard: Nanos,
    /// When its owner has last begun to wait for more: it has answered, or put the connection into its pool.
    pub(super) waits_since: Nanos,
    /// When a segment came last, if only an acknowledgement.
    pub(super) alive: Nanos,
    /// When connect() was called.
    pub(super) begun: Nanos,
    /// When the last request went out, and how long its turn waited for a processor before.
    pub(super) asked_at: Nanos,
    pub(super) queued_for: Nanos,
    /// When its owner gives up what it waits for; 0: it waits for nothing.
    pub(super) deadline: Nanos,
    /// Keepalive probes since something came.
    pub(super) probes: u32,
    /// The other connection of a proxy's request.
    pub(super) partner: Option<SocketRef>,
    /// The process of the proxy that has it.
    pub(super) worker: u32,
    /// Bytes of the request that it carries, or waits to.
    pub(super) request_bytes: u32,
    /// The other side said `Connection: close`, or speaks HTTP/1.0.
    pub(super) says_close: bool,
    /// Up to where its owner has read.
    pub(super) read_to: Seq,
}

#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) endpoint: Endpoint,
    pub(super) tuple: Tuple,
    pub(super) owner: Owner,
    pub(super) hold: Option<Hold>,
    pub(super) talk: Talk,
    /// The tuple is its own.
    pub(super) in_table: bool,
    /// The timeout that is on the agenda.
    pub(super) timeout: Option<Nanos>,
    /// Bytes written.
    pub(super) written: u32,
    /// Messages written, and where the last of them end.
    pub(super) messages: u32,
    ends: [Seq; ENDS as usize],
    /// Where these begin, and what they say.
    starts: [(Seq, u16); ENDS as usize],
    /// What its segments say about its messages.
    pub(super) notes: Notes,
    /// Messages of the other side that came in full.
    pub(super) received: u32,
    pub(super) acks: Acks,
    pub(super) round_trip: RoundTrip,
}

impl Talk {
    /// Since when it is idle.
    pub(super) fn idle_since(&self) -> Nanos {
        self.heard.max(self.waits_since)
    }

    /// An answer is awaited.
    pub(super) const fn waits(&self) -> bool {
        self.answered < self.asked
    }

    /// Takes the answer that is awaited; false if it has not come in full.
    pub(super) fn takes_answer(&mut self) -> bool {
        let came = self.waits() && self.unread > 0 && (!self.until_eof || self.eof);
        if came {
            self.unread = 0;
            self.answered += 1;
        }
        came
    }
}

/// What a message says besides itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// The last message asks the other side to close.
    pub(super) goodbye: bool,
    /// Answers end with the stream.
    pub(super) until_eof: bool,
    /// The connection ends with this exchange (`Connection: close`).
    pub(super) close: bool,
}

impl Socket {
    pub(super) fn new(endpoint: Endpoint, tuple: Tuple, owner: Owner, hold: Option<Hold>) -> Self {
        Self {
            endpoint,
            tuple,
            owner,
            hold,
            talk: Talk::default(),
            in_table: true,
            timeout: None,
            written: 0,
            messages: 0,
            ends: [Seq::default(); ENDS as usize],
            starts: [(Seq::default(), 0); ENDS as usize],
            notes: Notes::default(),
            received: 0,
            acks: Acks::NONE,
            round_trip: RoundTrip::default(),
        }
    }

    /// connect() has not sent its SYN, or all is over.
    pub(super) fn is_closed(&self) -> bool {
        self.endpoint.state() == State::Closed
    }

    /// A message of so many bytes is written.
    pub(super) fn wrote(&mut self, bytes: u32, head: u16) {
        let first = self.endpoint.iss().plus(1).plus(self.written);
        self.starts[(self.messages % ENDS) as usize] = (first, head);
        self.written = self.written.wrapping_add(bytes);
        self.ends[(self.messages % ENDS) as usize] = self.endpoint.iss().plus(1).plus(self.written);
        self.messages += 1;
    }

    /// Bytes that came since this was called last.
    pub(super) fn take_bytes(&mut self) -> u32 {
        let next = self.endpoint.rcv_nxt();
        let eof = i32::from(self.talk.eof);
        let bytes = next.since(self.talk.read_to) - eof;
        self.talk.read_to = next;
        u32::try_from(bytes).unwrap_or(0)
    }

    /// What a segment that begins there has in it.
    pub(super) fn content_at(&self, seq: Seq) -> Content {
        let oldest = self.messages.saturating_sub(ENDS);
        let covers = |number: &u32| seq.before(self.ends[(number % ENDS) as usize]);
        let Some(number) = (oldest..self.messages).find(covers) else { return Content::default() };
        let (start, head) = self.starts[(number % ENDS) as usize];
        Content { head, offset: u32::try_from(seq.since(start)).unwrap_or(0) }
    }

    /// How many messages are complete when everything before this number has come.
    pub(super) fn complete_at(&self, end: Seq) -> u32 {
        let mut complete = self.messages;
        let oldest = self.messages.saturating_sub(ENDS);
        while complete > oldest && end.before(self.ends[((complete - 1) % ENDS) as usize]) {
            complete -= 1;
        }
        complete
    }
}

/// The sockets of a host; a place is used again, with another turn.
#[derive(Default)]
pub(super) struct Sockets {
    places: Vec<(u32, Option<Socket>)>,
    free: Vec<u32>,
}

impl Sockets {
    pub(super) fn insert(&mut self, socket: Socket) -> Slot {
        if let Some(at) = self.free.pop() {
            let place = &mut self.places[at as usize];
            place.0 = place.0.wrapping_add(1);
            place.1 = Some(socket);
            return Slot { at, turn: place.0 };
        }
        self.places.push((0, Some(socket)));
        Slot { at: u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX), turn: 0 }
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Socket> {
        let place = self.places.get_mut(slot.at as usize).filter(|place| place.0 == slot.turn)?;
        let socket = place.1.take()?;
        self.free.push(slot.at);
        Some(socket)
    }

    /// How many there are.
    pub(super) const fn len(&self) -> u64 {
        (self.places.len() - self.free.len()) as u64
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Socket> {
        self.places.get(slot.at as usize).filter(|place| place.0 == slot.turn)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Socket> {
        self.places.get_mut(slot.at as usize).filter(|place| place.0 == slot.turn)?.1.as_mut()
    }

    /// What is at a place now.
    pub(super) fn at_place(&self, at: u32) -> Option<(Slot, &Socket)> {
        let (turn, socket) = self.places.get(at as usize)?;
        Some((Slot { at, turn: *turn }, socket.as_ref()?))
    }

    /// All of them, in the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Socket)> {
        self.places
            .iter()
            .zip(0..)
            .filter_map(|((turn, socket), at)| Some((Slot { at, turn: *turn }, socket.as_ref()?)))
    }
}
