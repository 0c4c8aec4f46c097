//! Stand-ins for addresses, so that a case can be given to others.
//!
//! The same address has the same stand-in everywhere in a case, and its family; loopback and unspecified addresses
//! stay, because rules ask for them, and ports and interfaces stay behind their address. Nothing else of an address
//! is kept: no rule asks whether two addresses share a network, and stand-ins that kept it would tell a part of each
//! address. They are numbered in an order that only a key makes, and the key is not kept.

mod find;

use crate::{Case, CaseError, Configuration, Gap, Unseen};
use find::{Style, Written};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a host is called whose name is left out.
const THIS_HOST: &str = "this-host";

/// Stand-ins for the addresses of one case, and for the name of its host.
#[derive(Debug)]
pub struct Redaction {
    stand_ins: BTreeMap<IpAddr, IpAddr>,
    /// The host's name and its first part, the longer one first.
    names: Vec<String>,
}

impl Redaction {
    /// Finds the addresses of a case. `key` decides which stand-in each gets: it must be random, and nobody may keep
    /// it.
    pub fn new(case: &Case, key: &impl BuildHasher) -> Self {
        let mut addresses = BTreeSet::new();
        each_string(&json(case), |text| {
            addresses
                .extend(find::addresses(text, |_| false).map(|written| written.address).filter(is_hidden));
        });
        let mut order: Vec<IpAddr> = addresses.iter().copied().collect();
        order.sort_by_cached_key(|address| (key.hash_one(address), *address));
        // Reserved (RFC 1112, section 4) and for traffic that is thrown away (RFC 6666): no host of a network has them.
        let (mut v4, mut v6) =
            (Ipv4Addr::new(240, 0, 0, 0).to_bits(), Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0).to_bits());
        let mut next = |address: IpAddr| {
            loop {
                let stand_in: IpAddr = match address {
                    IpAddr::V4(_) => {
                        v4 = v4.wrapping_add(1);
                        Ipv4Addr::from_bits(v4).into()
                    }
                    IpAddr::V6(_) => {
                        v6 = v6.wrapping_add(1);
                        Ipv6Addr::from_bits(v6).into()
                    }
                };
                // Not an address that the case itself holds: it would look as if that one had been left.
                if !addresses.contains(&stand_in) {
                    return stand_in;
                }
            }
        };
        let stand_ins = order.into_iter().map(|address| (address, next(address))).collect();
        Self { stand_ins, names: names(&case.host.name) }
    }

    /// How many addresses have stand-ins.
    pub fn len(&self) -> usize {
        self.stand_ins.len()
    }

    /// True if the case has no address that a stand-in is for.
    pub fn is_empty(&self) -> bool {
        self.stand_ins.is_empty()
    }

    /// A text with stand-ins for its addresses.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = String::new();
        let mut from = 0;
        let known = |address| self.stand_ins.contains_key(&address);
        for written in find::addresses(text, known) {
            let Some(stand_in) = self.stand_ins.get(&written.address) else { continue };
            redacted.push_str(text.get(from..written.start).unwrap_or_default());
            redacted.push_str(&shown(&written, *stand_in));
            from = written.end;
        }
        if from == 0 {
            return Cow::Borrowed(text);
        }
        redacted.push_str(text.get(from..).unwrap_or_default());
        Cow::Owned(redacted)
    }

    /// The case with stand-ins, and a gap that says so. Only addresses change, and each to one of its family, so that
    /// what was a case stays one.
    pub fn apply(&self, case: &Case) -> Result<Case, CaseError> {
        let text = map_strings(&json(case), |text| self.text(text));
        let mut redacted = Case::from_bytes(text.as_bytes())?;
        keep_versions(case, &mut redacted);
        if !redacted.host.name.is_empty() {
            THIS_HOST.clone_into(&mut redacted.host.name);
        }
        texts(&mut redacted, &mut |text| self.without_name(text, find::OF_NAMES));
        paths(&mut redacted, &mut |text| self.without_name(text, &[]));
        // They stood in the order of the addresses.
        if let Some(traffic) = &mut redacted.traffic {
            traffic.clocks.sort_by_key(|clocks| (Reverse(clocks.hosts), clocks.address.address));
        }
        let gap = Gap {
            unseen: Unseen::Addresses,
            netns: None,
            because: "which hosts these are: addresses and the host's name are stand-ins".to_owned(),
            how_to_see: "ask whoever made this case".to_owned(),
        };
        redacted.gaps.retain(|other| other.unseen != Unseen::Addresses);
        redacted.gaps.insert(0, gap);
        Ok(redacted)
    }

    /// Replaces the host's name, where it stands as a word of its own: without letters, digits and these around it.
    fn without_name(&self, text: &mut String, marks: &[u8]) {
        for name in &self.names {
            let mut from = 0;
            while let Some(at) = find::word(text, name, from, marks) {
                text.replace_range(at..at + name.len(), THIS_HOST);
                from = at + THIS_HOST.len();
            }
        }
    }
}

/// True for an address that tells where a host is.
fn is_hidden(address: &IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}

