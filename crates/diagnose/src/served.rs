//! What nginx and HAProxy are told about the connections of their clients: a [`Served`] for each place they listen.

use crate::repair;
use crate::wording::counted;
use crate::{Applicability, Change, Evidence, Remedy};
use config::{Edit, haproxy, nginx};
use evidence::configuration::address;
use evidence::configuration::haproxy::Proxy;
use evidence::configuration::nginx::Server;
use evidence::{Case, Configuration, Endpoint, FilePlace, Said};

/// After so many requests a connection is hardly kept.
const HARDLY_KEPT: u64 = 10;

/// How long idle connections are kept where none were: nginx's default.
const USUAL_MS: u64 = 75_000;

/// Where clients are served, and how long their connections are kept.
#[derive(Clone, Debug)]
pub(crate) struct Served<'a> {
    /// With its number in the case.
    pub(crate) configuration: (usize, &'a Configuration),
    /// `nginx` or `HAProxy`.
    pub(crate) program: &'static str,
    /// The block or section.
    pub(crate) place: FilePlace,
    listens: Vec<Endpoint>,
    /// How long an idle connection is kept, in milliseconds; 0 is not at all. And where that is said.
    pub(crate) idle: Option<(u64, Option<FilePlace>)>,
    /// After how many requests a connection is closed, and where that is said.
    requests: Option<(u64, Option<FilePlace>)>,
    /// Where it is said that connections are closed after each answer.
    closes: Option<FilePlace>,
}

/// Where a configuration listens for clients that speak HTTP.
pub(crate) fn served((number, configuration): (usize, &Configuration)) -> Vec<Served<'_>> {
    let servers = configuration.nginx.iter().flat_map(|nginx| &nginx.servers).filter(|server| !server.stream);
    let of_nginx = servers.map(|server| of_nginx((number, configuration), server));
    let proxies = configuration.haproxy.iter().flat_map(|haproxy| &haproxy.proxies);
    let of_http = proxies.filter(|proxy| proxy.mode.value().is_some_and(|mode| mode == "http"));
    let of_haproxy = of_http.map(|proxy| of_haproxy((number, configuration), proxy));
    of_nginx.chain(of_haproxy).collect()
}

/// The server at a port of a namespace, if its files are known and say that connections are hardly kept.
pub(crate) fn hardly_kept<'a>(case: &'a Case, netns: &str, port: Option<u16>) -> Option<Served<'a>> {
    let is_here = |configuration: &Configuration| {
        configuration.running.as_ref().is_none_or(|running| running.netns == netns)
    };
    let all = case.configurations.iter().enumerate().filter(|(_, configuration)| is_here(configuration));
    let at_port = |served: &Served<'_>| served.listens.iter().any(|listen| listen.port == port);
    let hardly = |served: &Served<'_>| served.says().is_some();
    all.flat_map(served).filter(at_port).find(hardly).filter(|_| port.is_some())
}

fn of_nginx<'a>(configuration: (usize, &'a Configuration), server: &'a Server) -> Served<'a> {
    let written = server.listen.iter().map(String::as_str);
    // Started by root, which it is wherever it serves this port; else it would be 8000.
    let by_default = server.listen.is_empty().then_some("*:80");
    Served {
        configuration,
        program: "nginx",
        place: server.place,
        listens: written.chain(by_default).flat_map(address::listens_of_nginx).collect(),
        idle: known(&server.keepalive_timeout_ms),
        requests: known(&server.keepalive_requests),
        closes: None,
    }
}

fn of_haproxy<'a>(configuration: (usize, &'a Configuration), proxy: &'a Proxy) -> Served<'a> {
    let closes = proxy.connection.value().is_some_and(|mode| mode == "close");
    Served {
        configuration,
        program: "HAProxy",
        place: proxy.place,
        listens: proxy.binds.iter().flat_map(|bind| address::listens_of_haproxy(&bind.address)).collect(),
        idle: proxy.keep_alive_ms().and_then(known),
        requests: None,
        closes: closes.then(|| proxy.connection.place()).flatten(),
    }
}

fn known(said: &Said<u64>) -> Option<(u64, Option<FilePlace>)> {
    said.value().map(|value| (*value, said.place()))
}

impl Served<'_> {
    /// True if clients of this server come here.
    pub(crate) fn meets(&self, server: Endpoint) -> bool {
        address::are_met(&self.listens, server)
    }

    /// True if it listens on this address, and not on all of them.
    pub(crate) fn names(&self, server: Endpoint) -> bool {
        server.address.is_some() && self.listens.contains(&server)
    }

    /// Another time for which idle connections are kept.
    pub(crate) fn idle_timeout(&self, ms: u64) -> Change {
        let time = repair::time(ms);
        if self.configuration.1.nginx.is_some() {
            return self.set_in_nginx("keepalive_timeout", time);
        }
        let keyword = ["timeout", "http-keep-alive"].map(str::to_owned).to_vec();
        let what = format!("`timeout http-keep-alive {time}` for the server there");
        let edit = haproxy::Change::Set { section: self.place, keyword, arguments: time };
        repair::change(self.configuration, self.place, what, Edit::Haproxy(edit))
    }

    fn set_in_nginx(&self, name: &str, arguments: String) -> Change {
        let what = format!("`{name} {arguments};` for the server there");
        let edit = nginx::Change::Set { block: Some(self.place), name: name.to_owned(), arguments };
        repair::change(self.configuration, self.place, what, Edit::Nginx(edit))
    }

    /// The line that says that connections are hardly kept, as evidence; none if they are.
    pub(crate) fn says(&self) -> Option<Evidence> {
        let at = |place: FilePlace| self.configuration.1.at(place);
        let program = self.program;
        if let Some(place) = self.closes {
            return Some(Evidence::new(
                at(place),
                format!("{program} closes after each answer (`option httpclose`)"),
            ));
        }
        match (self.idle, self.requests) {
            (Some((0, Some(place))), _) => Some(Evidence::new(
                at(place),
                format!("{program} closes after each answer (`keepalive_timeout 0`)"),
            )),
            (_, Some((requests, Some(place)))) if requests <= HARDLY_KEPT => {
                let requests = counted(requests, "request", "requests");
                Some(Evidence::new(at(place), format!("{program} closes each connection after {requests}")))
            }
            _ => None,
        }
    }

    /// What lets it keep connections.
    pub(crate) fn repair(&self) -> Vec<Change> {
        if self.closes.is_some() {
            let what = "connections stay open after an answer".to_owned();
            let edit = haproxy::Change::KeepAlive { section: self.place };
            return vec![repair::change(self.configuration, self.place, what, Edit::Haproxy(edit))];
        }
        let mut changes = Vec::new();
        if matches!(self.idle, Some((0, Some(_)))) {
            changes.push(self.idle_timeout(USUAL_MS));
        }
        if self.requests.is_some_and(|(requests, place)| requests <= HARDLY_KEPT && place.is_some()) {
            changes.push(self.set_in_nginx("keepalive_requests", "1000".to_owned()));
        }
        changes
    }

    /// The remedy, carried out.
    pub(crate) fn carried_out(&self, remedy: Remedy) -> Remedy {
        remedy.carried_out(Applicability::Unsafe, self.repair(), &repair::GUARDS)
    }
}
