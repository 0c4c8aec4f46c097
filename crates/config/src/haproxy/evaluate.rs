//! What a configuration means: what is in force in each frontend and backend, with that of its `defaults`.

use super::tree::PARAMETERS;
use super::value::{Version, milliseconds};
use super::{Line, Section, Tree, Word};
use crate::nginx::shown;
use evidence::configuration::haproxy::{BackendUse, Bind, Haproxy, Proxy, ProxyKind, Server};
use evidence::{Configuration, ConfigurationProblem, FilePlace, Said};
use std::collections::BTreeMap;

/// How many proxies, and how many servers in all, are listed.
const MAX_FACTS: usize = 20_000;

/// Options that say what is done with connections after an answer, and what they are called here. The last one holds.
const CONNECTION_MODES: [(&str, &str); 5] = [
    ("http-keep-alive", "keep-alive"),
    ("http-server-close", "server-close"),
    ("httpclose", "close"),
    ("forceclose", "close"),
    ("http-tunnel", "tunnel"),
];

/// The facts of a configuration. Files are in the order in which HAProxy is given them (`-f`); defaults are those of this
/// version (`2.6.12`, `HAProxy version 2.6.12-1+deb12u4 2026/10/17`); without one, what depends on it is unknown.
pub fn evaluate(files: &[(String, Tree)], version: Option<&str>) -> Configuration {
    let known = version.and_then(Version::parse);
    let mut evaluation = Evaluation {
        version: known,
        defaults: Vec::new(),
        facts: Haproxy { threads: threads(files), proxies: Vec::new() },
        problems: Vec::new(),
        servers: 0,
    };
    for (file, (_, tree)) in (0_u32..).zip(files) {
        evaluation.problems.extend(tree.problems().iter().map(|problem| ConfigurationProblem {
            place: FilePlace { file, line: problem.place.line, column: problem.place.column },
            what: shown(&problem.what),
        }));
        for section in tree.sections() {
            evaluation.section(file, section);
        }
    }
    Configuration {
        version: known.map(|known| known.to_string()).or_else(|| version.map(shown)),
        files: files.iter().map(|(path, _)| shown(path)).collect(),
        problems: evaluation.problems,
        haproxy: Some(evaluation.facts),
        ..Configuration::default()
    }
}

fn threads(files: &[(String, Tree)]) -> Said<u64> {
    let mut found =
        Said::Unknown { because: "as many as HAProxy may use processors".to_owned(), place: None };
    for (file, (_, tree)) in (0_u32..).zip(files) {
        for section in tree.sections().filter(|section| section.kind() == "global") {
            for line in section.lines().filter(|line| line.begins(&["nbthread"])) {
                found = number(written(file, line, 1, false));
            }
        }
    }
    found
}

/// What is said in a section, and what its `defaults` said: by keyword.
#[derive(Clone, Default)]
struct InForce {
    /// `mode`, `http-reuse`, `retries`, `source`; `timeout NAME` with its name; the mode of connections.
    said: BTreeMap<String, Said<String>>,
    options: BTreeMap<String, FilePlace>,
    retry_on: Option<Said<Vec<String>>>,
    default_backend: Option<BackendUse>,
    /// Parameters of `default-server`.
    server: BTreeMap<&'static str, Said<String>>,
}

/// A section `defaults`.
struct Defaults {
    name: Option<String>,
    place: FilePlace,
    in_force: InForce,
}

struct Evaluation {
    version: Option<Version>,
    defaults: Vec<Defaults>,
    facts: Haproxy,
    problems: Vec<ConfigurationProblem>,
    servers: usize,
}

fn place(file: u32, line: Line<'_>) -> FilePlace {
    let place = line.place();
    FilePlace { file, line: place.line, column: place.column }
}

/// A word of a line, if it can be known before HAProxy starts.
fn written(file: u32, line: Line<'_>, index: usize, conditional: bool) -> Said<String> {
    line.word(index).map_or_else(
        || unknown("an argument is missing", place(file, line)),
        |word| said(file, line, word, conditional),
    )
}

fn said(file: u32, line: Line<'_>, word: Word<'_>, conditional: bool) -> Said<String> {
    let place = place(file, line);
    if conditional {
        unknown("it stands between `.if` and `.endif`", place)
    } else if word.has_variable() {
        unknown("it is a variable of the environment", place)
    } else {
        Said::Written { value: shown(&word.text()), place }
    }
}

