//! Runs sequences on both sides, many at a time: each takes its next step in turn, so that time passes between the
//! steps of one (a restarted timer can be told from one that runs on) without any waiting.

use super::Tuple;
use super::outcome::Outcome;
use super::packet::{decode_scaled, encode_with};
use super::run::Run;
use super::socket;
use super::sockets::Sockets;
use super::step::{Sequence, Settings, Step, TIMER_MS};
use crate::tun::Tun;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tcp::machine::Nanos;
use tcp::profile::linux::TIME_WAIT;
use tcp::{Flags, Segment, Seq};

/// The device's name.
pub const DEVICE: &str = "lab0";
/// The kernel's address.
pub const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The kernel's address over IPv6.
pub const LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, 1);
/// The network of the peers over IPv6, with the same `rto_min`.
pub const PEERS_V6: &str = "fd20::/64";
/// The network of the peers; it must be routed to the device, with `rto_min` of 5 s.
pub const PEERS: &str = "10.64.0.0/10";
/// The network of the peers where timers matter; it must be routed there as usual.
pub const TIMED_PEERS: &str = "10.128.0.0/10";

const FIRST_PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, 0);
const FIRST_PEER: u32 = u32::from_be_bytes([10, 64, 0, 0]);
const FIRST_TIMED_PEER: u32 = u32::from_be_bytes([10, 128, 0, 0]);
const PEER_COUNT: u32 = 1 << 22;
const PEER_PORT: u16 = 40_000;
/// The connection whose TIME-WAIT is the clock.
const CLOCK_PORT: u16 = 1_000;
const FIRST_PORT: u16 = 1_024;
const PORT_COUNT: u32 = 60_000;

/// So often a sequence in which something was different runs again, alone. A busy machine may have drawn it out until a
/// timer came (that of a SYN after a second, `tcp_invalid_ratelimit` after half of one), or a close() have waited for another
/// process: whoever looks at `/proc/PID/fd` holds the socket meanwhile (fs/proc/fd.c
/// `proc_fd_link()`), and it is closed when that lets go of it.
const AGAIN: usize = 2;

/// What says when something is given up: with timers, and without.
const GIVEN_UP: [(&str, &str, &str); 3] = [
    ("net.ipv4.tcp_orphan_retries", "1", "0"),
    ("net.ipv4.tcp_retries2", "1", "15"),
    ("net.ipv4.tcp_syn_retries", "1", "6"),
];

/// The kernel's side: a TUN device with [`LOCAL`], to which [`PEERS`] are routed, and the namespace's sockets.
pub struct Bench {
    tun: Tun,
    pub(super) sockets: Sockets,
    settings: Option<Settings>,
    /// Peers of the batch that runs: the first one's number, and what came for each outside its own steps.
    first: u32,
    first_peer: u32,
    ipv6: bool,
    late: Vec<Vec<Segment>>,
    next: u32,
    clock: Option<Tuple>,
    /// The window scale option of the last SYN that the kernel sent on a tuple that was asked for.
    pub(super) scale: Option<u8>,
    /// The shift that it offers.
    pub(super) shift: u8,
}

