//! Any bytes, and bytes that look like configuration.

use crate::{haproxy_config::haproxy_config, nginx_config::nginx_config, sysctl_config::sysctl_config};
use proptest::collection::vec;
use proptest::prelude::*;

fn check(bytes: &[u8]) {
    nginx_config(bytes);
    haproxy_config(bytes);
    sysctl_config(bytes);
}

/// Pieces that mean something to one of the three, in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "http",
        "server",
        "upstream app",
        "proxy_pass http://app",
        "include *.conf",
        "content_by_lua_block",
        "{",
        "}",
        ";",
        "\"",
        "'",
        "\\",
        "#",
        "${",
        "$x",
        "[[",
        "]]",
        "--",
        "\n",
        "\r\n",
        "\r",
        "\t",
        " ",
        "\u{feff}",
        "defaults",
        "backend b",
        "listen l from d",
        "server b",
        "proxy_set_header Connection close;",
        "proxy_pass http://1.2.3.4:5;",
        "http { server { location / {",
        "option httpclose",
        "no ",
        "timeout server 5s",
        "server a 1.2.3.4:80",
        ".if 1",
        ".endif",
        "=",
        "-",
        "net.ipv4.x",
        "net/ipv4/y",
        "*",
        "\0",
        "keepalive 32",
        "map $a $b",
        "if ($a)",
        "location /",
        "é",
        "http-reuse safe",
    ]);
    vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_bytes_are_written_as_they_were_read(bytes in vec(any::<u8>(), 0..400)) {
        check(&bytes);
    }

    #[test]
    fn bytes_that_look_like_configuration_are_written_as_they_were_read(bytes in pieces()) {
        check(&bytes);
    }
}
