use crate::programs::refuses;
use config::CannotEdit;
use config::nginx::{Change, Edited, Sources, edit, evaluate};
use evidence::FilePlace;
use evidence::configuration::nginx::{Nginx, Pass};

fn facts(sources: &Sources) -> Nginx {
    evaluate(sources, Some("1.22.1")).nginx.unwrap()
}

fn pool(pass: &Pass) -> Change {
    Change::Pool { pass: pass.place, connections: 32 }
}

/// Pools all passes of a configuration at once; nginx takes the result, and all of them are pooled then.
fn pooled(name: &str, text: &str) -> (String, Vec<String>) {
    let sources = Sources::new("/n.conf", text);
    let before = facts(&sources);
    let changes: Vec<_> = before.passes.iter().map(pool).collect();
    let edited = edit(&sources, &changes).unwrap();
    all_pooled(&edited);
    assert_eq!(facts(&edited.sources).passes.len(), before.passes.len());
    let after = edited.files.first().map_or(text.as_bytes(), |file| &file.after).to_vec();
    if let Some(said) = refuses("nginx", name, &after) {
        assert_eq!(said, "", "{}", String::from_utf8_lossy(&after));
    }
    let again =
        edit(&edited.sources, &facts(&edited.sources).passes.iter().map(pool).collect::<Vec<_>>()).unwrap();
    assert!(again.files.is_empty(), "a second time changes nothing: {again:?}");
    (String::from_utf8(after).unwrap(), edited.notes)
}

fn all_pooled(edited: &Edited) {
    let nginx = facts(&edited.sources);
    for pass in &nginx.passes {
        let upstream = nginx.upstream_of(pass).unwrap_or_else(|| panic!("{pass:?} has no upstream"));
        assert!(upstream.keepalive.value().is_some_and(|connections| *connections > 0), "{upstream:?}");
        if let Some(http) = &pass.http {
            assert_eq!(http.version.value().unwrap(), "1.1", "{pass:?}");
            assert_ne!(http.connection.value().unwrap(), "close", "{pass:?}");
        }
        assert!(pass.keep_conn.as_ref().is_none_or(|kept| kept.value() == Some(&true)), "{pass:?}");
    }
}

#[test]
fn a_pool_is_added_where_it_is_missing_and_nothing_else_changes() {
    let before = "\
events {}
http {
    # the application
    upstream app {
        least_conn;
        server 127.0.0.1:8080;   # one
        # another may follow
    }

    server {
        listen 127.0.0.1:8000;
        location / {
            proxy_pass http://app; # all of it
        }
    }
}
";
    let after = before
        .replace(
            "8080;   # one\n",
            "8080;   # one\n        keepalive 32;\n",
        )
        .replace(
            "            proxy_pass http://app;",
            "            proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n            proxy_pass http://app;",
        );
    assert_eq!(pooled("a_pool_is_added", before), (after, vec![]));
}