/// Writes a setting of the namespace.
pub fn set(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

impl Bench {
    /// With this device, in the namespace of the calling thread. The caller has given it an address and routes.
    pub fn open(tun: Tun) -> io::Result<Self> {
        Ok(Self {
            tun,
            sockets: Sockets::open()?,
            settings: None,
            first: 0,
            first_peer: FIRST_PEER,
            ipv6: false,
            late: Vec::new(),
            next: 0,
            clock: None,
            scale: None,
            shift: 0,
        })
    }

    /// Runs them all, those with the same settings together. A difference that does not come again when the sequence runs
    /// alone is not one: [`Outcome::disturbed`].
    pub fn run(&mut self, sequences: &[Sequence]) -> io::Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::default(); sequences.len()];
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|at| sequences[*at].settings);
        self.apply(Settings { scaling: true, ..Settings::default() })?;
        self.start_clock()?;
        for group in order.chunk_by(|a, b| sequences[*a].settings == sequences[*b].settings) {
            self.apply(sequences[group[0]].settings)?;
            self.first = self.next;
            self.next += u32::try_from(group.len()).unwrap_or(u32::MAX);
            self.late = vec![Vec::new(); group.len()];
            let mut runs = Vec::with_capacity(group.len());
            let Settings { timers, ipv6, .. } = sequences[group[0]].settings;
            self.ipv6 = ipv6;
            self.first_peer = if timers { FIRST_TIMED_PEER } else { FIRST_PEER };
            for (number, at) in group.iter().enumerate() {
                runs.push(Run::new(&sequences[*at], number, self.tuple(number), self.shift));
            }
            let longest = group.iter().map(|at| sequences[*at].steps.len()).max().unwrap_or(0);
            for step in 0..longest {
                let waits = group.iter().filter_map(|at| match sequences[*at].steps.get(step) {
                    Some(Step::Wait(ms)) => Some(u64::from(*ms)),
                    Some(Step::Timer) => Some(u64::from(TIMER_MS)),
                    _ => None,
                });
                if let Some(ms) = waits.max() {
                    std::thread::sleep(Duration::from_millis(ms));
                }
                for run in &mut runs {
                    run.step(self, step)?;
                }
            }
            for (run, at) in runs.into_iter().zip(group) {
                outcomes[*at] = run.end(self)?;
            }
        }
        if sequences.len() > 1 {
            for (sequence, outcome) in sequences.iter().zip(&mut outcomes) {
                for _ in 0..AGAIN {
                    if let Some(first) = outcome.difference.take() {
                        let alone = self.run(std::slice::from_ref(sequence))?.remove(0);
                        let disturbed = alone.difference.is_none().then_some(first);
                        *outcome = Outcome { disturbed, ..alone };
                    }
                }
            }
        }
        Ok(outcomes)
    }

    /// Time as the kernel's timers see it: its ticks may come late all together, and no other clock shows that. A
    /// TIME-WAIT that nobody touches counts them.
    pub(super) fn ticks(&mut self) -> io::Result<Nanos> {
        let clock = self.clock.map(|clock| self.sockets.find(clock)).transpose()?.flatten();
        let left = clock.ok_or_else(|| io::Error::other("a batch took longer than TIME-WAIT"))?.left_ms;
        let length = u64::try_from(TIME_WAIT.value.as_millis()).unwrap_or(u64::MAX);
        // It begins a second after 0.
        Ok((length + 1_000).saturating_sub(u64::from(left)) * 1_000_000)
    }

    fn start_clock(&mut self) -> io::Result<()> {
        if let Some(old) = self.clock.take() {
            self.sockets.destroy(old)?;
        }
        let clock = Tuple {
            local: SocketAddr::from((LOCAL, CLOCK_PORT)),
            peer: SocketAddr::from((Ipv4Addr::from_bits(FIRST_PEER), CLOCK_PORT)),
        };
        let listener = socket::listen(clock.local, 1)?;
        let mut segment = Segment { flags: Flags::SYN, window: u16::MAX, ..Segment::default() };
        self.inject(clock, &segment, Some(0))?;
        for (seq, flags) in [(1, Flags::ACK), (1, Flags::FIN.with(Flags::ACK))] {
            let last = self.answers(clock)?.pop();
            self.shift = self.scale.unwrap_or(self.shift);
            segment.ack = last.map_or(segment.ack, |last| last.end());
            segment = Segment { flags, seq: Seq::new(seq), ..segment };
            self.inject(clock, &segment, None)?;
            // Closed between the two: the FIN is acknowledged together with ours.
            drop(socket::accept(&listener)?);
        }
        self.answers(clock)?;
        self.clock = Some(clock);
        Ok(())
    }

    fn apply(&mut self, settings: Settings) -> io::Result<()> {
        if self.settings != Some(settings) {
            let flag = |on| if on { "1" } else { "0" };
            set("net.ipv4.tcp_window_scaling", flag(settings.scaling))?;
            set("net.ipv4.tcp_rfc1337", flag(settings.rfc1337))?;
            set("net.ipv4.tcp_invalid_ratelimit", if settings.ratelimit { "500" } else { "0" })?;
            set("net.ipv4.tcp_abort_on_overflow", flag(settings.abort_on_overflow))?;
            set("net.ipv4.tcp_max_tw_buckets", if settings.table_full { "0" } else { "100000" })?;
            set("net.ipv4.tcp_fin_timeout", if settings.timers { "1" } else { "60" })?;
            for (name, short, usual) in GIVEN_UP {
                set(name, if settings.timers { short } else { usual })?;
            }
            self.settings = Some(settings);
        }
        Ok(())
    }

    /// A tuple that was not used for a long time.
    #[expect(clippy::cast_possible_truncation, reason = "both are remainders")]
    fn tuple(&self, number: usize) -> Tuple {
        let number = self.first.wrapping_add(number as u32);
        let port = FIRST_PORT + (number % PORT_COUNT) as u16;
        let number = number % PEER_COUNT;
        if self.ipv6 {
            let peer = Ipv6Addr::from_bits(FIRST_PEER_V6.to_bits() | u128::from(number));
            return Tuple {
                local: SocketAddr::from((LOCAL_V6, port)),
                peer: SocketAddr::from((peer, PEER_PORT)),
            };
        }
        let peer = Ipv4Addr::from_bits(self.first_peer + number);
        Tuple { local: SocketAddr::from((LOCAL, port)), peer: SocketAddr::from((peer, PEER_PORT)) }
    }

    /// What came for one of the batch outside its own steps.
    pub(super) fn take_late(&mut self, number: usize) -> Vec<Segment> {
        std::mem::take(&mut self.late[number])
    }

    pub(super) fn inject(&mut self, tuple: Tuple, segment: &Segment, scale: Option<u8>) -> io::Result<()> {
        self.tun.inject(&encode_with(tuple, segment, scale, &[]))
    }

    /// All that the kernel has sent on this tuple; what it sent on others is kept for them.
    pub(super) fn answers(&mut self, tuple: Tuple) -> io::Result<Vec<Segment>> {
        let mut answers = Vec::new();
        while let Some(packet) = self.tun.next_packet()? {
            let Some((of, segment, scale)) = decode_scaled(packet) else { continue };
            if of == tuple {
                if segment.flags.has(Flags::SYN) {
                    self.scale = scale;
                }
                answers.push(segment);
            } else if of.peer.port() == PEER_PORT {
                let place = match of.peer.ip() {
                    IpAddr::V4(peer) => peer.to_bits().wrapping_sub(self.first_peer),
                    #[expect(clippy::cast_possible_truncation, reason = "the last bits are the number")]
                    IpAddr::V6(peer) => peer.to_bits() as u32,
                };
                let number = place.wrapping_sub(self.first % PEER_COUNT);
                if let Some(late) =
                    self.late.get_mut(number as usize).filter(|_| of.peer.is_ipv6() == self.ipv6)
                {
                    late.push(segment);
                }
            }
        }
        Ok(answers)
    }
}
