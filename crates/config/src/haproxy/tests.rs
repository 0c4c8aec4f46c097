use super::*;

fn words(text: &str) -> Vec<String> {
    let tree = Tree::parse(text);
    assert_eq!(tree.to_bytes(), text.as_bytes());
    assert_eq!(tree.fault(), None);
    tree.lines()
        .flat_map(|line| line.words().map(|word| word.text().into_owned()).collect::<Vec<_>>())
        .collect()
}

fn problems(text: &str) -> Vec<String> {
    Tree::parse(text).problems().iter().map(ToString::to_string).collect()
}

#[test]
fn words_are_cut_as_in_a_shell() {
    assert_eq!(words("a  b\tc\x0bd"), ["a", "b", "c", "d"]);
    assert_eq!(words("mo\"de\" 'a b'\\ c"), ["mode", "a b c"]);
    assert_eq!(words(r#"x \#y "\"z\$" '\"' \x41\q"#), ["x", "#y", "\"z$", "\\\"", "A\\q"]);
    assert_eq!(words("backend b#x\n"), ["backend", "b"], "a hash ends a word");
    assert_eq!(words("a \"#\" '#' \\# # b"), ["a", "#", "#", "#"]);
    assert_eq!(words("a b\\\n c"), ["a", "b\\", "c"], "HAProxy has no line continuation");
}

#[test]
fn a_section_ends_where_the_next_begins() {
    let tree = Tree::parse(
        "global\n daemon # x\n\ndefaults\n mode http\nfrontend f\nbind :80\n default_backend b\n",
    );
    let outline: Vec<_> = tree
        .sections()
        .map(|section| format!("{} {:?} {}", section.kind(), section.name(), section.lines().count()))
        .collect();
    assert_eq!(outline, ["global None 1", "defaults None 1", "frontend Some(\"f\") 2"]);
    let bind = tree.sections().last().unwrap().lines().next().unwrap();
    assert!(bind.begins(&["bind", ":80"]) && !bind.begins(&["bind", ":80", "ssl"]));
    assert_eq!(bind.place().to_string(), "7:1");
    assert_eq!(tree.problems(), []);
}

#[test]
fn conditions_and_the_environment_are_marked() {
    let tree = Tree::parse("global\n .if defined(X)\n maxconn 5\n .endif\n nbthread \"$N\" '$N' $N\n");
    let conditional: Vec<_> = tree.lines().map(Line::is_conditional).collect();
    assert_eq!(conditional, [false, true, true, false, false]);
    let variable: Vec<_> = tree.lines().last().unwrap().words().map(Word::has_variable).collect();
    assert_eq!(variable, [false, true, false, false]);
}

#[test]
fn what_haproxy_refuses_is_said() {
    assert_eq!(
        problems("backend 'b\n mode http\n"),
        ["1:9: a quote opens here that nothing closes in its line"]
    );
    assert_eq!(problems("mode http\nglobal\n"), ["1:1: a line before the first section"]);
    assert_eq!(problems("backend b\r\n mode http\r\n"), [] as [&str; 0]);
    assert_eq!(
        problems("backend b\n mode\rhttp\n x\0y\n"),
        [
            "2:6: a carriage return within a line: HAProxy ignores the rest of the line",
            "3:3: a NUL byte within a line: HAProxy ignores the rest of the line"
        ]
    );
    assert_eq!(words("backend b\n mode\rhttp\n"), ["backend", "b", "mode"]);
    let tree = Tree::parse(&b"\xef\xbb\xbfglobal\r\n\xff # \xfe\r\n"[..]);
    assert_eq!(tree.sections().count(), 1);
    assert_eq!(tree.to_bytes(), b"\xef\xbb\xbfglobal\r\n\xff # \xfe\r\n");
    assert_eq!(tree.fault(), None);
}
