//! What to write into the files of nginx and HAProxy: in words, and as edits that `lastack fix` carries out.

use crate::told::{Keeping, Passes, Route, made_by, on_the_way};
use crate::wording::count;
use crate::{Applicability, Change, ProgramChange, Remedy};
use config::{Edit, haproxy, nginx};
use evidence::configuration::haproxy::{Proxy, Server};
use evidence::configuration::nginx::Target;
use evidence::{Configuration, FilePlace};

/// What must not rise when connections to upstreams are kept, or kept for another time.
pub(crate) const GUARDS: [&str; 3] = [
    "TcpActiveOpens does not rise faster than before",
    "TcpEstabResets does not rise faster than before",
    "TcpOutRsts does not rise faster than before",
];

/// So many idle connections are kept where nobody has seen how many are in use at once.
const USUAL_POOL: u32 = 32;

/// The same where each of them holds a process of the program: php-fpm begins with two to spare.
const SMALL_POOL: u32 = 2;

/// A change of one of the configurations of a case.
pub(crate) fn change(
    (number, configuration): (usize, &Configuration),
    place: FilePlace,
    what: String,
    edit: Edit,
) -> Change {
    Change::Program(ProgramChange {
        program: match edit {
            Edit::Nginx(_) => "nginx",
            Edit::Haproxy(_) => "haproxy",
            Edit::Sysctl(_) => "sysctl",
        },
        file: configuration.files.get(place.file as usize).cloned().unwrap_or_default(),
        line: place.line,
        what,
        configuration: number,
        edit,
    })
}

