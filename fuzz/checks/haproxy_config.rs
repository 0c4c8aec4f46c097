//! Files of HAProxy come from anyone who writes configuration.

use config::haproxy::{Change, Line, Section, Tree, edit, evaluate};
use config::{CannotEdit, LeafKind};
use evidence::configuration::haproxy::{Haproxy, Proxy};
use evidence::{FilePlace, Said};

/// Any bytes give a tree that is the bytes; each line is in one section at most, and no word reaches beyond its line.
pub(crate) fn haproxy_config(bytes: &[u8]) {
    let tree = Tree::parse(bytes);
    assert_eq!(tree.to_bytes(), bytes);
    assert_eq!(tree.fault(), None);
    let in_sections: usize = tree.sections().map(|section| 1 + section.lines().count()).sum();
    assert!(in_sections <= tree.lines().count());
    let mut last = 0;
    for line in tree.lines() {
        assert!(line.place().line > last, "two lines in one: {line:?}");
        last = line.place().line;
        assert!(line.words().count() >= 1);
        for word in line.words() {
            assert!(!word.raw().contains(&b'\n') && !word.raw().is_empty());
            assert_eq!(tree.text().place(word.span().start).line, last);
            assert!(word.value().len() <= word.raw().len());
        }
    }
    for problem in tree.problems() {
        assert!(problem.place.line >= 1 && problem.place.column >= 1);
        assert!(!problem.to_string().contains('\n'), "{problem}");
    }
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let proxies = tree
        .sections()
        .filter(|section| matches!(section.kind().as_str(), "frontend" | "backend" | "listen"));
    let proxies = proxies.count();
    let whole = [("/h.cfg".to_owned(), tree)];
    let haproxy = means(&whole);
    assert_eq!(haproxy.proxies.len(), proxies.min(20_000));
    for proxy in &haproxy.proxies {
        assert!((1..=lines).contains(&(proxy.place.line as usize)));
        assert!(proxy.connection.value().is_some() || proxy.connection.place().is_some());
    }
    edits(&whole, &haproxy);
    let parts = parts(bytes);
    edits(&parts, &means(&parts));
}

/// Files in the order of `-f`.
type Files = [(String, Tree)];

/// The same text as several files: cut at its sections, so that what a section inherits is in another one.
fn parts(bytes: &[u8]) -> Vec<(String, Tree)> {
    let tree = Tree::parse(bytes);
    let starts: Vec<usize> = tree.sections().map(|section| section.header().span().start as usize).collect();
    let mut cuts = vec![0];
    cuts.extend([1, 2].iter().filter_map(|third| starts.get(starts.len() * third / 3)));
    cuts.push(bytes.len());
    let parts = cuts.windows(2).filter_map(|cut| bytes.get(cut[0]..cut[1]));
    parts.enumerate().map(|(number, part)| (format!("/{number}.cfg"), Tree::parse(part))).collect()
}

fn means(files: &Files) -> Haproxy {
    evaluate(files, Some("2.6")).haproxy.expect("it is HAProxy")
}

/// The file of a place.
fn file_of(files: &Files, place: FilePlace) -> &Tree {
    &files[place.file as usize].1
}

/// True if some line is in force on a condition.
fn has_conditions(files: &Files) -> bool {
    files.iter().any(|(_, tree)| tree.lines().any(Line::is_conditional))
}

/// Edits of the first sections of each file, servers and lines come out as they are meant, or are refused.
fn edits(files: &Files, before: &Haproxy) {
    for (index, proxy) in before.proxies.iter().enumerate().filter(|(index, one)| {
        let first = before.proxies.iter().position(|other| other.place.file == one.place.file);
        index - first.unwrap_or_default() < 3
    }) {
        let tree = file_of(files, proxy.place);
        keeps_alive(files, proxy.place, index);
        let keyword = ["timeout", "server"].map(str::to_owned).to_vec();
        let change = Change::Set { section: proxy.place, keyword, arguments: "7s".to_owned() };
        if let Some(after) = edited(files, &change) {
            in_one_line(tree, file_of(&after, proxy.place));
            let set =
                means(&after).proxies.get(index).and_then(|after| after.timeouts_ms.get("server").cloned());
            // Of timeouts only so many are told apart.
            let timeouts = files.iter().flat_map(|(_, tree)| tree.lines());
            let many = timeouts.filter(|line| line.begins(&["timeout"])).count() > 80;
            assert!(many || set.as_ref().and_then(Said::value) == Some(&7_000), "{set:?}");
        }
        for (nth, server) in proxy.servers.iter().enumerate().take(2) {
            let (name, value) = ("pool-max-conn".to_owned(), "7".to_owned());
            let change = Change::Server { server: server.place, name, value };
            let Some(after) = edited(files, &change) else { continue };
            let its = file_of(files, server.place);
            in_one_line(its, file_of(&after, server.place));
            let set = &means(&after).proxies[index].servers[nth].pool_max_conn;
            let doubted =
                its.lines().any(|line| line.place().line == server.place.line && line.is_conditional());
            assert!(set.value() == Some(&7) || doubted && set.value().is_none(), "{set:?}");
        }
    }
    for (file, (_, tree)) in (0_u32..).zip(files) {
        let lines: Vec<_> = tree.lines().collect();
        for line in [lines.first(), lines.get(lines.len() / 2), lines.last()].into_iter().flatten() {
            let place = line.place();
            let at = FilePlace { file, line: place.line, column: place.column };
            if let Some(after) = edited(files, &Change::Remove { line: at }) {
                let mut rest = words(tree);
                rest.remove(lines.iter().position(|line| line.place() == place).expect("it is one of them"));
                assert_eq!(words(file_of(&after, at)), rest);
            }
        }
    }
    together(files, before);
}

