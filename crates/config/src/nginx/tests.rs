use super::*;

/// The tree as lines: how deep, the words, how it ends.
fn outline(tree: &Tree) -> Vec<String> {
    tree.all()
        .map(|directive| {
            let depth = std::iter::successors(directive.parent(), |up| up.parent()).count();
            let words: Vec<_> = directive.words().map(Word::text).collect();
            format!("{}{} {:?}", "  ".repeat(depth), words.join(" "), directive.ending())
        })
        .collect()
}

fn problems(text: &str) -> Vec<String> {
    let tree = Tree::parse(text);
    assert_eq!(tree.to_bytes(), text.as_bytes());
    assert_eq!(tree.fault(), None);
    tree.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn blocks_hold_directives() {
    let tree = Tree::parse("a 1;\nhttp { # c\n b 'x y' \"z\"; server { c; } d; }\ne;");
    assert_eq!(
        outline(&tree),
        [
            "a 1 Semicolon",
            "http Block",
            "  b x y z Semicolon",
            "  server Block",
            "    c Semicolon",
            "  d Semicolon",
            "e Semicolon"
        ]
    );
    let http = tree.top().find(|directive| directive.is("http")).unwrap();
    let names: Vec<_> = http.children().map(Directive::name).collect();
    assert_eq!(names, ["b", "server", "d"]);
    assert_eq!(tree.text().slice(http.inside().unwrap()), b" # c\n b 'x y' \"z\"; server { c; } d; ");
    assert_eq!(http.children().next().unwrap().place().to_string(), "3:2");
    assert_eq!(tree.problems(), []);
}

#[test]
fn comments_among_words_are_no_words() {
    let tree = Tree::parse("log_format x 'a' # one\n # two\n 'b';");
    assert_eq!(outline(&tree), ["log_format x a b Semicolon"]);
    let comments = tree.leaves().iter().filter(|leaf| leaf.kind == crate::LeafKind::Comment).count();
    assert_eq!(comments, 2);
}

#[test]
fn escapes_are_resolved_as_nginx_does() {
    let tree = Tree::parse(r#"a "x\"y\\z\d\n" 'it\'s' b\ c "" "#);
    let values: Vec<_> =
        tree.top().next().unwrap().arguments().map(|word| word.text().into_owned()).collect();
    assert_eq!(values, ["x\"y\\z\\d\n", "it's", "b\\ c", ""]);
}

#[test]
fn lua_is_one_leaf() {
    let tree = Tree::parse("location / {\n content_by_lua_block { ngx.say('}') -- }\n }\n b;\n}");
    assert_eq!(outline(&tree), ["location / Block", "  content_by_lua_block Code", "  b Semicolon"]);
    assert_eq!(tree.problems(), []);
    assert_eq!(problems("a_by_lua_block { '}"), ["1:16: a block of Lua opens here that nothing closes"]);
}

#[test]
fn a_missing_brace_is_named_with_the_block_it_is_missing_from() {
    let text = "http {\n  server {\n    listen 80;\n";
    assert_eq!(
        problems(text),
        [
            "2:10: the block of `server` opens here, and nothing closes it",
            "1:6: the block of `http` opens here, and nothing closes it"
        ]
    );
    assert_eq!(
        outline(&Tree::parse(text)),
        ["http Unclosed", "  server Unclosed", "    listen 80 Semicolon"]
    );
}

#[test]
fn what_is_wrong_does_not_hide_the_rest() {
    assert_eq!(problems("a; }\nb;"), ["1:4: unexpected `}`: no block is open"]);
    // `b}` is a word.
    assert_eq!(problems("a {b}\nc;"), ["1:3: the block of `a` opens here, and nothing closes it"]);
    assert_eq!(problems(";a;"), ["1:1: unexpected `;`"]);
    assert_eq!(
        problems("a 'b;\nc;"),
        [
            "1:3: a quote opens here that nothing closes",
            "1:1: the file ends before the `;` of this directive"
        ]
    );
    let tree = Tree::parse("x { a b }\nc;");
    assert_eq!(outline(&tree), ["x Block", "  a b Missing", "c Semicolon"]);
    let tree = Tree::parse(&b"\xef\xbb\xbfuser \xff;"[..]);
    assert_eq!(outline(&tree), ["user \u{fffd} Semicolon"]);
    assert_eq!(tree.problems().len(), 1);
    assert_eq!(tree.to_bytes(), b"\xef\xbb\xbfuser \xff;");
}

#[test]
fn too_deep_is_said_and_kept() {
    let text = "a{".repeat(5000);
    let tree = Tree::parse(text.as_str());
    assert_eq!(tree.to_bytes(), text.as_bytes());
    assert_eq!(tree.fault(), None);
    assert_eq!(tree.all().count(), MAX_DEPTH + 1, "the last has no block");
    assert!(tree.problems()[0].what.contains("not read from here on"), "{:?}", tree.problems());
}

#[test]
fn a_file_that_is_too_large_is_kept() {
    let mut text = b"a;\n# ".to_vec();
    text.resize(crate::MAX_BYTES + 7, b'x');
    text.extend_from_slice(b"\nb c;\nd;\n");
    let tree = Tree::parse(text.clone());
    assert!(tree.to_bytes() == text);
    assert_eq!(tree.fault(), None);
    assert_eq!(tree.all().count(), 1);
    assert_eq!(tree.problems().len(), 1, "{:?}", tree.problems());
}
