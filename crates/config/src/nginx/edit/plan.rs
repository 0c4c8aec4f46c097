//! Which bytes a change replaces.

use super::super::level::{PoolLine, flag, number, place};
use super::super::sources::{Item, Sources, Walk, shown};
use super::super::{Directive, Ending, Word};
use super::Change;
use super::find::{Occurrence, directive, occurrences};
use crate::edit::{CannotEdit, Lines, Splices};
use evidence::configuration::nginx::{Protocol, Target};
use std::collections::BTreeMap;

/// What a change comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// For each file.
    pub(super) splices: BTreeMap<u32, Splices>,
    /// What to know about it.
    pub(super) notes: Vec<String>,
}

impl Plan {
    pub(super) fn of(sources: &Sources, change: &Change) -> Result<Self, CannotEdit> {
        let mut plan = Self::default();
        match change {
            Change::Pool { pass, connections } => return Self::pool(sources, *pass, *connections),
            Change::Upstream { block, name, arguments } => {
                let block = directive(sources, *block)?;
                if !block.directive.is("upstream") {
                    return Err(CannotEdit::Missing(format!("an upstream at line {}", place(block).line)));
                }
                let items = sources.inside(block, &mut Walk::new());
                plan.set(sources, Some(block), &items, name, arguments)?;
            }
            Change::Set { block, name, arguments } => {
                let block = block.map(|block| directive(sources, block)).transpose()?;
                let items = match block {
                    Some(block) if block.directive.ending() != Ending::Block => {
                        return Err(CannotEdit::Missing(format!("a block at line {}", place(block).line)));
                    }
                    Some(block) => sources.inside(block, &mut Walk::new()),
                    None => sources.top(&mut Walk::new()),
                };
                plan.set(sources, block, &items, name, arguments)?;
            }
            Change::Remove { directive: at } => {
                let item = directive(sources, *at)?;
                let lines = Lines::new(item.directive.tree().text());
                plan.file(item.file).replace(lines.removal(item.directive.span()), "");
            }
        }
        Ok(plan)
    }

    /// A change in a file that is not the one of the pass may concern others that include it, too.
    fn elsewhere(&mut self, sources: &Sources, item: Item<'_>, occurrence: &Occurrence<'_>) {
        if let Some((path, _)) = sources.file(item.file).filter(|_| item.file != occurrence.pass.file) {
            self.notes.push(format!("{} changes for all that include it", shown(path)));
        }
    }

    fn file(&mut self, file: u32) -> &mut Splices {
        self.splices.entry(file).or_default()
    }

