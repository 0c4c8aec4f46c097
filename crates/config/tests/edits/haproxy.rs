use crate::programs::refuses;
use config::CannotEdit;
use config::haproxy::{Change, Tree, edit, evaluate};
use evidence::FilePlace;

fn at(line: u32, column: u32) -> FilePlace {
    FilePlace { file: 0, line, column }
}

fn set(section: FilePlace, keyword: &[&str], arguments: &str) -> Change {
    let keyword = keyword.iter().map(|word| (*word).to_owned()).collect();
    Change::Set { section, keyword, arguments: arguments.to_owned() }
}

fn changed(text: &str, changes: &[Change]) -> Result<String, CannotEdit> {
    let files = [("/h.cfg".to_owned(), Tree::parse(text))];
    let edited = edit(&files, changes)?;
    Ok(edited.files.first().map_or(text.to_owned(), |file| String::from_utf8(file.after.clone()).unwrap()))
}

const TEXT: &str = "\
defaults
    mode http
    option httpclose   # since 2009
    timeout connect 5s
    timeout client 30s
    timeout server 30s

frontend www
    bind 127.0.0.1:8000
    default_backend app

# the application
backend app
\toption http-server-close
\tbalance leastconn
\tserver a 127.0.0.1:8080 check # one
\tserver b 127.0.0.1:8081 pool-max-conn 5
";

#[test]
fn connections_are_kept_in_one_backend_or_everywhere() {
    let after = changed(TEXT, &[Change::KeepAlive { section: at(13, 1) }]).unwrap();
    assert_eq!(
        after,
        TEXT.replace("\toption http-server-close\n", "")
            .replace("backend app\n\t", "backend app\n\toption http-keep-alive\n\t")
    );
    let all = [Change::KeepAlive { section: at(1, 1) }, Change::KeepAlive { section: at(13, 1) }];
    let after = changed(TEXT, &all).unwrap();
    assert_eq!(
        after,
        TEXT.replace("    option httpclose   # since 2009\n", "    # since 2009\n")
            .replace("\toption http-server-close\n", "")
    );
    let facts = evaluate(&[("/h.cfg".to_owned(), Tree::parse(after.as_str()))], Some("2.6")).haproxy.unwrap();
    assert!(facts.proxies.iter().all(|proxy| proxy.connection.value().unwrap() == "keep-alive"));
    if let Some(said) =
        refuses("haproxy", "connections_are_kept_in_one_backend_or_everywhere", after.as_bytes())
    {
        assert_eq!(said, "", "{after}");
    }
}

#[test]
fn lines_and_parameters_are_set_beside_their_like() {
    let server = |line, name: &str, value: &str| Change::Server {
        server: at(line, 2),
        name: name.into(),
        value: value.into(),
    };
    let after = changed(
        TEXT,
        &[
            set(at(1, 1), &["timeout", "server"], "1m"),
            set(at(1, 1), &["timeout", "http-keep-alive"], "10s"),
            set(at(13, 1), &["http-reuse"], "always"),
            server(16, "pool-purge-delay", "10s"),
            server(17, "pool-max-conn", "100"),
            Change::Remove { line: at(15, 2) },
        ],
    )
    .unwrap();
    let expected = TEXT
        .replace("    timeout server 30s\n", "    timeout server 1m\n    timeout http-keep-alive 10s\n")
        .replace("backend app\n\toption", "backend app\n\thttp-reuse always\n\toption")
        .replace("check # one", "check pool-purge-delay 10s # one")
        .replace("pool-max-conn 5", "pool-max-conn 100")
        .replace("\tbalance leastconn\n", "");
    assert_eq!(after, expected);
    if let Some(said) = refuses("haproxy", "lines_and_parameters_are_set_beside_their_like", after.as_bytes())
    {
        assert_eq!(said, "", "{after}");
    }
}

