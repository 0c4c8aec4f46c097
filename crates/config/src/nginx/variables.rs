//! Variables that one `set` decides, whichever way a request comes.
//!
//! A variable belongs to the request: another location that it came through may have set it. So it is known only
//! where the location itself sets it, or where all of the server's `set` agree; and where nothing else (a map, a
//! script, a capture of a regular expression) may.

use super::sources::{Item, Sources, Walk};
use super::{Directive, Word};
use std::collections::{BTreeMap, BTreeSet};

/// How deep blocks are followed.
const MAX_DEPTH: usize = 100;

/// How many variables are followed; more are not known.
const MAX_VARIABLES: usize = 10_000;

/// Variables that begin with a slash, always.
const PATHS: [&str; 3] = ["request_uri", "uri", "document_uri"];

/// Phases in which a script may set any variable before a request is passed on.
const SCRIPTS: [&str; 4] = ["rewrite_by_lua", "server_rewrite_by_lua", "access_by_lua", "perl"];

/// The variables of a server, or of a location without those within it.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    /// What each is set to; none if that is not the same everywhere, or not known before a request comes.
    values: BTreeMap<String, Option<String>>,
    /// Those that are set at this level itself, on no condition.
    direct: BTreeSet<String>,
    /// Those that something else than `set` gives a value.
    others: BTreeSet<String>,
    /// True if any may get another value: a script runs, or there were too many to follow.
    any: bool,
    /// True if what comes behind a line may be left out.
    breaks: bool,
}

impl Variables {
    /// Those of a server, with all its locations.
    pub(super) fn of_server(sources: &Sources, items: &[Item<'_>]) -> Self {
        let mut variables = Self::default();
        variables.read(sources, items, &mut Walk::new(), true, 0);
        variables
    }

    /// Those of a location.
    pub(super) fn of_location(sources: &Sources, items: &[Item<'_>]) -> Self {
        let mut variables = Self::default();
        variables.read(sources, items, &mut Walk::new(), false, 0);
        variables
    }

    /// Those that `http` itself makes: by maps and their like.
    pub(super) fn of_http(items: &[Item<'_>]) -> Self {
        let mut variables = Self::default();
        for item in items.iter().filter(|item| !item.directive.is("server")) {
            variables.take(item.directive);
            for entry in item.directive.children() {
                variables.captures(entry.words());
            }
        }
        variables
    }

    fn read(
        &mut self,
        sources: &Sources,
        items: &[Item<'_>],
        walk: &mut Walk,
        locations: bool,
        depth: usize,
    ) {
        if depth > MAX_DEPTH {
            self.any = true;
            return;
        }
        for Item { directive, .. } in items {
            if directive.is("set") {
                self.set(*directive, depth == 0);
            } else {
                self.take(*directive);
            }
        }
        for item in items {
            let condition = item.directive.is("if") || item.directive.is("limit_except");
            if condition || locations && item.directive.is("location") {
                let inner = sources.inside(*item, walk);
                self.read(sources, &inner, walk, locations, depth + 1);
            }
        }
    }

    fn set(&mut self, directive: Directive<'_>, direct: bool) {
        let Some(name) = directive.argument(0).and_then(|word| name_of(&word.text())) else { return };
        let value = directive.argument(1).map(|word| word.text().into_owned()).unwrap_or_default();
        let value = Some(value).filter(|value| !value.contains('$'));
        if self.values.len() >= MAX_VARIABLES {
            self.any = true;
            return;
        }
        if direct {
            self.direct.insert(name.clone());
        }
        let known = self.values.entry(name).or_insert_with(|| value.clone());
        if *known != value {
            *known = None;
        }
    }

    /// What a directive other than `set` does to variables.
    fn take(&mut self, directive: Directive<'_>) {
        let name = directive.name();
        self.breaks |= &*name == "break"
            || &*name == "rewrite" && directive.arguments().any(|word| *word.value() == *b"break");
        self.any |= SCRIPTS.iter().any(|script| name.starts_with(script)) && &*name != "perl_set"
            || name.starts_with("js_") && directive.is_block();
        let mut names: Vec<_> = directive.arguments().filter_map(|word| name_of(&word.text())).collect();
        // The last is made, of the one before it.
        if matches!(&*name, "map" | "geo" | "split_clients") {
            names = names.pop().into_iter().collect();
        } else if !(name.starts_with("set_")
            || name.ends_with("_set")
            || name.starts_with("js_")
            || &*name == "eval")
        {
            names.clear();
        }
        self.others(names);
        self.captures(directive.arguments());
    }

    /// Named groups of regular expressions are variables: `(?<name>...)`.
    fn captures<'w>(&mut self, words: impl Iterator<Item = Word<'w>>) {
        for word in words {
            let text = word.text();
            let groups = text.split("(?").skip(1).filter_map(|rest| {
                let rest = rest.strip_prefix('P').unwrap_or(rest);
                let (name, _) = rest.strip_prefix(['<', '\''])?.split_once(['>', '\''])?;
                name_of(&format!("${name}"))
            });
            self.others(groups.collect());
        }
    }

    fn others(&mut self, names: Vec<String>) {
        if self.others.len() + names.len() > MAX_VARIABLES {
            self.any = true;
            return;
        }
        self.others.extend(names);
    }
}

/// The variables that a pass sees.
#[derive(Clone, Copy)]
pub(super) struct Seen<'v> {
    pub(super) http: &'v Variables,
    pub(super) server: &'v Variables,
    pub(super) location: &'v Variables,
}

impl Seen<'_> {
    /// A text with what its variables stand for; none if it has none, or one is not known.
    pub(super) fn expand(self, text: &str) -> Option<String> {
        let mut expanded = String::new();
        let mut rest = text;
        let mut found = false;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let (name, past) = if let Some(inner) = after.strip_prefix('{') {
                inner.split_once('}')?
            } else {
                let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                after.split_at_checked(after.bytes().take_while(|byte| is_name(byte)).count())?
            };
            // What is asked for at the server may be anything: it comes behind the host.
            let host = expanded.split_once("://").map(|(_, host)| host);
            if host.is_some_and(|host| host.contains(['/', '?']) || !host.is_empty() && PATHS.contains(&name))
            {
                return found.then_some(expanded);
            }
            expanded.push_str(&self.value(&name_of(&format!("${name}"))?)?);
            found = true;
            rest = past;
        }
        expanded.push_str(rest);
        found.then_some(expanded)
    }

    fn value(self, name: &str) -> Option<String> {
        let all = [self.http, self.server, self.location];
        if all.iter().any(|one| one.any || one.others.contains(name)) {
            return None;
        }
        let own = self.location.direct.contains(name);
        if own && !self.location.breaks {
            return self.location.values.get(name)?.clone();
        }
        let set = own || self.server.direct.contains(name);
        if set { self.server.values.get(name)?.clone() } else { None }
    }
}

/// The name of a variable, `$name`, as nginx compares them.
fn name_of(text: &str) -> Option<String> {
    let name = text.strip_prefix('$')?;
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain.then(|| name.to_ascii_lowercase())
}