/// A time as nginx and HAProxy write it.
pub(crate) fn time(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

/// An idle timeout that ends well before another one: by a quarter.
pub(crate) fn shorter_than(ms: u64) -> u64 {
    let shorter = ms.saturating_mul(3) / 4;
    if shorter >= 2_000 { shorter - shorter % 1_000 } else { shorter }
}

/// An idle timeout that ends well after another one: by a quarter, and two seconds at least.
pub(crate) fn longer_than(ms: u64) -> u64 {
    ms.saturating_add((ms / 4).max(2_000)).div_ceil(1_000).saturating_mul(1_000)
}

impl Route<'_> {
    fn change(&self, place: FilePlace, what: impl Into<String>, edit: Edit) -> Change {
        change((self.number, self.configuration), place, what.into(), edit)
    }

    /// A directive of the block of the upstream; none where there is no such block, or it is not of nginx.
    fn directive(&self, name: &str, arguments: String) -> Option<Change> {
        let (Passes::Nginx(..), Some(block)) = (self.passes, self.block) else { return None };
        let what = format!("`{name} {arguments};` for {}", self.to);
        let name = name.to_owned();
        Some(self.change(block, what, Edit::Nginx(nginx::Change::Upstream { block, name, arguments })))
    }

    /// What to write into the files so that connections are kept. `at_once` is how many are in use at once, if known.
    pub(crate) fn repair(&self, at_once: Option<u32>) -> Remedy {
        let usual = if self.is_fastcgi() { SMALL_POOL } else { USUAL_POOL };
        let size = at_once.unwrap_or(usual).max(2);
        let (summary, changes) = match self.passes {
            Passes::Nginx(pass, _) => {
                let what = match &self.keeping {
                    Keeping::Off { pool: Some(_), .. } => {
                        format!("connections to {} are kept, in the pool that is there", self.to)
                    }
                    _ if self.undone_by().is_some() => {
                        format!("connections to {} are kept, in the pool that is there", self.to)
                    }
                    _ => format!("connections to {} are kept, {size} idle ones in each worker", self.to),
                };
                let edit = nginx::Change::Pool { pass: pass.place, connections: size.into() };
                let changes = (!matches!(pass.target, Target::Variable { .. }) && pass.by_variable.is_none())
                    .then(|| self.change(pass.place, what, Edit::Nginx(edit)));
                (self.repair_of_nginx(size), changes.into_iter().collect())
            }
            Passes::Haproxy(..) => (self.repair_of_haproxy(), self.edits_of_haproxy()),
        };
        let risk = if self.is_fastcgi() {
            "a program that serves one connection at a time (php-fpm) is held by each that is kept: keep fewer than it has \
             processes"
        } else {
            "a kept connection may be closed by the server while idle: let the proxy's idle timeout be the shorter one"
        };
        Remedy::advice(
            "pool-in-the-proxy",
            summary,
            risk,
            "about as many connections as requests in work at once, and no TIME-WAIT for each request",
        )
        .carried_out(Applicability::Unsafe, changes, &GUARDS)
    }

    /// The load balancing method that undoes the pool of nginx.
    fn undone_by(&self) -> Option<FilePlace> {
        let Passes::Nginx(_, upstream) = self.passes else { return None };
        upstream?.keepalive_undone_by
    }

    fn repair_of_nginx(&self, size: u32) -> String {
        let pool = match (self.undone_by(), self.block, &self.keeping) {
            (Some(method), ..) => {
                format!("put `keepalive` behind the method at {}", self.configuration.at(method))
            }
            (None, Some(_), Keeping::Off { pool: Some(_), .. }) => String::new(),
            (None, Some(block), _) => {
                format!("set `keepalive {size};` in the block at {}", self.configuration.at(block))
            }
            (None, None, _) if matches!(self.passes, Passes::Nginx(pass, _) if matches!(pass.target, Target::Variable { .. })) =>
            {
                format!(
                    "let what {} says at {} be the name of a block `upstream` with `keepalive {size};`",
                    self.to,
                    self.at(None)
                )
            }
            (None, None, _) => format!(
                "make a block `upstream` with this server and `keepalive {size};`, and name it in proxy_pass at {}",
                self.at(None)
            ),
        };
        let map = match self.passes {
            Passes::Nginx(pass, _) => pass.http.as_ref().and_then(|http| http.connection_map),
            Passes::Haproxy(..) => None,
        };
        let speak = match (&self.keeping, map) {
            // A fixed header would end upgrades, which the map is there for.
            (Keeping::Off { .. }, Some(map)) => format!(
                "{}let the map at {} give an empty value, not `close`, where no upgrade is asked for (`'' '';`), with \
                 `proxy_http_version 1.1;` where {} passes on",
                if pool.is_empty() { "" } else { ", and " },
                self.configuration.at(map),
                self.at(None)
            ),
            (Keeping::Off { .. }, None) => format!(
                "{}set {} where {} passes on{}",
                if pool.is_empty() { "" } else { ", and " },
                if self.is_fastcgi() {
                    "`fastcgi_keep_conn on;`"
                } else {
                    "`proxy_http_version 1.1;` and `proxy_set_header Connection \"\";`"
                },
                self.at(None),
                if self.is_fastcgi() {
                    ""
                } else {
                    " (a proxy_set_header there hides all that are inherited)"
                }
            ),
            _ => String::new(),
        };
        format!("nginx: {pool}{speak}; then `nginx -t` and reload")
    }

    fn repair_of_haproxy(&self) -> String {
        match &self.keeping {
            Keeping::Off { place, .. } => {
                let how = match self.heir_of(*place) {
                    Some(section) => format!(
                        "set `option http-keep-alive` in the section at {}, which inherits the option at {}",
                        self.configuration.at(section),
                        self.at(*place)
                    ),
                    None => {
                        format!("take the option at {} out, so that `http-keep-alive` holds", self.at(*place))
                    }
                };
                format!("HAProxy: {how}; then check (`haproxy -c -f`) and reload")
            }
            keeping => {
                let at = match keeping {
                    Keeping::Unpooled { place, .. } => self.configuration.at(*place),
                    _ => self.at(None),
                };
                format!(
                    "HAProxy: at {at} let connections be kept and shared (`http-reuse always`, no `pool-max-conn 0`)"
                )
            }
        }
    }

    /// The section that is told to close by a line of `defaults`, which others may inherit, too.
    fn heir_of(&self, place: Option<FilePlace>) -> Option<FilePlace> {
        let (Passes::Haproxy(all, backend), Some(place)) = (self.passes, place) else { return None };
        let mut sections = on_the_way(all, backend);
        let heir = sections.find(|section| section.connection.place() == Some(place))?.place;
        // Its own lines come after its header.
        (heir.file != place.file || place.line < heir.line).then_some(heir)
    }

    /// What lets HAProxy keep connections; nothing where that stands between `.if` and `.endif`.
    fn edits_of_haproxy(&self) -> Vec<Change> {
        let Passes::Haproxy(all, backend) = self.passes else { return Vec::new() };
        let closes =
            |said: Option<&String>| matches!(said.map(String::as_str), Some("server-close" | "close"));
        let sections: Vec<_> =
            on_the_way(all, backend).filter(|section| closes(section.connection.value())).collect();
        let mut changes: Vec<Change> = sections
            .iter()
            .map(|section| {
                let what = format!("{} keeps connections open after an answer", section.name);
                let edit = haproxy::Change::KeepAlive { section: section.place };
                self.change(section.place, what, Edit::Haproxy(edit))
            })
            .collect();
        let never = backend.http_reuse.value().is_some_and(|reuse| reuse == "never");
        if never || self.first_request_opens() {
            let edit = haproxy::Change::Set {
                section: backend.place,
                keyword: vec!["http-reuse".to_owned()],
                arguments: "always".to_owned(),
            };
            let what = format!("`http-reuse always` for {}", self.to);
            changes.push(self.change(backend.place, what, Edit::Haproxy(edit)));
        }
        changes.extend(self.pools_of_haproxy(0, "-1"));
        let conditional = backend.conditional || sections.iter().any(|section| section.conditional);
        if conditional { Vec::new() } else { changes }
    }

    /// Another size for the pools that hold so many at most.
    fn pools_of_haproxy(&self, most: i64, size: &str) -> Vec<Change> {
        let Passes::Haproxy(_, backend) = self.passes else { return Vec::new() };
        let small =
            |server: &&Server| server.pool_max_conn.value().is_some_and(|idle| (0..=most).contains(idle));
        self.servers_of_haproxy(backend, small, "pool-max-conn", size)
    }

    /// Another value of a parameter for some of the servers; nothing where the section stands between `.if` and
    /// `.endif`.
    fn servers_of_haproxy(
        &self,
        backend: &Proxy,
        which: impl Fn(&&Server) -> bool,
        name: &str,
        value: &str,
    ) -> Vec<Change> {
        let changes = backend.servers.iter().filter(which).map(|server| {
            let what = format!("`{name} {value}` for server {} of {}", server.name, self.to);
            let (name, value) = (name.to_owned(), value.to_owned());
            let edit = haproxy::Change::Server { server: server.place, name, value };
            self.change(server.place, what, Edit::Haproxy(edit))
        });
        if backend.conditional { Vec::new() } else { changes.collect() }
    }

    /// A pool that holds so many, where its size is written.
    pub(crate) fn larger_pool(&self, at_once: u32) -> Remedy {
        let (pools, of) = match (self.passes, &self.keeping) {
            (Passes::Haproxy(_, backend), _) => {
                let servers = backend.servers.iter().filter_map(made_by);
                (servers.fold(0, u64::saturating_add), "servers")
            }
            (Passes::Nginx(..), Keeping::Pooled { workers: Some(workers), .. }) => (*workers, "workers"),
            _ => (1, "workers"),
        };
        let size = u64::from(at_once).div_ceil(pools.max(1)).max(2);
        let each =
            if pools > 1 { format!("{size} (each of {pools} {of} has its own)") } else { size.to_string() };
        let place = match &self.keeping {
            Keeping::Pooled { place, .. } => place.or(self.block),
            _ => self.block,
        };
        // A pool that holds so many is not what closes connections.
        let large = matches!(&self.keeping, Keeping::Pooled { idle: Some(idle), .. } if *idle >= size);
        let (directive, changes) = match self.passes {
            Passes::Nginx(_, upstream) => {
                let local = upstream.is_some_and(|upstream| upstream.keepalive_local.value() == Some(&true));
                let arguments = if local { format!("{size} local") } else { size.to_string() };
                let change = (!large).then(|| self.directive("keepalive", arguments)).flatten();
                ("keepalive", change.into_iter().collect())
            }
            Passes::Haproxy(..) => {
                let most = i64::try_from(size).unwrap_or(i64::MAX).saturating_sub(1);
                ("pool-max-conn", self.pools_of_haproxy(most, &size.to_string()))
            }
        };
        Remedy::advice(
            "larger-pool",
            format!("Set `{directive}` at {} to at least {each}, and reload", self.at(place)),
            "the upstream holds that many idle connections more, each perhaps with a thread",
            format!("about {} connections, and none closed for want of a slot", count(at_once)),
        )
        .carried_out(Applicability::Unsafe, changes, &GUARDS)
    }

    /// More requests on each connection.
    pub(crate) fn more_requests(&self) -> Remedy {
        let (what, changes) = match self.passes {
            Passes::Nginx(..) => {
                let change = self.directive("keepalive_requests", "1000".to_owned());
                ("`keepalive_requests` out of the block", change.into_iter().collect())
            }
            Passes::Haproxy(_, backend) => {
                let limited =
                    |server: &&Server| server.max_reuse.value().is_some_and(|more| (0..999).contains(more));
                (
                    "`max-reuse` out of the servers",
                    self.servers_of_haproxy(backend, limited, "max-reuse", "999"),
                )
            }
        };
        Remedy::advice(
            "more-requests",
            format!("Take {what} of {}, or let each carry 1000 requests or more", self.to),
            "none",
            "as many connections as requests in work at once",
        )
        .carried_out(Applicability::Unsafe, changes, &GUARDS)
    }

    /// An idle timeout of the pool that ends before that of the server; nothing where the pool has no timeout that
    /// could be written.
    pub(crate) fn shorter_idle_timeout(&self, server_ms: u64) -> Option<Change> {
        let to = shorter_than(server_ms);
        let shorter = self.idle_ms.is_some_and(|(now, _)| to < now);
        (shorter && to > 0).then(|| self.directive("keepalive_timeout", time(to))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_timeouts_end_well_apart() {
        assert_eq!([75_000, 5_000, 2_000, 1_000, 1].map(shorter_than), [56_000, 3_000, 1_500, 750, 0]);
        assert_eq!([60_000, 1_000, 0].map(longer_than), [75_000, 3_000, 2_000]);
        assert_eq!([60_000, 750].map(time), ["60s", "750ms"]);
    }
}
