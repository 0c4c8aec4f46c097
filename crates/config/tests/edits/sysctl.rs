use config::CannotEdit;
use config::sysctl::{Tree, set, unset};
use evidence::FilePlace;

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

#[test]
fn a_line_goes_and_its_neighbours_stay() {
    let text =
        "# why\nnet.ipv4.tcp_tw_recycle = 1\nnet.ipv4.tcp_tw_reuse = 1\n net.ipv4.tcp_tw_recycle=0\r\n";
    let files = [("/etc/sysctl.d/9.conf".to_owned(), Tree::parse(text))];
    let remove = |line, column| config::sysctl::Change::Remove { line: FilePlace { file: 0, line, column } };
    let edited = config::sysctl::edit(&files, &[remove(2, 1), remove(4, 2)]).unwrap();
    assert_eq!(edited.len(), 1);
    assert_eq!(String::from_utf8_lossy(&edited[0].after), "# why\nnet.ipv4.tcp_tw_reuse = 1\n");
    assert!(matches!(config::sysctl::edit(&files, &[remove(1, 1)]), Err(CannotEdit::Missing(_))));
    let elsewhere = config::sysctl::Change::Remove { line: FilePlace { file: 3, line: 1, column: 1 } };
    assert!(matches!(config::sysctl::edit(&files, &[elsewhere]), Err(CannotEdit::Missing(_))));
}
