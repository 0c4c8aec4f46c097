//! What programs are told, as a case says it that anyone may write: places that are nowhere, names that nothing has.

use proptest::prelude::*;
use serde_json::{Value, json};

type Any = BoxedStrategy<Value>;

/// An object with some of these fields.
fn object<const N: usize>(fields: [(&'static str, Any); N]) -> Any {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let some = values.into_iter().map(|value| proptest::option::weighted(0.75, value)).collect::<Vec<_>>();
    some.prop_map(move |values| {
        let fields = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        fields.collect()
    })
    .boxed()
}

fn list(of: Any, most: usize) -> Any {
    proptest::collection::vec(of, 0..=most).prop_map(Value::from).boxed()
}

fn one_of(values: &'static [&'static str]) -> Any {
    proptest::sample::select(values).prop_map(Value::from).boxed()
}

fn string(text: &BoxedStrategy<String>) -> Any {
    text.clone().prop_map(Value::from).boxed()
}

/// One of these, or anything.
fn named(values: &'static [&'static str], text: &BoxedStrategy<String>) -> Any {
    prop_oneof![4 => one_of(values), 1 => string(text)].boxed()
}

fn number() -> Any {
    prop_oneof![0..20_u64, 20..100_000_u64, Just(u64::MAX)].prop_map(Value::from).boxed()
}

fn signed() -> Any {
    prop_oneof![-1..200_i64, Just(i64::MIN), Just(i64::MAX)].prop_map(Value::from).boxed()
}

fn maybe(value: Any) -> Any {
    proptest::option::of(value).prop_map(|value| json!(value)).boxed()
}

fn truth() -> Any {
    any::<bool>().prop_map(Value::from).boxed()
}

fn place() -> Any {
    let number = || prop_oneof![8 => 0..4_u32, 1 => Just(u32::MAX)];
    (number(), number(), number())
        .prop_map(|(file, line, column)| json!({ "file": file, "line": line, "column": column }))
        .boxed()
}

fn said(value: Any, text: &BoxedStrategy<String>) -> Any {
    prop_oneof![
        3 => (value.clone(), place()).prop_map(|(value, place)| json!({ "known": "written", "value": value, "place": place })),
        2 => value.prop_map(|value| json!({ "known": "default", "value": value })),
        1 => (text.clone(), maybe(place()))
            .prop_map(|(because, place)| json!({ "known": "unknown", "because": because, "place": place })),
    ]
    .boxed()
}

const ADDRESSES: &[&str] = &[
    "10.0.0.2:443",
    "10.0.0.2:80",
    "127.0.0.1:80",
    "[2001:db8::2]:443",
    "localhost:8080",
    "unix:/run/a",
    "*:80",
    ":80",
];

/// A configuration, with such texts where a file may have any.
pub(crate) fn configuration(text: &BoxedStrategy<String>) -> Any {
    let running = object([
        ("netns", named(&["host"], text)),
        ("pid", (0..3_u32).prop_map(Value::from).boxed()),
        ("name", named(&["nginx", "haproxy"], text)),
        ("container", maybe(string(text))),
        ("workers", maybe((0..9_u32).prop_map(Value::from).boxed())),
        ("older_than_files", truth()),
    ]);
    object([
        ("version", maybe(named(&["1.22.1", "1.29.7", "2.6.12", "1.8.19", "0.0", "99999999999.1"], text))),
        ("running", maybe(running)),
        ("files", list(string(text), 3)),
        ("problems", list(object([("place", place()), ("what", string(text))]), 2)),
        ("nginx", maybe(nginx(text))),
        ("haproxy", maybe(haproxy(text))),
        ("sysctl", maybe(sysctl(text))),
    ])
}

