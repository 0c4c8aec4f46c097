//! What a configuration means: which locations pass on, to what, and with what in force.

use super::level::{Level, PoolLine, first_argument, flag, number, place, since};
use super::sources::{Item, Sources, Walk, shown};
use super::value::{POOL_LIMITS, POOLED_BY_DEFAULT, THOUSAND_REQUESTS, Version, milliseconds, target};
use super::variables::{Seen, Variables};
use super::{Ending, Word};
use evidence::configuration::nginx::{
    HttpPass, Nginx, Pass, Protocol, Server, Target, Upstream, UpstreamServer, Workers,
};
use evidence::{Configuration, ConfigurationProblem, FilePlace, Said};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// How many passes, servers or upstreams are listed, each.
const MAX_FACTS: usize = 20_000;

/// How many names and addresses of a server are listed.
const MAX_NAMES: usize = 10;

/// How deep locations may lie within each other, includes and all.
const MAX_LOCATIONS: usize = 100;

/// The facts of a configuration. Defaults are those of this version, in any of the ways in which nginx prints its own
/// (`1.22.1`, `nginx version: nginx/1.22.1`); without one, what depends on it is unknown.
pub fn evaluate(sources: &Sources, version: Option<&str>) -> Configuration {
    let mut evaluation = Evaluation {
        sources,
        walk: Walk::new(),
        version: version.and_then(Version::parse),
        facts: Nginx::default(),
        maps: BTreeMap::new(),
        variables: Variables::default(),
        names: [BTreeSet::new(), BTreeSet::new()],
        cut: None,
    };
    evaluation.main();
    let Evaluation { walk, facts, cut, version: known, .. } = evaluation;
    let mut problems = problems(sources, &walk);
    if let Some(place) = cut {
        problems.push(ConfigurationProblem {
            place,
            what: format!("more than {MAX_FACTS} of a kind: the rest is left out"),
        });
    }
    Configuration {
        version: known.map(|known| known.to_string()).or_else(|| version.map(shown)),
        files: sources.files().map(|(path, _)| shown(path)).collect(),
        problems,
        nginx: Some(facts),
        ..Configuration::default()
    }
}

/// What is wrong in the files, and what was not read.
fn problems(sources: &Sources, walk: &Walk) -> Vec<ConfigurationProblem> {
    let mut problems = Vec::new();
    for (file, (_, tree)) in (0_u32..).zip(sources.files()) {
        problems.extend(tree.problems().iter().map(|problem| ConfigurationProblem {
            place: FilePlace { file, line: problem.place.line, column: problem.place.column },
            what: shown(&problem.what),
        }));
        for ((_, include), what) in walk.left_out.range((file, 0)..=(file, u32::MAX)).take(50) {
            let place = tree.directive(*include).map(|directive| place(Item { file, directive }));
            problems.push(ConfigurationProblem { place: place.unwrap_or_default(), what: what.clone() });
        }
    }
    if sources.is_cut() {
        let what = "too many files, or too large ones: not all that is included was read".to_owned();
        problems.push(ConfigurationProblem { place: FilePlace::default(), what });
    }
    problems
}

struct Evaluation<'s> {
    sources: &'s Sources,
    walk: Walk,
    version: Option<Version>,
    facts: Nginx,
    /// What each variable that a `map` of `$http_upgrade` makes is for requests without that header, and where the
    /// map is.
    maps: BTreeMap<String, (String, FilePlace)>,
    /// The variables that `http` makes.
    variables: Variables,
    /// Names of upstreams in lower case: of `http`, of `stream`.
    names: [BTreeSet<String>; 2],
    cut: Option<FilePlace>,
}

/// Where in a server the walk is.
#[derive(Clone)]
struct Within {
    stream: bool,
    names: Vec<String>,
    location: String,
    location_place: Option<FilePlace>,
    /// The variables of the server with its locations, and of the location.
    variables: Rc<Variables>,
    its_variables: Rc<Variables>,
}

impl<'s> Evaluation<'s> {
    fn main(&mut self) {
        let top = self.sources.top(&mut self.walk);
        let workers = top.iter().rev().find(|item| item.directive.is("worker_processes"));
        self.facts.worker_processes = workers.map_or(Said::Default { value: Workers::Number(1) }, |item| {
            first_argument(*item, |text| match text {
                "auto" => Some(Workers::Auto),
                text => number(text).map(Workers::Number),
            })
        });
        self.facts.worker_connections = Said::Default { value: 512 };
        for item in &top {
            if item.directive.is("events") {
                let events = self.sources.inside(*item, &mut self.walk);
                if let Some(found) = events.iter().find(|item| item.directive.is("worker_connections")) {
                    self.facts.worker_connections = first_argument(*found, number);
                }
            }
        }
        for item in top {
            if item.directive.is("http") {
                self.block(item, false);
            } else if item.directive.is("stream") {
                self.block(item, true);
            }
        }
    }

