//! One segment below every layer that is read: the layers are made here, byte by byte, from their documents.

use crate::made::{
    Frame, LITTLE, MICROSECONDS, Seen, all_of, ethernet, ipv4, ipv4_fragment, ipv6, pcap, tcp,
};

const PSH_ACK: u8 = 0x18;
const DATA: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// The innermost packet of all.
fn inner() -> Vec<u8> {
    ipv4(6, &tcp(77, PSH_ACK, DATA))
}

fn inner_v6() -> Vec<u8> {
    ipv6(6, &tcp(77, PSH_ACK, DATA))
}

/// All bytes of some parts.
fn of(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The segments in frames of a link type.
fn segments(link: u32, frames: &[Vec<u8>]) -> Vec<Seen> {
    let frames: Vec<_> = frames.iter().map(|bytes| Frame::new(0, bytes.clone())).collect();
    all_of(&pcap(LITTLE, MICROSECONDS, 0, link, &frames)).0
}

/// Holds a frame to the one segment in it, and gives its context.
fn holds_one(name: &str, link: u32, frame: &[u8]) -> u32 {
    let seen = segments(link, &[frame.to_vec()]);
    assert_eq!(seen.len(), 1, "{name}: {seen:?}");
    let one = &seen[0];
    let version_4 = Seen { context: one.context, ..segments(101, &[inner()])[0].clone() };
    let version_6 = Seen { context: one.context, ..segments(101, &[inner_v6()])[0].clone() };
    assert_eq!(version_4.payload, DATA);
    assert!(*one == version_4 || *one == version_6, "{name}: {one:?}");
    one.context
}

fn holds_none(name: &str, link: u32, frame: &[u8]) {
    let seen = segments(link, &[frame.to_vec()]);
    assert!(seen.is_empty(), "{name}: {seen:?}");
}

/// 802.11 data to an access point: addresses, then LLC and SNAP. `subtype` is 0 or 8, `flags` the second byte.
fn wifi(subtype: u8, flags: u8, between: &[u8], body: &[u8]) -> Vec<u8> {
    let mut frame = vec![subtype << 4 | 8, flags, 0, 0];
    frame.extend([0x02; 18]);
    frame.extend([0x10, 0]);
    of(&[&frame, between, body])
}

fn snap(body: &[u8]) -> Vec<u8> {
    of(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], body])
}

fn udp(port: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + body.len()).unwrap();
    ipv4(17, &of(&[&[0xc0, 0], &port.to_be_bytes(), &length.to_be_bytes(), &[0, 0], body]))
}

/// Each holds the one segment, outside of any network that has a number; cut anywhere it holds nothing or less.
fn each_holds_one(frames: &[(&str, u32, Vec<u8>)]) {
    for (name, link, frame) in frames {
        assert_eq!(holds_one(name, *link, frame), 0, "{name}");
        // Bytes that are not there must not be looked for.
        for length in 0..frame.len() {
            segments(*link, &[frame[..length].to_vec()]);
        }
    }
}

/// The same of packets of IP in Ethernet.
fn each_holds_one_in_ethernet(packets: Vec<(&str, Vec<u8>)>) {
    let framed = packets.into_iter().map(|(name, packet)| {
        let kind = if packet[0] >> 4 == 4 { 0x800 } else { 0x86dd };
        (name, 1, ethernet(kind, &packet))
    });
    each_holds_one(&framed.collect::<Vec<_>>());
}

fn ppp() -> Vec<u8> {
    of(&[&[0xff, 3, 0, 0x21], &inner()])
}

