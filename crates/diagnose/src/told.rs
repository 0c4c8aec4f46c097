//! What nginx and HAProxy are told about the connections to their upstreams: a [`Route`] for each place they pass on
//! to.

use crate::Evidence;
use crate::wording::counted;
use evidence::configuration::address;
use evidence::configuration::haproxy::{Haproxy, Proxy, ProxyKind, Server};
use evidence::configuration::nginx::{HttpPass, Nginx, Pass, Protocol, Target, Upstream, Workers};
use evidence::{Case, Configuration, Endpoint, FilePlace, Namespace, Said};
use std::net::IpAddr;

/// So many routes of one case are judged.
const MAX_ROUTES: usize = 2_000;

/// So many servers of one route are looked for.
const MAX_SERVERS: usize = 1_000;

/// So many ports that its clients come to.
const MAX_PORTS: usize = 100;

/// What is done with a connection to an upstream after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// The upstream is asked to close, or the proxy says that it will.
    Off {
        /// As one clause with the proxy as its subject: `speaks HTTP/1.0`.
        how: String,
        /// Where that is said; none if it is what the program does by itself.
        place: Option<FilePlace>,
        /// Where a pool is set all the same, which then has nothing to keep.
        pool: Option<FilePlace>,
    },
    /// Both sides would keep it, and there is no pool to keep it in.
    Unpooled {
        /// As one clause with the proxy as its subject.
        how: String,
        /// Where.
        place: FilePlace,
        /// True if somebody wrote what keeps the upstream from closing: half of the repair is done.
        half_done: bool,
    },
    /// It is kept.
    Pooled {
        /// How many idle ones each worker keeps; none is without limit.
        idle: Option<u64>,
        /// Where that is said.
        place: Option<FilePlace>,
        /// How many workers have a pool of their own; none if that cannot be told.
        workers: Option<u64>,
        /// After how many requests each is closed, and where that is said.
        requests: Option<(u64, Option<FilePlace>)>,
    },
    /// It cannot be told.
    Unknown,
}

/// What a file says about a way to an upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Passes<'a> {
    Nginx(&'a Pass, Option<&'a Upstream>),
    Haproxy(&'a Haproxy, &'a Proxy),
}

/// A way from a proxy to an upstream.
#[derive(Clone, Debug)]
pub(crate) struct Route<'a> {
    pub(crate) configuration: &'a Configuration,
    /// Which of the case's it is.
    pub(crate) number: usize,
    pub(crate) passes: Passes<'a>,
    /// What it goes to, as the file calls it: `upstream app`.
    pub(crate) to: String,
    /// Where it passes on.
    pub(crate) place: FilePlace,
    /// The block of the upstream.
    pub(crate) block: Option<FilePlace>,
    /// The servers whose address the file has.
    pub(crate) servers: Vec<Endpoint>,
    pub(crate) keeping: Keeping,
    /// How long the proxy keeps an idle connection, in milliseconds, and where that is said; none if there is no
    /// fixed time.
    pub(crate) idle_ms: Option<(u64, Option<FilePlace>)>,
}