    /// True if there is room for one more fact of a kind.
    fn room(&mut self, listed: usize, item: Item<'s>) -> bool {
        if listed >= MAX_FACTS {
            self.cut.get_or_insert_with(|| place(item));
        }
        listed < MAX_FACTS
    }

    /// `http` or `stream`: upstreams and maps first, for they may be used before they are written.
    fn block(&mut self, block: Item<'s>, stream: bool) {
        let items = self.sources.inside(block, &mut self.walk);
        let level = Level::default().within(Some(block), &items);
        self.variables = Variables::of_http(&items);
        for item in &items {
            if item.directive.is("upstream") && self.room(self.facts.upstreams.len(), *item) {
                self.upstream(*item, stream);
            } else if item.directive.is("map") {
                self.map(*item);
            }
        }
        for item in items {
            if item.directive.is("server") && self.room(self.facts.servers.len(), item) {
                self.server(item, &level, stream);
            }
        }
    }

    fn map(&mut self, block: Item<'s>) {
        let argument = |index| block.directive.argument(index).map(Word::text);
        let (Some(source), Some(variable)) = (argument(0), argument(1)) else { return };
        if !matches!(&*source, "$http_upgrade" | "${http_upgrade}") {
            return;
        }
        let entries = self.sources.inside(block, &mut self.walk);
        let value_of = |key: &str| {
            let entry = entries.iter().find(|entry| entry.directive.is(key))?;
            Some(entry.directive.argument(0).map(Word::text).unwrap_or_default().into_owned())
        };
        let value = value_of("").or_else(|| value_of("default")).unwrap_or_default();
        if !value.contains('$') {
            self.maps.insert(variable.into_owned(), (value, place(block)));
        }
    }

    fn upstream(&mut self, block: Item<'s>, stream: bool) {
        let items = self.sources.inside(block, &mut self.walk);
        let name = block.directive.argument(0).map(Word::text).unwrap_or_default();
        let find = |name: &str| items.iter().rev().copied().find(|item| item.directive.is(name));
        let servers = items.iter().filter(|item| item.directive.is("server")).take(MAX_FACTS).map(|item| {
            let has =
                |flag: &str| item.directive.arguments().skip(1).any(|word| *word.value() == *flag.as_bytes());
            UpstreamServer {
                address: item.directive.argument(0).map(Word::text).as_deref().map(shown).unwrap_or_default(),
                place: place(*item),
                backup: has("backup"),
                down: has("down"),
                resolve: has("resolve"),
            }
        });
        let pool = PoolLine::among(&items).filter(|_| !stream);
        let written = pool.map(|pool| pool.keepalive);
        let undone_by = pool.and_then(|pool| self.undone_by(pool));
        let no_pool = |value| Said::Default { value };
        let keepalive = match written {
            Some(item) if undone_by.is_some() => self.undone(item),
            Some(item) => first_argument(item, number),
            None if stream => no_pool(0),
            None => since(
                self.version,
                POOLED_BY_DEFAULT,
                0,
                32,
                "no pool before 1.29.7, `keepalive 32 local` since",
            ),
        };
        let keepalive_local = match written {
            Some(item) => {
                let value = item.directive.argument(1).is_some_and(|word| *word.value() == *b"local");
                Said::Written { value, place: place(item) }
            }
            None => keepalive.clone().map(|connections| connections > 0),
        };
        let limit = |name: &str, read: fn(&str) -> Option<u64>, default| match find(name) {
            Some(item) => first_argument(item, |text| read(text).map(Some)),
            None => default,
        };
        let requests = match self.version {
            Some(version) if version < POOL_LIMITS => Said::Default { value: None },
            version => {
                since(version, THOUSAND_REQUESTS, Some(100), Some(1000), "100 before 1.19.10, 1000 since")
            }
        };
        let idle = since(self.version, POOL_LIMITS, None, Some(60_000), "none before 1.15.3, 60 s since");
        let age = since(
            self.version,
            THOUSAND_REQUESTS,
            None,
            Some(3_600_000),
            "none before 1.19.10, one hour since",
        );
        self.names[usize::from(stream)].insert(name.to_ascii_lowercase());
        self.facts.upstreams.push(Upstream {
            name: shown(&name),
            stream,
            place: place(block),
            servers: servers.collect(),
            keepalive,
            keepalive_local,
            keepalive_undone_by: undone_by,
            keepalive_requests: limit("keepalive_requests", number, requests),
            keepalive_timeout_ms: limit("keepalive_timeout", milliseconds, idle),
            keepalive_time_ms: limit("keepalive_time", milliseconds, age),
        });
    }

