//! What a proxy is told: found by a look, changed in its files, taken by it, and back.

use crate::sandbox::{WORK, ends, fix, in_sandbox, run, said, until, with_program};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Where servers listen, and how many connections each was given.
static GIVEN: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];
const PORTS: [u16; 2] = [9_001, 9_002];
const PROXY: u16 = 8_080;

/// Servers that answer as long as somebody asks, and never close first.
fn start_servers() {
    for (port, given) in PORTS.into_iter().zip(&GIVEN) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                given.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream));
            }
        });
    }
}

fn serve(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while lines.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
        // So that a look meets some that are open.
        std::thread::sleep(Duration::from_millis(10));
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// Asks the proxy so many times on one connection; none if it closes that meanwhile.
fn ask(path: &str, times: u32) -> Option<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PROXY)).ok()?;
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..times {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: app\r\n\r\n").ok()?;
        let mut line = String::new();
        answers.read_line(&mut line).ok()?;
        while line != "\r\n" {
            line.clear();
            if answers.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        let mut body = [0; 2];
        answers.read_exact(&mut body).ok()?;
        assert_eq!(&body, b"ok");
    }
    Some(())
}

/// How many connections the servers are given for so many requests to each; none if the proxy closes a client's
/// connection, as workers do that others take over from.
fn given(requests: u32) -> Option<[u32; 2]> {
    let before = GIVEN.each_ref().map(|given| given.load(Ordering::Relaxed));
    for path in ["/one", "/two"] {
        ask(path, requests)?;
    }
    let after = GIVEN.each_ref().map(|given| given.load(Ordering::Relaxed));
    Some([after[0] - before[0], after[1] - before[1]])
}

fn answers() -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, PROXY)).is_ok()
}

#[test]
fn nginx_is_given_pools_and_loses_them_again() {
    const NAME: &str = "told::nginx_is_given_pools_and_loses_them_again";
    const MAIN: &str = "/etc/nginx/nginx.conf";
    const SITE: &str = "/etc/nginx/sites-available/app";
    with_program("nginx", NAME, in_sandbox, || {
        for folder in ["sites-available", "sites-enabled"] {
            std::fs::create_dir_all(format!("/etc/nginx/{folder}")).unwrap();
        }
        std::fs::write("/etc/passwd", "root:x:0:0::/:/bin/sh\n").unwrap();
        std::fs::write("/etc/group", "root:x:0:\n").unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("    {kind}_temp_path {WORK}/{kind};\n"))
            .concat();
        let main = format!(
            "user root root;\npid {WORK}/nginx.pid;\nerror_log {WORK}/error.log;\nworker_processes 1;\nevents {{}}\n\
             http {{\n    access_log off;\n{temporary}    include sites-enabled/*;\n}}\n"
        );
        // The address of the second one has no block: nothing could be kept for it.
        let site = "upstream one {\n    server 127.0.0.1:9001; # the old one\n}\nserver {\n    listen 127.0.0.1:8080;\n    \
                    location /one { proxy_pass http://one; }\n    location /two { proxy_pass http://127.0.0.1:9002; }\n}\n";
        std::fs::write(MAIN, &main).unwrap();
        std::fs::write(SITE, site).unwrap();
        std::os::unix::fs::symlink(SITE, "/etc/nginx/sites-enabled/app").unwrap();
        start_servers();
        run("nginx", &["-c", MAIN]);
        until("nginx answers", answers);
        assert_eq!(given(20), Some([20, 20]), "nginx keeps nothing by itself");

        let page = ends(&mut fix(&["--for", "0"]), 0);
        assert!(page.contains("only with --remedy pool-in-the-proxy"), "{page}");
        for line in ["+     keepalive 32;", "proxy_http_version 1.1;", SITE] {
            assert!(page.contains(line), "{line} is not in the plan\n{page}");
        }
        // What was asked for comes again in what to do next: without it another thing would be found.
        let page = ends(&mut fix(&["--for", "0", "--nginx", MAIN, "--remedy", "pool-in-the-proxy"]), 0);
        let next =
            format!("lastack fix --nginx {MAIN} --state-dir {WORK}/state --remedy pool-in-the-proxy --apply");
        let words: Vec<&str> = page.split_whitespace().filter(|word| *word != "\\").collect();
        assert!(words.join(" ").contains(&next), "{page}");

        let wished = ["--for", "0", "--remedy", "pool-in-the-proxy", "--apply", "--yes", "--guard", "0"];
        ends(&mut fix(&wished), 0);
        assert!(
            std::fs::symlink_metadata("/etc/nginx/sites-enabled/app").unwrap().is_symlink(),
            "what was a link is one"
        );
        let after = std::fs::read_to_string(SITE).unwrap();
        assert!(after.contains("    server 127.0.0.1:9001; # the old one\n"), "{after}");
        // The workers of before end when they have answered.
        until("the new workers keep connections", || {
            given(20).is_some_and(|given| given.into_iter().all(|given| given <= 1))
        });

        ends(&mut fix(&["--rollback", "last"]), 0);
        assert_eq!(std::fs::read_to_string(SITE).unwrap(), site);
        assert_eq!(std::fs::read_to_string(MAIN).unwrap(), main);
        until("the new workers keep nothing", || given(20) == Some([20, 20]));

        // A case is no host: its files are elsewhere.
        let case = format!("{WORK}/host.case");
        Command::new(env!("CARGO_BIN_EXE_lastack"))
            .args(["doctor", "--for", "0", "--save", &case])
            .output()
            .unwrap();
        let output = fix(&["--case", &case, "--remedy", "pool-in-the-proxy"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("a case does not hold the files"), "{}", said(&output));
        run("nginx", &["-s", "stop", "-c", MAIN]);
        until("nginx has ended", || !answers());
    });
}

