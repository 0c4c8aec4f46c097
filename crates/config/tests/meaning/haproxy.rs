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
    // To say otherwise than `defaults` is what they are for.
    let in_vain = |proxy: &Proxy| proxy.connection_in_vain.as_ref().map(said);
    let in_vain: Vec<_> = facts(&configuration).proxies.iter().map(in_vain).collect();
    assert_eq!(in_vain, [None, None, None, None, None, Some("server-close@13".to_owned())]);
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

fn modes(configuration: &Configuration) -> Vec<String> {
    let proxies = facts(configuration).proxies.iter();
    proxies.map(|proxy| format!("{} {}", proxy.name, said(&proxy.connection))).collect()
}

#[test]
fn variables_are_what_global_sets_them_to() {
    let text = "global\n setenv HOST 10.0.0.1\n presetenv PORT 8080\n setenv T 7s\n unsetenv MODE\n nbthread \"${N-4}\"\n\
        backend a\n mode \"${MODE-http}\"\n timeout server \"$T\"\n timeout connect \"${T-1s}\"\n timeout queue \"$PORT\"\n\
        server a ${HOST}:80 maxconn \"${MAX}\"\n server b \"${HOST}:${PORT}\"\n\
        global\n unsetenv T\n resetenv\n\
        backend b\n timeout server \"${T-3s}\"\n timeout connect \"${OTHER-2s}\"\n";
    let configuration = read(text, Some("2.6.12"));
    let [a, b] = &facts(&configuration).proxies[..] else { panic!("two") };
    assert_eq!(said(&facts(&configuration).threads), "?it is a variable of the environment@6");
    assert_eq!(said(&a.mode), "http@8");
    assert_eq!(said(&a.timeouts_ms["server"]), "7000@9");
    assert_eq!(said(&a.timeouts_ms["connect"]), "7000@10");
    assert_eq!(
        said(&a.timeouts_ms["queue"]),
        "?it is a variable of the environment@11",
        "it may have been set"
    );
    assert_eq!(a.servers[0].address, "10.0.0.1:80");
    assert_eq!(said(&a.servers[0].maxconn), "?it is a variable of the environment@12");
    assert_eq!(a.servers[1].address, "${HOST}:${PORT}");
    assert_eq!(said(&b.timeouts_ms["server"]), "3000@18");
    assert_eq!(said(&b.timeouts_ms["connect"]), "2000@19");
}

#[test]
fn the_branch_that_is_read_is_in_force() {
    let text = "defaults\n.if version_atleast(2.4)\n option httpclose\n.else\n option http-server-close\n.endif\n\
        .if version_before(2.4)\nbackend old\n option http-tunnel\n.elif version_atleast(3.0)\nbackend new\n\
        .else\nbackend now\n.endif\n retries 7\n";
    let told = read(text, Some("2.6.12"));
    assert_eq!(modes(&told), ["now close@3"]);
    let now = &facts(&told).proxies[0];
    assert!(!now.conditional);
    assert_eq!(said(&now.retries), "7@15", "a line behind `.endif` belongs to the section before it");
    assert_eq!(modes(&read(text, Some("2.2.1"))), ["old tunnel@9"]);
    let unknown = read(text, None);
    assert_eq!(
        modes(&unknown),
        [
            "old tunnel@9",
            "new ?it stands between `.if` and `.endif`@5",
            "now ?it stands between `.if` and `.endif`@5",
        ]
    );
    for proxy in &facts(&unknown).proxies {
        assert!(proxy.conditional);
        assert_eq!(said(&proxy.retries), "7@15", "where {} is read, it is the last", proxy.name);
    }
}

#[test]
fn what_may_be_left_out_is_not_in_force() {
    let text = "defaults\n mode http\n.if defined(X)\ndefaults\n mode http\n option httpclose\n.endif\n\
        backend a\n server a1 10.0.0.1:80\n.if defined(X)\n server a2 10.0.0.2:80 pool-max-conn 0\n.endif\n\
        frontend f\n.if defined(Y)\n use_backend a\n.else\n default_backend b\n.endif\n\
        .if 0\nbackend never\n.endif\n no option httpclose\n";
    let configuration = read(text, Some("2.6"));
    let [a, f] = &facts(&configuration).proxies[..] else { panic!("two: {configuration:?}") };
    assert_eq!(said(&a.mode), "http@5", "both say so");
    assert_eq!(said(&a.connection), "?its `defaults` stand between `.if` and `.endif`@6");
    assert_eq!(
        a.servers.iter().map(|server| (server.conditional, said(&server.pool_max_conn))).collect::<Vec<_>>(),
        [(false, "-1".to_owned()), (true, "?it stands between `.if` and `.endif`@11".to_owned())]
    );
    assert!(f.backends.iter().all(|used| used.conditional) && f.backends.len() == 2, "{:?}", f.backends);
}

#[test]
fn servers_that_are_not_spoken_to_in_http_1_are_told() {
    let text = "backend a\n default-server alpn h2,http/1.1\n server one 10.0.0.1:443 ssl\n server two 10.0.0.2:443 ssl alpn http/1.1\n\
        server three 10.0.0.3:80 proto h2 alpn http/1.1\n server four 10.0.0.4:80 proto \"$P\"\nbackend b\n server five 10.0.0.5:80 proto h1\n";
    let configuration = read(text, Some("2.6"));
    let servers = facts(&configuration).proxies.iter().flat_map(|proxy| &proxy.servers);
    let told: Vec<_> = servers.map(|server| (server.name.as_str(), server.other_protocol)).collect();
    assert_eq!(told, [("one", true), ("two", false), ("three", true), ("four", true), ("five", false)]);
}
