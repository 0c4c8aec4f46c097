use config::haproxy::{Tree, evaluate};
use evidence::configuration::haproxy::{Haproxy, Proxy};
use evidence::{Configuration, Said};

fn read(text: impl Into<Vec<u8>>, version: Option<&str>) -> Configuration {
    evaluate(&[("/etc/haproxy/haproxy.cfg".to_owned(), Tree::parse(text))], version)
}

fn facts(configuration: &Configuration) -> &Haproxy {
    configuration.haproxy.as_ref().unwrap()
}

/// What is said, and in which line.
fn said<T: std::fmt::Display>(said: &Said<T>) -> String {
    let line = said.place().map(|place| format!("@{}", place.line)).unwrap_or_default();
    match said {
        Said::Unknown { because, .. } => format!("?{because}{line}"),
        known => format!("{}{line}", known.value().map(ToString::to_string).unwrap_or_default()),
    }
}

fn proxy(proxy: &Proxy) -> String {
    let timeouts: Vec<_> =
        proxy.timeouts_ms.iter().map(|(name, value)| format!("{name} {}", said(value))).collect();
    format!(
        "{:?} {} mode {} connection {} reuse {} timeouts {}",
        proxy.kind,
        proxy.name,
        said(&proxy.mode),
        said(&proxy.connection),
        said(&proxy.http_reuse),
        timeouts.join(", ")
    )
}

#[test]
fn the_example_means_what_it_says() {
    let configuration =
        read(super::example("haproxy-site.cfg"), Some("HAProxy version 2.6.12-1+deb12u4 2026/10/17"));
    assert_eq!(configuration.problems, []);
    assert_eq!(configuration.version.as_deref(), Some("2.6.12"));
    let haproxy = facts(&configuration);
    let timeouts = "timeouts client 50000@15, connect 5000@14, http-keep-alive 10000@17, server 50000@16";
    assert_eq!(
        haproxy.proxies.iter().map(proxy).collect::<Vec<_>>(),
        [
            format!("Frontend www mode http@10 connection keep-alive reuse safe {timeouts}"),
            format!("Backend app mode http@10 connection keep-alive reuse safe@37 {timeouts}"),
            format!("Backend static mode http@10 connection server-close@46 reuse safe {timeouts}")
                .replace("server 50000@16", "server 60000@47"),
            format!("Listen db mode tcp@21 connection keep-alive reuse safe {timeouts}")
                .replace("client 50000@15", "client 3600000@52"),
            // The last `defaults` before it, as it names none.
            format!("Frontend metrics mode tcp@21 connection keep-alive reuse safe {timeouts}"),
        ]
    );
    assert_eq!(said(&haproxy.threads), "4@5");
    let [www, app, fixed, db, metrics] = &haproxy.proxies[..] else { panic!("five") };
    assert!(metrics.conditional && !www.conditional);
    assert_eq!(www.defaults.unwrap().line, 9);
    assert_eq!(
        www.backends.iter().map(|used| (used.name.as_str(), used.default)).collect::<Vec<_>>(),
        [("static", false), ("app", true)]
    );
    assert_eq!(www.options.keys().collect::<Vec<_>>(), ["dontlognull", "httplog"]);
    assert_eq!(db.options.keys().collect::<Vec<_>>(), ["dontlognull", "tcplog"], "httplog is taken back");
    assert_eq!(app.retry_on.value().unwrap(), &["conn-failure", "empty-response", "response-timeout"]);
    let pools: Vec<_> = app
        .servers
        .iter()
        .map(|server| {
            let (most, delay) = (said(&server.pool_max_conn), said(&server.pool_purge_delay_ms));
            format!("{} {most} {delay} {}", server.name, said(&server.maxconn))
        })
        .collect();
    assert_eq!(pools, ["app1 50@41 10000@41 200@42", "app2 50@41 500@43 0"]);
    assert_eq!(said(fixed.servers[0].source.as_ref().unwrap()), "10.0.0.1:1025-65000@48");
    assert_eq!(db.servers[1].address, "${PG_STANDBY}:5432");
}

#[test]
fn options_about_closing_take_each_others_place() {
    let text = "defaults\n option httpclose\nbackend a\nbackend b\n no option httpclose\nbackend c\n option http-keep-alive\n\
        backend d\n no option http-server-close\ndefaults\nbackend e\nbackend f\n option http-server-close\n option httpclose\n";
    let configuration = read(text, Some("2.6"));
    let modes: Vec<_> = facts(&configuration)
        .proxies
        .iter()
        .map(|proxy| format!("{} {}", proxy.name, said(&proxy.connection)))
        .collect();
    assert_eq!(
        modes,
        ["a close@2", "b keep-alive", "c keep-alive@7", "d close@2", "e keep-alive", "f close@14"]
    );
}

#[test]
fn what_only_the_start_decides_is_unknown() {
    let text = "defaults d\n timeout server \"${T}\"\n.if defined(X)\n mode http\n option httpclose\n.endif\n\
        backend a from d\n retries 2\n timeout queue soon\nbackend b from nobody\n";
    let configuration = read(text, None);
    let proxies = &facts(&configuration).proxies;
    assert_eq!(said(&proxies[0].mode), "?it stands between `.if` and `.endif`@4");
    assert_eq!(said(&proxies[0].connection), "?it stands between `.if` and `.endif`@5");
    assert_eq!(said(&proxies[0].timeouts_ms["server"]), "?it is a variable of the environment@2");
    assert_eq!(said(&proxies[0].timeouts_ms["queue"]), "?`soon` is not understood@9");
    assert!(said(&proxies[0].http_reuse).contains("which is not known"));
    assert_eq!(said(&proxies[0].retries), "2@8");
    assert_eq!(said(&proxies[1].mode), "tcp");
    let problems: Vec<_> = configuration.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(problems, ["no section `defaults nobody` stands before this"]);
    assert_eq!(said(&facts(&read("backend a\n", Some("1.8.19"))).proxies[0].http_reuse), "never");
}