    /// A directive in a block: its arguments are replaced if it is there, or it comes last.
    fn set(
        &mut self,
        sources: &Sources,
        block: Option<Item<'_>>,
        items: &[Item<'_>],
        name: &str,
        arguments: &str,
    ) -> Result<(), CannotEdit> {
        let text = format!("{name} {arguments};");
        let check = super::super::Tree::parse(text.as_str());
        if check.all().count() != 1 || !check.problems().is_empty() || check.all().any(Directive::is_block) {
            return Err(CannotEdit::Impossible(format!("`{}` is not one directive", shown(&text))));
        }
        if let Some(item) = items.iter().rev().find(|item| item.directive.is(name)) {
            self.arguments(*item, arguments);
            return Ok(());
        }
        let (file, children) = match block {
            Some(block) => (block.file, block.directive.children()),
            None => (
                0,
                sources
                    .file(0)
                    .map(|(_, tree)| tree.top())
                    .ok_or_else(|| CannotEdit::Missing("a file".into()))?,
            ),
        };
        match children.last() {
            Some(last) => self.after(Item { file, directive: last }, &text),
            None => match block.and_then(|block| Some((block.directive, block.directive.inside()?))) {
                Some((block, inside)) => self.file(file).insert(inside.start, in_empty_block(block, &text)),
                None => self.file(file).insert(0, format!("{text}\n")),
            },
        }
        Ok(())
    }

    /// Other arguments for a directive that is there.
    fn arguments(&mut self, item: Item<'_>, arguments: &str) {
        let mut words = item.directive.arguments().map(Word::span);
        if let Some(first) = words.next() {
            let end = words.last().unwrap_or(first).end;
            self.file(item.file).replace(crate::Span { start: first.start, end }, arguments);
        }
    }

    /// Text behind a directive: on a line of its own where the directive has one.
    fn after(&mut self, item: Item<'_>, text: &str) {
        let source = item.directive.tree().text();
        let (lines, span) = (Lines::new(source), item.directive.span());
        match (lines.indentation(span.start), lines.free_until(span.end)) {
            (Some(indentation), Some(end)) => {
                let text = [source.line_ending().as_bytes(), indentation, text.as_bytes()].concat();
                self.file(item.file).insert(end, text);
            }
            _ => self.file(item.file).insert(span.end, format!(" {text}")),
        }
    }

    /// Texts before a directive: each on a line of its own where the directive has one.
    fn before(&mut self, item: Item<'_>, texts: &[String]) {
        let source = item.directive.tree().text();
        let span = item.directive.span();
        let mut all = Vec::new();
        for text in texts {
            all.extend_from_slice(text.as_bytes());
            match Lines::new(source).indentation(span.start) {
                Some(indentation) => {
                    all.extend_from_slice(source.line_ending().as_bytes());
                    all.extend_from_slice(indentation);
                }
                None => all.push(b' '),
            }
        }
        if !all.is_empty() {
            self.file(item.file).insert(span.start, all);
        }
    }

    fn pool(sources: &Sources, at: evidence::FilePlace, connections: u64) -> Result<Self, CannotEdit> {
        let mut plans = Vec::new();
        let found = occurrences(sources, at)?;
        // The upstream is the same for all; so is the server before which a new one comes.
        let Some(first) = found.first() else { return Err(CannotEdit::Missing("the pass".into())) };
        for occurrence in &found {
            let mut plan = Self::default();
            let host = plan.upstream(sources, occurrence, first, connections)?;
            plan.location(sources, occurrence, host.as_deref())?;
            plans.push(plan);
        }
        let plan = plans.pop().unwrap_or_default();
        if plans.iter().any(|other| *other != plan) {
            return Err(CannotEdit::Shared(format!("the pass at line {}", at.line)));
        }
        Ok(plan)
    }

    /// An upstream with a pool. Gives the `Host` header that has to be written, because the new name would change it.
    fn upstream(
        &mut self,
        sources: &Sources,
        occurrence: &Occurrence<'_>,
        first: &Occurrence<'_>,
        connections: u64,
    ) -> Result<Option<String>, CannotEdit> {
        let protocol = protocol(occurrence)?;
        let (target, tls) = occurrence.target(protocol);
        let line = place(occurrence.pass).line;
        match target {
            Target::Variable { text } => {
                Err(CannotEdit::Variable(format!("`{}` at line {line}", shown(&text))))
            }
            Target::Other => Err(CannotEdit::Missing(format!("what line {line} passes to"))),
            Target::Upstream { name } => {
                let Some(block) = occurrence.upstream(&name) else {
                    return Err(CannotEdit::Missing(format!("the upstream {}", shown(&name))));
                };
                let items = sources.inside(block, &mut Walk::new());
                if let Some(pool) = PoolLine::among(&items) {
                    self.pool_in_force(pool, connections);
                    return Ok(None);
                }
                let Some(last) = block.directive.children().last() else {
                    return Err(CannotEdit::Impossible(format!("the upstream {} is empty", shown(&name))));
                };
                self.after(Item { file: block.file, directive: last }, &format!("keepalive {connections};"));
                Ok(None)
            }
            Target::Address { address } if !is_plain(&address) => Err(CannotEdit::Impossible(format!(
                "`{}` at line {line} is no address that can be repeated",
                shown(&address)
            ))),
            Target::Address { address } => {
                Ok(self.new_upstream(occurrence, first, &NewUpstream { address, protocol, tls, connections }))
            }
        }
    }

    /// A pool that is there: with a size, and behind the method that would undo it.
    fn pool_in_force(&mut self, PoolLine { keepalive, method }: PoolLine<'_>, connections: u64) {
        let text = keepalive.directive.tree().text();
        let empty = keepalive.directive.argument(0).is_none_or(|word| number(&word.text()) == Some(0));
        let Some(method) = method else {
            if empty {
                self.arguments(keepalive, &connections.to_string());
            }
            return;
        };
        let span = keepalive.directive.span();
        let line = if empty {
            format!("keepalive {connections};")
        } else {
            String::from_utf8_lossy(text.slice(span)).into_owned()
        };
        self.file(keepalive.file).replace(Lines::new(text).removal(span), "");
        self.after(method, &line);
    }

    fn new_upstream(
        &mut self,
        occurrence: &Occurrence<'_>,
        first: &Occurrence<'_>,
        new: &NewUpstream,
    ) -> Option<String> {
        let address = new.address.as_str();
        let kept = new.keeps_its_name(occurrence);
        let name = if kept { address.to_owned() } else { new.name(occurrence) };
        // In the argument: what stands for the address, with the colon that ends the path of a socket.
        if let Some(word) = occurrence.pass.directive.argument(0).filter(|_| !kept) {
            let raw = String::from_utf8_lossy(word.raw()).into_owned();
            let path_ends = address.starts_with("unix:") && raw.contains(&format!("{address}:"));
            let old = if path_ends { format!("{address}:") } else { address.to_owned() };
            let scheme = raw.find("://").map_or(0, |at| at + 3);
            let (scheme, rest) = raw.split_at(scheme);
            self.file(occurrence.pass.file)
                .replace(word.span(), format!("{scheme}{}", rest.replacen(&old, &name, 1)));
        }
        let server = first.server;
        let text = server.directive.tree().text();
        let block = new.block();
        let lines = Lines::new(text);
        let start = server.directive.span().start;
        match lines.indentation(start) {
            Some(outer) => {
                let inner = server
                    .directive
                    .children()
                    .next()
                    .and_then(|child| lines.indentation(child.span().start));
                let unit = inner.and_then(|inner| inner.strip_prefix(outer)).filter(|unit| !unit.is_empty());
                let unit = String::from_utf8_lossy(unit.unwrap_or(b"    ")).into_owned();
                let (eol, outer) = (text.line_ending(), String::from_utf8_lossy(outer).into_owned());
                let body: Vec<_> =
                    block.iter().map(|line| [&outer, &unit, line.as_str(), eol].concat()).collect();
                let body = body.concat();
                let all = format!("upstream {name} {{{eol}{body}{outer}}}{eol}{eol}{outer}");
                self.file(server.file).insert(start, all);
            }
            None => {
                self.file(server.file).insert(start, format!("upstream {name} {{ {} }} ", block.join(" ")));
            }
        }
        if kept {
            return None;
        }
        let host = if address.starts_with("unix:") { "localhost" } else { address };
        match new.protocol {
            Protocol::Http => {
                self.notes.push(format!(
                    "redirects of the server to http://{} are rewritten no more unless `proxy_redirect` says so",
                    shown(host)
                ));
                Some(host.to_owned())
            }
            Protocol::Grpc => {
                self.notes.push(format!(
                    "the authority of requests is {} now, before it was {}",
                    shown(&name),
                    shown(host)
                ));
                None
            }
            _ => None,
        }
    }

    /// What has to be in force in the location.
    fn location(
        &mut self,
        sources: &Sources,
        occurrence: &Occurrence<'_>,
        host: Option<&str>,
    ) -> Result<(), CannotEdit> {
        let mut texts = Vec::new();
        match protocol(occurrence)? {
            Protocol::Fastcgi => {
                let kept = occurrence.level.find("fastcgi_keep_conn");
                let on = kept.and_then(|item| item.directive.argument(0)).and_then(|word| flag(&word.text()));
                match kept {
                    Some(_) if on == Some(true) => {}
                    Some(item) if occurrence.has(item) => {
                        self.elsewhere(sources, item, occurrence);
                        self.arguments(item, "on");
                    }
                    _ => texts.push("fastcgi_keep_conn on;".to_owned()),
                }
            }
            Protocol::Http => {
                let version = occurrence.level.find("proxy_http_version");
                let old = version
                    .and_then(|item| item.directive.argument(0))
                    .is_none_or(|word| *word.value() == *b"1.0");
                match version {
                    Some(item) if old && occurrence.has(item) => {
                        self.elsewhere(sources, item, occurrence);
                        self.arguments(item, "1.1");
                    }
                    _ if old => texts.push("proxy_http_version 1.1;".to_owned()),
                    _ => {}
                }
                self.headers(sources, occurrence, host, &mut texts)?;
            }
            _ => {}
        }
        self.before(occurrence.anchor, &texts);
        Ok(())
    }

    /// No `Connection` header, and the `Host` header if one has to be written. A header of its own hides all that a
    /// location inherits: those are repeated.
    fn headers(
        &mut self,
        sources: &Sources,
        occurrence: &Occurrence<'_>,
        host: Option<&str>,
        texts: &mut Vec<String>,
    ) -> Result<(), CannotEdit> {
        let in_force: &[Item<'_>] = occurrence.level.headers().map_or(&[], |headers| &headers.set);
        let named = |name: &str| {
            in_force.iter().copied().find(|item| {
                item.directive.argument(0).is_some_and(|word| word.text().eq_ignore_ascii_case(name))
            })
        };
        let own = in_force.iter().all(|item| occurrence.has(*item));
        let mut wanted = Vec::new();
        if let Some(host) = host.filter(|_| named("host").is_none()) {
            wanted.push(format!("proxy_set_header Host {host};"));
        }
        let connection = named("connection");
        let value =
            connection.and_then(|item| item.directive.argument(1)).map(|word| word.text().into_owned());
        let mut replaced = None;
        match (connection, value.as_deref()) {
            (None, _) => wanted.push("proxy_set_header Connection \"\";".to_owned()),
            (Some(item), Some(value)) if value.contains('$') => {
                self.connection_map(occurrence, item, value)?;
            }
            (Some(item), Some(value)) if value.eq_ignore_ascii_case("close") => {
                if own {
                    self.elsewhere(sources, item, occurrence);
                    let word = item.directive.argument(1).map(Word::span).unwrap_or_default();
                    self.file(item.file).replace(word, "\"\"");
                } else {
                    wanted.push("proxy_set_header Connection \"\";".to_owned());
                    replaced = Some(place(item));
                }
            }
            _ => {}
        }
        if wanted.is_empty() {
            return Ok(());
        }
        if !own {
            let inherited = in_force.iter().filter(|item| replaced != Some(place(**item)));
            texts.extend(inherited.map(|item| {
                let words: Vec<_> = item
                    .directive
                    .words()
                    .map(|word| String::from_utf8_lossy(word.raw()).into_owned())
                    .collect();
                format!("{};", words.join(" "))
            }));
            let line =
                occurrence.level.headers().and_then(|headers| headers.block).map(|block| place(block).line);
            self.notes.push(format!(
                "the headers set in the block at line {} are repeated: a header of its own hides them",
                line.unwrap_or_default()
            ));
        }
        texts.extend(wanted);
        Ok(())
    }

    /// The header is a variable that a `map` of `$http_upgrade` makes: requests without an upgrade get none.
    fn connection_map(
        &mut self,
        occurrence: &Occurrence<'_>,
        header: Item<'_>,
        value: &str,
    ) -> Result<(), CannotEdit> {
        let variable = value.replace(['{', '}'], "");
        let argument = |item: &Item<'_>, index| {
            item.directive.argument(index).map(|word| word.text().replace(['{', '}'], ""))
        };
        let map = occurrence.http.iter().find(|item| {
            item.directive.is("map")
                && argument(item, 0).is_some_and(|source| source == "$http_upgrade")
                && argument(item, 1).as_ref() == Some(&variable)
        });
        let Some(map) = map else {
            return Err(CannotEdit::Variable(format!(
                "the `Connection` header at line {}",
                place(header).line
            )));
        };
        let entries: Vec<_> = map.directive.children().collect();
        let entry = entries.iter().copied().find(|entry| entry.is(""));
        let default = entries.iter().find(|entry| entry.is("default")).and_then(|entry| entry.argument(0));
        let now = entry.and_then(|entry| entry.argument(0)).or(default).map(Word::text).unwrap_or_default();
        if !now.eq_ignore_ascii_case("close") && !now.contains('$') {
            return Ok(());
        }
        match (entry.and_then(|entry| entry.argument(0)), entries.last()) {
            (Some(word), _) => self.file(map.file).replace(word.span(), "''"),
            (None, Some(last)) => self.after(Item { file: map.file, directive: *last }, "'' '';"),
            (None, None) => {
                return Err(CannotEdit::Variable(format!("the map at line {}", place(*map).line)));
            }
        }
        self.notes.push(format!("the map of {} changes for every location that uses it", shown(&variable)));
        Ok(())
    }
}

/// An upstream that is made from an address.
struct NewUpstream {
    address: String,
    protocol: Protocol,
    tls: bool,
    connections: u64,
}

impl NewUpstream {
    fn host(&self) -> (&str, Option<&str>) {
        match self.address.rsplit_once(':') {
            Some((host, port)) if !self.address.starts_with("unix:") && !self.address.ends_with(']') => {
                (host, Some(port))
            }
            _ => (&self.address, None),
        }
    }

