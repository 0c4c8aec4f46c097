//! Changes of a configuration by their meaning: connections to servers that are kept, a line in a section, a parameter
//! of a server.

use super::{Line, Section, Tree};
use crate::edit::{CannotEdit, EditedFile, Lines, Splices};
use crate::nginx::shown;
use crate::{LeafKind, Place};
use evidence::FilePlace;

/// Options that close connections after each answer.
const CLOSING: [&str; 4] = ["httpclose", "http-server-close", "forceclose", "http-tunnel"];

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Connections stay open after an answer, on this section's side: options that close them go, and where they are
    /// set in `defaults`, `option http-keep-alive` takes their place.
    KeepAlive {
        /// The place of the section, as in [`evidence::configuration::haproxy::Proxy::place`].
        section: FilePlace,
    },
    /// A line in a section, in the place of the one that begins with the same words: `timeout server`, `30s`.
    Set {
        /// The place of the section.
        section: FilePlace,
        /// The words that it begins with: `["timeout", "server"]`, `["http-reuse"]`.
        keyword: Vec<String>,
        /// What comes after them, as it stands in a file.
        arguments: String,
    },
    /// A parameter of a server: `pool-max-conn`, `100`.
    Server {
        /// The place of the server, as in [`evidence::configuration::haproxy::Server::place`].
        server: FilePlace,
        /// The parameter.
        name: String,
        /// Its argument.
        value: String,
    },
    /// A line goes; a comment behind it stays.
    Remove {
        /// The place of the line.
        line: FilePlace,
    },
}

/// A configuration that was changed.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The files with the changes, to be evaluated or changed again.
    pub sources: Vec<(String, Tree)>,
    /// Files that are not what they were.
    pub files: Vec<EditedFile>,
}

/// Makes changes, one after another; places are those before all of them. Files that HAProxy would refuse for their
/// form are not changed.
///
/// ```
/// use config::haproxy::{Change, Tree, edit, evaluate};
/// let text = "backend app\n    option http-server-close\n    server a 10.0.0.1:80\n";
/// let files = [("/etc/haproxy/haproxy.cfg".to_owned(), Tree::parse(text))];
/// let section = evaluate(&files, None).haproxy.unwrap().proxies[0].place;
/// let edited = edit(&files, &[Change::KeepAlive { section }]).unwrap();
/// assert_eq!(edited.files[0].after, b"backend app\n    server a 10.0.0.1:80\n");
/// ```
pub fn edit(files: &[(String, Tree)], changes: &[Change]) -> Result<Edited, CannotEdit> {
    let mut after = files.to_vec();
    let mut changes = changes.to_vec();
    changes.reverse();
    while let Some(mut change) = changes.pop() {
        let file = place_of(&mut change).file;
        let sections: Vec<_> = files_before(&after, file).collect();
        let Some((path, tree)) = after.get(file as usize) else {
            return Err(CannotEdit::Missing(format!("file {file}")));
        };
        let splices = plan(tree, &sections, &change)?;
        if let Some(problem) = tree.problems().first() {
            return Err(CannotEdit::Broken { path: path.clone(), problem: problem.to_string() });
        }
        let new = Tree::parse(splices.apply(tree.text()));
        let parse = |bytes: &[u8]| {
            let tree = Tree::parse(bytes);
            let content = |leaf: &crate::Leaf| (leaf.kind, tree.text().slice(leaf.span).to_vec());
            tree.leaves().iter().map(content).collect::<Vec<(LeafKind, Vec<u8>)>>()
        };
        let held = splices.hold((tree.text(), tree.leaves()), (new.text(), new.leaves()), parse);
        if !held || !new.problems().is_empty() || new.sections().count() != tree.sections().count() {
            return Err(CannotEdit::Unproven(path.clone()));
        }
        for place in changes.iter_mut().map(place_of).filter(|place| place.file == file) {
            let offset = tree.text().offset(Place { line: place.line, column: place.column });
            let moved = offset.map(|offset| new.text().place(splices.moved(offset))).unwrap_or_default();
            (place.line, place.column) = (moved.line, moved.column);
        }
        if let Some((_, tree)) = after.get_mut(file as usize) {
            *tree = new;
        }
    }
    let pairs =
        files.iter().zip(&after).filter(|((_, old), (_, new))| old.text().bytes() != new.text().bytes());
    let edited = pairs.map(|((path, old), (_, new))| EditedFile {
        path: path.clone(),
        before: old.to_bytes(),
        after: new.to_bytes(),
    });
    Ok(Edited { files: edited.collect(), sources: after })
}

