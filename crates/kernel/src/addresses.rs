//! The addresses of a network namespace, through rtnetlink (net/ipv4/devinet.c, net/ipv6/addrconf.c): those that it has
//! when no socket shows them.

use crate::netlink::{self, DUMP, Netlink, Progress, attributes, records};
use crate::root::why;
use evidence::{Gap, Unseen};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// So many addresses of one namespace are kept: a host with a /20 of them is one that balances load.
pub const MAX_ADDRESSES: usize = 4_096;

/// A list that changes while it is read is asked for so often.
const TRIES: usize = 3;

// include/uapi/linux/rtnetlink.h, if_addr.h
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Bytes of `struct ifaddrmsg`: family, length of the prefix, flags, scope, interface.
const IFADDRMSG: usize = 8;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Reads the addresses of all interfaces of the calling thread's network namespace, IPv4 and IPv6. What is missing of
/// them is a gap.
pub fn read(gaps: &mut Vec<Gap>) -> BTreeSet<IpAddr> {
    let mut found = Found::default();
    let because = match ask(&mut found) {
        Err(error) => Some(format!("which addresses it has: {}", why(&error))),
        Ok(()) if found.left_out > 0 => {
            Some(format!("{} of its addresses, beyond the first {MAX_ADDRESSES}", found.left_out))
        }
        Ok(()) if found.malformed > 0 => {
            Some(format!("{} records of its addresses made no sense", found.malformed))
        }
        Ok(()) if found.interrupted => Some("its addresses changed while they were read".to_owned()),
        Ok(()) => None,
    };
    gaps.extend(because.map(|because| Gap {
        unseen: Unseen::Namespace,
        netns: None,
        because,
        how_to_see: "ip address".to_owned(),
    }));
    found.addresses
}

fn ask(found: &mut Found) -> io::Result<()> {
    let mut socket = Netlink::open(None)?;
    for _ in 0..TRIES {
        *found = Found::default();
        // Family 0 (AF_UNSPEC) is IPv4 and IPv6.
        socket.send(&netlink::request(RTM_GETADDR, DUMP, &[0; IFADDRMSG]))?;
        while found.add(socket.receive()?)? == Progress::More {}
        if !found.interrupted {
            break;
        }
    }
    Ok(())
}

/// What a dump held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The addresses, at most [`MAX_ADDRESSES`].
    pub addresses: BTreeSet<IpAddr>,
    /// Others beyond those.
    pub left_out: u64,
    /// Records that made no sense and were passed over.
    pub malformed: u64,
    /// They changed in a way that may have hidden some.
    pub interrupted: bool,
}

impl Found {
    /// Reads one datagram of the dump.
    pub fn add(&mut self, datagram: &[u8]) -> io::Result<Progress> {
        records(datagram, RTM_NEWADDR, |body, interrupted| {
            self.interrupted |= interrupted;
            match address(body) {
                Some(address) => self.keep(address),
                None => self.malformed += 1,
            }
        })
    }

    fn keep(&mut self, address: IpAddr) {
        if self.addresses.len() < MAX_ADDRESSES {
            self.addresses.insert(address);
        } else if !self.addresses.contains(&address) {
            self.left_out += 1;
        }
    }
}