impl Route<'_> {
    /// `nginx 1.22.1`.
    pub(crate) fn who(&self) -> String {
        let program = match self.passes {
            Passes::Nginx(..) => "nginx",
            Passes::Haproxy(..) => "HAProxy",
        };
        match &self.configuration.version {
            Some(version) => format!("{program} {version}"),
            None => program.to_owned(),
        }
    }

    /// True if the first request of each client opens a connection, though idle ones are there: HAProxy's
    /// `http-reuse safe`, its default.
    pub(crate) fn first_request_opens(&self) -> bool {
        let Passes::Haproxy(_, backend) = self.passes else { return false };
        matches!(self.keeping, Keeping::Pooled { .. })
            && backend.http_reuse.value().is_some_and(|reuse| reuse == "safe")
    }

    /// True if the proxy closes connections by a reset, which leaves no socket: HAProxy, where it closes after each
    /// answer.
    pub(crate) fn resets(&self) -> bool {
        matches!((&self.passes, &self.keeping), (Passes::Haproxy(..), Keeping::Off { .. }))
    }

    /// True if a program of FastCGI is there: most of them serve one connection at a time.
    pub(crate) fn is_fastcgi(&self) -> bool {
        matches!(self.passes, Passes::Nginx(pass, _) if pass.protocol == Protocol::Fastcgi)
    }

    /// Where it says how connections are kept, as the source of evidence.
    pub(crate) fn at(&self, place: Option<FilePlace>) -> String {
        self.configuration.at(place.unwrap_or(self.place))
    }

    /// What the file says, as evidence.
    pub(crate) fn says(&self) -> Vec<Evidence> {
        let (who, to) = (self.who(), &self.to);
        let mut said = match &self.keeping {
            Keeping::Off { how, place, pool } => {
                let by_default = if place.is_none() { ", by default" } else { "" };
                let mut said =
                    vec![Evidence::new(self.at(*place), format!("{who} to {to}: it {how}{by_default}"))];
                if let Some(pool) = pool {
                    said.push(Evidence::new(
                        self.configuration.at(*pool),
                        "sets a pool, which has nothing to keep",
                    ));
                }
                if let Passes::Haproxy(haproxy, backend) = self.passes {
                    let mut closing =
                        on_the_way(haproxy, backend).filter(|proxy| proxy.connection.place() == *place);
                    said.extend(closing.find_map(|proxy| in_vain(self.configuration, proxy)));
                }
                said
            }
            Keeping::Unpooled { how, place, .. } => {
                vec![Evidence::new(self.configuration.at(*place), format!("{who} {how}"))]
            }
            Keeping::Pooled { idle, place, workers, requests } => {
                let idle = match idle {
                    Some(idle) => counted(*idle, "idle connection", "idle connections"),
                    None => "idle connections without limit".to_owned(),
                };
                let each = match workers {
                    Some(1) => String::new(),
                    Some(workers) => format!(" in each of {workers} workers"),
                    None => " in each worker".to_owned(),
                };
                let mut said =
                    vec![Evidence::new(self.at(*place), format!("{who} keeps {idle} to {to}{each}"))];
                if self.first_request_opens() {
                    let says = "the first request of each client opens a connection all the same (`http-reuse safe`)";
                    said.push(Evidence::new(self.at(*place), says));
                }
                if let Some((requests, Some(place))) = requests {
                    let says = format!("each is closed after {}", counted(*requests, "request", "requests"));
                    said.push(Evidence::new(self.configuration.at(*place), says));
                }
                said
            }
            Keeping::Unknown => Vec::new(),
        };
        if self.configuration.running.as_ref().is_some_and(|running| running.older_than_files) {
            said.push(Evidence::new(
                self.at(None),
                "its files were written to after it had started: what runs may be older",
            ));
        }
        said
    }

    /// True if this route is about the connections of a host with this address: a socket of the program's namespace has
    /// it, or it is an address of that namespace alone. 127.0.0.1 is one of each.
    pub(crate) fn connects_from(&self, case: &Case, client: IpAddr) -> bool {
        let Some(running) = &self.configuration.running else { return true };
        let (its, others): (Vec<_>, Vec<_>) =
            case.namespaces.iter().partition(|namespace| namespace.name == running.netns);
        let shows = |namespace: &&Namespace| {
            namespace.sockets.groups.iter().any(|group| group.local.address == Some(client))
        };
        let has = |namespace: &&Namespace| namespace.addresses.contains(&client);
        its.iter().any(shows) || its.iter().any(has) && !others.iter().any(has)
    }
}