#[test]
fn line_endings_are_kept() {
    let text = String::from_utf8(std::fs::read("tests/examples/haproxy-crlf.cfg").unwrap()).unwrap();
    let after = changed(&text, &[set(at(9, 1), &["timeout", "server"], "5s")]).unwrap();
    assert_eq!(after, text.replace("backend b\r\n", "backend b\r\n\ttimeout server 5s\r\n"));
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let refused = |text: &str, change: Change| changed(text, &[change]).unwrap_err();
    assert!(matches!(refused(TEXT, Change::Remove { line: at(99, 1) }), CannotEdit::Missing(_)));
    assert!(matches!(refused(TEXT, set(at(13, 1), &["mode"], "http\nbackend c")), CannotEdit::Impossible(_)));
    assert!(matches!(refused(TEXT, set(at(13, 1), &["backend"], "c")), CannotEdit::Impossible(_)));
    assert!(matches!(refused(TEXT, set(at(13, 1), &["mode"], "http # x")), CannotEdit::Impossible(_)));
    assert!(matches!(refused("backend 'b\n", set(at(1, 1), &["mode"], "http")), CannotEdit::Broken { .. }));
    let conditional = "backend b\n.if defined(X)\n option httpclose\n.endif\n";
    assert!(matches!(refused(conditional, Change::KeepAlive { section: at(1, 1) }), CannotEdit::Variable(_)));
}

#[test]
fn the_defaults_that_are_named_decide() {
    let text = "defaults a\n option httpclose\ndefaults b\n mode http\ndefaults c from a\n mode http\n\
        backend x from c\n mode http\nbackend y from b\n mode http\nbackend z\n mode http\n";
    let kept = |line| changed(text, &[Change::KeepAlive { section: at(line, 1) }]).unwrap() != text;
    assert!(kept(7) && !kept(9) && kept(11));
}

#[test]
fn what_stands_on_a_condition_is_no_place_for_what_does_not() {
    let text = "backend b\n timeout connect 5s\n.if defined(X)\n timeout queue 5s\n option http-keep-alive\n.endif\n";
    let after = changed(text, &[set(at(1, 1), &["timeout", "server"], "7s")]).unwrap();
    assert_eq!(after, text.replace("connect 5s\n", "connect 5s\n timeout server 7s\n"));
    // Whether it is set there depends on the condition.
    let refused = changed(text, &[set(at(1, 1), &["timeout", "queue"], "7s")]);
    assert_eq!(refused, Err(CannotEdit::Variable("line 4".to_owned())));
    let inherited = format!("defaults\n option httpclose\n{text}");
    let refused = changed(&inherited, &[Change::KeepAlive { section: at(3, 1) }]);
    assert_eq!(refused, Err(CannotEdit::Variable("line 7".to_owned())));
}

#[test]
fn a_parameter_is_no_name_and_no_argument() {
    let pool = |line: &str| {
        let (name, value) = ("pool-max-conn".to_owned(), "7".to_owned());
        changed(&format!("backend b\n {line}\n"), &[Change::Server { server: at(2, 2), name, value }])
    };
    for (before, after) in [
        ("server pool-max-conn 10.0.0.1:80", "server pool-max-conn 10.0.0.1:80 pool-max-conn 7"),
        ("server a b pool-max-conn 5 pool-max-conn 6", "server a b pool-max-conn 5 pool-max-conn 7"),
        ("server a b pool-max-conn", "server a b pool-max-conn 7"),
        ("server a b source pool-max-conn check", "server a b source pool-max-conn check pool-max-conn 7"),
        ("server-template a 3 pool-max-conn:80", "server-template a 3 pool-max-conn:80 pool-max-conn 7"),
        ("default-server pool-max-conn 5", "default-server pool-max-conn 7"),
    ] {
        assert_eq!(pool(before), Ok(format!("backend b\n {after}\n")), "{before}");
    }
    assert!(matches!(pool("server a"), Err(CannotEdit::Impossible(_))));
}