/// A stand-in in the style of the address that it stands for.
fn shown(written: &Written, stand_in: IpAddr) -> String {
    match written.style {
        Style::Plain => stand_in.to_string(),
        Style::Mapped => format!("::ffff:{stand_in}"),
        Style::Dashes => stand_in.to_string().replace('.', "-"),
        Style::Underscores => stand_in.to_string().replace('.', "_"),
    }
}

/// What a host is called: its whole name and its first part. Every host is called localhost, and addresses have
/// stand-ins.
fn names(name: &str) -> Vec<String> {
    let first = name.split('.').next().unwrap_or_default();
    let mut names = vec![name.to_owned()];
    if first != name {
        names.push(first.to_owned());
    }
    let is_told =
        first.eq_ignore_ascii_case("localhost") || find::addresses(name, |_| false).next().is_some();
    names.retain(|name| !name.is_empty() && !is_told);
    names
}

fn json(case: &Case) -> String {
    // Every type here serialises, as for the file.
    serde_json::to_string(case).unwrap_or_default()
}

/// Four numbers with dots are a version here.
fn keep_versions(from: &Case, to: &mut Case) {
    to.schema.clone_from(&from.schema);
    to.written_by.clone_from(&from.written_by);
    to.host.kernel.clone_from(&from.host.kernel);
    to.host.taken_at.clone_from(&from.host.taken_at);
    for (from, to) in from.configurations.iter().zip(&mut to.configurations) {
        to.version.clone_from(&from.version);
    }
}

/// Gives each text of a case to `change` that may name hosts. Names that people gave to things, such as upstreams,
/// are not among them: they refer to each other.
fn texts(case: &mut Case, change: &mut impl FnMut(&mut String)) {
    for namespace in &mut case.namespaces {
        namespace.holders.iter_mut().for_each(&mut *change);
        namespace
            .processes
            .iter_mut()
            .filter_map(|process| process.container.as_mut())
            .for_each(&mut *change);
    }
    for configuration in &mut case.configurations {
        of_configuration(configuration, change);
    }
}

/// The same of texts with names of files, in which a host's name is a part: `web1-ss.txt`, `ss_web1.pcap`.
fn paths(case: &mut Case, change: &mut impl FnMut(&mut String)) {
    for gap in &mut case.gaps {
        change(&mut gap.because);
    }
    if let Some(traffic) = &mut case.traffic {
        traffic.files.iter_mut().for_each(&mut *change);
    }
    for configuration in &mut case.configurations {
        configuration.files.iter_mut().for_each(&mut *change);
        configuration.problems.iter_mut().for_each(|problem| change(&mut problem.what));
    }
}

fn of_configuration(configuration: &mut Configuration, change: &mut impl FnMut(&mut String)) {
    use crate::Said;
    use crate::configuration::nginx::Target;
    let written = |said: &mut Said<String>, change: &mut dyn FnMut(&mut String)| match said {
        Said::Written { value, .. } | Said::Default { value } => change(value),
        Said::Unknown { because, .. } => change(because),
    };
    if let Some(container) = configuration.running.as_mut().and_then(|running| running.container.as_mut()) {
        change(container);
    }
    if let Some(nginx) = &mut configuration.nginx {
        let upstream_servers = nginx.upstreams.iter_mut().flat_map(|upstream| &mut upstream.servers);
        upstream_servers.for_each(|server| change(&mut server.address));
        for server in &mut nginx.servers {
            server.names.iter_mut().chain(&mut server.listen).for_each(&mut *change);
        }
        for pass in &mut nginx.passes {
            pass.server_names.iter_mut().for_each(&mut *change);
            match &mut pass.target {
                Target::Address { address: text } | Target::Variable { text } => change(text),
                Target::Upstream { .. } | Target::Other => {}
            }
            pass.bind.iter_mut().for_each(|bind| written(bind, change));
        }
    }
    for proxy in configuration.haproxy.iter_mut().flat_map(|haproxy| &mut haproxy.proxies) {
        proxy.binds.iter_mut().for_each(|bind| change(&mut bind.address));
        for server in &mut proxy.servers {
            change(&mut server.name);
            change(&mut server.address);
            server.source.iter_mut().for_each(|source| written(source, change));
        }
    }
}

/// Gives each string of a JSON text to `take`: values and names alike, so that no field can be forgotten.
fn each_string(json: &str, mut take: impl FnMut(&str)) {
    map_strings(json, |text| {
        take(text);
        Cow::Borrowed(text)
    });
}

/// A JSON text with other strings. Our own serialiser wrote it, so it is well-formed.
fn map_strings(json: &str, mut map: impl FnMut(&str) -> Cow<'_, str>) -> String {
    let mut mapped = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, behind)) = rest.split_once('"') {
        let end = string_end(behind);
        let (text, behind) = behind.split_at_checked(end).unwrap_or((behind, ""));
        mapped.push_str(before);
        mapped.push('"');
        if text.contains('\\') {
            let plain: String = serde_json::from_str(&format!("\"{text}\"")).unwrap_or_default();
            let quoted = serde_json::to_string(&map(&plain)).unwrap_or_default();
            mapped.push_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
        } else {
            mapped.push_str(&map(text));
        }
        mapped.push('"');
        rest = behind.strip_prefix('"').unwrap_or(behind);
    }
    mapped.push_str(rest);
    mapped
}

/// Where a JSON string ends: at the first quote that no backslash stands before.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}