/// nginx warns of it ("load balancing method redefined"), and keeps nothing.
#[test]
fn a_pool_before_the_method_that_undoes_it_is_moved_behind_it() {
    let before = "\
events {}
http {
    upstream app {
        server 127.0.0.1:8080;
        keepalive 7;   # idle ones
        least_conn;
        # the end
    }
    upstream line { keepalive 0; server 127.0.0.1:8081; ip_hash; }
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    server {
        listen 127.0.0.1:8000;
        location / { proxy_pass http://app; }
        location /line { proxy_pass http://line; }
    }
}
";
    let after = before
        .replace(
            "        keepalive 7;   # idle ones\n        least_conn;\n",
            "        # idle ones\n        least_conn;\n        keepalive 7;\n",
        )
        .replace(
            "{ keepalive 0; server 127.0.0.1:8081; ip_hash; }",
            "{ server 127.0.0.1:8081; ip_hash; keepalive 32; }",
        );
    assert_eq!(pooled("a_pool_is_moved", before), (after, vec![]));
}

#[test]
fn tabs_and_carriage_returns_are_kept() {
    let before = String::from_utf8(std::fs::read("tests/examples/nginx-crlf.conf").unwrap()).unwrap();
    let before = before.replace("listen 80", "listen 127.0.0.1:8000");
    let after = before
        .replace("\t\tserver 127.0.0.1:8080;\r\n", "\t\tserver 127.0.0.1:8080;\r\n\t\tkeepalive 32;\r\n")
        .replace(
            "\t\t\tproxy_pass",
            "\t\t\tproxy_http_version 1.1;\r\n\t\t\tproxy_set_header Connection \"\";\r\n\t\t\tproxy_pass",
        );
    assert_eq!(pooled("tabs_and_carriage_returns_are_kept", &before), (after, vec![]));
}

#[test]
fn headers_that_would_be_hidden_are_repeated() {
    let before = "\
events {}
http {
  upstream app { server 127.0.0.1:8080; keepalive 4; }
  server {
    listen 127.0.0.1:8000;
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Connection close; # why?
    proxy_set_header X-Text \"a; b\";
    location /1 { proxy_pass http://app; }
    location /2 {
      proxy_set_header Connection close;
      proxy_pass http://app;
    }
  }
}
";
    let after = before
        .replace(
            "/1 { proxy_pass",
            "/1 { proxy_set_header Host $host; proxy_set_header X-Text \"a; b\"; \
             proxy_set_header Connection \"\"; proxy_pass",
        )
        .replace("      proxy_set_header Connection close;\n", "      proxy_set_header Connection \"\";\n");
    let notes = vec![
        "the headers set in the block at line 4 are repeated: a header of its own hides them".to_owned(),
    ];
    assert_eq!(pooled("headers_that_would_be_hidden_are_repeated", before), (after, notes));
}

#[test]
fn an_address_becomes_an_upstream() {
    let before = "\
events {}
http {
  server {
    listen 127.0.0.1:8000;
    location /a/ {
      proxy_pass http://127.0.0.1:9000/x/;
    }
    location /b/ { if ($arg_x) { proxy_pass http://localhost; } }
    location /c/ { proxy_pass 'http://unix:/run/c.sock:/y'; proxy_set_header Host $host; }
    location ~ php { fastcgi_pass unix:/run/php.sock; fastcgi_keep_conn off; }
  }
}
";
    let (after, notes) = pooled("an_address_becomes_an_upstream", before);
    let expected = "\
events {}
http {
  upstream pool_127_0_0_1_9000 {
    server 127.0.0.1:9000;
    keepalive 32;
  }

  upstream localhost {
    server localhost:80;
    keepalive 32;
  }

  upstream pool_run_c_sock {
    server unix:/run/c.sock;
    keepalive 32;
  }

  upstream pool_run_php_sock {
    server unix:/run/php.sock;
    keepalive 32;
  }

  server {
    listen 127.0.0.1:8000;
    location /a/ {
      proxy_http_version 1.1;
      proxy_set_header Host 127.0.0.1:9000;
      proxy_set_header Connection \"\";
      proxy_pass http://pool_127_0_0_1_9000/x/;
    }
    location /b/ { proxy_http_version 1.1; proxy_set_header Connection \"\"; if ($arg_x) { proxy_pass http://localhost; } }
    location /c/ { proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass 'http://pool_run_c_sock/y'; proxy_set_header Host $host; }
    location ~ php { fastcgi_pass pool_run_php_sock; fastcgi_keep_conn on; }
  }
}
";
    assert_eq!(after, expected);
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn a_name_stays_only_where_it_means_the_same() {
    let other = |more: &str| {
        let text = format!(
            "events {{}}\nhttp {{ server {{ listen 127.0.0.1:8000; location /1 {{ proxy_pass http://localhost; }} {more} }} }}\n"
        );
        let sources = Sources::new("/n.conf", text);
        let nginx = facts(&sources);
        let edited = edit(&sources, &[pool(&nginx.passes[0])]).unwrap();
        let after = String::from_utf8(edited.files[0].after.clone()).unwrap();
        if let Some(said) = refuses("nginx", "a_name_stays_only_where_it_means_the_same", after.as_bytes()) {
            assert_eq!(said, "", "{after}");
        }
        facts(&edited.sources).upstreams[0].name.clone()
    };
    assert_eq!(other(""), "localhost");
    assert_eq!(other("location /2 { proxy_pass http://localhost/x; }"), "localhost");
    assert_eq!(other("location /2 { proxy_pass https://localhost; }"), "pool_localhost");
    assert_eq!(other("location /2 { proxy_pass http://localhost:8080; }"), "pool_localhost");
}

#[test]
fn web_sockets_keep_their_header() {
    let before = "\
events {}
http {
  map $http_upgrade $connection_upgrade {
    default upgrade;
    ''      close;   # the manual has it so
  }
  upstream app { server 127.0.0.1:8080; }
  server {
    listen 127.0.0.1:8000;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.0;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }
  }
}
";
    let after = before
        .replace("''      close;", "''      '';")
        .replace("version 1.0", "version 1.1")
        .replace("8080; }", "8080; keepalive 32; }");
    let (text, notes) = pooled("web_sockets_keep_their_header", before);
    assert_eq!(text, after);
    assert_eq!(notes, ["the map of $connection_upgrade changes for every location that uses it"]);
}

#[test]
fn what_cannot_be_changed_is_refused_and_says_why() {
    let refused = |block: &str| {
        let sources =
            Sources::new("/n.conf", format!("http {{ upstream a {{ server b; }} server {{ {block} }} }}"));
        edit(&sources, &[pool(&facts(&sources).passes[0])]).unwrap_err()
    };
    assert!(matches!(refused("location / { proxy_pass http://$host; }"), CannotEdit::Variable(_)));
    assert!(matches!(
        refused("location / { proxy_pass http://a; proxy_set_header Connection $http_connection; }"),
        CannotEdit::Variable(_)
    ));
    assert!(matches!(refused("location / { uwsgi_pass a; }"), CannotEdit::Impossible(_)));
    assert!(matches!(refused("location / { proxy_pass http://a\0b; }"), CannotEdit::Impossible(_)));
    assert!(matches!(refused("location / { proxy_pass http://a; } }"), CannotEdit::Broken { .. }));
    let sources = Sources::new("/n.conf", "http {}");
    let nowhere = FilePlace { file: 0, line: 9, column: 9 };
    assert!(matches!(
        edit(&sources, &[Change::Pool { pass: nowhere, connections: 1 }]).unwrap_err(),
        CannotEdit::Missing(_)
    ));
    let set = Change::Set { block: None, name: "a".into(), arguments: "b; c".into() };
    assert!(matches!(edit(&sources, &[set]).unwrap_err(), CannotEdit::Impossible(_)));
}

#[test]
fn a_file_that_is_included_twice_changes_once_if_both_need_the_same() {
    let sources = |second: &str| {
        let main = format!(
            "http {{ upstream a {{ server b; }}\nserver {{ location /1 {{ include pass; }}\nlocation /2 {{ {second} include pass; }} }} }}"
        );
        let mut sources = Sources::new("/n.conf", main);
        sources.provide(
            "/pass",
            vec![("/pass".into(), b"proxy_pass http://a;\nproxy_set_header Host x;\n".to_vec())],
        );
        sources
    };
    let same = sources("");
    let edited = edit(&same, &[pool(&facts(&same).passes[0])]).unwrap();
    all_pooled(&edited);
    let pass = edited.files.iter().find(|file| file.path == "/pass").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&pass.after),
        "proxy_http_version 1.1;\nproxy_set_header Connection \"\";\nproxy_pass http://a;\nproxy_set_header Host x;\n"
    );
    let differ = sources("proxy_http_version 1.1;");
    assert!(matches!(edit(&differ, &[pool(&facts(&differ).passes[0])]).unwrap_err(), CannotEdit::Shared(_)));
}

#[test]
fn a_shared_snippet_that_changes_is_named() {
    let mut sources = Sources::new(
        "/etc/nginx/nginx.conf",
        "http { upstream a { server b; keepalive 2; }\nserver { location / { include snip; proxy_pass http://a; } } }",
    );
    let snippet =
        b"proxy_http_version 1.0;\nproxy_set_header Host $host;\nproxy_set_header connection close;\n"
            .to_vec();
    sources.provide("/etc/nginx/snip", vec![("/etc/nginx/snip".into(), snippet)]);
    let edited = edit(&sources, &[pool(&facts(&sources).passes[0])]).unwrap();
    all_pooled(&edited);
    assert_eq!(edited.notes, ["/etc/nginx/snip changes for all that include it"]);
    assert_eq!(
        String::from_utf8_lossy(&edited.files[0].after),
        "proxy_http_version 1.1;\nproxy_set_header Host $host;\nproxy_set_header connection \"\";\n"
    );
    assert_eq!(edited.files.len(), 1);
}

#[test]
fn directives_are_set_and_removed_in_their_block() {
    let text = "worker_processes 1; # few\nhttp {\n  keepalive_timeout 75s;\n  server {\n  }\n  # end\n}\n";
    let sources = Sources::new("/n.conf", text);
    let at = |line, column| FilePlace { file: 0, line, column };
    let set = |block, name: &str, arguments: &str| Change::Set {
        block,
        name: name.into(),
        arguments: arguments.into(),
    };
    let edited = edit(
        &sources,
        &[
            set(None, "worker_processes", "auto"),
            Change::Remove { directive: at(3, 3) },
            set(Some(at(4, 3)), "keepalive_timeout", "65s 60s"),
            set(Some(at(2, 1)), "keepalive_requests", "5000"),
        ],
    )
    .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&edited.files[0].after),
        "worker_processes auto; # few\nhttp {\n  server {\n      keepalive_timeout 65s 60s;\n  }\n  keepalive_requests 5000;\n  # end\n}\n"
    );
    assert_eq!(edited.files[0].before, text.as_bytes());
}
