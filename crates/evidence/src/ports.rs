//! Local ports: the range the kernel chooses from, sets of ports, and how many of them a destination holds.

use serde::{Deserialize, Serialize};
use tcp::profile::linux;

/// `net.ipv4.ip_local_port_range`: first and last port, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl Default for PortRange {
    fn default() -> Self {
        let (first, last) = linux::LOCAL_PORT_RANGE.value;
        Self { first, last }
    }
}

impl PortRange {
    /// Reads what the kernel prints: two numbers with white space between.
    pub fn parse(text: &str) -> Option<Self> {
        let mut ports = text.split_whitespace().map(|port| port.parse::<u16>().ok());
        let (first, last) = (ports.next()??, ports.next()??);
        (ports.next().is_none() && first <= last).then_some(Self { first, last })
    }

    /// True if the port lies in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// How many ports the range has.
    pub fn ports(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    /// What is left of it for a socket with a range of its own (`IP_LOCAL_PORT_RANGE`): each end of that counts where
    /// it lies in this one, and is ignored where it does not (net/ipv4/inet_connection_sock.c
    /// `inet_sk_get_local_port_range()`; seen on 6.18).
    #[must_use]
    pub const fn narrowed(self, own: Self) -> Self {
        Self {
            first: if self.contains(own.first) { own.first } else { self.first },
            last: if self.contains(own.last) { own.last } else { self.last },
        }
    }

    /// True if connect() tries this port in its first pass: it has the parity of the first port
    /// (net/ipv4/inet_hashtables.c `__inet_hash_connect()`).
    pub const fn is_preferred(self, port: u16) -> bool {
        (port ^ self.first) & 1 == 0
    }

    /// The ports of the range that connect() may choose, by half, when `excluded` are left out.
    pub fn halves_without(self, excluded: &PortSet) -> Halves {
        let preferred = (u32::from(self.last) - u32::from(self.first)) / 2 + 1;
        let gone = self.halves_of(excluded);
        Halves { preferred: preferred - gone.preferred, other: self.ports() - preferred - gone.other }
    }

    /// The ports of a set that lie in the range, by half.
    pub fn halves_of(self, ports: &PortSet) -> Halves {
        let mut halves = Halves::default();
        for port in ports.iter().skip_while(|port| *port < self.first).take_while(|port| *port <= self.last) {
            halves.add(self.is_preferred(port));
        }
        halves
    }
}

/// A set of ports, one bit each.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet {
    bits: Box<[u64; 1024]>,
}

impl Default for PortSet {
    fn default() -> Self {
        Self { bits: Box::new([0; 1024]) }
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl PortSet {
    /// Reads the kernel's list: `8080,9000-9100`, or nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = Self::default();
        for part in text.trim().split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            for port in first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()? {
                set.insert(port);
            }
        }
        Some(set)
    }

    /// Adds a port.
    pub fn insert(&mut self, port: u16) {
        self.bits[usize::from(port >> 6)] |= 1 << (port & 63);
    }

    /// True if the port is in the set.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        self.bits[usize::from(port >> 6)] >> (port & 63) & 1 == 1
    }

    /// The ports of this set that are not in another.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for (word, gone) in rest.bits.iter_mut().zip(other.bits.iter()) {
            *word &= !gone;
        }
        rest
    }

    /// How many ports are in the set.
    pub fn len(&self) -> u32 {
        self.bits.iter().map(|word| word.count_ones()).sum()
    }

    /// True if no port is.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }

    /// The ports in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..=u16::MAX).step_by(64).zip(self.bits.iter()).flat_map(|(first, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                #[expect(clippy::cast_possible_truncation, reason = "below 64")]
                let place = rest.trailing_zeros() as u16;
                (rest != 0).then(|| {
                    rest &= rest - 1;
                    first + place
                })
            })
        })
    }
}

impl Extend<u16> for PortSet {
    fn extend<I: IntoIterator<Item = u16>>(&mut self, ports: I) {
        ports.into_iter().for_each(|port| self.insert(port));
    }
}

/// A number of ports, split by the half of the range they lie in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Halves {
    /// Ports that connect() tries first: the parity of the range's first port.
    pub preferred: u32,
    /// The other half, which connect() tries only when the first has no port left, and bind() first.
    pub other: u32,
}

impl Halves {
    /// Counts one more port.
    #[inline]
    pub fn add(&mut self, preferred: bool) {
        let half = if preferred { &mut self.preferred } else { &mut self.other };
        *half = half.saturating_add(1);
    }

    /// Both halves together.
    pub fn total(self) -> u32 {
        self.preferred.saturating_add(self.other)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// Local ports of the range that connections to one destination hold, by what holds them.
/// Reserved ports and ports outside the range are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortUse {
    /// By sockets in TIME-WAIT.
    #[serde(skip_serializing_if = "Halves::is_zero")]
    pub time_wait: Halves,
    /// By established connections.
    #[serde(skip_serializing_if = "Halves::is_zero")]
    pub established: Halves,
    /// By sockets in any other state.
    #[serde(skip_serializing_if = "Halves::is_zero")]
    pub other: Halves,
}

impl PortUse {
    /// All ports held, by half.
    pub fn taken(&self) -> Halves {
        let sum = |half: fn(&Halves) -> u32| {
            [&self.time_wait, &self.established, &self.other]
                .map(half)
                .iter()
                .fold(0, |a: u32, b| a.saturating_add(*b))
        };
        Halves { preferred: sum(|h| h.preferred), other: sum(|h| h.other) }
    }

    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers_in_order() {
        assert_eq!(PortRange::parse("32768\t60999").unwrap().ports(), 28_232);
        for text in ["", "1", "2 1", "1 2 3", "-1 5", "1 65536"] {
            assert_eq!(PortRange::parse(text), None, "{text}");
        }
        assert_eq!(PortRange { first: 0, last: u16::MAX }.ports(), 65_536);
    }

    #[test]
    fn the_ports_of_a_set_come_in_order() {
        let mut set = PortSet::default();
        let ports = [0, 1, 63, 64, 127, 8_080, 65_535];
        set.extend(ports);
        assert_eq!(set.iter().collect::<Vec<_>>(), ports);
        assert_eq!((set.len(), set.contains(64), set.contains(65)), (7, true, false));
        let halves = PortRange { first: 1, last: 127 }.halves_of(&set);
        assert_eq!((halves.preferred, halves.other), (3, 1));
        let none = PortRange { first: 0, last: u16::MAX }.halves_without(&PortSet::default());
        assert_eq!((none.preferred, none.other), (32_768, 32_768));
        let one = PortRange { first: 7, last: 7 }.halves_without(&PortSet::default());
        assert_eq!((one.preferred, one.other), (1, 0));
    }

    #[test]
    fn reserved_ports_leave_the_halves() {
        let reserved = PortSet::parse("1000,1002-1004\n").unwrap();
        let halves = PortRange { first: 1000, last: 1009 }.halves_without(&reserved);
        assert_eq!((halves.preferred, halves.other), (2, 4));
        assert_eq!(PortSet::parse(""), Some(PortSet::default()));
        assert_eq!(PortSet::parse("80-"), None);
        assert_eq!(PortSet::parse("9-1").unwrap().len(), 0);
    }
}
