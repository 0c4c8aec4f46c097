use config::nginx::{Sources, evaluate};
use evidence::configuration::nginx::{Nginx, Pass, Target};
use evidence::{Configuration, Said};

fn facts(configuration: &Configuration) -> &Nginx {
    configuration.nginx.as_ref().unwrap()
}

/// What is said, and in which line.
fn said<T: std::fmt::Debug>(said: &Said<T>) -> String {
    match said {
        Said::Written { value, place } => format!("{value:?}@{}", place.line),
        Said::Default { value } => format!("{value:?}"),
        Said::Unknown { because, .. } => format!("?{because}"),
    }
}

fn pass(pass: &Pass) -> String {
    let target = match &pass.target {
        Target::Upstream { name } => format!("upstream {name}"),
        Target::Address { address } => format!("address {address}"),
        Target::Variable { text } => format!("variable {text}"),
        Target::Other => "other".to_owned(),
    };
    let http = pass.http.as_ref().map(|http| format!(", {} {}", said(&http.version), said(&http.connection)));
    format!(
        "{}: {:?} {} at {} to {target}{}, read {}",
        pass.server_names.first().map_or("-", String::as_str),
        pass.protocol,
        pass.location,
        pass.place.line,
        http.unwrap_or_default(),
        said(&pass.read_timeout_ms)
    )
}

fn passes(text: &str, version: Option<&str>) -> Vec<String> {
    let configuration = evaluate(&Sources::new("/n.conf", text), version);
    assert_eq!(configuration.problems, []);
    facts(&configuration).passes.iter().map(pass).collect()
}

#[test]
fn the_example_with_a_pool_means_what_it_says() {
    let mut sources = Sources::new("/etc/nginx/nginx.conf", super::example("nginx-keepalive.conf"));
    assert_eq!(sources.wanted(), ["/etc/nginx/mime.types"]);
    sources.provide("/etc/nginx/mime.types", Vec::new());
    let configuration = evaluate(&sources, Some("nginx/1.22.1"));
    let nginx = facts(&configuration);
    assert_eq!(
        nginx.passes.iter().map(pass).collect::<Vec<_>>(),
        [
            "example.org: Http / at 43 to upstream app, \"1.1\"@38 \"\"@40, read 30000@44",
            "example.org: Http /ws/ at 48 to upstream app, \"1.1\"@38 \"close\"@50, read 60000",
            "example.org: Http = /old at 58 to address 192.0.2.7:8000, \"1.0\"@57 \"\"@40, read 60000",
            "example.org: Http @fallback at 63 to variable $backend, \"1.1\"@38 \"\"@40, read 60000",
        ]
    );
    let app = &nginx.upstreams[0];
    assert_eq!(nginx.upstream_of(&nginx.passes[0]), Some(app));
    assert_eq!(
        [
            said(&app.keepalive),
            said(&app.keepalive_local),
            said(&app.keepalive_requests),
            said(&app.keepalive_timeout_ms),
            said(&app.keepalive_time_ms)
        ],
        ["32@28", "false@28", "Some(5000)@29", "Some(55000)@30", "Some(3600000)"]
    );
    let servers: Vec<_> = app.servers.iter().map(|server| (server.address.as_str(), server.backup)).collect();
    assert_eq!(servers, [("10.0.0.11:8080", false), ("10.0.0.12:8080", false), ("unix:/run/app.sock", true)]);
    assert_eq!(said(&nginx.worker_processes), "Auto@3");
    assert_eq!(said(&nginx.worker_connections), "4096@7");
    assert_eq!(nginx.servers[0].listen, ["80", "[::]:80"]);
    assert_eq!(
        [said(&nginx.servers[0].keepalive_timeout_ms), said(&nginx.servers[0].keepalive_requests)],
        ["65000@15", "10000@16"]
    );
    let problems: Vec<_> = configuration
        .problems
        .iter()
        .map(|problem| format!("{} {}", configuration.at(problem.place), problem.what))
        .collect();
    assert_eq!(problems, ["/etc/nginx/nginx.conf:11 /etc/nginx/mime.types is not there"]);
}

#[test]
fn other_protocols_are_listed_with_what_keeps_them() {
    let mut sources = Sources::new("/n.conf", super::example("nginx-languages.conf"));
    for pattern in sources.wanted() {
        sources.provide(&pattern, vec![(pattern.clone(), Vec::new())]);
    }
    let configuration = evaluate(&sources, Some("1.22.1"));
    assert_eq!(configuration.problems, []);
    assert_eq!(
        facts(&configuration).passes.iter().map(pass).collect::<Vec<_>>(),
        [
            "-: Fastcgi ~ [^/]\\.php(/|$) at 18 to upstream php, read 60000",
            "-: Uwsgi /django at 20 to upstream django, read 60000",
            "-: Grpc /grpc.Echo/ at 21 to address 127.0.0.1:50051, read 5400000@21",
            "-: Scgi /scgi at 22 to address localhost:4000, read 60000",
            "-: Memcached /cache at 23 to address 127.0.0.1:11211, read 60000",
            "-: Stream  at 40 to upstream db, read 600000@40",
        ]
    );
    let nginx = facts(&configuration);
    assert_eq!(said(nginx.passes[0].keep_conn.as_ref().unwrap()), "true@17");
    let db = nginx.upstream_of(&nginx.passes[5]).unwrap();
    assert!(db.stream && db.name == "db" && db.servers.len() == 2);
}

