//! Files of HAProxy come from anyone who writes configuration.

use config::haproxy::{Tree, evaluate};

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
    let configuration = evaluate(&[("/h.cfg".to_owned(), tree)], Some("2.6"));
    let haproxy = configuration.haproxy.as_ref().expect("it is HAProxy");
    assert_eq!(haproxy.proxies.len(), proxies.min(20_000));
    for proxy in &haproxy.proxies {
        assert!((1..=lines).contains(&(proxy.place.line as usize)));
        assert!(proxy.connection.value().is_some() || proxy.connection.place().is_some());
    }
}
