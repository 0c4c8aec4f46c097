//! Which ports the connections of a local address hold, and which of them to several destinations.

use super::address;
use crate::sockets::HeldPorts;
use crate::{Endpoint, PortRange, PortSet};

/// So many local addresses have their ports told apart, 16 KiB each; of further ones it is not known.
pub(super) const MAX_ADDRESSES: usize = 8;

/// The ports of the first local addresses that connect.
#[derive(Default)]
pub(super) struct Held {
    addresses: Vec<OfAddress>,
    last: usize,
}

struct OfAddress {
    local: u128,
    once: PortSet,
    again: PortSet,
}

impl Held {
    /// A connection to another destination holds this port.
    #[inline]
    pub(super) fn add(&mut self, local: u128, port: u16) {
        // Sockets of one address often follow each other.
        if self.addresses.get(self.last).is_none_or(|address| address.local != local) && !self.turn_to(local)
        {
            return;
        }
        if let Some(address) = self.addresses.get_mut(self.last) {
            if address.once.contains(port) {
                address.again.insert(port);
            } else {
                address.once.insert(port);
            }
        }
    }

    /// False if there is no place for this address.
    fn turn_to(&mut self, local: u128) -> bool {
        match self.addresses.iter().position(|address| address.local == local) {
            Some(place) => self.last = place,
            None if self.addresses.len() < MAX_ADDRESSES => {
                self.last = self.addresses.len();
                let (once, again) = (PortSet::default(), PortSet::default());
                self.addresses.push(OfAddress { local, once, again });
            }
            None => return false,
        }
        true
    }

    /// The addresses that hold at least half of these ports: of less, nothing follows.
    pub(super) fn finish(&self, range: PortRange, reserved: &PortSet) -> Vec<HeldPorts> {
        let ports = range.halves_without(reserved).total();
        (self.addresses.iter())
            .map(|of| HeldPorts {
                local: Endpoint::any_port(address(of.local)),
                distinct: range.halves_of(&of.once),
                shared: range.halves_of(&of.again),
            })
            .filter(|held| held.distinct.total() >= ports / 2)
            .collect()
    }
}