    /// True if the block can have the host's own name: then nothing else has to be changed. nginx refuses a pass with a
    /// port to such a name, and a pass to the same host with the other scheme would come to the wrong port.
    fn keeps_its_name(&self, occurrence: &Occurrence<'_>) -> bool {
        let (host, port) = self.host();
        let web = matches!(self.protocol, Protocol::Http | Protocol::Grpc);
        if port.is_some() || !web || self.address.starts_with("unix:") || self.address.starts_with('[') {
            return false;
        }
        let tree = occurrence.pass.directive.tree();
        let passes = occurrence.http.iter().map(|item| item.directive.tree()).chain([tree]);
        let mut seen = std::collections::BTreeSet::new();
        let trees = passes.filter(|tree| seen.insert(std::ptr::from_ref(*tree)));
        let scheme = match (self.protocol, self.tls) {
            (Protocol::Grpc, false) => "grpc://",
            (Protocol::Grpc, true) => "grpcs://",
            (_, false) => "http://",
            (_, true) => "https://",
        };
        trees.flat_map(super::super::Tree::all).filter(|directive| directive.name().ends_with("_pass")).all(
            |directive| {
                let text = directive.argument(0).map(Word::text).unwrap_or_default();
                let Some(at) = text.find(host) else { return true };
                let before = text.get(..at).unwrap_or_default();
                let after = text.get(at + host.len()..).unwrap_or_default();
                before == scheme && !after.starts_with(':')
            },
        )
    }