#[test]
fn link_layers_of_local_networks() {
    let ip = inner();
    let length = u8::try_from(ip.len()).unwrap();
    let llc = snap(&ip);
    each_holds_one(&[
        ("Ethernet", 1, ethernet(0x800, &ip)),
        ("Ethernet, padded", 1, of(&[&ethernet(0x800, &ip), &[0; 20]])),
        ("Ethernet and IPv6", 1, ethernet(0x86dd, &inner_v6())),
        ("802.3 with SNAP", 1, ethernet(u16::from(length) + 8, &llc)),
        ("802.3 with IP's SAP", 1, ethernet(u16::from(length) + 3, &of(&[&[6, 6, 3], &ip]))),
        ("ISO network layer", 1, ethernet(u16::from(length) + 4, &of(&[&[0xfe, 0xfe, 3, 0xcc], &ip]))),
        ("ISL", 1, of(&[&[1, 0, 0x0c, 0, 0], &[0; 9], &[0xaa, 0xaa, 3], &[0; 9], &ethernet(0x800, &ip)])),
        ("token ring", 6, of(&[&[0x10, 0x40], &[2; 12], &llc])),
        (
            "token ring with a route",
            6,
            of(&[&[0x10, 0x40], &[2; 6], &[0x82, 2, 2, 2, 2, 2], &[4, 0, 1, 1], &llc]),
        ),
        ("FDDI", 10, of(&[&[0x50], &[2; 12], &llc])),
        ("Fibre Channel", 122, of(&[&[0; 16], &llc])),
        ("IEEE 1394", 138, of(&[&[2; 16], &[8, 0], &ip])),
        ("mPacket", 274, of(&[&[0x55; 7], &[0xd5], &ethernet(0x800, &ip)])),
        ("netANALYZER", 240, of(&[&[0; 4], &ethernet(0x800, &ip)])),
        ("DOCSIS", 143, of(&[&[0x01, 2, 0, 0, 9, 9, 0, 0], &ethernet(0x800, &ip)])),
    ]);
}

#[test]
fn link_layers_between_two() {
    let ip = inner();
    let length = u8::try_from(ip.len()).unwrap();
    let ppp = ppp();
    let llc = snap(&ip);
    each_holds_one(&[
        ("PPP", 9, ppp.clone()),
        ("PPP, short", 9, of(&[&[0x21], &ip])),
        ("PPP, IPv6", 50, of(&[&[0xff, 3, 0, 0x57], &inner_v6()])),
        ("PPP with direction", 204, of(&[&[1], &ppp])),
        ("PPP, bridged", 9, of(&[&[0, 0x31, 0, 1], &ethernet(0x800, &ip)])),
        ("PPPoE", 51, of(&[&[0x11, 0, 0, 1, 0, length + 2, 0, 0x21], &ip])),
        (
            "PPPoE in Ethernet",
            1,
            ethernet(0x8864, &of(&[&[0x11, 0, 0, 1, 0, length + 2, 0, 0x21], &ip, &[9; 9]])),
        ),
        ("HDLC", 104, of(&[&[0x0f, 0, 8, 0], &ip])),
        ("HDLC as PPP", 50, of(&[&[0x8f, 0, 8, 0], &ip])),
        ("frame relay", 107, of(&[&[0x18, 0x41, 3, 0xcc], &ip])),
        ("frame relay, SNAP", 107, of(&[&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0], &ip])),
        ("frame relay of Cisco", 107, of(&[&[0x18, 0x41, 8, 0], &ip])),
        (
            "frame relay, bridged",
            107,
            of(&[&[0x18, 0x41, 3, 0, 0x80, 0, 0x80, 0xc2, 0, 7], &ethernet(0x800, &ip)]),
        ),
        ("ATM", 100, llc.clone()),
        ("ATM, bridged", 100, of(&[&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7, 0, 0], &ethernet(0x800, &ip)])),
        ("SunATM", 123, of(&[&[0x82, 0, 0, 0], &llc])),
        ("MPLS", 219, of(&[&[0, 1, 0x01, 64], &ip])),
    ]);
}

