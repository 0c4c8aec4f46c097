//! Port budgets on a real kernel: the range is filled, lastack says so, connect() agrees.

use crate::harness::{Server, doctor, finding, rules, set};
use namespaced::in_namespace;
use serde_json::Value;
use std::io::ErrorKind;
use std::net::TcpStream;

const RULE: &str = "ephemeral-ports-exhausted";

/// A range of 1,000 ports in which no TIME-WAIT is given away early.
fn small_range() -> Server {
    set("net.ipv4.ip_local_port_range", "10000 10999");
    set("net.ipv4.tcp_tw_reuse", "0");
    // Without this, 0 to 8 % of the TIME-WAITs die at once where a FIN overtakes an ACK on two CPUs.
    set("net.ipv4.tcp_rfc1337", "1");
    Server::local(900)
}

fn budget(report: &Value) -> &Value {
    let budgets = report["budgets"].as_array().expect("a report has budgets");
    let same = |budget: &&Value| budget["destination"] == "127.0.0.1:900" && budget["source"] == "127.0.0.1";
    budgets.iter().find(same).expect("the budget of the only destination")
}

#[test]
fn a_range_of_1000_ports_at_900_990_and_1000() {
    in_namespace("budgets::a_range_of_1000_ports_at_900_990_and_1000", || {
        let server = small_range();
        server.client_closes(300);
        let (report, code) = doctor(&["--for", "0"]);
        assert_eq!((budget(&report)["taken"].as_u64(), code), (Some(300), 0), "{report:#}");
        assert!(!rules(&report).contains(&RULE.to_owned()));
        for (more, taken, severity) in [(600, 900, "warning"), (90, 990, "error"), (10, 1_000, "error")] {
            server.client_closes(more);
            let (report, code) = doctor(&["--for", "0"]);
            let budget = budget(&report);
            assert_eq!(budget["ports"], 1_000);
            assert_eq!(budget["taken"], taken);
            assert_eq!(budget["time_wait"], taken);
            assert_eq!(finding(&report, RULE)["severity"], severity, "at {taken}");
            assert_eq!(code, 1);
            if taken == 1_000 {
                assert_eq!(budget["seconds_left"], 0.0);
            }
        }
        let error = TcpStream::connect(server.address).expect_err("no port is left");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn reserved_ports_and_listeners_shrink_the_budget() {
    in_namespace("budgets::reserved_ports_and_listeners_shrink_the_budget", || {
        let server = small_range();
        set("net.ipv4.ip_local_reserved_ports", "10000-10099");
        let _others: Vec<Server> = (10_100..10_110).map(Server::local).collect();
        server.client_closes(890);
        let error = TcpStream::connect(server.address).expect_err("no port is left");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        let (report, _) = doctor(&["--for", "0"]);
        let budget = budget(&report);
        assert_eq!((budget["ports"].as_u64(), budget["reserved"].as_u64()), (Some(900), Some(100)));
        assert_eq!((budget["taken"].as_u64(), budget["bound"].as_u64()), (Some(900), Some(10)));
        assert_eq!(budget["seconds_left"], 0.0);
    });
}

#[test]
fn time_wait_that_tcp_tw_reuse_gives_back_is_not_exhaustion() {
    in_namespace("budgets::time_wait_that_tcp_tw_reuse_gives_back_is_not_exhaustion", || {
        let server = small_range();
        server.client_closes(1_000);
        // Loopback is what the default, 2, covers; a second later every port can be had again.
        set("net.ipv4.tcp_tw_reuse", "2");
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let (report, _) = doctor(&["--for", "0"]);
        assert!(!rules(&report).contains(&RULE.to_owned()), "{:?}", rules(&report));
        server.client_closes(100);
    });
}

#[test]
fn ports_bound_before_connect_are_missing_for_every_destination() {
    in_namespace("budgets::ports_bound_before_connect_are_missing_for_every_destination", || {
        let server = small_range();
        let other = Server::local(901);
        let mut kept = Vec::new();
        for _ in 0..300 {
            kept.push(connect_after_bind(&other));
        }
        server.client_closes(650);
        let (report, _) = doctor(&["--for", "0"]);
        let budget = budget(&report);
        assert_eq!(budget["time_wait"], 650);
        // bind() to port 0 leaves no mark on a socket: which ports it took is inferred from their parity.
        assert_eq!(budget["taken"], 950, "{budget:#}");
        server.client_closes(50);
        TcpStream::connect(server.address).expect_err("the bound ports cannot be had");
    });
}

/// bind() to an address with port 0, then connect(): the old way to choose a source address.
fn connect_after_bind(server: &Server) -> (std::os::fd::OwnedFd, TcpStream) {
    use rustix::net::{AddressFamily, SocketType};
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let any_port = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
    rustix::net::bind(&socket, &any_port).expect("binds");
    rustix::net::connect(&socket, &server.address).expect("connects");
    (socket, server.listener.accept().expect("accepts").0)
}
