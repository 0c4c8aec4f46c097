//! What a configuration means: what is in force in each frontend and backend, with that of its `defaults`.

use super::Tree;
use super::in_force::{InForce, take_parameters};
use super::reader::{Argument, Path, Reader, Spoken};
use super::value::{Version, milliseconds};
use crate::nginx::shown;
use evidence::configuration::haproxy::{BackendUse, Bind, Haproxy, Proxy, ProxyKind, Server};
use evidence::{Configuration, ConfigurationProblem, FilePlace, Said};
use std::collections::BTreeMap;

/// How many proxies, and how many servers in all, are listed.
const MAX_FACTS: usize = 20_000;

/// How many sections a line may belong to, where conditions leave that open.
const MAX_OPEN: usize = 8;

/// How many sections `defaults` that may be left out are considered for one that comes from them.
const MAX_DEFAULTS: usize = 16;

/// The facts of a configuration. Files are in the order in which HAProxy is given them (`-f`); defaults are those of
/// this version (`2.6.12`, `HAProxy version 2.6.12-1+deb12u4 2026/10/17`); without one, what depends on it is unknown.
pub fn evaluate(files: &[(String, Tree)], version: Option<&str>) -> Configuration {
    let known = version.and_then(Version::parse);
    let mut evaluation = Evaluation {
        version: known,
        reader: Reader::new(version),
        open: Vec::new(),
        defaults: Vec::new(),
        facts: Haproxy { threads: processors(), proxies: Vec::new() },
        problems: Vec::new(),
        servers: 0,
    };
    for (file, (_, tree)) in (0_u32..).zip(files) {
        evaluation.problems.extend(tree.problems().iter().map(|problem| ConfigurationProblem {
            place: FilePlace { file, line: problem.place.line, column: problem.place.column },
            what: shown(&problem.what),
        }));
        evaluation.reader.begin_file();
        for line in tree.lines() {
            if let Some(line) = evaluation.reader.line(file, line) {
                evaluation.line(&line);
            }
        }
        // Each file begins without a section.
        evaluation.close_all();
    }
    Configuration {
        version: known.map(|known| known.to_string()).or_else(|| version.map(shown)),
        files: files.iter().map(|(path, _)| shown(path)).collect(),
        problems: evaluation.problems,
        haproxy: Some(evaluation.facts),
        ..Configuration::default()
    }
}

fn processors() -> Said<u64> {
    Said::Unknown { because: "as many as HAProxy may use processors".to_owned(), place: None }
}

/// A section `defaults`.
struct Defaults {
    name: Option<String>,
    place: FilePlace,
    path: Path,
    in_force: InForce,
}

/// A section that the next line may belong to.
struct Open {
    path: Path,
    what: What,
}

/// Which section, by its number among those of its kind.
enum What {
    Global,
    Defaults(usize),
    Proxy(usize, Box<InForce>),
    Other,
}

struct Evaluation {
    version: Option<Version>,
    reader: Reader,
    /// The sections that the next line may belong to: one, and those before it if it may be left out.
    open: Vec<Open>,
    defaults: Vec<Defaults>,
    facts: Haproxy,
    problems: Vec<ConfigurationProblem>,
    servers: usize,
}

/// The same, read as something else.
fn read<T>(text: Said<String>, to: impl Fn(&str) -> Option<T>) -> Said<T> {
    match text {
        Said::Written { value, place } => match to(&value) {
            Some(value) => Said::Written { value, place },
            None => Said::Unknown { because: format!("`{value}` is not understood"), place: Some(place) },
        },
        Said::Default { value } => match to(&value) {
            Some(value) => Said::Default { value },
            None => Said::default(),
        },
        Said::Unknown { because, place } => Said::Unknown { because, place },
    }
}

fn number<T: std::str::FromStr>(text: Said<String>) -> Said<T> {
    read(text, |text| text.parse().ok())
}

impl Evaluation {
    fn line(&mut self, line: &Spoken<'_>) {
        if line.begins_section() {
            return self.header(line);
        }
        let mut open = std::mem::take(&mut self.open);
        // From the last one: a section in between that is read wherever this line is takes the line.
        let mut between: Vec<&Path> = Vec::new();
        for Open { path, what } in open.iter_mut().rev() {
            if between.iter().any(|between| between.follows_from(&line.path)) {
                break;
            }
            if path.goes_with(&line.path) {
                let rival = between.iter().any(|one| one.goes_with(&line.path) && one.goes_with(path));
                let doubt = rival || !line.path.follows_from(path);
                self.line_of(what, line, doubt);
            }
            between.push(path);
        }
        self.open = open;
    }