    /// A name that no block has.
    fn name(&self, occurrence: &Occurrence<'_>) -> String {
        // The name must not hold an IPv6 address: without its colons nobody would know it for one, to hide it.
        let address = match self.address.rsplit_once(']') {
            Some((_, port)) => format!("ipv6{port}"),
            None => self.address.strip_prefix("unix:").unwrap_or(&self.address).to_owned(),
        };
        let plain: String =
            address.chars().map(|sign| if sign.is_ascii_alphanumeric() { sign } else { '_' }).collect();
        let plain = plain.trim_matches('_');
        let names = std::iter::once(format!("pool_{plain}"))
            .chain((2_u32..).map(|number| format!("pool_{plain}_{number}")));
        let mut free = names.filter(|name| occurrence.upstream(name).is_none());
        free.next().unwrap_or_default()
    }

    /// What stands in the block.
    fn block(&self) -> Vec<String> {
        let (_, port) = self.host();
        let web =
            matches!(self.protocol, Protocol::Http | Protocol::Grpc) && !self.address.starts_with("unix:");
        let server = match port {
            None if web => format!("{}:{}", self.address, if self.tls { 443 } else { 80 }),
            _ => self.address.clone(),
        };
        vec![format!("server {server};"), format!("keepalive {};", self.connections)]
    }
}

/// True if an address needs neither quotes nor backslashes, wherever it is written.
fn is_plain(address: &str) -> bool {
    let sign = |sign: char| sign.is_ascii_alphanumeric() || "._-:/[]%+,=@~".contains(sign);
    !address.is_empty() && !address.ends_with(':') && address.len() <= 200 && address.chars().all(sign)
}

/// Which protocol is pooled here.
fn protocol(occurrence: &Occurrence<'_>) -> Result<Protocol, CannotEdit> {
    let name = occurrence.pass.directive.name();
    match &*name {
        "proxy_pass" => Ok(Protocol::Http),
        "fastcgi_pass" => Ok(Protocol::Fastcgi),
        "grpc_pass" => Ok(Protocol::Grpc),
        "memcached_pass" => Ok(Protocol::Memcached),
        other => Err(CannotEdit::Impossible(format!("nginx keeps no connections for `{}`", shown(other)))),
    }
}

/// Text for a block in which nothing stands yet.
fn in_empty_block(block: Directive<'_>, text: &str) -> String {
    let source = block.tree().text();
    let outer = Lines::new(source).indentation(block.span().start);
    let has_lines = block.inside().is_some_and(|inside| source.slice(inside).contains(&b'\n'));
    match outer {
        Some(outer) if has_lines => {
            let outer = String::from_utf8_lossy(outer);
            format!("{}{outer}    {text}", source.line_ending())
        }
        _ => format!(" {text} "),
    }
}