    /// Where a directive stands that takes the place of a pool, or may: that depends on the version.
    fn undone_by(&self, pool: PoolLine<'s>) -> Option<FilePlace> {
        let size = first_argument(pool.keepalive, number);
        let undone = self.version.is_none_or(|version| version < POOLED_BY_DEFAULT);
        pool.method.filter(|_| undone && size.value().is_some_and(|size| *size > 0)).map(place)
    }

    /// How many connections such a pool keeps.
    fn undone(&self, keepalive: Item<'s>) -> Said<u64> {
        let place = place(keepalive);
        if self.version.is_some() {
            return Said::Written { value: 0, place };
        }
        let because = "whether the load balancing method behind it undoes it depends on the version of nginx, which is \
                       not known: it does before 1.29.7";
        Said::Unknown { because: because.to_owned(), place: Some(place) }
    }

    fn server(&mut self, block: Item<'s>, outer: &Level<'s>, stream: bool) {
        let items = self.sources.inside(block, &mut self.walk);
        let level = outer.within(Some(block), &items);
        let words = |name: &str, all: bool| -> Vec<String> {
            let found = items.iter().filter(|item| item.directive.is(name));
            let taken =
                found.flat_map(|item| item.directive.arguments().take(if all { MAX_NAMES } else { 1 }));
            taken.take(MAX_NAMES).map(|word| shown(&word.text())).collect()
        };
        let names = words("server_name", true);
        self.facts.servers.push(Server {
            listen: words("listen", false),
            names: names.clone(),
            place: place(block),
            stream,
            keepalive_timeout_ms: level.time("keepalive_timeout", 75_000),
            keepalive_requests: level.said("keepalive_requests", number, self.requests()),
        });
        let variables = Rc::new(Variables::of_server(self.sources, &items));
        let within = Within {
            stream,
            names,
            location: String::new(),
            location_place: None,
            its_variables: Rc::default(),
            variables,
        };
        self.inside(&items, &level, &within, 0);
    }

    /// How many requests a client's connection serves by default.
    fn requests(&self) -> Said<u64> {
        since(self.version, THOUSAND_REQUESTS, 100, 1000, "100 before 1.19.10, 1000 since")
    }

