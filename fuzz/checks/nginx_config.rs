//! Files of nginx come from anyone who writes configuration.

use config::nginx::{Change, MAX_DEPTH, Sources, Tree, edit, evaluate};

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
    for pass in nginx.passes.iter().take(3) {
        let change = Change::Pool { pass: pass.place, connections: 7 };
        // What cannot be pooled is refused; what is pooled is so by what it means.
        let Ok(edited) = edit(&sources, &[change]) else { continue };
        let after = evaluate(&edited.sources, Some("1.22.1")).nginx.expect("it is nginx");
        let index =
            nginx.passes.iter().position(|other| std::ptr::eq(pass, other)).expect("it is one of them");
        if sources.files().any(|(_, tree)| {
            tree.all().any(|one| one.is("include") || one.is("http") && one.parent().is_some())
        }) || sources
            .files()
            .map(|(_, tree)| tree.top().filter(|one| one.is("http")).count())
            .sum::<usize>()
            > 1
        {
            continue;
        }
        assert_eq!(after.passes.len(), nginx.passes.len());
        let pass = &after.passes[index];
        let upstream = after.upstream_of(pass).expect("a pool needs an upstream");
        assert_ne!(upstream.keepalive.value(), Some(&0));
        if let Some(http) = &pass.http {
            assert_ne!(http.version.value().map(String::as_str), Some("1.0"), "{pass:?}");
            assert!(
                http.connection.value().is_none_or(|header| !header.eq_ignore_ascii_case("close")),
                "{pass:?}"
            );
        }
    }
}
