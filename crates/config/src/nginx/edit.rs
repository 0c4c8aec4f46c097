//! Changes of a configuration by their meaning: a pool for what a location passes to, a directive in an upstream.

mod find;
mod plan;

use self::plan::Plan;
use super::sources::Sources;
use crate::edit::{CannotEdit, EditedFile};
use crate::{LeafKind, Place};
use evidence::FilePlace;

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Connections of this pass are kept and used again. Whatever of this is missing is added: HTTP/1.1, no
    /// `Connection: close`, `fastcgi_keep_conn on`; an upstream with a pool, made from the address where there is
    /// none. A pool that is there keeps its size.
    Pool {
        /// The place of its directive, as in [`evidence::configuration::nginx::Pass::place`].
        pass: FilePlace,
        /// How many idle connections each worker keeps, where there is no pool yet.
        connections: u64,
    },
    /// A directive in an upstream, in the place of the one of the same name if there is one: `keepalive`, `64`.
    Upstream {
        /// The place of the block, as in [`evidence::configuration::nginx::Upstream::place`].
        block: FilePlace,
        /// The directive.
        name: String,
        /// Its arguments, as they stand in a file.
        arguments: String,
    },
    /// A directive in any block, in the place of the one of the same name if the block itself has one.
    Set {
        /// The place of the block; none is outside all blocks.
        block: Option<FilePlace>,
        /// The directive.
        name: String,
        /// Its arguments, as they stand in a file.
        arguments: String,
    },
    /// A directive goes, with its block if it has one.
    Remove {
        /// Its place.
        directive: FilePlace,
    },
}

/// A configuration that was changed.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The files with the changes, to be evaluated or changed again.
    pub sources: Sources,
    /// Files that are not what they were.
    pub files: Vec<EditedFile>,
    /// What whoever reviews the change should know.
    pub notes: Vec<String>,
}

/// Makes changes, one after another; places are those before all of them. Files that nginx would refuse are not
/// changed.
///
/// ```
/// use config::nginx::{Change, Sources, edit, evaluate};
/// let text = "http {\n    upstream app {\n        server 10.0.0.1:80;\n    }\n}\n";
/// let sources = Sources::new("/etc/nginx/nginx.conf", text);
/// let block = evaluate(&sources, None).nginx.unwrap().upstreams[0].place;
/// let change = Change::Upstream { block, name: "keepalive".into(), arguments: "32".into() };
/// let edited = edit(&sources, &[change]).unwrap();
/// let after = String::from_utf8_lossy(&edited.files[0].after);
/// assert!(after.contains("        server 10.0.0.1:80;\n        keepalive 32;\n    }\n"));
/// ```
pub fn edit(sources: &Sources, changes: &[Change]) -> Result<Edited, CannotEdit> {
    let mut after = sources.clone();
    let mut notes = Vec::new();
    let mut changes = changes.to_vec();
    changes.reverse();
    while let Some(change) = changes.pop() {
        let plan = Plan::of(&after, &change)?;
        for note in plan.notes {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        for (file, splices) in plan.splices {
            let Some((path, tree)) = after.file(file) else { continue };
            if let Some(problem) = tree.problems().first() {
                return Err(CannotEdit::Broken { path: path.to_owned(), problem: problem.to_string() });
            }
            let new = super::Tree::parse(splices.apply(tree.text()));
            let parse = |bytes: &[u8]| {
                let tree = super::Tree::parse(bytes);
                let content = |leaf: &crate::Leaf| (leaf.kind, tree.text().slice(leaf.span).to_vec());
                tree.leaves().iter().map(content).collect::<Vec<(LeafKind, Vec<u8>)>>()
            };
            let held = splices.hold((tree.text(), tree.leaves()), (new.text(), new.leaves()), parse);
            if !held || !new.problems().is_empty() {
                return Err(CannotEdit::Unproven(path.to_owned()));
            }
            for place in changes.iter_mut().filter_map(place_of).filter(|place| place.file == file) {
                let offset = tree.text().offset(Place { line: place.line, column: place.column });
                let moved = offset.map(|offset| new.text().place(splices.moved(offset))).unwrap_or_default();
                (place.line, place.column) = (moved.line, moved.column);
            }
            after.replace(file, new);
        }
    }
    let files = sources
        .files()
        .zip(after.files())
        .filter(|((_, before), (_, after))| before.text().bytes() != after.text().bytes());
    let files = files.map(|((path, before), (_, after))| EditedFile {
        path: path.to_owned(),
        before: before.to_bytes(),
        after: after.to_bytes(),
    });
    Ok(Edited { files: files.collect(), sources: after, notes })
}

/// The place that a change speaks of.
fn place_of(change: &mut Change) -> Option<&mut FilePlace> {
    match change {
        Change::Pool { pass, .. } => Some(pass),
        Change::Upstream { block, .. } => Some(block),
        Change::Set { block, .. } => block.as_mut(),
        Change::Remove { directive } => Some(directive),
    }
}
