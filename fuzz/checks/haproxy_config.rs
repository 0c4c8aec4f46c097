//! Files of HAProxy come from anyone who writes configuration.

use config::haproxy::Tree;

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
}