fn nginx(text: &BoxedStrategy<String>) -> Any {
    let workers =
        prop_oneof![Just(json!("auto")), number().prop_map(|number| json!({ "number": number }))].boxed();
    let number = || said(number(), text);
    let limit = || said(maybe(self::number()), text);
    let upstream_server = object([
        ("address", named(ADDRESSES, text)),
        ("place", place()),
        ("backup", truth()),
        ("down", truth()),
        ("resolve", truth()),
    ]);
    let upstream = object([
        ("name", named(&["app", "APP"], text)),
        ("stream", truth()),
        ("place", place()),
        ("servers", list(upstream_server, 3)),
        ("keepalive", number()),
        ("keepalive_local", said(truth(), text)),
        ("keepalive_undone_by", maybe(place())),
        ("keepalive_requests", limit()),
        ("keepalive_timeout_ms", limit()),
        ("keepalive_time_ms", limit()),
    ]);
    let server = object([
        ("names", list(string(text), 2)),
        ("listen", list(named(ADDRESSES, text), 2)),
        ("place", place()),
        ("stream", truth()),
        ("keepalive_timeout_ms", number()),
        ("keepalive_requests", number()),
    ]);
    let target = prop_oneof![
        named(&["app"], text).prop_map(|name| json!({ "to": "upstream", "name": name })),
        named(ADDRESSES, text).prop_map(|address| json!({ "to": "address", "address": address })),
        string(text).prop_map(|text| json!({ "to": "variable", "text": text })),
        Just(json!({ "to": "x" })),
    ];
    let http = object([
        ("version", said(named(&["1.0", "1.1", "2"], text), text)),
        ("connection", said(named(&["", "close", "keep-alive"], text), text)),
        ("headers_place", maybe(place())),
    ]);
    let protocols = &["http", "fastcgi", "uwsgi", "scgi", "grpc", "memcached", "stream", "x"];
    let pass = object([
        ("protocol", one_of(protocols)),
        ("place", place()),
        ("server_names", list(string(text), 2)),
        ("location", string(text)),
        ("location_place", maybe(place())),
        ("target", target.boxed()),
        ("by_variable", maybe(string(text))),
        ("tls", truth()),
        ("http", maybe(http)),
        ("keep_conn", maybe(said(truth(), text))),
        ("connect_timeout_ms", number()),
        ("read_timeout_ms", number()),
        ("send_timeout_ms", number()),
        ("bind", maybe(said(named(&["10.0.0.1", "$remote_addr"], text), text))),
        ("keepalive_timeout_ms", number()),
        ("keepalive_requests", number()),
    ]);
    object([
        ("worker_processes", said(workers, text)),
        ("worker_connections", number()),
        ("upstreams", list(upstream, 2)),
        ("servers", list(server, 2)),
        ("passes", list(pass, 3)),
    ])
}

fn haproxy(text: &BoxedStrategy<String>) -> Any {
    let number = || said(number(), text);
    let signed = || said(signed(), text);
    let server = object([
        ("name", string(text)),
        ("address", named(ADDRESSES, text)),
        ("place", place()),
        ("template", maybe(string(text))),
        ("pool_max_conn", signed()),
        ("pool_low_conn", signed()),
        ("pool_purge_delay_ms", number()),
        ("max_reuse", signed()),
        ("maxconn", number()),
        ("source", maybe(said(named(&["10.0.0.1", "0.0.0.0:1024-2048"], text), text))),
        ("conditional", truth()),
        ("other_protocol", truth()),
    ]);
    let names = &["connect", "server", "client", "http-keep-alive", "http-request", "tunnel"][..];
    let timeouts = proptest::collection::btree_map(proptest::sample::select(names), number(), 0..4);
    let options = proptest::collection::btree_map(text.clone(), place(), 0..2);
    let used = object([
        ("name", named(&["app", "%[path]"], text)),
        ("place", place()),
        ("default", truth()),
        ("conditional", truth()),
    ]);
    let proxy = object([
        ("kind", one_of(&["frontend", "backend", "listen", "x"])),
        ("name", named(&["app"], text)),
        ("place", place()),
        ("defaults", maybe(place())),
        ("conditional", truth()),
        ("mode", said(named(&["http", "tcp"], text), text)),
        ("connection", said(named(&["keep-alive", "server-close", "close", "tunnel"], text), text)),
        ("http_reuse", said(named(&["never", "safe", "aggressive", "always"], text), text)),
        ("timeouts_ms", timeouts.prop_map(|map| json!(map)).boxed()),
        ("options", options.prop_map(|map| json!(map)).boxed()),
        ("retries", number()),
        (
            "retry_on",
            said(list(named(&["conn-failure", "empty-response", "all-retryable-errors"], text), 2), text),
        ),
        ("binds", list(object([("address", named(ADDRESSES, text)), ("place", place())]), 2)),
        ("servers", list(server, 3)),
        ("backends", list(used, 2)),
    ]);
    object([("threads", number()), ("proxies", list(proxy, 3))])
}

fn sysctl(text: &BoxedStrategy<String>) -> Any {
    let names = &[
        "net.ipv4.tcp_tw_reuse",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.ip_local_port_range",
        "net.core.somaxconn",
    ];
    let assignment = || {
        object([
            ("value", named(&["0", "1", "2", "60", "1024\t65535"], text)),
            ("place", place()),
            ("pattern", maybe(named(&["net.ipv4.tcp_*", "*", "net.*.[!a]*"], text))),
            ("may_fail", truth()),
        ])
    };
    let lost = object([("assignment", assignment()), ("by", one_of(&["later", "named", "file", "x"]))]);
    let key = object([
        ("name", named(names, text)),
        ("winner", maybe(assignment())),
        ("keeps_patterns_off", maybe(place())),
        ("overridden", list(lost, 2)),
    ]);
    let file = || (0..4_u32).prop_map(Value::from).boxed();
    let unapplied = object([("file", file()), ("masked_by", maybe(file()))]);
    object([("keys", list(key, 4)), ("unapplied", list(unapplied, 2))])
}