#[test]
fn link_layers_of_whoever_captures() {
    let ip = inner();
    let length = u8::try_from(ip.len()).unwrap();
    let llc = snap(&ip);
    let nflog = |number: fn(u16) -> [u8; 2]| {
        let payload = number(u16::from(length) + 4);
        of(&[&[2, 0, 0, 0], &number(5), &number(10), b"x\0\0\0", &payload, &number(9), &ip])
    };
    let erf = |kind: u8, extensions: &[u8], body: &[u8]| {
        of(&[&[0; 8], &[kind, 0, 0, 0, 0, 0, 0, length + 14], extensions, body])
    };
    each_holds_one(&[
        ("null, little", 0, of(&[&[2, 0, 0, 0], &ip])),
        ("null, big", 0, of(&[&[0, 0, 0, 2], &ip])),
        ("null, IPv6 of macOS", 0, of(&[&[30, 0, 0, 0], &inner_v6()])),
        ("loop", 108, of(&[&[0, 0, 0, 24], &inner_v6()])),
        ("raw", 101, ip.clone()),
        ("raw of BSD", 12, inner_v6()),
        ("raw of OpenBSD", 14, ip.clone()),
        ("IPv4", 228, ip.clone()),
        ("IPv6", 229, inner_v6()),
        ("cooked", 113, of(&[&[0, 0, 0, 1, 0, 6], &[2; 8], &[8, 0], &ip])),
        ("cooked, with a tag", 113, of(&[&[0, 0, 0, 1, 0, 6], &[2; 8], &[0x81, 0, 0, 0, 8, 0], &ip])),
        ("cooked, LLC", 113, of(&[&[0, 0, 0, 1, 0, 6], &[2; 8], &[0, 4], &llc])),
        ("cooked v2", 276, of(&[&[0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6], &[2; 8], &inner_v6()])),
        ("OpenBSD enc", 109, of(&[&[0; 12], &ip])),
        ("pflog", 117, of(&[&[61, 2], &[0; 62], &ip])),
        ("ipnet", 226, of(&[&[0; 24], &ip])),
        ("nflog", 239, nflog(u16::to_le_bytes)),
        ("nflog, big", 239, nflog(u16::to_be_bytes)),
        ("ERF", 197, erf(2, &[], &of(&[&[0, 0], &ethernet(0x800, &ip)]))),
        (
            "ERF with extensions",
            197,
            erf(
                0x82,
                &[0x84, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
                &of(&[&[0, 0], &ethernet(0x800, &ip)]),
            ),
        ),
    ]);
}

#[test]
fn link_layers_of_radio() {
    let llc = snap(&inner());
    each_holds_one(&[
        ("802.11", 105, wifi(0, 1, &[], &llc)),
        ("802.11 between access points", 105, wifi(0, 3, &[2; 6], &llc)),
        ("802.11 with quality of service", 105, wifi(8, 2, &[0, 0], &llc)),
        ("802.11 with high throughput", 105, wifi(8, 0x82, &[0, 0, 1, 2, 3, 4], &llc)),
        ("radiotap", 127, of(&[&[0, 0, 8, 0, 0, 0, 0, 0], &wifi(0, 1, &[], &llc)])),
        (
            "radiotap, padded",
            127,
            of(&[&[0, 0, 17, 0, 3, 0, 0, 0], &[0; 8], &[0x20], &wifi(8, 2, &[0, 0, 0, 0], &llc)]),
        ),
        ("Prism", 119, of(&[&[0x44, 0, 0, 0, 144, 0, 0, 0], &[0; 136], &wifi(0, 1, &[], &llc)])),
        ("AVS as Prism", 119, of(&[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64], &[0; 56], &wifi(0, 1, &[], &llc)])),
        ("AVS", 163, of(&[&[0x80, 0x21, 0x10, 2, 0, 0, 0, 64], &[0; 56], &wifi(0, 1, &[], &llc)])),
        ("PPI", 192, of(&[&[0, 0, 8, 0, 105, 0, 0, 0], &wifi(0, 1, &[], &llc)])),
    ]);
}

