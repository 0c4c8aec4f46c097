//! Files of nginx come from anyone who writes configuration.

use config::nginx::{MAX_DEPTH, Sources, Tree, evaluate};

/// Any bytes give a tree that is the bytes; its directives lie within each other and in order, and each knows where.
pub(crate) fn nginx_config(bytes: &[u8]) {
    let tree = Tree::parse(bytes);
    assert_eq!(tree.to_bytes(), bytes);
    assert_eq!(tree.fault(), None);
    let mut last = 0;
    let (mut within, mut top) = (0, tree.top().count());
    for directive in tree.all() {
        let span = directive.span();
        assert!(last <= span.start && span.start < span.end, "{directive:?} at {span:?} after {last}");
        last = span.start;
        for word in directive.words() {
            assert!(span.start <= word.span().start && word.span().end <= span.end);
            assert!(word.value().len() <= word.raw().len());
        }
        if let Some(parent) = directive.parent() {
            let around = parent.span();
            assert!(parent.is_block() && around.start <= span.start && span.end <= around.end);
            assert!(std::iter::successors(Some(parent), |up| up.parent()).count() <= MAX_DEPTH);
        } else {
            top -= 1;
        }
        within += directive.children().count();
        assert_eq!(tree.text().slice(span).first(), Some(&bytes[span.start as usize]));
    }
    assert_eq!((within + tree.top().count(), top), (tree.all().count(), 0));
    for problem in tree.problems() {
        assert!(problem.place.line >= 1 && problem.place.column >= 1);
        assert!(!problem.to_string().contains('\n'), "{problem}");
    }
    means(bytes);
}

/// What it means is said of places that are there, whatever the file includes: here always itself.
fn means(bytes: &[u8]) {
    let mut sources = Sources::new("/n.conf", bytes);
    for _ in 0..3 {
        for pattern in sources.wanted() {
            sources.provide(&pattern, vec![("/n.conf".to_owned(), bytes.to_vec())]);
        }
    }
    let configuration = evaluate(&sources, Some("1.22.1"));
    let nginx = configuration.nginx.as_ref().expect("it is nginx");
    let lines = bytes.split(|byte| *byte == b'\n').count();
    for place in
        nginx.passes.iter().map(|pass| pass.place).chain(nginx.upstreams.iter().map(|block| block.place))
    {
        assert!((1..=lines).contains(&(place.line as usize)) && place.file == 0);
    }
}
