//! Whose the client's sockets of an exchange are, where the case has this host's sockets, too.

use crate::Evidence;
use crate::wording::{clipped, counted, share};
use evidence::{Case, Exchange, KnownBy, Ownership, Role};
use std::collections::BTreeMap;

/// At this part of its sockets with a known owner, a program is the client.
const NEARLY_ALL: f64 = 0.8;

/// Reverse proxies and balancers for HTTP, as the kernel names their processes (`comm`, 15 characters at most).
const PROXIES: [&str; 26] = [
    "angie",
    "apache2",
    "ats",
    "cache-main",
    "caddy",
    "envoy",
    "h2o",
    "haproxy",
    "hitch",
    "httpd",
    "kong",
    "lighttpd",
    "linkerd2-proxy",
    "nghttpx",
    "nginx",
    "openresty",
    "pingora",
    "pound",
    "skipper",
    "sozu",
    "squid",
    "tengine",
    "tinyproxy",
    "traefik",
    "traffic_server",
    "varnishd",
];

/// The program that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner<'a> {
    /// Its name.
    pub program: &'a str,
    /// Its sockets that were seen.
    sockets: u64,
}

impl Owner<'_> {
    /// The name in the list of proxies; none if it is any other program.
    pub(crate) fn proxy(self) -> Option<&'static str> {
        PROXIES.into_iter().find(|name| self.program.eq_ignore_ascii_case(name))
    }

    /// As evidence, of what the sockets of this host show.
    pub(crate) fn shown(self, exchange: &Exchange) -> Evidence {
        let sockets = counted(self.sockets, "socket", "sockets");
        let (verb, is) = (if self.sockets == 1 { "belongs" } else { "belong" }, self.proxy().is_some());
        let kind = if is { "a proxy" } else { "not known as a proxy" };
        let program = clipped(self.program);
        Evidence::new("sock_diag", format!("{sockets} to {} {verb} to {program}, {kind}", exchange.server))
    }
}

/// The program that nearly all of the client's sockets to the server belong to, if they are this host's and their
/// owner was seen. Of network namespaces with the same address none is believed more than another.
pub(crate) fn of<'a>(case: &'a Case, exchange: &Exchange) -> Option<Owner<'a>> {
    let client = exchange.client.address?;
    let mut programs = BTreeMap::<&str, u64>::new();
    for namespace in &case.namespaces {
        let groups = namespace.sockets.groups.iter().filter(|group| {
            group.role == Role::Client
                && group.local.address == Some(client)
                && group.remote == exchange.server
        });
        for owner in groups.flat_map(|group| &group.owners) {
            if let Some(process) = seen(owner).and_then(|index| namespace.processes.get(index as usize)) {
                let sockets = programs.entry(&process.name).or_default();
                *sockets = sockets.saturating_add(owner.states.total());
            }
        }
    }
    let all = programs.values().fold(0_u64, |sum, sockets| sum.saturating_add(*sockets));
    let (program, sockets) = programs.into_iter().max_by_key(|(_, sockets)| *sockets)?;
    (sockets > 0 && share(sockets, all) >= NEARLY_ALL).then_some(Owner { program, sockets })
}

/// The process of sockets that were seen to be its own.
fn seen(owner: &Ownership) -> Option<u32> {
    owner.process.filter(|_| matches!(owner.known_by, KnownBy::Inode | KnownBy::Cookie))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_keeps_no_longer_names() {
        assert!(PROXIES.iter().all(|name| name.len() <= 15 && !name.is_empty()));
        assert!(PROXIES.is_sorted());
    }
}