/// The address in a record. Where an interface leads to a single peer, `IFA_ADDRESS` is the peer's, and `IFA_LOCAL`
/// the own.
fn address(body: &[u8]) -> Option<IpAddr> {
    let (header, rest) = body.split_at_checked(IFADDRMSG)?;
    let find = |wanted| attributes(rest).find_map(|(kind, value)| (kind == wanted).then_some(value));
    let bytes = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?;
    match *header.first()? {
        AF_INET => <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into()),
        AF_INET6 => <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attribute;
    use proptest::prelude::*;
    use std::process::Command;

    fn record(family: u8, told: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, 24, 0, 0, 1, 0, 0, 0];
        body.extend(told.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        netlink::request(RTM_NEWADDR, 2, &body)
    }

    fn shown(found: &Found) -> Vec<String> {
        found.addresses.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_own_end_of_a_point_to_point_interface_is_kept_and_not_the_peers() {
        let wide: [u8; 16] = Ipv6Addr::new(0xfd10, 1, 0, 0, 0, 0, 0, 2).octets();
        let datagram = [
            record(AF_INET, &[(IFA_ADDRESS, &[10, 0, 0, 1]), (IFA_LOCAL, &[10, 0, 0, 2]), (3, b"tun0\0")]),
            record(AF_INET6, &[(IFA_ADDRESS, &wide)]),
        ];
        let mut found = Found::default();
        assert_eq!(found.add(&datagram.concat()).unwrap(), Progress::More);
        assert_eq!(shown(&found), ["10.0.0.2", "fd10:1::2"]);
        assert_eq!((found.malformed, found.left_out, found.interrupted), (0, 0, false));
        assert_eq!(found.add(&netlink::request(3, 2, &0_i32.to_ne_bytes())).unwrap(), Progress::End);
    }

    #[test]
    fn strange_records_are_counted_and_a_refusal_is_an_error() {
        let datagram = [
            record(AF_INET, &[(IFA_LOCAL, &[10, 0, 0])]),
            record(17, &[(IFA_LOCAL, &[10, 0, 0, 2])]),
            record(AF_INET, &[]),
            netlink::request(RTM_NEWADDR, 2, &[2, 24, 0, 0]),
            record(AF_INET, &[(IFA_LOCAL, &[10, 0, 0, 2])]),
        ];
        let mut found = Found::default();
        found.add(&datagram.concat()).unwrap();
        assert_eq!((shown(&found), found.malformed), (vec!["10.0.0.2".to_owned()], 4));
        let refusal = netlink::request(2, 0, &(-1_i32).to_ne_bytes());
        assert_eq!(found.add(&refusal).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(found.add(&refusal[..18]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn of_more_addresses_than_are_kept_the_others_are_counted() {
        let mut found = Found::default();
        let all = u32::try_from(MAX_ADDRESSES).unwrap() + 3;
        for _ in 0..2 {
            for number in 0..all {
                found.add(&record(AF_INET, &[(IFA_LOCAL, &(0x0a00_0000 + number).to_be_bytes())])).unwrap();
            }
        }
        assert_eq!((found.addresses.len(), found.left_out), (MAX_ADDRESSES, 6));
    }

    #[test]
    fn a_namespace_has_the_addresses_that_it_was_given() {
        const NAME: &str = "addresses::tests::a_namespace_has_the_addresses_that_it_was_given";
        namespaced::in_namespace(NAME, || {
            let folder = tempfile::tempdir().unwrap();
            let add = |addresses: &[String]| {
                let lines: Vec<String> =
                    addresses.iter().map(|one| format!("address add {one} dev lo")).collect();
                let file = folder.path().join("batch");
                std::fs::write(&file, lines.join("\n")).unwrap();
                assert!(Command::new("ip").arg("-batch").arg(&file).status().unwrap().success());
            };
            add(&["10.7.7.7/32".to_owned(), "10.7.7.8 peer 10.7.7.9/32".to_owned()]);
            let mut gaps = Vec::new();
            let expected = ["10.7.7.7", "10.7.7.8", "127.0.0.1"];
            let v4 = |addresses: BTreeSet<IpAddr>| -> Vec<String> {
                addresses.iter().filter(|address| address.is_ipv4()).map(IpAddr::to_string).collect()
            };
            assert_eq!((v4(read(&mut gaps)), gaps.len()), (expected.map(str::to_owned).to_vec(), 0));
            // More than one datagram holds.
            let more: Vec<String> =
                (0..1_000).map(|number| format!("10.8.{}.{}/32", number / 250, number % 250 + 1)).collect();
            add(&more);
            assert_eq!((v4(read(&mut gaps)).len(), gaps.len()), (1_003, 0));
            let case = crate::look(&crate::Options::default()).unwrap();
            assert_eq!(v4(case.namespaces[0].addresses.clone()).len(), 1_003);
        });
    }

    proptest! {
        #[test]
        fn no_bytes_can_make_it_panic_or_find_more_than_fits(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut found = Found::default();
            let _ = found.add(&bytes);
            prop_assert!(found.addresses.len() as u64 + found.malformed <= bytes.len() as u64 / 16);
        }
    }
}
