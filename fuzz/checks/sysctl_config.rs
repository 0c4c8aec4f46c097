//! Files of `sysctl.d` come from packages and from anyone who tunes.

use config::sysctl::{File, Tree, evaluate, normalized};

/// Any bytes give a tree that is the bytes; each assignment has a key, and a key that is read again is the same.
pub(crate) fn sysctl_config(bytes: &[u8]) {
    let tree = Tree::parse(bytes);
    assert_eq!(tree.to_bytes(), bytes);
    assert_eq!(tree.fault(), None);
    let mut last = 0;
    for assignment in tree.assignments() {
        let span = assignment.span();
        assert!(last <= span.start && span.start < span.end);
        last = span.end;
        assert!(!assignment.key().is_empty() && !assignment.key().contains('\n'));
        assert!(assignment.value().is_some() || assignment.may_fail());
        let name = assignment.name();
        assert!(normalized(&name) == name || name.contains('/') || name.starts_with("/proc"), "{name:?}");
    }
    for problem in tree.problems() {
        assert!(problem.place.line >= 1 && problem.place.column >= 1);
        assert!(!problem.to_string().contains('\n'), "{problem}");
    }
    let assignments = tree.assignments().count();
    let file = |path: &str| File { path: path.to_owned(), target: None, tree: tree.clone() };
    let configuration = evaluate(&[file("/etc/sysctl.d/a.conf"), file("/run/sysctl.d/b.conf")]);
    let sysctl = configuration.sysctl.as_ref().expect("it is sysctl.d");
    assert!(sysctl.keys.len() <= assignments);
    for key in &sysctl.keys {
        assert!(
            key.winner.as_ref().is_none_or(|winner| winner.place.file == 1),
            "the last file wins: {key:?}"
        );
        let own = sysctl.winner(&key.name);
        assert!(own == key.winner.as_ref() || key.name.contains(['*', '?', '[']), "{key:?}");
    }
}