/// The routes of all configurations of a case.
pub(crate) fn routes(case: &Case) -> Vec<Route<'_>> {
    let mut routes: Vec<Route<'_>> = Vec::new();
    for (number, configuration) in case.configurations.iter().enumerate() {
        if let Some(nginx) = &configuration.nginx {
            // The other protocols know no second request on a connection.
            let keeps = [Protocol::Http, Protocol::Fastcgi, Protocol::Grpc];
            let passes = nginx.passes.iter().filter(|pass| keeps.contains(&pass.protocol));
            let passes = passes.filter_map(|pass| of_nginx((number, configuration), nginx, pass));
            routes.extend(passes.take(MAX_ROUTES));
        }
        if let Some(haproxy) = &configuration.haproxy {
            routes.extend(of_haproxy((number, configuration), haproxy).take(MAX_ROUTES));
        }
    }
    routes.truncate(MAX_ROUTES);
    routes
}

fn of_nginx<'a>(
    (number, configuration): (usize, &'a Configuration),
    nginx: &'a Nginx,
    pass: &'a Pass,
) -> Option<Route<'a>> {
    let upstream = nginx.upstream_of(pass);
    // No connection of TCP goes there.
    let is_unix = match (&pass.target, upstream) {
        (_, Some(upstream)) => all_unix(upstream.servers.iter().map(|server| server.address.as_str())),
        (Target::Address { address } | Target::Variable { text: address }, None) => {
            address::is_unix_socket(address)
        }
        _ => false,
    };
    if is_unix {
        return None;
    }
    let (to, servers) = match (&pass.target, upstream) {
        (_, Some(upstream)) => {
            let servers = upstream.servers.iter().filter(|server| !server.down);
            let addresses = servers.flat_map(|server| address::of_nginx(&server.address, 80));
            let addresses = addresses.take(MAX_SERVERS).collect();
            (format!("upstream {}", upstream.name), addresses)
        }
        (Target::Address { address }, None) => {
            let port = if pass.tls { 443 } else { 80 };
            (address.clone(), address::of_nginx(address, port))
        }
        (Target::Variable { text }, None) => (text.clone(), Vec::new()),
        _ => return None,
    };
    let idle = upstream.and_then(|upstream| match &upstream.keepalive_timeout_ms {
        Said::Written { value, place } => value.map(|ms| (ms, Some(*place))),
        Said::Default { value } => value.map(|ms| (ms, None)),
        Said::Unknown { .. } => None,
    });
    Some(Route {
        configuration,
        number,
        passes: Passes::Nginx(pass, upstream),
        to,
        place: pass.place,
        block: upstream.map(|upstream| upstream.place),
        servers,
        keeping: keeping_of_nginx(configuration, nginx, pass),
        idle_ms: idle,
    })
}

/// True if there are servers, and each is a socket of this host.
fn all_unix<'a>(addresses: impl Iterator<Item = &'a str>) -> bool {
    let mut addresses = addresses.peekable();
    addresses.peek().is_some() && addresses.all(address::is_unix_socket)
}

fn keeping_of_nginx(configuration: &Configuration, nginx: &Nginx, pass: &Pass) -> Keeping {
    let set = nginx.upstream_of(pass).filter(|upstream| {
        let some = upstream.keepalive.value().is_some_and(|idle| *idle > 0);
        upstream.keepalive.is_written() && some || upstream.keepalive_undone_by.is_some()
    });
    let pool = set.and_then(|upstream| upstream.keepalive.place());
    match (pass.protocol, &pass.http, &pass.keep_conn) {
        (Protocol::Http, Some(http), _) => {
            let (Some(version), Some(connection)) = (http.version.value(), http.connection.value()) else {
                return Keeping::Unknown;
            };
            if let Some(how) = asks_to_close(version, connection) {
                let always = http.connection_map.is_none();
                let unless = if always { "" } else { " where no upgrade is asked for" };
                return Keeping::Off {
                    how: format!("{how}{unless}"),
                    place: asked_at(http, connection),
                    pool,
                };
            }
            pool_of_nginx(
                configuration,
                nginx,
                pass,
                http.version.is_written() || http.connection.is_written(),
            )
        }
        (Protocol::Fastcgi, _, Some(keeps)) => match keeps.value() {
            Some(false) => {
                let how = "asks the program to close after each answer (`fastcgi_keep_conn off`)".to_owned();
                let place = if keeps.is_written() { keeps.place() } else { None };
                Keeping::Off { how, place, pool }
            }
            Some(true) => pool_of_nginx(configuration, nginx, pass, keeps.is_written()),
            None => Keeping::Unknown,
        },
        (Protocol::Grpc, ..) => pool_of_nginx(configuration, nginx, pass, false),
        _ => Keeping::Unknown,
    }
}

