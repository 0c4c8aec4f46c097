//! What the tests do to a kernel and ask of lastack, in a network namespace of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Runs a program that must succeed, and gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sets a sysctl of this namespace.
pub(crate) fn set(setting: &str, value: &str) {
    let path = format!("/proc/sys/{}", setting.replace('.', "/"));
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Runs `lastack` here.
pub(crate) fn lastack(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lastack")).args(arguments).output().expect("lastack runs")
}

/// `lastack doctor ARGUMENTS --json`, and its exit code.
pub(crate) fn doctor(arguments: &[&str]) -> (serde_json::Value, i32) {
    let output = lastack(&[&["doctor", "--json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.code().expect("lastack was not killed"))
}

/// The names of the rules that fired, sorted, each once.
pub(crate) fn rules(report: &serde_json::Value) -> Vec<String> {
    let findings = report["findings"].as_array().expect("a report has findings");
    let mut rules: Vec<String> =
        findings.iter().map(|finding| finding["rule"].as_str().expect("a rule").to_owned()).collect();
    rules.sort();
    rules.dedup();
    rules
}

/// The findings of a rule.
pub(crate) fn findings<'a>(
    report: &'a serde_json::Value,
    rule: &'a str,
) -> impl Iterator<Item = &'a serde_json::Value> {
    let findings = report["findings"].as_array().expect("a report has findings");
    findings.iter().filter(move |finding| finding["rule"] == rule)
}

/// The one finding of a rule.
pub(crate) fn finding<'a>(report: &'a serde_json::Value, rule: &'a str) -> &'a serde_json::Value {
    let mut of_rule = findings(report, rule);
    let first = of_rule.next().unwrap_or_else(|| panic!("{rule} did not fire; {:?} did", rules(report)));
    assert!(of_rule.next().is_none(), "{rule} fired twice");
    first
}

/// Waits until something holds; a state of the kernel that must come, however slow the machine is.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "waited 30 s in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many sockets `ss` shows in a state (its own spelling), optionally with a filter.
pub(crate) fn ss(state: &str, filter: &str) -> usize {
    let mut arguments = vec!["-Htan", "state", state];
    if !filter.is_empty() {
        arguments.push(filter);
    }
    run("ss", &arguments).lines().count()
}

/// A server that accepts when it is told to.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Listens on an address and port (`SO_REUSEADDR` is on, as std does).
    pub(crate) fn on(address: IpAddr, port: u16) -> Self {
        let listener = TcpListener::bind((address, port)).expect("the port is free in a fresh namespace");
        let address = listener.local_addr().expect("a listener has an address");
        Self { listener, address }
    }

    /// Listens on 127.0.0.1.
    pub(crate) fn local(port: u16) -> Self {
        Self::on(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }

    /// A connection, both ends: client, server.
    pub(crate) fn pair(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.address).expect("connects");
        let (server, _) = self.listener.accept().expect("accepts");
        (client, server)
    }

    /// So many connections that the client closes first, over in both directions.
    pub(crate) fn client_closes(&self, connections: usize) {
        for _ in 0..connections {
            let (client, server) = self.pair();
            close_first(client, server);
        }
    }

    /// So many connections that the server closes first.
    pub(crate) fn server_closes(&self, connections: usize) {
        for _ in 0..connections {
            let (client, server) = self.pair();
            close_first(server, client);
        }
    }
}

/// Closes `first`, and `second` once it has seen that.
pub(crate) fn close_first(first: TcpStream, mut second: TcpStream) {
    drop(first);
    let mut byte = [0];
    assert_eq!(std::io::Read::read(&mut second, &mut byte).expect("reads the end"), 0);
    drop(second);
}

/// A listener on 127.0.0.1 whose queue holds so many.
pub(crate) fn listener_with_backlog(port: u16, backlog: i32) -> TcpListener {
    use rustix::net::{AddressFamily, SocketType};
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("binds");
    rustix::net::listen(&socket, backlog).expect("listens");
    socket.into()
}

/// Closes with a reset: `SO_LINGER` on, zero seconds.
pub(crate) fn abort(socket: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("sets linger");
    drop(socket);
}

/// Does something in a thread while a look lasts, and gives the look's report.
pub(crate) fn while_looking(duration: &str, act: impl FnOnce() + Send + 'static) -> (serde_json::Value, i32) {
    let actor = std::thread::spawn(act);
    let report = doctor(&["--for", duration]);
    actor.join().expect("the load ran");
    report
}
