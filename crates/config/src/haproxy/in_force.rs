//! What is in force in a section: what it says, and what its `defaults` said.

use super::reader::{Argument, BETWEEN, Spoken, unknown};
use evidence::configuration::haproxy::BackendUse;
use evidence::{FilePlace, Said};
use std::collections::BTreeMap;

/// Options that say what is done with connections after an answer, and what they are called here. The last one holds
/// (measured with HAProxy 2.6: `httpclose` and `http-keep-alive` in one backend, in both orders).
const CONNECTION_MODES: [(&str, &str); 5] = [
    ("http-keep-alive", "keep-alive"),
    ("http-server-close", "server-close"),
    ("httpclose", "close"),
    ("forceclose", "close"),
    ("http-tunnel", "tunnel"),
];

/// What is said in a section, and what its `defaults` said: by keyword.
#[derive(Clone, Default)]
pub(super) struct InForce {
    /// `mode`, `http-reuse`, `retries`, `source`; `timeout NAME` with its name; the mode of connections.
    pub(super) said: BTreeMap<String, Said<String>>,
    pub(super) options: BTreeMap<String, FilePlace>,
    /// What was said of the mode of connections in the same section, before another line said otherwise.
    pub(super) in_vain: Option<Said<String>>,
    /// True if this section says itself what is done with connections.
    own_connection: bool,
    pub(super) retry_on: Option<Said<Vec<String>>>,
    pub(super) default_backend: Option<BackendUse>,
    /// Parameters of `default-server`.
    pub(super) server: BTreeMap<&'static str, Said<String>>,
}

impl InForce {
    /// A line that may stand in `defaults`, too; false if it is another. `doubt` if it may be left out.
    pub(super) fn take(&mut self, line: &Spoken<'_>, doubt: bool) -> bool {
        let words: Vec<_> = (0..3).map(|index| line.text(index)).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        match words[..] {
            [name @ ("mode" | "http-reuse" | "retries" | "source"), ..] => {
                self.said.insert(name.to_owned(), line.said(1, doubt));
            }
            ["timeout", name, _] if self.said.len() < 100 => {
                self.said.insert(format!("timeout {name}"), line.said(2, doubt));
            }
            ["retry-on", ..] => {
                let events: Vec<_> = line.words.iter().skip(1).take(20).collect();
                let unclear = events.iter().find(|event| doubt || event.is_unknown());
                let place = line.place;
                self.retry_on = Some(match unclear.map(|event| line.said_of(event, doubt)) {
                    Some(Said::Unknown { because, place }) => Said::Unknown { because, place },
                    _ if events.is_empty() => unknown("an argument is missing", place),
                    _ => Said::Written { value: events.iter().map(|event| event.shown()).collect(), place },
                });
            }
            ["default_backend", name, _] => {
                let conditional = doubt;
                self.default_backend =
                    Some(BackendUse { name: name.to_owned(), place: line.place, default: true, conditional });
            }
            ["default-server", ..] => take_parameters(&mut self.server, line, doubt),
            ["option", _, _] => self.option(line, 1, doubt, true),
            ["no", "option", _] => self.option(line, 2, doubt, false),
            _ => return false,
        }
        true
    }

    fn option(&mut self, line: &Spoken<'_>, index: usize, doubt: bool, on: bool) {
        let name = line.text(index);
        let mode = CONNECTION_MODES.iter().find(|(option, _)| *option == name).map(|(_, mode)| *mode);
        // A variable may be any of them.
        let unclear = line.words.get(index).is_some_and(Argument::is_unknown);
        if mode.is_some() && doubt || unclear {
            let said = line.said(index, doubt);
            let because = said.because().unwrap_or(BETWEEN);
            self.said.insert("connection".to_owned(), unknown(because, line.place));
            self.in_vain = None;
        } else if let Some(mode) = mode {
            let current = self.said.get("connection").and_then(Said::value).map(String::as_str);
            if on {
                let otherwise = self.own_connection && current.is_some_and(|current| current != mode);
                let said = Said::Written { value: mode.to_owned(), place: line.place };
                let before = self.said.insert("connection".to_owned(), said);
                self.in_vain = before.filter(|_| otherwise);
                self.own_connection = true;
            } else if current == Some(mode) {
                self.said.remove("connection");
                self.in_vain = None;
            }
        } else if !on {
            self.options.remove(&name);
        } else if !doubt && self.options.len() < 200 {
            self.options.insert(name, line.place);
        }
    }

    /// The same for a section that begins with it: to say otherwise there is what `defaults` are for.
    pub(super) fn inherited(self) -> Self {
        Self { own_connection: false, ..self }
    }

    /// What holds in any case where it is either this or the other that is in force.
    pub(super) fn or(mut self, other: &Self) -> Self {
        self.said = either(self.said, &other.said);
        self.server = either(self.server, &other.server);
        self.in_vain = self.in_vain.filter(|said| Some(said) == other.in_vain.as_ref());
        self.options.retain(|name, _| other.options.contains_key(name));
        let events = |said: &Option<Said<Vec<String>>>| said.as_ref().and_then(Said::value).cloned();
        if events(&self.retry_on) != events(&other.retry_on) {
            let place = [&self.retry_on, &other.retry_on].into_iter().flatten().find_map(Said::place);
            self.retry_on = Some(Said::Unknown { because: OF_DEFAULTS.to_owned(), place });
        }
        let backend = |one: &Option<BackendUse>| one.as_ref().map(|used| used.name.clone());
        if backend(&self.default_backend) != backend(&other.default_backend) {
            self.default_backend = self.default_backend.or_else(|| other.default_backend.clone());
            self.default_backend.iter_mut().for_each(|used| used.conditional = true);
        }
        self
    }
}

/// Why what `defaults` say is not certain.
const OF_DEFAULTS: &str = "its `defaults` stand between `.if` and `.endif`";

/// What both say, and as unknown what one of them says otherwise, or not at all.
fn either<K: Ord + Clone>(
    mut one: BTreeMap<K, Said<String>>,
    other: &BTreeMap<K, Said<String>>,
) -> BTreeMap<K, Said<String>> {
    let unclear =
        |said: &Said<String>| Said::Unknown { because: OF_DEFAULTS.to_owned(), place: said.place() };
    for (key, said) in &mut one {
        let same =
            other.get(key).is_some_and(|other| said.value().is_some() && other.value() == said.value());
        if !same {
            *said = unclear(said);
        }
    }
    for (key, said) in other {
        one.entry(key.clone()).or_insert_with(|| unclear(said));
    }
    one
}

/// Those of the parameters of a server that matter.
pub(super) fn take_parameters(
    parameters: &mut BTreeMap<&'static str, Said<String>>,
    line: &Spoken<'_>,
    doubt: bool,
) {
    for (name, value) in line.parameters() {
        let value = value.map(|value| line.said_of(value, doubt));
        parameters.insert(name, value.unwrap_or_else(|| unknown("an argument is missing", line.place)));
    }
}
