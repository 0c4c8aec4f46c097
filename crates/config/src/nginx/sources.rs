//! All files of one configuration. nginx reads files that others include; this crate reads none, so it asks.

use super::{Directive, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// How many files one configuration may have, and how many bytes in all.
const MAX_FILES: usize = 2000;
const MAX_BYTES: usize = 64 << 20;

/// How deep files may include each other.
const MAX_INCLUDES: usize = 20;

/// How many directives a configuration may have when each include stands for what it includes. A file that is included
/// in many places counts as often.
const MAX_ITEMS: usize = 1 << 20;

/// The files of one configuration.
///
/// Ask [`wanted`](Self::wanted) and answer with [`provide`](Self::provide) until nothing is wanted:
///
/// ```
/// use config::nginx::Sources;
/// let mut sources = Sources::new("/etc/nginx/nginx.conf", "http { include sites-enabled/*; }");
/// let wanted = sources.wanted();
/// assert_eq!(wanted, ["/etc/nginx/sites-enabled/*"]);
/// let site = ("/etc/nginx/sites-enabled/default".to_owned(), b"server { listen 80; }".to_vec());
/// sources.provide(&wanted[0], vec![site]);
/// assert!(sources.wanted().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Sources {
    /// Where relative names begin: the directory of the main file.
    prefix: String,
    files: Vec<(String, Tree)>,
    /// What is included and nobody has provided yet: each pattern, and how many files lie around it.
    wanted: BTreeMap<String, usize>,
    /// What is included, and lies too deep.
    too_deep: BTreeSet<String>,
    /// The files that each pattern stands for, in order.
    answers: BTreeMap<String, Vec<u32>>,
    bytes: usize,
    refused: bool,
}

/// A directive, and the file it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'s> {
    pub(super) file: u32,
    pub(super) directive: Directive<'s>,
}

/// Directives of a block with what their includes stand for, and what went wrong.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// How many directives may still come.
    left: usize,
    /// Includes that were left out, and why.
    pub(super) left_out: BTreeMap<(u32, u32), String>,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self { left: MAX_ITEMS, left_out: BTreeMap::new() }
    }
}

impl Sources {
    /// A configuration by its main file: `/etc/nginx/nginx.conf`, an absolute path.
    pub fn new(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let (path, bytes) = (path.into(), bytes.into());
        let prefix = path.rfind('/').map_or("", |slash| path.get(..slash).unwrap_or_default()).to_owned();
        let mut sources = Self {
            prefix,
            bytes: bytes.len(),
            files: Vec::new(),
            wanted: BTreeMap::new(),
            too_deep: BTreeSet::new(),
            answers: BTreeMap::new(),
            refused: false,
        };
        sources.add(path, bytes, 0);
        sources
    }

    /// One more file, with what it includes.
    fn add(&mut self, path: String, bytes: Vec<u8>, depth: usize) {
        let tree = Tree::parse(bytes);
        let includes: BTreeSet<_> = tree.all().filter_map(|one| self.pattern(one)).collect();
        for pattern in includes.into_iter().filter(|pattern| !self.answers.contains_key(pattern)) {
            if depth >= MAX_INCLUDES {
                self.too_deep.insert(pattern);
            } else {
                self.too_deep.remove(&pattern);
                let shortest = self.wanted.entry(pattern).or_insert(depth + 1);
                *shortest = (*shortest).min(depth + 1);
            }
        }
        self.files.push((path, tree));
    }

    /// What `include` directives name and nobody has provided yet: absolute paths, with `*`, `?` and `[` where several
    /// files are meant. Empty when all is known.
    pub fn wanted(&self) -> Vec<String> {
        if self.refused { Vec::new() } else { self.wanted.keys().cloned().collect() }
    }

    /// The files that a wanted pattern stands for, with their bytes; none if there is none.
    pub fn provide(&mut self, pattern: &str, mut found: Vec<(String, Vec<u8>)>) {
        // glob() sorts, and nginx takes its order.
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut answer = Vec::new();
        let depth = self.wanted.get(pattern).copied().unwrap_or(1);
        for (path, bytes) in found {
            let known = self.files.iter().position(|(name, _)| *name == path);
            let index = known.unwrap_or_else(|| {
                self.bytes = self.bytes.saturating_add(bytes.len());
                if self.files.len() >= MAX_FILES || self.bytes > MAX_BYTES {
                    self.refused = true;
                    return usize::MAX;
                }
                self.add(path, bytes, depth);
                self.files.len() - 1
            });
            answer.extend(u32::try_from(index).ok().filter(|index| *index != u32::MAX));
        }
        // Its own files may name it.
        self.wanted.remove(pattern);
        self.too_deep.remove(pattern);
        self.answers.insert(pattern.to_owned(), answer);
    }