fn place_of(change: &mut Change) -> &mut FilePlace {
    match change {
        Change::KeepAlive { section } | Change::Set { section, .. } => section,
        Change::Server { server, .. } => server,
        Change::Remove { line } => line,
    }
}

/// The files up to and with this one.
fn files_before(files: &[(String, Tree)], file: u32) -> impl Iterator<Item = &Tree> {
    files.iter().take(file as usize + 1).map(|(_, tree)| tree)
}

fn section_at(tree: &Tree, at: FilePlace) -> Result<Section<'_>, CannotEdit> {
    let mut sections = tree.sections();
    let found = sections.find(|section| section.place() == Place { line: at.line, column: at.column });
    found.ok_or_else(|| CannotEdit::Missing(format!("a section at line {}", at.line)))
}

fn line_at(tree: &Tree, at: FilePlace) -> Result<Line<'_>, CannotEdit> {
    let mut lines = tree.lines();
    let found = lines.find(|line| line.place() == Place { line: at.line, column: at.column });
    found.ok_or_else(|| CannotEdit::Missing(format!("a line with words at line {}", at.line)))
}

/// Which bytes a change replaces. `trees` are the files up to this one.
fn plan(tree: &Tree, trees: &[&Tree], change: &Change) -> Result<Splices, CannotEdit> {
    let mut splices = Splices::default();
    match change {
        Change::Remove { line } => remove(tree, line_at(tree, *line)?, &mut splices),
        Change::Set { section, keyword, arguments } => {
            set(tree, section_at(tree, *section)?, keyword, arguments, &mut splices)?;
        }
        Change::Server { server, name, value } => {
            let line = line_at(tree, *server)?;
            if !(line.begins(&["server"])
                || line.begins(&["server-template"])
                || line.begins(&["default-server"]))
            {
                return Err(CannotEdit::Missing(format!("a server at line {}", server.line)));
            }
            if line.words().count() < line.before_parameters() {
                return Err(CannotEdit::Impossible(format!(
                    "line {}: a server without address",
                    server.line
                )));
            }
            one_line(&format!("{name} {value}"), 2)?;
            // The last one holds.
            match line.parameters().filter(|(word, _)| *word.value() == *name.as_bytes()).last() {
                Some((_, Some(old))) => splices.replace(old.span(), value.as_bytes()),
                Some((_, None)) => splices.insert(line.span().end, format!(" {value}")),
                None => splices.insert(line.span().end, format!(" {name} {value}")),
            }
        }
        Change::KeepAlive { section } => {
            keep_alive(tree, trees, section_at(tree, *section)?, &mut splices)?;
        }
    }
    Ok(splices)
}

/// Takes the lines that close away; where closing would be inherited then, a line says that it is not.
fn keep_alive(
    tree: &Tree,
    trees: &[&Tree],
    section: Section<'_>,
    splices: &mut Splices,
) -> Result<(), CannotEdit> {
    let kept =
        section.lines().any(|line| line.begins(&["option", "http-keep-alive"]) && !section.doubts(line));
    let mut needed = !kept && inherits_closing(trees, section);
    for line in section.lines() {
        if !CLOSING.iter().any(|name| line.begins(&["option", name])) {
            continue;
        }
        certain(section, line)?;
        if needed {
            splices.replace(line.span(), "option http-keep-alive");
            needed = false;
        } else {
            remove(tree, line, splices);
        }
    }
    if needed {
        let keyword = ["option".to_owned(), "http-keep-alive".to_owned()];
        set(tree, section, &keyword, "", splices)?;
    }
    Ok(())
}