    /// A line of a section, or perhaps of it.
    fn line_of(&mut self, section: &mut What, line: &Spoken<'_>, doubt: bool) {
        match section {
            What::Global => {
                if line.words.first().is_some_and(|word| word.is("nbthread")) {
                    self.facts.threads = number(line.said(1, doubt || !line.path.is_certain()));
                }
                self.reader.global(line);
            }
            What::Defaults(at) => {
                if let Some(defaults) = self.defaults.get_mut(*at) {
                    defaults.in_force.take(line, doubt);
                }
            }
            What::Proxy(at, in_force) => {
                if !in_force.take(line, doubt) {
                    self.own(*at, in_force, line, doubt);
                }
            }
            What::Other => {}
        }
    }

    /// A section begins.
    fn header(&mut self, line: &Spoken<'_>) {
        let mut kept = Vec::new();
        for open in std::mem::take(&mut self.open) {
            // Where that one is read this is, too.
            if line.path.follows_from(&open.path) {
                self.close(open);
            } else {
                kept.push(open);
            }
        }
        let forgotten = kept.len().saturating_sub(MAX_OPEN);
        for open in kept.drain(..forgotten).collect::<Vec<_>>() {
            self.close(open);
        }
        self.open = kept;
        let what = match line.text(0).as_str() {
            "global" => What::Global,
            "defaults" => self.begin_defaults(line),
            "frontend" => self.begin_proxy(ProxyKind::Frontend, line),
            "backend" => self.begin_proxy(ProxyKind::Backend, line),
            "listen" => self.begin_proxy(ProxyKind::Listen, line),
            _ => What::Other,
        };
        self.open.push(Open { path: line.path.clone(), what });
    }

    fn close_all(&mut self) {
        for open in std::mem::take(&mut self.open) {
            self.close(open);
        }
    }

    /// A section ends.
    fn close(&mut self, open: Open) {
        let What::Proxy(at, in_force) = open.what else { return };
        let Some(mut proxy) = self.facts.proxies.get_mut(at).map(std::mem::take) else { return };
        self.finish(&mut proxy, *in_force);
        if let Some(place) = self.facts.proxies.get_mut(at) {
            *place = proxy;
        }
    }

    fn begin_proxy(&mut self, kind: ProxyKind, line: &Spoken<'_>) -> What {
        if self.facts.proxies.len() >= MAX_FACTS {
            self.full(line.place);
            return What::Other;
        }
        let (name, from) = line.names();
        let (defaults, in_force) = self.inherited(line, from, true);
        let in_force = in_force.inherited();
        self.facts.proxies.push(Proxy {
            kind,
            name: name.map(Argument::shown).unwrap_or_default(),
            place: line.place,
            defaults,
            conditional: !line.path.is_certain(),
            ..Proxy::default()
        });
        What::Proxy(self.facts.proxies.len() - 1, Box::new(in_force))
    }

    fn begin_defaults(&mut self, line: &Spoken<'_>) -> What {
        if self.defaults.len() >= MAX_FACTS {
            self.full(line.place);
            return What::Other;
        }
        let (name, from) = line.names();
        // Without `from`, a section `defaults` begins with what HAProxy itself presets.
        let in_force = self.inherited(line, from, false).1.inherited();
        self.defaults.push(Defaults {
            name: name.map(Argument::shown),
            place: line.place,
            path: line.path.clone(),
            in_force,
        });
        What::Defaults(self.defaults.len() - 1)
    }

    /// What a section begins with: that of the section `defaults` of this name; without one, of the last, if it takes
    /// that.
    fn inherited(
        &mut self,
        line: &Spoken<'_>,
        from: Option<&Argument<'_>>,
        last: bool,
    ) -> (Option<FilePlace>, InForce) {
        let name = from.map(Argument::shown);
        let mut found: Option<(FilePlace, InForce)> = None;
        let fits = |one: &&Defaults| match &name {
            Some(name) => one.name.as_ref() == Some(name),
            None => last,
        };
        let possible = self.defaults.iter().rev().filter(fits).filter(|one| one.path.goes_with(&line.path));
        for one in possible.take(MAX_DEFAULTS) {
            found = Some(match found {
                Some((place, in_force)) => (place, in_force.or(&one.in_force)),
                None => (one.place, one.in_force.clone()),
            });
            if one.path.follows_from(&line.path) {
                return found.map_or_else(Default::default, |(place, in_force)| (Some(place), in_force));
            }
        }
        if let Some(name) = name.filter(|_| found.is_none()) {
            let what = format!("no section `defaults {name}` stands before this");
            self.problems.push(ConfigurationProblem { place: line.place, what });
        }
        // Those that were found may all be left out.
        match found {
            Some((place, in_force)) => (Some(place), in_force.or(&InForce::default())),
            None => (None, InForce::default()),
        }
    }

