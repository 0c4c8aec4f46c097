//! What remains of an endpoint as a mini-socket.

use super::{Endpoint, Nanos};
use crate::profile::Stack;
use crate::{Seq, State};

/// What a mini-socket keeps of its connection (`struct inet_timewait_sock`): TIME-WAIT, or an orphan's FIN-WAIT-2.
///
/// It is a fraction of an [`Endpoint`], which can be made from it again when a segment arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Residue {
    /// TIME-WAIT or FIN-WAIT-2.
    pub state: State,
    /// SND.NXT, behind the FIN.
    pub snd_nxt: Seq,
    /// RCV.NXT.
    pub rcv_nxt: Seq,
    /// The last timestamp heard from the peer and when; none: the connection had no timestamps.
    pub heard: Option<(u32, Nanos)>,
    /// What the own timestamp clock showed at time 0, if timestamps are on.
    pub timestamps: Option<u32>,
    /// When TIME-WAIT began.
    pub entered: Nanos,
    /// When it ends.
    pub ends: Nanos,
    /// When the last ACK to something unacceptable was sent.
    pub last_invalid: Option<Nanos>,
}

impl Endpoint {
    /// What is left, if the endpoint is a mini-socket.
    pub fn residue(&self) -> Option<Residue> {
        let ends = self.linger_at.filter(|_| self.is_mini())?;
        Some(Residue {
            state: self.state,
            snd_nxt: self.nxt,
            rcv_nxt: self.rcv_nxt,
            heard: self.had_timestamps.then_some((self.ts_recent, self.ts_recent_at)),
            timestamps: self.timestamps,
            entered: self.entered_time_wait,
            ends,
            last_invalid: self.last_invalid,
        })
    }

    /// The endpoint as it was when that was left of it.
    pub fn of_residue(stack: &Stack, residue: &Residue) -> Self {
        let mut endpoint = Self::new(stack, residue.snd_nxt);
        endpoint.life = 1;
        endpoint.state = residue.state;
        endpoint.mini = residue.state == State::FinWait2;
        endpoint.orphan = true;
        endpoint.fin = true;
        endpoint.nxt = residue.snd_nxt;
        endpoint.una = residue.snd_nxt;
        endpoint.written = Seq::new(residue.snd_nxt.number().wrapping_sub(1));
        endpoint.rcv_nxt = residue.rcv_nxt;
        endpoint.acked = residue.rcv_nxt;
        endpoint.timestamps = residue.timestamps;
        endpoint.next_timestamps = residue.timestamps;
        endpoint.had_timestamps = residue.heard.is_some();
        (endpoint.ts_recent, endpoint.ts_recent_at) = residue.heard.unwrap_or_default();
        endpoint.entered_time_wait = residue.entered;
        endpoint.linger_at = Some(residue.ends);
        endpoint.last_invalid = residue.last_invalid;
        endpoint
    }
}