/// Several changes at once are what they are one after another, from the last to the first: none moves what comes
/// before it.
fn together(files: &Files, before: &Haproxy) {
    let ends = [before.proxies.first(), before.proxies.last()].into_iter().flatten();
    let mut changes: Vec<Change> = ends.map(|proxy| Change::KeepAlive { section: proxy.place }).collect();
    changes.dedup();
    let mut one_by_one = files.to_vec();
    for change in changes.iter().rev() {
        let Ok(edited) = edit(&one_by_one, std::slice::from_ref(change)) else { return };
        one_by_one = edited.sources;
    }
    let Ok(at_once) = edit(files, &changes) else { panic!("each can be made, and not both") };
    let bytes = |files: &Files| files.iter().map(|(_, tree)| tree.to_bytes()).collect::<Vec<_>>();
    assert_eq!(bytes(&at_once.sources), bytes(&one_by_one));
}

/// Only lines about closing go, and at most one comes; then connections are kept, as far as that is certain.
fn keeps_alive(files: &Files, place: FilePlace, index: usize) {
    let tree = file_of(files, place);
    let section = section_at(tree, place);
    let Some(after) = edited(files, &Change::KeepAlive { section: place }) else { return };
    let closes = ["httpclose", "http-server-close", "forceclose", "http-tunnel"];
    let (first, last) = (section.place(), section.lines().last().map_or(section.place(), Line::place));
    let stays = tree.lines().filter(|line| {
        !(first..=last).contains(&line.place()) || !closes.iter().any(|name| line.begins(&["option", name]))
    });
    let mut found = words(file_of(&after, place)).into_iter();
    let mut come = 0;
    for line in stays {
        let line = line.words().map(|word| word.raw().to_vec()).collect::<Vec<_>>();
        come += found.by_ref().take_while(|found| *found != line).count();
    }
    assert!(come + found.count() <= 1, "more lines than one");
    let kept: &Proxy = &means(&after).proxies[index];
    let value = kept.connection.value();
    assert!(value.map_or(has_conditions(files), |value| value == "keep-alive"), "{:?}", kept.connection);
}

/// The files after a change, if that is not refused; what it does not mean to change is as it was.
fn edited(files: &Files, change: &Change) -> Option<Vec<(String, Tree)>> {
    let edited = match edit(files, std::slice::from_ref(change)) {
        Ok(edited) => edited,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            let odd = matches!(error, CannotEdit::Unproven(_)) && !matches!(change, Change::Remove { .. });
            assert!(!odd, "{change:?} did not come out as meant");
            return None;
        }
    };
    let place = match change {
        Change::KeepAlive { section } | Change::Set { section, .. } => section,
        Change::Server { server, .. } => server,
        Change::Remove { line } => line,
    };
    assert_eq!(edited.sources.len(), files.len());
    for (number, (before, after)) in (0_u32..).zip(files.iter().zip(&edited.sources)) {
        assert_eq!((after.1.fault(), after.1.to_bytes()), (None, after.1.text().bytes().to_vec()));
        assert_eq!(comments(&after.1), comments(&before.1));
        assert_eq!(after.0, before.0);
        if number == place.file {
            assert_eq!(after.1.problems(), []);
        } else {
            assert_eq!(after.1.to_bytes(), before.1.to_bytes(), "another file was changed");
        }
    }
    let (old, new) = (file_of(files, *place).to_bytes(), file_of(&edited.sources, *place).to_bytes());
    match &edited.files[..] {
        [] => assert_eq!(new, old),
        [file] => {
            assert_eq!((&file.path, &file.before, &file.after), (&files[place.file as usize].0, &old, &new));
        }
        _ => panic!("one file is changed"),
    }
    // What is there need not be made again.
    if !matches!(change, Change::Remove { .. }) {
        let again = edit(&edited.sources, std::slice::from_ref(change)).expect("it was made once");
        assert_eq!(again.files, []);
    }
    Some(edited.sources)
}

/// One line is another, or there is one more.
fn in_one_line(before: &Tree, after: &Tree) {
    let (before, after) = (words(before), words(after));
    let same = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
    let (old, new) = (&before[same..], &after[same..]);
    assert!(
        new.ends_with(old) && new.len() == old.len() + 1
            || new.len() == old.len() && new.get(1..) == old.get(1..)
    );
}

fn section_at(tree: &Tree, at: FilePlace) -> Section<'_> {
    let found = tree.sections().find(|section| section.place().line == at.line);
    found.expect("a proxy is a section")
}

fn words(tree: &Tree) -> Vec<Vec<Vec<u8>>> {
    tree.lines().map(|line| line.words().map(|word| word.raw().to_vec()).collect()).collect()
}

fn comments(tree: &Tree) -> Vec<&[u8]> {
    let comments = tree.leaves().iter().filter(|leaf| leaf.kind == LeafKind::Comment);
    comments.map(|leaf| tree.text().slice(leaf.span)).collect()
}