    /// What passes on in these directives and in the blocks within.
    fn inside(&mut self, items: &[Item<'s>], level: &Level<'s>, within: &Within, depth: usize) {
        for item in items {
            if let Some(protocol) = protocol(item.directive, within.stream) {
                if self.room(self.facts.passes.len(), *item) {
                    self.pass(*item, protocol, level, within);
                }
                continue;
            }
            let location = item.directive.is("location");
            let condition = item.directive.is("if") || item.directive.is("limit_except");
            if within.stream || !(location || condition) || depth >= MAX_LOCATIONS {
                continue;
            }
            let inner = self.sources.inside(*item, &mut self.walk);
            let mut inner_within = within.clone();
            if location {
                let words: Vec<_> = item.directive.arguments().take(3).map(Word::text).collect();
                inner_within.location = shown(&words.join(" "));
                inner_within.location_place = Some(place(*item));
                inner_within.its_variables = Rc::new(Variables::of_location(self.sources, &inner));
            }
            self.inside(&inner, &level.within(Some(*item), &inner), &inner_within, depth + 1);
        }
    }

    fn pass(&mut self, item: Item<'s>, protocol: Protocol, level: &Level<'s>, within: &Within) {
        let text = item.directive.argument(0).map(Word::text).unwrap_or_default();
        let names = &self.names[usize::from(within.stream)];
        let seen = Seen { http: &self.variables, server: &within.variables, location: &within.its_variables };
        // What `stream` sets is not followed.
        let expanded = if within.stream { None } else { seen.expand(&text) };
        let is_upstream = |name: &str| names.contains(&name.to_ascii_lowercase());
        let (target, tls) = target(protocol, expanded.as_deref().unwrap_or(&text), is_upstream);
        let by_variable = expanded.is_some() && !matches!(target, Target::Variable { .. });
        let target = match target {
            Target::Upstream { name } => Target::Upstream { name: shown(&name) },
            Target::Address { address } => Target::Address { address: shown(&address) },
            Target::Variable { text } => Target::Variable { text: shown(&text) },
            Target::Other => Target::Other,
        };
        let prefix = match protocol {
            Protocol::Http | Protocol::Stream | Protocol::Other => "proxy",
            Protocol::Fastcgi => "fastcgi",
            Protocol::Uwsgi => "uwsgi",
            Protocol::Scgi => "scgi",
            Protocol::Grpc => "grpc",
            Protocol::Memcached => "memcached",
        };
        let timeout = |what: &str| {
            if within.stream {
                level.time("proxy_timeout", 600_000)
            } else {
                level.time(&format!("{prefix}_{what}_timeout"), 60_000)
            }
        };
        let text_of = |text: &str| Some(shown(text));
        let bind = level.find(&format!("{prefix}_bind")).map(|item| first_argument(item, text_of));
        let pass = Pass {
            protocol,
            place: place(item),
            server_names: within.names.clone(),
            location: within.location.clone(),
            location_place: within.location_place,
            target,
            by_variable: by_variable.then(|| shown(&text)),
            tls: tls || level.said("proxy_ssl", flag, Said::Default { value: false }).value() == Some(&true),
            http: (protocol == Protocol::Http).then(|| self.http(level)),
            keep_conn: (protocol == Protocol::Fastcgi)
                .then(|| level.said("fastcgi_keep_conn", flag, Said::Default { value: false })),
            connect_timeout_ms: level.time(&format!("{prefix}_connect_timeout"), 60_000),
            read_timeout_ms: timeout("read"),
            send_timeout_ms: timeout("send"),
            bind: bind.filter(|bind| bind.value().is_none_or(|bind| bind != "off")),
            keepalive_timeout_ms: level.time("keepalive_timeout", 75_000),
            keepalive_requests: level.said("keepalive_requests", number, self.requests()),
        };
        self.facts.passes.push(pass);
    }

    /// Version and `Connection` header of requests to an upstream.
    fn http(&self, level: &Level<'s>) -> HttpPass {
        let told = "1.0 and `Connection: close` before 1.29.7, 1.1 without that header since";
        let default = since(self.version, POOLED_BY_DEFAULT, "1.0".to_owned(), "1.1".to_owned(), told);
        let version = level.said("proxy_http_version", |text| Some(shown(text)), default);
        let headers = level.headers();
        let connection_item = headers.and_then(|headers| {
            let mut set = headers.set.iter();
            set.find(|item| {
                item.directive
                    .argument(0)
                    .is_some_and(|name| name.value().eq_ignore_ascii_case(b"connection"))
            })
        });
        let connection = match connection_item {
            Some(item) => self.connection(*item),
            None => since(self.version, POOLED_BY_DEFAULT, "close".to_owned(), String::new(), told),
        };
        let variable = connection_item.map(variable_of);
        let connection_map = variable.and_then(|variable| self.maps.get(&variable)).map(|(_, place)| *place);
        let headers_place = headers.and_then(|headers| headers.block).map(place);
        HttpPass { version, connection, connection_map, headers_place }
    }

    fn connection(&self, item: Item<'s>) -> Said<String> {
        let text = item.directive.argument(1).map(Word::text).unwrap_or_default();
        if !text.contains('$') {
            return Said::Written { value: shown(&text), place: place(item) };
        }
        match self.maps.get(&variable_of(&item)) {
            Some((value, _)) => Said::Written { value: shown(value), place: place(item) },
            None => {
                Said::Unknown { because: format!("it is what {} is", shown(&text)), place: Some(place(item)) }
            }
        }
    }
}

/// What a header is set to, with a variable as a map names it.
fn variable_of(item: &Item<'_>) -> String {
    item.directive.argument(1).map(Word::text).unwrap_or_default().replace(['{', '}'], "")
}

/// Which protocol a directive passes on with, if it does.
fn protocol(directive: super::Directive<'_>, stream: bool) -> Option<Protocol> {
    if directive.ending() != Ending::Semicolon {
        return None;
    }
    let name = directive.name();
    Some(match &*name {
        "proxy_pass" if stream => Protocol::Stream,
        "proxy_pass" => Protocol::Http,
        "fastcgi_pass" => Protocol::Fastcgi,
        "uwsgi_pass" => Protocol::Uwsgi,
        "scgi_pass" => Protocol::Scgi,
        "grpc_pass" => Protocol::Grpc,
        "memcached_pass" => Protocol::Memcached,
        _ => return None,
    })
}
