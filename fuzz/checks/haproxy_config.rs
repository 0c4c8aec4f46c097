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
    let haproxy = means(&tree);
    assert_eq!(haproxy.proxies.len(), proxies.min(20_000));
    for proxy in &haproxy.proxies {
        assert!((1..=lines).contains(&(proxy.place.line as usize)));
        assert!(proxy.connection.value().is_some() || proxy.connection.place().is_some());
    }
    edits(&tree, &haproxy);
}

const PATH: &str = "/h.cfg";

fn means(tree: &Tree) -> Haproxy {
    evaluate(&[(PATH.to_owned(), tree.clone())], Some("2.6")).haproxy.expect("it is HAProxy")
}

/// Edits of the first sections, servers and lines come out as they are meant, or are refused.
fn edits(tree: &Tree, before: &Haproxy) {
    for (index, proxy) in before.proxies.iter().enumerate().take(3) {
        let section = section_at(tree, proxy.place);
        keeps_alive(tree, section, proxy.place, index);
        let keyword = ["timeout", "server"].map(str::to_owned).to_vec();
        let change = Change::Set { section: proxy.place, keyword, arguments: "7s".to_owned() };
        if let Some(after) = edited(tree, &change) {
            in_one_line(tree, &after);
            let set =
                means(&after).proxies.get(index).and_then(|after| after.timeouts_ms.get("server").cloned());
            // Of timeouts only so many are told apart.
            let many = tree.lines().filter(|line| line.begins(&["timeout"])).count() > 80;
            assert!(many || set.as_ref().and_then(Said::value) == Some(&7_000), "{set:?}");
        }
        for (nth, server) in proxy.servers.iter().enumerate().take(2) {
            let (name, value) = ("pool-max-conn".to_owned(), "7".to_owned());
            let change = Change::Server { server: server.place, name, value };
            let Some(after) = edited(tree, &change) else { continue };
            in_one_line(tree, &after);
            let set = &means(&after).proxies[index].servers[nth].pool_max_conn;
            let doubted =
                tree.lines().any(|line| line.place().line == server.place.line && line.is_conditional());
            assert!(set.value() == Some(&7) || doubted && set.value().is_none(), "{set:?}");
        }
    }
    let lines: Vec<_> = tree.lines().collect();
    for line in [lines.first(), lines.get(lines.len() / 2), lines.last()].into_iter().flatten() {
        let place = line.place();
        let line = FilePlace { file: 0, line: place.line, column: place.column };
        if let Some(after) = edited(tree, &Change::Remove { line }) {
            let mut rest = words(tree);
            rest.remove(lines.iter().position(|line| line.place() == place).expect("it is one of them"));
            assert_eq!(words(&after), rest);
        }
    }
}

/// Only lines about closing go, and at most one comes; then connections are kept, as far as that is certain.
fn keeps_alive(tree: &Tree, section: Section<'_>, place: FilePlace, index: usize) {
    let Some(after) = edited(tree, &Change::KeepAlive { section: place }) else { return };
    let closes = ["httpclose", "http-server-close", "forceclose", "http-tunnel"];
    let (first, last) = (section.place(), section.lines().last().map_or(section.place(), Line::place));
    let stays = tree.lines().filter(|line| {
        !(first..=last).contains(&line.place()) || !closes.iter().any(|name| line.begins(&["option", name]))
    });
    let mut found = words(&after).into_iter();
    let mut come = 0;
    for line in stays {
        let line = line.words().map(|word| word.raw().to_vec()).collect::<Vec<_>>();
        come += found.by_ref().take_while(|found| *found != line).count();
    }
    assert!(come + found.count() <= 1, "more lines than one");
    let kept: &Proxy = &means(&after).proxies[index];
    let certain = !tree.lines().any(Line::is_conditional);
    let value = kept.connection.value();
    assert!(value.map_or(!certain, |value| value == "keep-alive"), "{:?}", kept.connection);
}

/// The file after a change, if that is not refused; what it does not mean to change is as it was.
fn edited(tree: &Tree, change: &Change) -> Option<Tree> {
    let files = [(PATH.to_owned(), tree.clone())];
    let edited = match edit(&files, std::slice::from_ref(change)) {
        Ok(edited) => edited,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            let odd = matches!(error, CannotEdit::Unproven(_)) && !matches!(change, Change::Remove { .. });
            assert!(!odd, "{change:?} did not come out as meant");
            return None;
        }
    };
    let after = edited.sources[0].1.clone();
    assert_eq!(after.problems(), []);
    assert_eq!((after.fault(), after.to_bytes()), (None, after.text().bytes().to_vec()));
    match &edited.files[..] {
        [] => assert_eq!(after.to_bytes(), tree.to_bytes()),
        [file] => assert_eq!(
            (&file.path[..], &file.before, &file.after),
            (PATH, &tree.to_bytes(), &after.to_bytes())
        ),
        _ => panic!("there is one file"),
    }
    assert_eq!(comments(&after), comments(tree));
    // What is there need not be made again.
    if !matches!(change, Change::Remove { .. }) {
        let again = edit(&edited.sources, std::slice::from_ref(change)).expect("it was made once");
        assert_eq!(again.files, []);
    }
    Some(after)
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