/// What requests of this version with this header `Connection` say about the connection, if they end it.
fn asks_to_close(version: &str, connection: &str) -> Option<&'static str> {
    let asks = connection.to_ascii_lowercase();
    let has = |option: &str| asks.split(',').any(|word| word.trim() == option);
    match (version == "1.0" && !has("keep-alive"), has("close")) {
        (true, true) => Some("speaks HTTP/1.0 and sends `Connection: close`"),
        (true, false) => Some("speaks HTTP/1.0"),
        (false, true) => Some("sends `Connection: close`"),
        (false, false) => None,
    }
}

/// Where it is written that requests end the connection; none if the program does so by itself.
fn asked_at(http: &HttpPass, connection: &str) -> Option<FilePlace> {
    let closes = connection.to_ascii_lowercase().contains("close");
    [&http.connection, &http.version].into_iter().find_map(|said| match (said, closes) {
        (Said::Written { value, place }, true) if value.to_ascii_lowercase().contains("close") => {
            Some(*place)
        }
        (Said::Written { value, place }, _) if value == "1.0" => Some(*place),
        _ => None,
    })
}

/// The pool for connections that neither side closes.
fn pool_of_nginx(configuration: &Configuration, nginx: &Nginx, pass: &Pass, half_done: bool) -> Keeping {
    match (&pass.target, nginx.upstream_of(pass)) {
        (_, Some(upstream)) => match upstream.keepalive.value() {
            Some(0) => Keeping::Unpooled {
                how: match upstream.keepalive_undone_by {
                    Some(method) => format!(
                        "has no pool for upstream {}: before 1.29.7, the load balancing method at {} undoes a `keepalive` \
                         that stands before it",
                        upstream.name,
                        configuration.at(method)
                    ),
                    None => format!("has no pool for upstream {}: no `keepalive`, or 0", upstream.name),
                },
                place: upstream.keepalive.place().unwrap_or(upstream.place),
                half_done: half_done || upstream.keepalive_undone_by.is_some(),
            },
            Some(idle) => Keeping::Pooled {
                idle: Some(*idle),
                place: upstream.keepalive.place(),
                workers: workers(configuration, nginx),
                requests: upstream
                    .keepalive_requests
                    .value()
                    .copied()
                    .flatten()
                    .map(|requests| (requests, upstream.keepalive_requests.place())),
            },
            None => Keeping::Unknown,
        },
        (Target::Address { address }, None) => Keeping::Unpooled {
            how: format!(
                "passes on to {address}{}, an address without a block `upstream`: it is never pooled",
                pass.by_variable.as_ref().map(|text| format!(" (`{text}`)")).unwrap_or_default()
            ),
            place: pass.place,
            half_done,
        },
        // It may be the name of a block with a pool. With a port behind the variable it is none: such a block has no
        // port.
        (Target::Variable { text }, None)
            if names_a_port(text)
                || nginx.upstreams.iter().all(|upstream| upstream.keepalive.value() == Some(&0)) =>
        {
            Keeping::Unpooled {
                how: format!(
                    "passes on to what {text} says when a request comes, past every block `upstream`: it is never pooled"
                ),
                place: pass.place,
                half_done,
            }
        }
        _ => Keeping::Unknown,
    }
}

/// True if a text with variables ends with a port.
fn names_a_port(text: &str) -> bool {
    let port = text.rsplit_once(':').map_or("", |(_, port)| port);
    !text.starts_with("unix:") && port.parse::<u16>().is_ok()
}