#[test]
fn haproxy_keeps_connections_and_closes_them_again() {
    const NAME: &str = "told::haproxy_keeps_connections_and_closes_them_again";
    const CONFIG: &str = "/etc/haproxy/haproxy.cfg";
    with_program("haproxy", NAME, in_sandbox, || {
        std::fs::create_dir_all("/etc/haproxy").unwrap();
        let config = "global\n    master-worker\ndefaults\n    mode http\n    option http-server-close\n    timeout client 5s\n    timeout server 5s\n    \
                      timeout connect 5s\nfrontend in\n    bind 127.0.0.1:8080\n    use_backend two if { path /two }\n    \
                      default_backend one\nbackend one\n    server a 127.0.0.1:9001\nbackend two\n    http-reuse never\n    \
                      server b 127.0.0.1:9002\n";
        std::fs::write(CONFIG, config).unwrap();
        start_servers();
        run("haproxy", &["-D", "-f", CONFIG]);
        until("haproxy answers", answers);
        assert_eq!(given(20), Some([20, 20]), "haproxy was told to close");
        // It ends its side by a reset, which leaves nothing: only what is open in the moment shows that it is used.
        // Both backends are asked over and over until a look has found them.
        let plan = format!("{WORK}/plan.toml");
        let found = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for path in ["/one", "/two"] {
                let found = &found;
                scope.spawn(move || {
                    while !found.load(Ordering::Relaxed) {
                        ask(path, 1);
                    }
                });
            }
            until("a look finds both", || {
                let _ = std::fs::remove_file(&plan);
                let wished = ["--for", "0", "--remedy", "pool-in-the-proxy", "--plan", &plan];
                fix(&wished).output().unwrap();
                let plan = std::fs::read_to_string(&plan).unwrap_or_default();
                plan.matches("\n    option http-keep-alive\n").count() == 3
                    && plan.contains("http-reuse always")
            });
            found.store(true, Ordering::Relaxed);
        });
        ends(&mut fix(&["--plan", &plan, "--apply", "--yes", "--guard", "0"]), 0);
        until("the new workers keep connections", || {
            given(20).is_some_and(|given| given.into_iter().all(|given| given <= 1))
        });
        ends(&mut fix(&["--rollback", "last"]), 0);
        assert_eq!(std::fs::read_to_string(CONFIG).unwrap(), config);
        until("the new workers close them", || given(20) == Some([20, 20]));
    });
}