#[test]
fn one_header_of_its_own_hides_all_that_are_inherited() {
    let text = "http { upstream a { server b; }\n\
        proxy_set_header Connection \"\";\n\
        proxy_http_version 1.1;\n\
        server { location /1 { proxy_pass http://a; }\n\
        location /2 { proxy_pass http://a;\n proxy_set_header Host x; }\n\
        location /3 { proxy_set_header connection close; location /3/4 { proxy_pass http://a; } }\n\
        location /5 { if ($x) { proxy_pass http://a; } proxy_set_header Connection $http_connection; } } }";
    assert_eq!(
        passes(text, Some("1.22.1")),
        [
            "-: Http /1 at 4 to upstream a, \"1.1\"@3 \"\"@2, read 60000",
            "-: Http /2 at 5 to upstream a, \"1.1\"@3 \"close\", read 60000",
            "-: Http /3/4 at 7 to upstream a, \"1.1\"@3 \"close\"@7, read 60000",
            "-: Http /5 at 8 to upstream a, \"1.1\"@3 ?it is what $http_connection is, read 60000"
        ]
    );
}

#[test]
fn defaults_are_those_of_the_version() {
    let text = "http { server { location / { proxy_pass http://a; } } upstream a { server b; } }";
    let version = |version| {
        let configuration = evaluate(&Sources::new("/n.conf", text), version);
        let nginx = facts(&configuration);
        let (pass, upstream) = (nginx.passes[0].http.clone().unwrap(), &nginx.upstreams[0]);
        [
            said(&pass.version),
            said(&pass.connection),
            said(&upstream.keepalive),
            said(&upstream.keepalive_requests),
            said(&nginx.servers[0].keepalive_requests),
        ]
        .join(" ")
    };
    assert_eq!(version(Some("1.10.3")), "\"1.0\" \"close\" 0 None 100");
    assert_eq!(version(Some("1.18.0")), "\"1.0\" \"close\" 0 Some(100) 100");
    assert_eq!(version(Some("1.29.6")), "\"1.0\" \"close\" 0 Some(1000) 1000");
    assert_eq!(version(Some("1.29.7")), "\"1.1\" \"\" 32 Some(1000) 1000");
    assert_eq!(version(None).matches("which is not known").count(), 5);
    assert_eq!(version(Some("angie/1.9.0")).matches("which is not known").count(), 5);
}

#[test]
fn includes_are_asked_for_and_bounded() {
    let mut sources =
        Sources::new("/etc/nginx/nginx.conf", "http { include conf.d/*.conf; server { include /srv/s; } }");
    assert_eq!(sources.wanted(), ["/etc/nginx/conf.d/*.conf", "/srv/s"]);
    sources.provide(
        "/etc/nginx/conf.d/*.conf",
        vec![
            ("/etc/nginx/conf.d/b.conf".into(), b"upstream a { server x; }\n".to_vec()),
            (
                "/etc/nginx/conf.d/a.conf".into(),
                b"proxy_http_version 1.1;\ninclude conf.d/a.conf;\n".to_vec(),
            ),
        ],
    );
    sources.provide("/srv/s", vec![("/srv/s".into(), b"location / {\n proxy_pass http://a; }".to_vec())]);
    assert_eq!(sources.wanted(), ["/etc/nginx/conf.d/a.conf"]);
    sources.provide("/etc/nginx/conf.d/a.conf", vec![("/etc/nginx/conf.d/a.conf".into(), Vec::new())]);
    assert!(sources.wanted().is_empty());
    let configuration = evaluate(&sources, Some("1.22.1"));
    let nginx = facts(&configuration);
    assert_eq!(
        nginx.passes.iter().map(pass).collect::<Vec<_>>(),
        ["-: Http / at 2 to upstream a, \"1.1\"@1 \"close\", read 60000"]
    );
    assert_eq!(configuration.at(nginx.passes[0].place), "/srv/s:2");
    assert_eq!(configuration.at(nginx.upstreams[0].place), "/etc/nginx/conf.d/b.conf:1");
    let problem = &configuration.problems[0];
    assert_eq!(configuration.at(problem.place), "/etc/nginx/conf.d/a.conf:2");
    assert_eq!(problem.what, "/etc/nginx/conf.d/a.conf includes itself");
    assert_eq!(configuration.problems.len(), 1);
}

