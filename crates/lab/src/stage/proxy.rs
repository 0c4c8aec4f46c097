//! Configurations of real proxies.

use crate::host::Program;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use world::scenario::{Family, HaproxyClose, Http, Program as ProxyProgram, Proxy, Reuse};

/// A proxy of the scenario as a program to start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Configured {
    /// The name of its configuration file, in the stage's folder.
    pub(super) file: String,
    /// Its text.
    pub(super) text: String,
    /// How it is started.
    pub(super) program: Program,
}

/// What a proxy's program is called.
pub(super) const fn program(proxy: &Proxy) -> &'static str {
    match proxy.program {
        ProxyProgram::Nginx => "nginx",
        ProxyProgram::Haproxy => "haproxy",
    }
}

/// Writes the configuration of a proxy. `version` is what `nginx -v` says.
pub(super) fn configure(
    proxy: &Proxy,
    family: Family,
    upstream: &[SocketAddr],
    folder: &Path,
    version: &str,
) -> Configured {
    let file = format!("{}.conf", proxy.name);
    let path = folder.join(&file).display().to_string();
    let folder = folder.display().to_string();
    let (text, command) = match proxy.program {
        ProxyProgram::Nginx => (
            nginx(proxy, family, upstream, &folder, version),
            vec![
                "nginx".to_owned(),
                "-e".to_owned(),
                "stderr".to_owned(),
                "-p".to_owned(),
                folder,
                "-c".to_owned(),
                path,
            ],
        ),
        ProxyProgram::Haproxy => (
            haproxy(proxy, family, upstream),
            // With a master, as a service runs it: it takes other files while it runs.
            vec!["haproxy".to_owned(), "-W".to_owned(), "-db".to_owned(), "-f".to_owned(), path],
        ),
    };
    let program = Program { command, ready: None, listens: Some(proxy.port) };
    Configured { file, text, program }
}

/// True from nginx 1.29.7 on: upstream connections are kept by default.
fn keeps_by_default(version: &str) -> bool {
    let number = version.rsplit('/').next().unwrap_or_default();
    let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= (1, 29, 7)
}

fn nginx(proxy: &Proxy, family: Family, upstream: &[SocketAddr], folder: &str, version: &str) -> String {
    let any = match family {
        Family::Ipv4 => "",
        Family::Ipv6 => "[::]:",
    };
    let mut servers = String::new();
    for address in upstream {
        let _ = writeln!(servers, "        server {address};");
    }
    match proxy.keepalive {
        Some(connections) => {
            let _ = writeln!(servers, "        keepalive {connections};");
            if let Some(idle) = proxy.keepalive_idle_ms {
                let _ = writeln!(servers, "        keepalive_timeout {idle}ms;");
            }
            if let Some(requests) = proxy.keepalive_requests {
                let _ = writeln!(servers, "        keepalive_requests {requests};");
            }
        }
        None if keeps_by_default(version) => servers.push_str("        keepalive 0;\n"),
        None => {}
    }
    for line in &proxy.lines {
        let _ = writeln!(servers, "        {line}");
    }
    let http = match proxy.http {
        Http::V1_0 => "proxy_http_version 1.0;\n            proxy_set_header Connection close;",
        Http::V1_1 => "proxy_http_version 1.1;\n            proxy_set_header Connection \"\";",
        Http::V1_1Close => "proxy_http_version 1.1;\n            proxy_set_header Connection close;",
    };
    // A user namespace has no other user to change to.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let mut paths = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(paths, "    {kind}_temp_path {folder}/{}-{kind};", proxy.name);
    }
    format!(
        "daemon off;\n{user}worker_processes {workers};\npid {folder}/{name}.pid;\nerror_log stderr error;\n\
         events {{\n    worker_connections 8192;\n}}\n\
         http {{\n{paths}    access_log off;\n    keepalive_requests 1000000;\n\
         \x20   upstream {name} {{\n{servers}    }}\n\
         \x20   server {{\n        listen {any}{port} backlog=4096;\n\
         \x20       location / {{\n            proxy_pass http://{name};\n            {http}\n        }}\n    }}\n}}\n",
        workers = proxy.workers.max(1),
        name = proxy.name,
        port = proxy.port,
    )
}

fn haproxy(proxy: &Proxy, family: Family, upstream: &[SocketAddr]) -> String {
    let (any, only) = match family {
        Family::Ipv4 => ("", ""),
        Family::Ipv6 => ("::", " v6only"),
    };
    let close = match proxy.mode {
        HaproxyClose::KeepAlive => "option http-keep-alive",
        HaproxyClose::ServerClose => "option http-server-close",
        HaproxyClose::Close => "option httpclose",
    };
    let reuse = match proxy.reuse {
        Reuse::Never => "never",
        Reuse::Safe => "safe",
        Reuse::Aggressive => "aggressive",
        Reuse::Always => "always",
    };
    let mut servers = String::new();
    for (place, address) in upstream.iter().enumerate() {
        let _ = writeln!(servers, "    server upstream{place} {address}");
    }
    for line in &proxy.lines {
        let _ = writeln!(servers, "    {line}");
    }
    format!(
        "global\n    maxconn 8192\n    nbthread {workers}\n\
         defaults\n    mode http\n    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n    {close}\n\
         frontend clients\n    bind {any}:{port}{only}\n    default_backend {name}\n\
         backend {name}\n    http-reuse {reuse}\n{servers}",
        workers = proxy.workers,
        port = proxy.port,
        name = proxy.name,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_decides_whether_no_pool_must_be_said() {
        assert!(!keeps_by_default("nginx version: nginx/1.22.1"));
        assert!(keeps_by_default("nginx version: nginx/1.29.7"));
        assert!(keeps_by_default("nginx version: nginx/1.30.0 (Ubuntu)"));
        assert!(!keeps_by_default(""));
    }
}
