use config::CannotEdit;
use config::sysctl::{Tree, set, unset};

fn after(text: &str, key: &str, value: &str) -> String {
    String::from_utf8(set(&Tree::parse(text), key, value, "why").unwrap()).unwrap()
}

#[test]
fn a_value_is_replaced_where_it_stands() {
    let text = "# mine\nnet/ipv4/tcp_tw_reuse=0\n;x\nnet.ipv4.tcp_tw_reuse =  1  \r\nvm.x = 1\n";
    assert_eq!(after(text, "net.ipv4.tcp_tw_reuse", "2"), text.replace("=  1  ", "=  2  "));
    assert_eq!(after("a.b =\n", "a.b", "5"), "a.b = 5\n");
    assert_eq!(after("-a.b = 4", "a/b", "5"), "-a.b = 5");
}

#[test]
fn a_setting_is_added_and_taken_away_again() {
    let text = "# others\n\na.b = 1";
    let with = after(text, "a.c", "2 3");
    assert_eq!(with, "# others\n\na.b = 1\n# why\na.c = 2 3\n");
    assert_eq!(unset(&Tree::parse(with.as_str()), "a/c").unwrap(), b"# others\n\na.b = 1\n");
    assert_eq!(after("a = 1\r\n", "b", "2"), "a = 1\r\n# why\r\nb = 2\r\n");
    assert_eq!(unset(&Tree::parse(text), "none").unwrap(), text.as_bytes());
}

#[test]
fn what_is_not_one_setting_is_refused() {
    for (key, value, why) in [
        ("a", "1\nb = 2", ""),
        ("a = b", "1", ""),
        ("#a", "1", ""),
        ("a", "1", "x\ny"),
        ("", "1", ""),
        ("a", " 1", ""),
    ] {
        let refused = set(&Tree::parse(""), key, value, why);
        assert!(matches!(refused, Err(CannotEdit::Impossible(_))), "{key} {value} {why}: {refused:?}");
    }
}