#[test]
fn tunnels_in_ip() {
    let ip = inner();
    let frame = ethernet(0x800, &ip);
    let ppp = ppp();
    let gre = |flags: u16, kind: u16, options: &[u8], body: &[u8]| {
        ipv4(47, &of(&[&flags.to_be_bytes(), &kind.to_be_bytes(), options, body]))
    };
    let v6 = inner_v6();
    let authentication = of(&[&[6, 4], &[0; 22], &ip[20..]]);
    each_holds_one_in_ethernet(vec![
        ("IP in IP", ipv4(4, &ip)),
        ("6in4", ipv4(41, &v6)),
        ("4in6", ipv6(4, &ip)),
        ("6in6", ipv6(41, &v6)),
        ("EtherIP", ipv4(97, &of(&[&[0x30, 0], &frame]))),
        ("Ethernet in IPv6", ipv6(143, &frame)),
        ("MPLS in IP", ipv4(137, &of(&[&[0, 1, 1, 64], &ip]))),
        ("authenticated", ipv4(51, &authentication)),
        ("hop-by-hop and routing", ipv6(0, &of(&[&[43, 0], &[0; 6], &[6, 1], &[0; 14], &v6[40..]]))),
        ("destination options", ipv6(60, &of(&[&[6, 0], &[0; 6], &v6[40..]]))),
        ("an atomic fragment", ipv6(44, &of(&[&[6, 0, 0, 0, 0, 0, 0, 1], &v6[40..]]))),
        ("GRE", gre(0, 0x0800, &[], &ip)),
        ("GRE with checksum, key and sequence number", gre(0xb000, 0x0800, &[0; 12], &ip)),
        ("GRE with routes", gre(0x4000, 0x0800, &[0, 0, 0, 0, 8, 0, 0, 2, 1, 1, 0, 0, 0, 0], &ip)),
        ("GRE of PPTP", gre(0x3081, 0x880b, &[0; 12], &ppp)),
        ("GRE with Ethernet", gre(0x2000, 0x6558, &[0; 4], &frame)),
        ("GRE with MPLS", gre(0, 0x8847, &[0, 1, 1, 64], &ip)),
        ("ERSPAN I", gre(0, 0x88be, &[], &frame)),
        ("ERSPAN II", gre(0x1000, 0x88be, &[0; 12], &frame)),
        ("ERSPAN III", gre(0x1000, 0x22eb, &[0; 16], &frame)),
        ("ERSPAN III with more", gre(0x1000, 0x22eb, &of(&[&[0; 15], &[1], &[0; 8]]), &frame)),
        ("WCCP", gre(0, 0x883e, &[], &ip)),
        ("WCCP 2", gre(0, 0x883e, &[0; 4], &ip)),
        ("compressed", ipv4(108, &of(&[&[4, 0, 0, 2], &deflated(&ip)]))),
    ]);
}

#[test]
fn tunnels_in_udp() {
    let ip = inner();
    let frame = ethernet(0x800, &ip);
    let ppp = ppp();
    let v6 = inner_v6();
    let length = u8::try_from(ip.len()).unwrap();
    each_holds_one_in_ethernet(vec![
        ("Teredo", udp(3_544, &v6)),
        (
            "Teredo with authentication and origin",
            udp(3_544, &of(&[&[0, 1, 2, 1], &[7; 12], &[0, 0, 1, 2, 3, 4, 5, 6], &v6])),
        ),
        ("GTP", udp(2_152, &of(&[&[0x30, 255, 0, length, 0, 0, 0, 1], &ip]))),
        (
            "GTP with a sequence number",
            udp(2_152, &of(&[&[0x32, 255, 0, length + 4, 0, 0, 0, 1, 0, 9, 0, 0], &ip])),
        ),
        (
            "GTP with an extension",
            udp(2_152, &of(&[&[0x34, 255, 0, length + 8, 0, 0, 0, 1, 0, 9, 0, 0x85], &[1, 0, 0, 0], &ip])),
        ),
        ("L2TP", udp(1_701, &of(&[&[0, 2, 0, 1, 0, 1], &ppp]))),
        (
            "L2TP with everything",
            udp(1_701, &of(&[&[0x4a, 2, 0, 99, 0, 1, 0, 1, 0, 0, 0, 0, 0, 3, 9, 9, 9], &ppp])),
        ),
        ("MPLS in UDP", udp(6_635, &of(&[&[0, 1, 1, 64], &ip]))),
        ("GRE in UDP", udp(4_754, &of(&[&[0, 0, 8, 0], &ip]))),
        ("LISP", udp(4_341, &of(&[&[0; 8], &ip]))),
        ("CAPWAP", udp(5_247, &of(&[&[0, 0x10, 1, 0, 0, 0, 0, 0], &wifi(0, 1, &[], &snap(&ip))]))),
        (
            "CAPWAP, swapped",
            udp(5_247, &of(&[&[0, 0x10, 1, 0, 0, 0, 0, 0, 1, 8], &wifi(0, 1, &[], &snap(&ip))[2..]])),
        ),
        ("CAPWAP with Ethernet", udp(5_247, &of(&[&[0, 0x10, 0, 0, 0, 0, 0, 0], &frame]))),
        ("AYIYA", udp(5_072, &of(&[&[0x44, 0x52, 0x11, 41], &[0; 4], &[0; 16], &[0; 20], &v6]))),
        ("TZSP", udp(37_008, &of(&[&[1, 0, 0, 1, 0, 10, 1, 7, 1], &frame]))),
    ]);
}