fn unknown<T>(because: &str, place: FilePlace) -> Said<T> {
    Said::Unknown { because: because.to_owned(), place: Some(place) }
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
    fn section(&mut self, file: u32, section: Section<'_>) {
        let kind = match section.kind().as_str() {
            "frontend" => ProxyKind::Frontend,
            "backend" => ProxyKind::Backend,
            "listen" => ProxyKind::Listen,
            "defaults" => return self.defaults(file, section),
            _ => return,
        };
        if self.facts.proxies.len() >= MAX_FACTS {
            return self.full(file, section.header());
        }
        let header = section.header();
        let defaults = self.find_defaults(file, header, section.from());
        let mut in_force = defaults.map(|defaults| defaults.in_force.clone()).unwrap_or_default();
        let mut proxy = Proxy {
            kind,
            name: section.name().as_deref().map(shown).unwrap_or_default(),
            place: place(file, header),
            defaults: defaults.map(|defaults| defaults.place),
            conditional: header.is_conditional(),
            ..Proxy::default()
        };
        for line in section.lines() {
            let conditional = section.doubts(line);
            if !in_force.take(file, line, conditional)
                && !self.line(&mut proxy, &in_force, file, line, conditional)
            {
                break;
            }
        }
        self.finish(&mut proxy, in_force);
        self.facts.proxies.push(proxy);
    }

    fn defaults(&mut self, file: u32, section: Section<'_>) {
        if self.defaults.len() >= MAX_FACTS {
            return self.full(file, section.header());
        }
        let header = section.header();
        // Without `from`, a section `defaults` begins with what HAProxy itself presets.
        let from = section.from().and_then(|from| self.find_defaults(file, header, Some(from)));
        let mut in_force = from.map(|defaults| defaults.in_force.clone()).unwrap_or_default();
        for line in section.lines() {
            in_force.take(file, line, line.is_conditional());
        }
        self.defaults.push(Defaults { name: section.name(), place: place(file, header), in_force });
    }

    /// The section `defaults` of this name; without one, the last.
    fn find_defaults(&mut self, file: u32, header: Line<'_>, from: Option<Word<'_>>) -> Option<&Defaults> {
        let Some(from) = from else { return self.defaults.last() };
        let name = from.text();
        let found = self.defaults.iter().rposition(|defaults| defaults.name.as_deref() == Some(&*name));
        if found.is_none() {
            let what = format!("no section `defaults {}` stands before this", shown(&name));
            self.problems.push(ConfigurationProblem { place: place(file, header), what });
        }
        found.and_then(|at| self.defaults.get(at))
    }

    fn full(&mut self, file: u32, line: Line<'_>) {
        let what = format!("more than {MAX_FACTS} of a kind: the rest is left out");
        if self.problems.last().is_none_or(|last| last.what != what) {
            self.problems.push(ConfigurationProblem { place: place(file, line), what });
        }
    }

    /// A line that is not inherited; false if there is no room for more.
    fn line(
        &mut self,
        proxy: &mut Proxy,
        in_force: &InForce,
        file: u32,
        line: Line<'_>,
        conditional: bool,
    ) -> bool {
        let text = |index| line.word(index).map(|word| shown(&word.text())).unwrap_or_default();
        let at = place(file, line);
        let keyword = text(0);
        match keyword.as_str() {
            "bind" => proxy.binds.push(Bind { address: text(1), place: at }),
            "use_backend" => {
                proxy.backends.push(BackendUse { name: text(1), place: at, default: false });
            }
            "server" | "server-template" => {
                self.servers += 1;
                let template = keyword == "server-template";
                let mut parameters = in_force.server.clone();
                take_parameters(&mut parameters, file, line, conditional);
                let address = if template { text(3) } else { text(2) };
                proxy.servers.push(server(text(1), address, at, template.then(|| text(2)), parameters));
            }
            _ => return true,
        }
        let room = self.servers + proxy.binds.len() + proxy.backends.len() < MAX_FACTS;
        if !room {
            self.full(file, line);
        }
        room
    }

    fn finish(&self, proxy: &mut Proxy, mut in_force: InForce) {
        let mut take = |name: &str, default: &str| {
            in_force.said.remove(name).unwrap_or_else(|| Said::Default { value: default.to_owned() })
        };
        proxy.mode = take("mode", "tcp");
        proxy.connection = take("connection", "keep-alive");
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

impl InForce {
    /// A line that may stand in `defaults`, too; false if it is another.
    fn take(&mut self, file: u32, line: Line<'_>, conditional: bool) -> bool {
        let words: Vec<_> = line.words().take(3).map(Word::text).collect();
        let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
        match words[..] {
            [name @ ("mode" | "http-reuse" | "retries" | "source"), ..] => {
                self.said.insert(name.to_owned(), written(file, line, 1, conditional));
            }
            ["timeout", name, ..] if self.said.len() < 100 => {
                self.said.insert(format!("timeout {}", shown(name)), written(file, line, 2, conditional));
            }
            ["retry-on", ..] => {
                let events = line.words().skip(1).take(20).map(|word| shown(&word.text())).collect();
                self.retry_on = Some(match written(file, line, 1, conditional) {
                    Said::Unknown { because, place } => Said::Unknown { because, place },
                    _ => Said::Written { value: events, place: place(file, line) },
                });
            }
            ["default_backend", name, ..] => {
                let (name, place) = (shown(name), place(file, line));
                self.default_backend = Some(BackendUse { name, place, default: true });
            }
            ["default-server", ..] => take_parameters(&mut self.server, file, line, conditional),
            ["option", name, ..] => self.option(file, line, name, conditional, true),
            ["no", "option", name, ..] => self.option(file, line, name, conditional, false),
            _ => return false,
        }
        true
    }

    fn option(&mut self, file: u32, line: Line<'_>, name: &str, conditional: bool, on: bool) {
        let at = place(file, line);
        if let Some((_, mode)) = CONNECTION_MODES.iter().find(|(option, _)| *option == name) {
            let current = self.said.get("connection").and_then(Said::value).map(String::as_str);
            if conditional {
                self.said
                    .insert("connection".to_owned(), unknown("it stands between `.if` and `.endif`", at));
            } else if on {
                self.said
                    .insert("connection".to_owned(), Said::Written { value: (*mode).to_owned(), place: at });
            } else if current == Some(mode) {
                self.said.remove("connection");
            }
        } else if !on {
            self.options.remove(name);
        } else if !conditional && self.options.len() < 200 {
            self.options.insert(shown(name), at);
        }
    }
}

/// Those of the parameters that matter.
fn take_parameters(
    parameters: &mut BTreeMap<&'static str, Said<String>>,
    file: u32,
    line: Line<'_>,
    conditional: bool,
) {
    for (word, value) in line.parameters() {
        if let Some(name) = PARAMETERS.iter().find(|name| *word.value() == *name.as_bytes()) {
            let value = value.map(|word| said(file, line, word, conditional));
            parameters
                .insert(name, value.unwrap_or_else(|| unknown("an argument is missing", place(file, line))));
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
    }
}
