//! `lastack lint`: files of nginx, HAProxy and sysctl.d by themselves.
#![allow(clippy::unwrap_used, clippy::missing_docs_in_private_items, reason = "a test fails by panicking")]

mod sysctl;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn lint(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lastack"))
        .arg("lint")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Rule, level and line of each finding, of a log that is valid.
fn found(output: &Output) -> Vec<String> {
    let sarif: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../sarif.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> =
        schema.iter_errors(&sarif).map(|error| format!("{} {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    for result in sarif["runs"][0]["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let one = |result: &Value| {
        let place = &result["locations"][0]["physicalLocation"];
        format!(
            "{} {} {}:{}",
            result["level"].as_str().unwrap(),
            result["ruleId"].as_str().unwrap(),
            place["artifactLocation"]["uri"].as_str().unwrap(),
            place["region"]["startLine"]
        )
    };
    results.iter().map(one).collect()
}

const HALF_DONE: &str = "events {}
http {
    upstream app {
        server 10.0.0.2:8080;
        keepalive 32;
    }
    upstream bare { server 10.0.0.3:8080; }
    server {
        listen 80;
        location / {
            proxy_pass http://app;
        }
        location /bare {
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_pass http://bare;
        }
        location /direct {
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_pass http://10.0.0.2:8080;
        }
        location /kept {
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_pass http://app;
        }
    }
}
";

#[test]
fn each_half_of_the_repair_of_nginx_is_a_warning_with_its_line() {
    let folder = folder(&[("nginx.conf", HALF_DONE)]);
    let output = lint(folder.path(), &["nginx.conf", "--nginx-version", "1.22.1", "--sarif"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(
        found(&output),
        [
            "warning upstream-keepalive-off nginx.conf:11",
            "warning upstream-keepalive-unpooled nginx.conf:7",
            "warning upstream-keepalive-unpooled nginx.conf:21",
        ]
    );
    // From 1.29.7 on, nginx does by itself what was missing; an address is pooled by none.
    let output = lint(folder.path(), &["nginx.conf", "--nginx-version", "1.29.7", "--sarif"]);
    assert_eq!(found(&output), ["warning upstream-keepalive-unpooled nginx.conf:21"]);
    // Without a version, what depends on it is unknown, and nothing is said of it.
    let output = lint(folder.path(), &["nginx.conf", "--sarif"]);
    assert_eq!(found(&output), ["warning upstream-keepalive-unpooled nginx.conf:21"]);
}

#[test]
fn a_method_behind_a_pool_leaves_none_where_nginx_is_old_enough() {
    let text = "http { upstream app { server 10.0.0.2:80;
        keepalive 32;
        least_conn; }
        server { location / { proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://app; } } }";
    let folder = folder(&[("n.conf", text)]);
    let output = lint(folder.path(), &["n.conf", "--nginx-version", "1.29.6", "--sarif"]);
    assert_eq!(found(&output), ["warning upstream-keepalive-unpooled n.conf:2"]);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &log["runs"][0]["results"][0];
    let says = result["message"]["text"].as_str().unwrap();
    assert!(says.contains("the load balancing method at n.conf:3 undoes a `keepalive`"), "{says}");
    let fix = &result["fixes"][0];
    assert!(
        fix["description"]["text"]
            .as_str()
            .unwrap()
            .contains("put `keepalive` behind the method at n.conf:3")
    );
    for version in [&["--nginx-version", "1.29.7"][..], &[]] {
        let output = lint(folder.path(), &[&["n.conf", "--sarif"][..], version].concat());
        assert_eq!(found(&output), Vec::<String>::new());
    }
}

#[test]
fn a_default_is_a_note_and_leaves_the_exit_code() {
    let folder =
        folder(&[("n.conf", "http { server { location / {\n proxy_pass http://127.0.0.1:3000; } } }")]);
    let output = lint(folder.path(), &["n.conf", "--nginx-version", "1.22.1", "--sarif"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(found(&output), ["note upstream-keepalive-off n.conf:2"]);
}

#[test]
fn haproxy_and_sysctl_are_told_by_their_text() {
    let folder = folder(&[
        (
            "h.conf",
            "defaults\n  mode http\n  timeout client 5s\n  option http-server-close\nfrontend f\n  bind :80\n  default_backend b\n\
             backend b\n  server s 10.0.0.2:80\n",
        ),
        (
            "90-tuning.conf",
            "# tuning\nnet.ipv4.tcp_tw_recycle = 1\nnet.ipv4.tcp_tw_reuse = 1\nnet.ipv4.tcp_timestamps = 0\n\
             net.ipv4.tcp_fin_timeout = 90\nnet.ipv4.tcp_max_tw_buckets = 5000\nnet.core.somaxconn = 1024\n\
             net.core.somaxconn = 4096\n",
        ),
    ]);
    let output = lint(folder.path(), &["h.conf", "90-tuning.conf", "--sarif"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let mut found = found(&output);
    found.sort();
    assert_eq!(
        found,
        [
            "note setting-not-durable 90-tuning.conf:7",
            "note time-wait-table-small 90-tuning.conf:6",
            "note upstream-keepalive-off h.conf:4",
            "warning fin-timeout-misread 90-tuning.conf:5",
            "warning reuse-without-effect 90-tuning.conf:3",
            "warning time-wait-recycle 90-tuning.conf:2",
        ]
    );
}

/// An upstream with a pool, and a header that upgrades need.
const UPGRADES: &str = "events {}
http {
    map $http_upgrade $connection { default upgrade; '' close; }
    upstream app { server 10.0.0.2:8080; keepalive 8; }
    server { location / {
        proxy_http_version 1.1;
        proxy_set_header Connection $connection;
        proxy_pass http://app;
    } }
    server { location / {
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        proxy_pass http://$host:8080;
    } }
    server { location / {
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        set $name 10.0.0.3;
        proxy_pass http://$name:8080;
    } }
}
";

#[test]
fn advice_for_a_map_leaves_upgrades_and_a_variable_with_a_port_has_no_pool() {
    let folder = folder(&[("nginx.conf", UPGRADES)]);
    let output = lint(folder.path(), &["nginx.conf", "--nginx-version", "1.22.1"]);
    let page = text(&output.stdout);
    assert!(
        page.contains("nginx.conf:7: warning:") && page.contains("where no upgrade is asked for"),
        "{page}"
    );
    assert!(page.contains("do: nginx: let the map at nginx.conf:3 give an empty value"), "{page}");
    assert!(!page.contains("Connection \"\""), "{page}");
    assert!(
        page.contains("nginx.conf:13: warning: nginx 1.22.1 passes on to what $host:8080 says"),
        "{page}"
    );
    assert!(
        page.contains(
            "nginx.conf:19: warning: nginx 1.22.1 passes on to 10.0.0.3:8080 (`http://$name:8080`)"
        ),
        "{page}"
    );
}

const HAPROXY_BY_DEFAULTS: &str = "defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    default_backend app
listen front
    bind :80
    option httpclose
backend app
    server a 10.0.0.2:8080
backend other
    default-server max-reuse 4
    server b 10.0.0.3:8080
";

#[test]
fn haproxys_defaults_say_where_requests_go_and_servers_how_many_a_connection_carries() {
    let folder = folder(&[("haproxy.cfg", HAPROXY_BY_DEFAULTS)]);
    let output = lint(folder.path(), &["--sarif", "haproxy.cfg", "--haproxy-version", "2.6.12"]);
    let expected =
        ["note upstream-keepalive-off haproxy.cfg:9", "note upstream-keepalive-small haproxy.cfg:12"];
    assert_eq!(found(&output), expected);
}

#[test]
fn options_of_haproxy_that_contradict_each_other_are_both_named() {
    let file = |first: &str, second: &str| {
        format!("defaults\n mode http\nbackend b\n option {first}\n option {second}\n server s 10.0.0.2:80\n")
    };
    for (first, second, line) in [
        ("httpclose", "http-keep-alive", 4),
        ("http-server-close", "http-keep-alive", 4),
        ("http-keep-alive", "httpclose", 5),
        ("http-keep-alive", "http-server-close", 5),
    ] {
        let folder = folder(&[("h.cfg", &file(first, second))]);
        let output = lint(folder.path(), &["h.cfg", "--haproxy-version", "2.6.12", "--sarif"]);
        assert_eq!(found(&output), [format!("note upstream-keepalive-off h.cfg:{line}")], "{first} {second}");
        assert_eq!(output.status.code(), Some(0));
        let log: Value = serde_json::from_slice(&output.stdout).unwrap();
        let other =
            &log["runs"][0]["results"][0]["relatedLocations"][0]["physicalLocation"]["region"]["startLine"];
        assert_eq!(*other, 9 - line, "{log}");
    }
    // To say otherwise than `defaults` is what they are for.
    let plain = "defaults\n mode http\n option httpclose\nbackend b\n option http-keep-alive\n server s 10.0.0.2:80\n";
    let folder = folder(&[("h.cfg", plain)]);
    let output = lint(folder.path(), &["h.cfg", "--haproxy-version", "2.6.12", "--sarif"]);
    assert_eq!(found(&output), Vec::<String>::new());
}

#[test]
fn idle_timeouts_of_both_sides_are_compared() {
    let front = "http { upstream app { server 10.0.0.2:8080; keepalive 8; keepalive_timeout 60s; }\n\
                 server { location / { proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass http://app; } } }";
    let back =
        |time: &str| format!("http {{ server {{ listen 10.0.0.2:8080;\n keepalive_timeout {time}; }} }}");
    let bare = "http { server { keepalive_timeout 5s; } }";
    let haproxy = |mode: &str| {
        format!(
            "listen app\n mode {mode}\n bind 10.0.0.2:8080\n timeout client 30s\n timeout http-keep-alive 5s\n server a 10.0.0.3:80\n"
        )
    };
    for (front, back, warns) in [
        // Without `listen`, nginx listens on port 80 of all addresses.
        (front.replace(":8080", ""), bare.to_owned(), true),
        (front.to_owned(), bare.to_owned(), false),
        (front.to_owned(), haproxy("http"), true),
        // What passes on bytes knows no requests to wait for.
        (front.to_owned(), haproxy("tcp"), false),
    ] {
        let folder = folder(&[("front.conf", &front), ("back.conf", &back)]);
        let output = lint(folder.path(), &["front.conf", "back.conf", "--sarif"]);
        let found = found(&output);
        assert_eq!(
            found.iter().any(|one| one.starts_with("warning idle-timeout-race")),
            warns,
            "{back} {found:?}"
        );
    }
    // A proxy is not its own server, though both listen on one port of their hosts.
    let one_file = |upstream: &str, listen: &str| {
        format!(
            "http {{ keepalive_timeout 15s; upstream app {{ server {upstream}; keepalive 8; }}\n\
             server {{ listen {listen}; location / {{ proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_pass http://app; }} }} }}"
        )
    };
    for (upstream, listen, warns) in [
        ("10.0.0.1:80", "80", false),
        ("10.0.0.1:80", "10.0.0.1:80", true),
        ("127.0.0.1:80", "80", true),
        ("127.0.0.1:81", "80", false),
    ] {
        let folder = folder(&[("one.conf", &one_file(upstream, listen))]);
        let output = lint(folder.path(), &["one.conf", "--nginx-version", "1.22.1", "--sarif"]);
        let found = found(&output);
        let warned = found.iter().any(|one| one.starts_with("warning idle-timeout-race"));
        assert_eq!(warned, warns, "{upstream} {listen} {found:?}");
    }
    for (time, warns) in [("5s", true), ("60s", true), ("65s", false), ("0", false)] {
        let folder = folder(&[("front.conf", front), ("back.conf", &back(time))]);
        let output = lint(folder.path(), &["front.conf", "back.conf", "--sarif"]);
        assert_eq!(
            found(&output).iter().any(|one| one.starts_with("warning idle-timeout-race")),
            warns,
            "{time}"
        );
    }
}

/// The file with the first fix of the finding at a line.
fn fixed(folder: &Path, name: &str, output: &Output, line: u64) -> String {
    let sarif: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let at = |result: &&Value| result["locations"][0]["physicalLocation"]["region"]["startLine"] == line;
    let fix = &results.iter().find(at).unwrap()["fixes"][0];
    assert!(!fix["description"]["text"].as_str().unwrap().is_empty());
    let change = &fix["artifactChanges"][0];
    assert_eq!(change["artifactLocation"]["uri"], name);
    let before = std::fs::read_to_string(folder.join(name)).unwrap();
    let lines: Vec<&str> = before.split_inclusive('\n').collect();
    let mut after = String::new();
    let mut taken = 0;
    for one in change["replacements"].as_array().unwrap() {
        let region = |key: &str| usize::try_from(one["deletedRegion"][key].as_u64().unwrap()).unwrap();
        assert_eq!((region("startColumn"), region("endColumn")), (1, 1), "whole lines");
        after.extend(lines[taken..region("startLine") - 1].iter().copied());
        after.push_str(one["insertedContent"]["text"].as_str().unwrap());
        taken = region("endLine") - 1;
    }
    after.extend(lines[taken..].iter().copied());
    after
}

#[test]
fn a_fix_that_an_editor_applies_ends_its_finding() {
    let folder = folder(&[
        ("nginx.conf", HALF_DONE),
        ("h.cfg", "defaults\n  mode http\n  option http-server-close\nbackend b\n  server s 10.0.0.2:80\n"),
    ]);
    let version = ["--nginx-version", "1.22.1", "--sarif"];
    for (name, line) in [("nginx.conf", 11), ("nginx.conf", 7), ("nginx.conf", 21), ("h.cfg", 3)] {
        let output = lint(folder.path(), &[&[name][..], &version].concat());
        let before = found(&output);
        let gone = before.iter().find(|one| one.ends_with(&format!("{name}:{line}"))).unwrap();
        let other = folder.path().join("fixed");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join(name), fixed(folder.path(), name, &output, line)).unwrap();
        let after = found(&lint(&other, &[&[name][..], &version].concat()));
        assert_eq!(after.len(), before.len() - 1, "{gone}: {after:?}");
    }
    // What a part stands in is nobody's file, and which value is meant nobody knows.
    std::fs::write(folder.path().join("part"), "location / { proxy_pass http://10.0.0.2:80; }\n").unwrap();
    std::fs::write(folder.path().join("90.conf"), "net.ipv4.tcp_fin_timeout = 90\n").unwrap();
    let output = lint(folder.path(), &[&["part", "90.conf"][..], &version].concat());
    assert_eq!(found(&output).len(), 2);
    let sarif: Value = serde_json::from_slice(&output.stdout).unwrap();
    for result in sarif["runs"][0]["results"].as_array().unwrap() {
        assert_eq!(result["fixes"], serde_json::json!([]));
    }
}

#[test]
fn a_part_is_judged_where_it_is_included() {
    let folder = folder(&[
        (
            "nginx.conf",
            "http {\n proxy_http_version 1.1;\n proxy_set_header Connection \"\";\n include sites/*; }",
        ),
        (
            "sites/app",
            "upstream app { server 10.0.0.2:80; keepalive 8; }\nserver { location / { proxy_pass http://app; } }",
        ),
    ]);
    let version = ["--nginx-version", "1.22.1", "--sarif"];
    let alone = lint(folder.path(), &[&["sites/app"][..], &version].concat());
    assert_eq!(found(&alone), ["warning upstream-keepalive-off sites/app:2"]);
    let both = lint(folder.path(), &[&["nginx.conf", "sites/app"][..], &version].concat());
    assert_eq!((found(&both), both.status.code()), (Vec::new(), Some(0)));
}

#[test]
fn the_page_begins_lines_as_compilers_do_and_json_has_the_same() {
    let folder = folder(&[("nginx.conf", HALF_DONE), ("cut.conf", "http { upstream a {\n server b")]);
    let arguments = ["nginx.conf", "cut.conf", "--nginx-version", "1.22.1"];
    let page = lint(folder.path(), &arguments);
    let page = text(&page.stdout);
    assert!(
        page.starts_with("nginx.conf:11: warning: Keep-alive is off from nginx 1.22.1 to upstream app"),
        "{page}"
    );
    assert!(page.contains("\ncut.conf:1: not understood: "), "{page}");
    assert!(page.contains("2 files: 3 warnings and 0 notes\n"), "{page}");
    let json = lint(folder.path(), &[&arguments[..], &["--json"]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["schema"], "lastack.lint/1");
    assert_eq!(json["findings"].as_array().unwrap().len(), 3);
    assert_eq!(json["files"], serde_json::json!(["cut.conf", "nginx.conf"]));
}

#[test]
fn what_is_hostile_is_no_panic() {
    let deep = "http {".repeat(5_000);
    let folder = folder(&[
        ("deep.conf", &deep),
        ("self.conf", "http { include self.conf; include *.conf; }"),
        ("odd\u{1b}[2Jname.conf", "http { server { location / { proxy_pass http://a; } } }"),
    ]);
    for file in ["deep.conf", "self.conf", "odd\u{1b}[2Jname.conf"] {
        let output = lint(folder.path(), &[file, "--nginx-version", "1.22.1"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
        assert!(!output.stdout.contains(&0x1b), "{}", text(&output.stdout));
    }
}

#[test]
fn a_version_has_numbers() {
    let folder = folder(&[("nginx.conf", "http { server { listen 80; } }\n")]);
    for (option, version) in [
        ("--nginx-version", "foo"),
        ("--nginx-version", "1"),
        ("--haproxy-version", "latest"),
        ("--haproxy-version", ""),
    ] {
        let output = lint(folder.path(), &["nginx.conf", option, version]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains("no version, such as 1.22.1"), "{said}");
    }
    for (option, version) in [
        ("--nginx-version", "nginx/1.22.1"),
        ("--haproxy-version", "2.6"),
        ("--haproxy-version", "HAProxy version 2.6.12-1+deb12u4 2026/10/17"),
    ] {
        assert_eq!(lint(folder.path(), &["nginx.conf", option, version]).status.code(), Some(0), "{version}");
    }
}