    /// The files, the main one first.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &Tree)> {
        self.files.iter().map(|(path, tree)| (path.as_str(), tree))
    }

    /// One of the files.
    pub fn file(&self, index: u32) -> Option<(&str, &Tree)> {
        self.files.get(index as usize).map(|(path, tree)| (path.as_str(), tree))
    }

    /// Puts another tree in the place of a file's.
    pub(super) fn replace(&mut self, index: u32, tree: Tree) {
        if let Some((_, old)) = self.files.get_mut(index as usize) {
            *old = tree;
        }
    }

    /// True if not all files were taken: there were too many, or they were too large.
    pub fn is_cut(&self) -> bool {
        self.refused
    }

    /// The absolute pattern of an `include`.
    fn pattern(&self, directive: Directive<'_>) -> Option<String> {
        let name = directive.is("include").then(|| directive.argument(0)).flatten()?.text();
        Some(if name.starts_with('/') { name.into_owned() } else { format!("{}/{name}", self.prefix) })
    }

    /// The directives outside all blocks, with those of included files in the place of each `include`.
    pub(super) fn top<'s>(&'s self, walk: &mut Walk) -> Vec<Item<'s>> {
        let Some((_, tree)) = self.file(0) else { return Vec::new() };
        let mut items = Vec::new();
        self.expand(0, tree.top(), &mut vec![0], walk, &mut items);
        items
    }

    /// The directives in the block of one, with those of included files in the place of each `include`.
    pub(super) fn inside<'s>(&'s self, item: Item<'s>, walk: &mut Walk) -> Vec<Item<'s>> {
        let mut items = Vec::new();
        self.expand(item.file, item.directive.children(), &mut vec![item.file], walk, &mut items);
        items
    }

    fn expand<'s>(
        &'s self,
        file: u32,
        directives: impl Iterator<Item = Directive<'s>>,
        open: &mut Vec<u32>,
        walk: &mut Walk,
        items: &mut Vec<Item<'s>>,
    ) {
        for directive in directives {
            let Some(pattern) = self.pattern(directive) else {
                if walk.left == 0 {
                    let what = format!("more than {MAX_ITEMS} directives with all that is included");
                    walk.left_out.entry((file, directive.index())).or_insert(what);
                    return;
                }
                walk.left -= 1;
                items.push(Item { file, directive });
                continue;
            };
            let included = self.answers.get(&pattern).map(Vec::as_slice).unwrap_or_default();
            if self.too_deep.contains(&pattern) {
                walk.left_out.insert((file, directive.index()), too_deep());
            } else if included.is_empty() && !pattern.contains(['*', '?', '[']) {
                walk.left_out.insert((file, directive.index()), format!("{} is not there", shown(&pattern)));
            }
            for index in included {
                let Some((path, tree)) = self.file(*index) else { continue };
                // A file costs something even if nothing is in it.
                walk.left = walk.left.saturating_sub(1);
                let what = if open.contains(index) {
                    format!("{} includes itself", shown(path))
                } else if open.len() > MAX_INCLUDES {
                    too_deep()
                } else if walk.left == 0 {
                    format!("more than {MAX_ITEMS} directives with all that is included")
                } else {
                    open.push(*index);
                    self.expand(*index, tree.top(), open, walk, items);
                    open.pop();
                    continue;
                };
                walk.left_out.insert((file, directive.index()), what);
            }
        }
    }
}

fn too_deep() -> String {
    format!("more than {MAX_INCLUDES} files include each other")
}

/// Text of a file for people: not long, and without signs that move the cursor.
pub(crate) fn shown(text: &str) -> String {
    let short = text.chars().take(200);
    short.map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files that include the next one twice each would stand for more directives than there is memory.
    #[test]
    fn includes_that_multiply_end() {
        let file = |number: u32| format!("include {};\ninclude {};\na;\n", number + 1, number + 1);
        let mut sources = Sources::new("/0", file(0));
        while let Some(wanted) = sources.wanted().first().cloned() {
            let number: u32 = wanted.trim_start_matches('/').parse().unwrap();
            let found =
                if number < 15 { vec![(wanted.clone(), file(number).into_bytes())] } else { Vec::new() };
            sources.provide(&wanted, found);
        }
        let mut walk = Walk { left: 1000, left_out: BTreeMap::new() };
        assert!(sources.top(&mut walk).len() < 1000);
        assert_eq!(walk.left, 0);
        assert!(walk.left_out.values().any(|what| what.contains("more than")), "{:?}", walk.left_out);
    }

    /// Each answer is asked for once, and no file is looked through again for it: a chain ends where the walk would.
    #[test]
    fn a_chain_of_includes_is_asked_for_as_deep_as_it_is_followed() {
        let mut sources = Sources::new("/0", "include 1;");
        let mut asked = 0;
        while let [wanted] = sources.wanted().as_slice() {
            asked += 1;
            let next = format!("include {};\nuser u{asked};", asked + 1);
            sources.provide(wanted, vec![(wanted.clone(), next.into_bytes())]);
        }
        assert_eq!(asked, MAX_INCLUDES);
        let mut walk = Walk::new();
        assert_eq!(sources.top(&mut walk).len(), MAX_INCLUDES);
        let last = u32::try_from(MAX_INCLUDES).unwrap();
        assert_eq!(walk.left_out.into_iter().collect::<Vec<_>>(), [((last, 0), too_deep())]);
    }

    #[test]
    fn more_files_than_are_taken_are_said() {
        let mut sources = Sources::new("/n", "include *;");
        let files = (0..MAX_FILES + 5).map(|number| (format!("/{number}"), b"a;".to_vec()));
        sources.provide("/*", files.collect());
        assert!(sources.is_cut() && sources.wanted().is_empty());
        assert_eq!(sources.files().len(), MAX_FILES);
        let configuration = super::super::evaluate(&sources, None);
        assert!(configuration.problems.last().unwrap().what.contains("too many files"));
    }
}