/// Where the passes of a server with these lines go to.
fn targets(server: &str) -> Vec<String> {
    let text = format!(
        "events {{}} http {{ map $a $mapped {{ ~^/(?<caught>.*) $caught; }} upstream app {{ server 192.0.2.1; }}\n{server}\n}}"
    );
    let configuration = evaluate(&Sources::new("/n.conf", text), Some("1.22.1"));
    assert_eq!(configuration.problems, []);
    let target = |pass: &Pass| match &pass.target {
        Target::Upstream { name } => format!("upstream {name} tls {}", pass.tls),
        Target::Address { address } => format!("address {address} tls {}", pass.tls),
        Target::Variable { text } => format!("?{text}"),
        Target::Other => "other".to_owned(),
    };
    facts(&configuration).passes.iter().map(target).collect()
}

#[test]
fn a_variable_that_one_set_decides_is_known() {
    for (server, expected) in [
        ("server { set $x app; location / { proxy_pass http://$x; } }", "upstream app tls false"),
        (
            "server { set $x app; location / { if ($arg_q) { proxy_pass http://$X$request_uri; } } }",
            "upstream app tls false",
        ),
        (
            "server { location / { set $x 10.0.0.1:80; proxy_pass http://$x; } }",
            "address 10.0.0.1:80 tls false",
        ),
        (
            "server { location / { set $a 10.0.0.1; set $p 8443; set $s https; proxy_pass $s://${a}:$p/x$uri; } }",
            "address 10.0.0.1:8443 tls true",
        ),
        ("server { location / { set $x http://app; proxy_pass $x; } }", "upstream app tls false"),
        ("server { location / { set $x app; fastcgi_pass $x; } }", "upstream app tls false"),
        // Another location's `set` comes before this one's.
        (
            "server { set $x o; location / { set $x app; proxy_pass http://$x; } location /b { set $x b; } }",
            "upstream app tls false",
        ),
        (
            "server { location / { if ($a) { break; } set $x app; proxy_pass http://$x; } }",
            "upstream app tls false",
        ),
    ] {
        assert_eq!(targets(server), [expected], "{server}");
    }
}

#[test]
fn a_variable_that_something_else_may_decide_is_unknown() {
    for server in [
        "server { set $x app; location / { if ($a) { set $x b; } proxy_pass http://$x; } }",
        "server { set $x app; location / { proxy_pass http://$x; } location /b { set $x b; } }",
        "server { location / { if ($a) { set $x app; } proxy_pass http://$x; } }",
        "server { location / { set $x app$a; proxy_pass http://$x; } }",
        "server { set $x o; location / { if ($a) { break; } set $x app; proxy_pass http://$x; } }",
        "server { set $x app; location / { rewrite_by_lua_block { ngx.var.x = 1 } proxy_pass http://$x; } }",
        "server { location / { set $x app; auth_request_set $x $upstream_http_x; proxy_pass http://$x; } }",
        "server { location ~ /(?<x>.*) { set $x app; proxy_pass http://$x; } }",
        "js_set $x main.where; server { location / { set $x app; proxy_pass http://$x; } }",
        // A location takes no `set` of the one around it.
        "server { location / { set $x app; location /in { proxy_pass http://$x; } } }",
    ] {
        assert_eq!(targets(server), ["?$x"], "{server}");
    }
    assert_eq!(
        targets("server { set $mapped app; location / { proxy_pass http://$mapped; } }"),
        ["?$mapped"]
    );
    assert_eq!(
        targets("server { set $caught app; location / { proxy_pass http://$caught; } }"),
        ["?$caught"]
    );
    assert_eq!(targets("server { location / { proxy_pass http://$host:8080; } }"), ["?$host:8080"]);
}

#[test]
fn a_pool_before_a_load_balancing_method_is_none_before_1_29_7() {
    let text = "http {
        upstream lost { server 10.0.0.1:80; keepalive 32;
            least_conn; }
        upstream kept { hash $uri consistent; server 10.0.0.1:80; keepalive 32; }
        upstream off { keepalive 0; server 10.0.0.1:80; random two; }
    }";
    let pools = |version: Option<&str>| {
        let configuration = evaluate(&Sources::new("/n.conf", text), version);
        let shown = |undone: Option<evidence::FilePlace>| undone.map(|place| place.line);
        let upstreams = facts(&configuration).upstreams.iter();
        let pools =
            upstreams.map(|upstream| (upstream.keepalive.clone(), shown(upstream.keepalive_undone_by)));
        pools
            .map(|(pool, undone)| (pool.value().copied(), pool.place().unwrap().line, undone))
            .collect::<Vec<_>>()
    };
    let kept = [(Some(32), 4, None), (Some(0), 5, None)];
    for (version, pool, undone) in [
        (Some("1.22.1"), Some(0), Some(3)),
        (Some("1.29.6"), Some(0), Some(3)),
        (None, None, Some(3)),
        (Some("1.29.7"), Some(32), None),
    ] {
        assert_eq!(pools(version), [&[(pool, 2, undone)][..], &kept].concat(), "{version:?}");
    }
}