fn workers(configuration: &Configuration, nginx: &Nginx) -> Option<u64> {
    let seen = configuration.running.as_ref().and_then(|running| running.workers).map(u64::from);
    seen.or(match nginx.worker_processes.value()? {
        Workers::Auto => None,
        Workers::Number(number) => Some(*number),
    })
}

fn of_haproxy<'a>(
    (number, configuration): (usize, &'a Configuration),
    haproxy: &'a Haproxy,
) -> impl Iterator<Item = Route<'a>> {
    let backends = haproxy.proxies.iter().filter(|proxy| {
        matches!(proxy.kind, ProxyKind::Backend | ProxyKind::Listen)
            && proxy.mode.value().is_some_and(|mode| mode == "http")
            && !proxy.servers.is_empty()
            && !all_unix(proxy.servers.iter().map(|server| server.address.as_str()))
    });
    backends.map(move |backend| Route {
        configuration,
        number,
        passes: Passes::Haproxy(haproxy, backend),
        to: format!("backend {}", backend.name),
        place: backend.place,
        block: Some(backend.place),
        servers: servers_of_haproxy(haproxy, backend),
        keeping: keeping_of_haproxy(haproxy, backend),
        idle_ms: None,
    })
}

/// The servers of a backend. One without a port is asked at the one that the client came to.
fn servers_of_haproxy(haproxy: &Haproxy, backend: &Proxy) -> Vec<Endpoint> {
    let binds = on_the_way(haproxy, backend).flat_map(|proxy| &proxy.binds);
    let ports = binds.flat_map(|bind| address::listens_of_haproxy(&bind.address)).filter_map(|end| end.port);
    let mut ports: Vec<u16> = ports.take(MAX_PORTS).collect();
    ports.sort_unstable();
    ports.dedup();
    let servers = backend.servers.iter();
    servers.flat_map(|server| address::of_haproxy(&server.address, &ports)).take(MAX_SERVERS).collect()
}

/// A backend, and the frontends that use it: of these, the one that closes more holds.
pub(crate) fn on_the_way<'a>(haproxy: &'a Haproxy, backend: &'a Proxy) -> impl Iterator<Item = &'a Proxy> {
    let uses = |proxy: &&Proxy| used(proxy, backend) == Some(true);
    std::iter::once(backend).chain(haproxy.proxies.iter().filter(uses))
}

/// True if a frontend uses a backend; none if only requests, or the start, can tell. Both may have one name.
fn used(proxy: &Proxy, backend: &Proxy) -> Option<bool> {
    if proxy.kind == ProxyKind::Backend || std::ptr::eq(proxy, backend) {
        return Some(false);
    }
    let its = || proxy.backends.iter().filter(|used| used.name == backend.name);
    if its().any(|used| !used.conditional) {
        return if proxy.conditional { None } else { Some(true) };
    }
    // `use_backend %[...]`: what requests say, or a map.
    let by_request = |name: &str| name.contains("%[") || name.contains('$');
    let perhaps = its().next().is_some() || proxy.backends.iter().any(|used| by_request(&used.name));
    if perhaps { None } else { Some(false) }
}

/// An option about closing that stands in the same section as the one that holds, and says otherwise.
pub(crate) fn in_vain(configuration: &Configuration, proxy: &Proxy) -> Option<Evidence> {
    let said = proxy.connection_in_vain.as_ref()?;
    let option = option_of(said.value()?);
    let says =
        format!("`option {option}` has no effect: of two such options in one section the last one holds");
    Some(Evidence::new(configuration.at(said.place()?), says))
}

/// The option that says so.
pub(crate) fn option_of(mode: &str) -> &'static str {
    match mode {
        "server-close" => "http-server-close",
        "close" => "httpclose",
        "tunnel" => "http-tunnel",
        _ => "http-keep-alive",
    }
}