#[test]
fn tags_in_ethernet() {
    let ip = inner();
    let frame = ethernet(0x800, &ip);
    let v6 = inner_v6();
    let length = u8::try_from(ip.len()).unwrap();
    let tagged: Vec<(&str, Vec<u8>)> = vec![
        ("a tag of priority only", ethernet(0x8100, &of(&[&[0xe0, 0, 8, 0], &ip]))),
        ("a tag before a length", ethernet(0x8100, &of(&[&[0xe0, 0, 0, length + 8], &snap(&ip)]))),
        ("labels", ethernet(0x8847, &of(&[&[0, 1, 0, 64, 0, 2, 1, 64], &v6]))),
        ("a pseudowire", ethernet(0x8847, &of(&[&[0, 1, 1, 64, 0, 0, 0, 0], &frame]))),
        ("a pseudowire without control word", ethernet(0x8848, &of(&[&[0, 1, 1, 64], &frame]))),
        (
            "a pseudowire to an address like IP",
            ethernet(0x8847, &of(&[&[0, 1, 1, 64, 0x45, 0], &frame[2..]])),
        ),
        ("VN-Tag", ethernet(0x8926, &of(&[&[0, 0, 0, 0, 8, 0], &ip]))),
        ("E-Tag", ethernet(0x893f, &of(&[&[0; 6], &[8, 0], &ip]))),
        ("HSR", ethernet(0x892f, &of(&[&[0; 4], &[8, 0], &ip]))),
        ("FabricPath", ethernet(0x8903, &of(&[&[0; 2], &frame]))),
        ("Cisco metadata", ethernet(0x8909, &of(&[&[1, 1, 0, 1, 0, 2, 8, 0], &ip]))),
        ("a service header", ethernet(0x894f, &of(&[&[0, 2, 1, 3, 0, 0, 0, 1], &frame]))),
        ("TRILL", ethernet(0x22f3, &of(&[&[0, 0x40, 0, 1, 0, 2, 9, 9, 9, 9], &frame]))),
        ("MACsec", ethernet(0x88e5, &of(&[&[0, 0, 0, 0, 0, 1, 8, 0], &ip, &[9; 16]]))),
        (
            "MACsec with a channel",
            ethernet(0x88e5, &of(&[&[0x20, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 0, 1, 8, 0], &ip, &[9; 16]])),
        ),
    ];
    each_holds_one(&tagged.into_iter().map(|(name, frame)| (name, 1, frame)).collect::<Vec<_>>());
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn networks_are_told_apart_by_their_tags_and_tunnels() {
    let ip = inner();
    let frame = ethernet(0x800, &ip);
    let tagged = |kind: u16, vlan: u8, rest: &[u8]| ethernet(kind, &of(&[&[0xe0, vlan], rest]));
    let plain = |vlan| holds_one("a tag", 1, &tagged(0x8100, vlan, &of(&[&[8, 0], &ip])));
    assert_eq!((plain(10), plain(11)), (10, 11));
    let twice = |kind, outer, inner| {
        holds_one("two tags", 1, &tagged(kind, outer, &of(&[&[0x81, 0, 0, inner, 8, 0], &ip])))
    };
    let vxlan = |network: u8, port| {
        let body = of(&[&[8, 0, 0, 0, 0, 0, network, 0], &frame]);
        holds_one("VXLAN", 1, &ethernet(0x800, &udp(port, &body)))
    };
    let gpe = of(&[&[0x0c, 0, 0, 1, 0, 0, 3, 0], &ip]);
    let geneve = of(&[&[1, 0, 0x65, 0x58, 0, 0, 1, 0, 9, 9, 9, 9], &frame]);
    let backbone = ethernet(0x88e7, &of(&[&[0, 0, 0, 1], &frame]));
    let mut contexts = vec![
        twice(0x88a8, 10, 20),
        twice(0x88a8, 20, 10),
        twice(0x9100, 10, 21),
        vxlan(1, 4_789),
        vxlan(2, 8_472),
        holds_one("VXLAN-GPE", 1, &ethernet(0x800, &udp(4_790, &gpe))),
        holds_one("Geneve", 1, &ethernet(0x800, &udp(6_081, &geneve))),
        holds_one("802.1ah", 1, &backbone),
    ];
    assert_eq!(twice(0x8100, 10, 20), contexts[0], "the kind of tag says nothing of the network");
    assert!(contexts.iter().all(|context| *context > 4_095), "{contexts:?}");
    contexts.sort_unstable();
    contexts.dedup();
    assert_eq!(contexts.len(), 8);
}

#[test]
fn what_is_no_segment_is_none() {
    let ip = inner();
    holds_none("quoted by ICMP", 101, &ipv4(1, &of(&[&[3, 1, 0, 0, 0, 0, 0, 0], &ip])));
    holds_none("quoted by ICMPv6", 101, &ipv6(58, &of(&[&[1, 4, 0, 0, 0, 0, 0, 0], &inner_v6()])));
    let mut short = tcp(1, 2, b"");
    short[12] = 0x40;
    holds_none("a header of 16 bytes", 101, &ipv4(6, &short));
    holds_none("a tunnel's port, but no tunnel", 101, &udp(4_789, &of(&[&[0; 8], &ethernet(0x800, &ip)])));
    let mut version = ip.clone();
    version[0] = 0x55;
    holds_none("version 5", 1, &ethernet(0x800, &version));
    let encrypted = wifi(0, 0x41, &[], &snap(&ip));
    holds_none("encrypted 802.11", 105, &encrypted);
    holds_none("a length below the header", 101, &of(&[&[0x45, 0, 0, 19], &ip[4..]]));
    let mut reader = capture::Reader::new(b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\xe7\x03\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0x").unwrap();
    reader.for_each(|_| {});
    let statistics = reader.statistics();
    assert_eq!((statistics.frames, statistics.without_tcp, statistics.unknown_links), (1, 1, 1));
    assert_eq!(statistics.unknown_link, Some(999));
}

#[test]
fn several_frames_in_one_of_wifi_are_all_seen() {
    let one = |seq| {
        let body = snap(&ipv4(6, &tcp(seq, PSH_ACK, DATA)));
        of(&[&[2; 12], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body])
    };
    let first = one(1);
    let padding = vec![0; first.len().next_multiple_of(4) - first.len()];
    let seen = segments(105, &[wifi(8, 2, &[0x80, 0], &of(&[&first, &padding, &one(2)]))]);
    assert_eq!(
        seen.iter().map(|one| (one.number, one.segment.seq.number())).collect::<Vec<_>>(),
        [(1, 1), (1, 2)]
    );
}

#[test]
fn lengths_that_are_odd() {
    // What a card was to cut has a length of 0; padding behind the packet is no data otherwise.
    for frame in [ethernet(0x800, &inner()), of(&[&[0, 0, 0, 1, 0, 6], &[2; 8], &[8, 0], &inner()])] {
        let (link, header) = if frame[0] == 2 { (1, 14) } else { (113, 16) };
        let mut offloaded = frame.clone();
        offloaded[header + 2..header + 4].copy_from_slice(&[0, 0]);
        let seen = segments(link, &[offloaded.clone(), of(&[&frame, b"padding"])]);
        assert_eq!((seen[0].segment.length, &seen[0].payload[..]), (18, DATA));
        assert_eq!((seen[1].segment.length, &seen[1].payload[..]), (18, DATA));
        // A length beyond the frame says no more than the frame.
        offloaded[header + 2..header + 4].copy_from_slice(&[0xff, 0xff]);
        let seen = segments(link, &[offloaded]);
        assert_eq!((seen[0].segment.length, &seen[0].payload[..]), (18, DATA));
    }
    let mut jumbo = inner_v6();
    jumbo[4..6].copy_from_slice(&[0, 0]);
    assert_eq!(segments(229, &[jumbo])[0].segment.length, 18);
    // Options cut by the snap length: the segment is there, its options are not.
    let frames = [Frame { wire: 84, ..Frame::new(0, ethernet(0x800, &inner())[..58].to_vec()) }];
    let seen = all_of(&pcap(LITTLE, MICROSECONDS, 0, 1, &frames)).0;
    assert_eq!((seen[0].segment.length, seen[0].segment.timestamps, seen[0].cut), (18, None, true));
    assert!(seen[0].payload.is_empty());
    // The window is the last that matters; without it there is no segment.
    let cut = |length: usize| {
        vec![Frame { wire: 84, ..Frame::new(0, ethernet(0x800, &inner())[..length].to_vec()) }]
    };
    assert_eq!(all_of(&pcap(LITTLE, MICROSECONDS, 0, 1, &cut(14 + 20 + 16))).0[0].segment.length, 18);
    let file = pcap(LITTLE, MICROSECONDS, 0, 1, &cut(14 + 20 + 15));
    let mut reader = capture::Reader::new(&file).unwrap();
    reader.for_each(|_| panic!("no segment"));
    assert_eq!(reader.statistics().headers_cut, 1);
}

#[test]
fn fragments_are_put_together() {
    let segment = tcp(77, PSH_ACK, DATA);
    let fragment = |from: usize, to: usize| {
        let more = if to < segment.len() { 0x2000 } else { 0 };
        let place = u16::try_from(from / 8).unwrap() | more;
        ethernet(0x800, &ipv4_fragment(6, place, &segment[from..to]))
    };
    let all = [fragment(0, 8), fragment(8, 24), fragment(24, segment.len())];
    let whole = segments(1, &[all[2].clone(), all[0].clone(), all[1].clone(), all[1].clone()]);
    assert_eq!(whole.len(), 1);
    assert_eq!((whole[0].number, &whole[0].payload[..], whole[0].segment.length), (3, DATA, 18));

    let v6 = |from: usize, to: usize| {
        let more = u16::from(to < segment.len());
        let place = (u16::try_from(from).unwrap() | more).to_be_bytes();
        ethernet(0x86dd, &ipv6(44, &of(&[&[6, 0], &place, &[0, 0, 0, 9], &segment[from..to]])))
    };
    let whole = segments(1, &[v6(0, 32), v6(32, segment.len())]);
    assert_eq!((whole.len(), &whole[0].payload[..]), (1, DATA));

    // In another VLAN it is another datagram.
    let tag = |frame: &[u8]| of(&[&frame[..12], &[0x81, 0, 0, 5], &frame[12..]]);
    assert!(segments(1, &[all[0].clone(), all[1].clone(), tag(&all[2])]).is_empty());

    // The first one cut: what the rest says is lost, but the header is there.
    let first = ethernet(0x800, &ipv4_fragment(6, 0x2000, &segment[..40]));
    let frames = [Frame { wire: 74, ..Frame::new(0, first[..60].to_vec()) }];
    let seen = all_of(&pcap(LITTLE, MICROSECONDS, 0, 1, &frames)).0;
    assert_eq!((seen.len(), seen[0].segment.length), (1, 8));
}

#[test]
fn layers_without_end_come_to_one() {
    let mut deep = inner();
    for _ in 0..200 {
        deep = ipv4(4, &deep);
    }
    holds_none("200 packets in packets", 101, &deep);
    let mut few = inner();
    for _ in 0..8 {
        few = ipv4(4, &few);
    }
    holds_one("eight", 101, &few);
    holds_none("tags only", 1, &[0x81, 0].repeat(2_000));
    holds_none("labels only", 1, &ethernet(0x8847, &[0; 4_000]));
}