    fn full(&mut self, place: FilePlace) {
        let what = format!("more than {MAX_FACTS} of a kind: the rest is left out");
        if self.problems.last().is_none_or(|last| last.what != what) {
            self.problems.push(ConfigurationProblem { place, what });
        }
    }

    /// A line that is not inherited.
    fn own(&mut self, proxy: usize, in_force: &InForce, line: &Spoken<'_>, doubt: bool) {
        let Some(proxy) = self.facts.proxies.get_mut(proxy) else { return };
        let (at, conditional) = (line.place, doubt);
        let keyword = line.text(0);
        if !matches!(keyword.as_str(), "bind" | "use_backend" | "server" | "server-template") {
            return;
        }
        if self.servers + proxy.binds.len() + proxy.backends.len() >= MAX_FACTS {
            return self.full(at);
        }
        match keyword.as_str() {
            "bind" => proxy.binds.push(Bind { address: self.reader.address(line.words.get(1)), place: at }),
            "use_backend" => {
                proxy.backends.push(BackendUse {
                    name: line.text(1),
                    place: at,
                    default: false,
                    conditional,
                });
            }
            _ => {
                self.servers += 1;
                let template = keyword == "server-template";
                let mut parameters = in_force.server.clone();
                take_parameters(&mut parameters, line, doubt);
                let address = self.reader.address(line.words.get(if template { 3 } else { 2 }));
                let number = template.then(|| line.text(2));
                let server = server(line.text(1), address, at, number, parameters);
                proxy.servers.push(Server { conditional, ..server });
            }
        }
    }

    fn finish(&self, proxy: &mut Proxy, mut in_force: InForce) {
        let mut take = |name: &str, default: &str| {
            in_force.said.remove(name).unwrap_or_else(|| Said::Default { value: default.to_owned() })
        };
        proxy.mode = take("mode", "tcp");
        proxy.connection = take("connection", "keep-alive");
        proxy.connection_in_vain = in_force.in_vain.take();
        proxy.retries = number(take("retries", "3"));
        let reuse = in_force.said.remove("http-reuse");
        proxy.http_reuse = reuse.unwrap_or_else(|| match self.version {
            Some(version) if version < super::value::REUSE_BY_DEFAULT => Said::Default { value: "never".to_owned() },
            Some(_) => Said::Default { value: "safe".to_owned() },
            None => Said::Unknown {
                because: "the default depends on the version of HAProxy, which is not known: never before 2.0, safe since"
                    .to_owned(),
                place: None,
            },
        });
        let conn_failure = || Said::Default { value: vec!["conn-failure".to_owned()] };
        proxy.retry_on = in_force.retry_on.unwrap_or_else(conn_failure);
        proxy.options = in_force.options;
        if proxy.kind != ProxyKind::Backend {
            proxy.backends.extend(in_force.default_backend);
        }
        if let Some(source) = in_force.said.remove("source") {
            for server in &mut proxy.servers {
                server.source.get_or_insert_with(|| source.clone());
            }
        }
        for (name, value) in in_force.said {
            if let Some(name) = name.strip_prefix("timeout ") {
                proxy.timeouts_ms.insert(name.to_owned(), read(value, milliseconds));
            }
        }
    }
}

fn server(
    name: String,
    address: String,
    place: FilePlace,
    template: Option<String>,
    mut parameters: BTreeMap<&'static str, Said<String>>,
) -> Server {
    let says = |name: &str, plain: fn(&str) -> bool| {
        parameters.get(name).is_some_and(|said| !said.value().is_some_and(|value| plain(value)))
    };
    let other_protocol = says("proto", |value| value == "h1")
        || says("alpn", |value| !value.split(',').any(|one| one.trim() == "h2"));
    let mut take = |name: &str, default: &str| {
        parameters.remove(name).unwrap_or_else(|| Said::Default { value: default.to_owned() })
    };
    Server {
        name,
        address,
        place,
        template,
        pool_max_conn: number(take("pool-max-conn", "-1")),
        pool_low_conn: number(take("pool-low-conn", "0")),
        pool_purge_delay_ms: read(take("pool-purge-delay", "5s"), milliseconds),
        max_reuse: number(take("max-reuse", "-1")),
        maxconn: number(take("maxconn", "0")),
        source: parameters.remove("source"),
        conditional: false,
        other_protocol,
    }
}
