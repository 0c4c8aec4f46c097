//! Where a pass is: the blocks around it, through all includes, and what is in force there.

use super::super::level::{Level, place};
use super::super::sources::{Item, Sources, Walk};
use super::super::value::target;
use crate::edit::CannotEdit;
use evidence::FilePlace;
use evidence::configuration::nginx::{Protocol, Target};
use std::collections::BTreeSet;
use std::rc::Rc;

/// One of the ways in which a configuration comes by a pass: a file that is included twice has two.
pub(super) struct Occurrence<'s> {
    /// The directive itself.
    pub(super) pass: Item<'s>,
    /// What to put directives before that are to stand in the location: the pass, or the `if` around it.
    pub(super) anchor: Item<'s>,
    /// What is in force in the location.
    pub(super) level: Level<'s>,
    /// The location's own directives, includes resolved.
    pub(super) own: Rc<[Item<'s>]>,
    /// The block `server` around it, and what stands in the block around that.
    pub(super) server: Item<'s>,
    pub(super) http: Rc<[Item<'s>]>,
}

/// The directive at a place.
pub(super) fn directive(sources: &Sources, at: FilePlace) -> Result<Item<'_>, CannotEdit> {
    let found = sources.file(at.file).and_then(|(_, tree)| {
        let mut all = tree.all().map(|directive| Item { file: at.file, directive });
        all.find(|item| place(*item) == at)
    });
    found.ok_or_else(|| CannotEdit::Missing(format!("a directive at line {} of file {}", at.line, at.file)))
}

struct Search<'s> {
    sources: &'s Sources,
    walk: Walk,
    at: FilePlace,
    found: Vec<Occurrence<'s>>,
}

/// The place inside `http` where the search is.
struct Around<'a, 's> {
    http: &'a Rc<[Item<'s>]>,
    server: Item<'s>,
}

/// All ways to the pass at a place in `http`; at least one.
pub(super) fn occurrences(sources: &Sources, at: FilePlace) -> Result<Vec<Occurrence<'_>>, CannotEdit> {
    let mut search = Search { sources, walk: Walk::new(), at, found: Vec::new() };
    let top = sources.top(&mut search.walk);
    for http in top.into_iter().filter(|item| item.directive.is("http")) {
        let items: Rc<[_]> = sources.inside(http, &mut search.walk).into();
        let level = Level::default().within(Some(http), &items);
        for server in items.iter().copied().filter(|item| item.directive.is("server")) {
            let inner = sources.inside(server, &mut search.walk);
            let around = Around { http: &items, server };
            search.locations(&inner, &level.within(Some(server), &inner), &around, 0);
        }
    }
    if search.found.is_empty() {
        return Err(CannotEdit::Missing(format!(
            "a location that passes on at line {} of file {}",
            at.line, at.file
        )));
    }
    Ok(search.found)
}

impl<'s> Search<'s> {
    /// Looks at the locations among these directives, and into them.
    fn locations(&mut self, items: &[Item<'s>], level: &Level<'s>, around: &Around<'_, 's>, depth: usize) {
        for location in items.iter().copied().filter(|item| item.directive.is("location")) {
            if depth > 100 || self.found.len() > 100 {
                return;
            }
            let own: Rc<[_]> = self.sources.inside(location, &mut self.walk).into();
            let inner = level.within(Some(location), &own);
            for item in own.iter() {
                if let Some(pass) = self.passes(*item) {
                    self.found.push(Occurrence {
                        pass,
                        anchor: *item,
                        level: inner.clone(),
                        own: Rc::clone(&own),
                        server: around.server,
                        http: Rc::clone(around.http),
                    });
                }
            }
            self.locations(&own, &inner, around, depth + 1);
        }
    }

    /// The pass, if it is this directive or in a condition that this is.
    fn passes(&mut self, item: Item<'s>) -> Option<Item<'s>> {
        if place(item) == self.at {
            return Some(item);
        }
        if !(item.directive.is("if") || item.directive.is("limit_except")) {
            return None;
        }
        let inner = self.sources.inside(item, &mut self.walk);
        inner.into_iter().find(|item| place(*item) == self.at)
    }
}

impl<'s> Occurrence<'s> {
    /// The blocks `upstream`.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = Item<'s>> {
        self.http.iter().copied().filter(|item| item.directive.is("upstream"))
    }

    /// The block of this name.
    pub(super) fn upstream(&self, name: &str) -> Option<Item<'s>> {
        self.upstreams().find(|item| {
            item.directive.argument(0).is_some_and(|word| word.text().eq_ignore_ascii_case(name))
        })
    }

    /// Where the pass goes.
    pub(super) fn target(&self, protocol: Protocol) -> (Target, bool) {
        let names: BTreeSet<String> = self
            .upstreams()
            .filter_map(|item| Some(item.directive.argument(0)?.text().to_ascii_lowercase()))
            .collect();
        let text = self.pass.directive.argument(0).map(super::super::Word::text).unwrap_or_default();
        target(protocol, &text, |name| names.contains(&name.to_ascii_lowercase()))
    }

    /// True if a directive stands in the location itself, not around it.
    pub(super) fn has(&self, item: Item<'_>) -> bool {
        self.own.iter().any(|own| place(*own) == place(item))
    }
}