/// True if the `defaults` of a section, or those that they come from, close connections.
fn inherits_closing(trees: &[&Tree], section: Section<'_>) -> bool {
    let mut all: Vec<Section<'_>> = Vec::new();
    for tree in trees {
        // Of the last file only what stands before the section.
        let last = std::ptr::eq(*tree, section.header().tree());
        all.extend(tree.sections().take_while(|one| !last || one.place() < section.place()));
    }
    let mut defaults: Vec<_> = all.into_iter().filter(|section| section.kind() == "defaults").collect();
    let mut from = section.from();
    let mut implicit = section.kind() != "defaults";
    loop {
        let found = match &from {
            Some(name) => defaults.iter().rposition(|one| one.name().is_some_and(|one| one == name.text())),
            None if implicit => defaults.len().checked_sub(1),
            None => None,
        };
        let Some(one) = found.and_then(|at| defaults.get(at).copied()) else { return false };
        defaults.truncate(found.unwrap_or_default());
        for line in one.lines().rev() {
            if line.begins(&["option", "http-keep-alive"]) && !line.is_conditional() {
                return false;
            }
            if CLOSING.iter().any(|name| line.begins(&["option", name])) {
                return true;
            }
        }
        from = one.from();
        implicit = false;
    }
}

/// Refuses a line that is in force on a condition.
fn certain(section: Section<'_>, line: Line<'_>) -> Result<(), CannotEdit> {
    if section.doubts(line) {
        return Err(CannotEdit::Variable(format!("line {}", line.place().line)));
    }
    Ok(())
}

fn remove(tree: &Tree, line: Line<'_>, splices: &mut Splices) {
    splices.replace(Lines::new(tree.text()).removal(line.span()), "");
}

/// Refuses what would be more than one line, or begin a section.
fn one_line(text: &str, least: usize) -> Result<(), CannotEdit> {
    let tree = Tree::parse(format!("global\n{text}\n"));
    let plain = tree.leaves().iter().all(|leaf| leaf.kind == LeafKind::Word);
    let words = tree.lines().nth(1).map_or(0, |line| line.words().count());
    if tree.lines().count() == 2
        && tree.sections().count() == 1
        && tree.problems().is_empty()
        && plain
        && words >= least
    {
        return Ok(());
    }
    Err(CannotEdit::Impossible(format!("`{}` is not one line of a section", shown(text))))
}

/// A line in a section: in the place of the last that begins so, or behind the last that begins with the same word, or
/// first.
fn set(
    tree: &Tree,
    section: Section<'_>,
    keyword: &[String],
    arguments: &str,
    splices: &mut Splices,
) -> Result<(), CannotEdit> {
    let text = [keyword.join(" ").as_str(), arguments].join(" ");
    let text = text.trim_end();
    one_line(text, keyword.len().max(1))?;
    let keywords: Vec<_> = keyword.iter().map(String::as_str).collect();
    let mut last = None;
    for line in section.lines().filter(|line| line.begins(&keywords)) {
        certain(section, line)?;
        last = Some(line);
    }
    if let Some(line) = last {
        splices.replace(line.span(), text);
        return Ok(());
    }
    let first = keywords.first().copied().unwrap_or_default();
    let alike = section.lines().rfind(|line| line.begins(&[first]) && !section.doubts(*line));
    // Servers come last in most files, and some options must stand before them.
    let after = alike.unwrap_or_else(|| section.header());
    let source = tree.text();
    let lines = Lines::new(source);
    let model = alike.or_else(|| section.lines().next()).map(Line::span);
    let indentation = model.and_then(|span| lines.indentation(span.start)).unwrap_or(b"    ");
    let Some(end) = lines.free_until(after.span().end) else {
        return Err(CannotEdit::Impossible(format!("line {} cannot be read to its end", after.place().line)));
    };
    splices.insert(end, [source.line_ending().as_bytes(), indentation, text.as_bytes()].concat());
    Ok(())
}