/// True if it is known to close connections after each answer, or may.
fn may_close(proxy: &Proxy) -> bool {
    proxy.connection.value().is_none_or(|mode| matches!(mode.as_str(), "server-close" | "close"))
}

fn keeping_of_haproxy(haproxy: &Haproxy, backend: &Proxy) -> Keeping {
    // Another section of its name may be read in its place, or none.
    if backend.conditional {
        return Keeping::Unknown;
    }
    // These options close connections of HTTP/1 only (measured with HAProxy 2.6 and `proto h2`: one for all requests).
    let others = backend.servers.iter().any(|server| server.other_protocol);
    if others && on_the_way(haproxy, backend).any(may_close) {
        return Keeping::Unknown;
    }
    for proxy in on_the_way(haproxy, backend) {
        match &proxy.connection {
            Said::Unknown { .. } => return Keeping::Unknown,
            said => match said.value().map(String::as_str) {
                Some("server-close") => {
                    let how =
                        "closes each connection after its answer (`option http-server-close`)".to_owned();
                    return Keeping::Off { how, place: said.place(), pool: None };
                }
                Some("close") => {
                    let how = "sends `Connection: close` (`option httpclose`)".to_owned();
                    return Keeping::Off { how, place: said.place(), pool: None };
                }
                _ => {}
            },
        }
    }
    let mut others = haproxy.proxies.iter().filter(|proxy| used(proxy, backend).is_none());
    if others.any(may_close) {
        return Keeping::Unknown;
    }
    if backend.http_reuse.value().is_some_and(|reuse| reuse == "never") {
        let (place, by_default) = match backend.http_reuse.place() {
            Some(place) => (place, ""),
            None => (backend.place, ", its default before 2.0"),
        };
        let name = &backend.name;
        let how = format!("does not share connections to backend {name} (`http-reuse never`{by_default})");
        return Keeping::Unpooled { how, place, half_done: false };
    }
    let mut certain = backend.servers.iter().filter(|server| !server.conditional);
    if let Some(server) = certain.find(|server| server.pool_max_conn.value() == Some(&0)) {
        let how = format!("keeps no idle connection to server {} (`pool-max-conn 0`)", server.name);
        let place = server.pool_max_conn.place().unwrap_or(server.place);
        return Keeping::Unpooled { how, place, half_done: false };
    }
    Keeping::Pooled {
        idle: idle_of_haproxy(backend),
        place: backend.servers.first().and_then(|server| server.pool_max_conn.place()),
        // Its threads share the pool of a server.
        workers: Some(1),
        requests: fewest_requests(backend),
    }
}

/// How many idle connections the servers of a backend are kept for, all together: each has a limit of its own. None if
/// one of them has no limit, or it cannot be told.
fn idle_of_haproxy(backend: &Proxy) -> Option<u64> {
    let limits = backend.servers.iter().map(|server| {
        let idle = u64::try_from(*server.pool_max_conn.value()?).ok()?;
        Some(idle.saturating_mul(made_by(server)?))
    });
    limits.collect::<Option<Vec<_>>>().map(|limits| limits.into_iter().fold(0, u64::saturating_add))
}

/// How many servers a line makes: `server-template web 1-3` three, `server` one.
pub(crate) fn made_by(server: &Server) -> Option<u64> {
    let Some(template) = &server.template else { return Some(1) };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match template.split_once('-') {
        Some((first, last)) => number(last)?.checked_sub(number(first)?)?.checked_add(1),
        None => number(template),
    }
}

/// After how many requests HAProxy closes a connection to one of the servers, the fewest: `max-reuse` does not count
/// the first.
fn fewest_requests(backend: &Proxy) -> Option<(u64, Option<FilePlace>)> {
    let limits = backend.servers.iter().filter_map(|server| {
        let more = u64::try_from(*server.max_reuse.value()?).ok()?;
        Some((more.saturating_add(1), server.max_reuse.place()))
    });
    limits.min_by_key(|(requests, _)| *requests)
}

#[cfg(test)]
mod tests;
