//! Each rule fires in the situation it is for, and nothing fires where all is well.
//!
//! The situations are made with real sockets; rules that need another kernel (`time-wait-recycle`) or another
//! host's packets have fixtures only.

use crate::crafted::Crafter;
use crate::harness::{
    Server, abort, close_first, doctor, finding, findings, lastack, listener_with_backlog, rules, run, set,
    ss, until, while_looking,
};
use namespaced::{in_namespace, lacks};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn a_healthy_busy_host_gets_no_finding() {
    in_namespace("rules::a_healthy_busy_host_gets_no_finding", || {
        let server = Server::local(900);
        let mut pairs: Vec<_> = (0..400).map(|_| server.pair()).collect();
        server.client_closes(150);
        server.server_closes(150);
        let (report, code) = while_looking("2s", move || {
            let start = Instant::now();
            let mut answer = [0; 64];
            let mut closed = 0;
            while start.elapsed() < Duration::from_secs(3) {
                for (client, accepted) in &mut pairs {
                    client.write_all(&[1; 64]).expect("asks");
                    accepted.read_exact(&mut answer).expect("is asked");
                    accepted.write_all(&[2; 64]).expect("answers");
                    client.read_exact(&mut answer).expect("is answered");
                }
                // At most 50 short connections a second each way, however fast the machine is.
                if closed < start.elapsed().as_millis() / 100 {
                    closed += 1;
                    server.client_closes(5);
                    server.server_closes(5);
                }
            }
        });
        assert_eq!(report["findings"], serde_json::json!([]), "{:#}", report["findings"]);
        assert_eq!(code, 0);
    });
}

#[test]
fn an_idle_host_gets_no_finding() {
    in_namespace("rules::an_idle_host_gets_no_finding", || {
        let (report, code) = doctor(&["--for", "200ms"]);
        assert_eq!((rules(&report), code), (vec![], 0));
    });
}

#[test]
fn close_wait_leak_names_the_process() {
    in_namespace("rules::close_wait_leak_names_the_process", || {
        let server = Server::local(900);
        let leaked: Vec<TcpStream> = (0..50)
            .map(|_| {
                let (mut client, accepted) = server.pair();
                client.write_all(b"hi").expect("writes");
                accepted
            })
            .collect();
        until("all are in CLOSE-WAIT", || ss("close-wait", "") == 50);
        assert!(
            !rules(&doctor(&["--for", "0"]).0).contains(&"close-wait-leak".to_owned()),
            "too young to tell"
        );
        std::thread::sleep(Duration::from_secs(6));
        let (report, code) = doctor(&["--for", "0"]);
        let finding = finding(&report, "close-wait-leak");
        assert_eq!((finding["severity"].as_str(), code), (Some("warning"), 1));
        assert_eq!(finding["subject"]["pid"], std::process::id());
        assert!(finding["claim"].as_str().is_some_and(|claim| claim.contains("50")), "{}", finding["claim"]);
        drop(leaked);
    });
}

#[test]
fn time_wait_at_the_server_and_at_the_client_are_told_apart() {
    in_namespace("rules::time_wait_at_the_server_and_at_the_client_are_told_apart", || {
        set("net.ipv4.tcp_rfc1337", "1");
        let server = Server::local(900);
        server.server_closes(1_500);
        let (report, code) = doctor(&["--for", "0"]);
        assert_eq!((rules(&report), code), (vec!["time-wait-at-server".to_owned()], 0));
        let server = Server::local(901);
        server.client_closes(1_500);
        let (report, _) = doctor(&["--for", "0"]);
        assert_eq!(rules(&report), ["time-wait-at-client", "time-wait-at-server"]);
        assert_eq!(finding(&report, "time-wait-at-client")["subject"]["destination"], "127.0.0.1:901");
    });
}

#[test]
fn a_full_time_wait_table_is_seen_now_and_by_its_counter() {
    in_namespace("rules::a_full_time_wait_table_is_seen_now_and_by_its_counter", || {
        set("net.ipv4.tcp_max_tw_buckets", "100");
        let server = Server::local(900);
        server.server_closes(85);
        assert_eq!(rules(&doctor(&["--for", "0"]).0), ["time-wait-table-small"]);
        let (report, code) = while_looking("3s", move || {
            let end = Instant::now() + Duration::from_secs(4);
            while Instant::now() < end {
                server.server_closes(20);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let finding = finding(&report, "time-wait-table-full");
        assert_eq!((finding["confidence"].as_str(), code), (Some("certain"), 1));
        assert!(!rules(&report).contains(&"time-wait-table-small".to_owned()));
    });
}

#[test]
fn fin_wait_2_waits_for_a_peer_that_does_not_close() {
    in_namespace("rules::fin_wait_2_waits_for_a_peer_that_does_not_close", || {
        let server = Server::local(900);
        let peers: Vec<TcpStream> = (0..80).map(|_| server.pair().1).collect();
        until("the FINs are acknowledged", || ss("fin-wait-2", "") == 80);
        std::thread::sleep(Duration::from_secs(4));
        let (report, _) = doctor(&["--for", "0"]);
        finding(&report, "fin-wait-2-waiting");
        drop(peers);
    });
}

#[test]
fn last_acks_that_are_not_answered() {
    in_namespace("rules::last_acks_that_are_not_answered", || {
        let server = Server::local(900);
        let accepted: Vec<TcpStream> = (0..30).map(|_| server.pair().1).collect();
        // A FIN may be acknowledged 40 ms late; without that ACK the clients' FINs are sent again as well.
        until("the peers have closed", || ss("fin-wait-2", "") == 30);
        run("ip", &["link", "set", "lo", "down"]);
        drop(accepted);
        until("FINs are sent again", || {
            let shown = run("ss", &["-Htano", "state", "last-ack"]);
            // timer:(on,1.6sec,2): the third number counts retransmissions.
            let twice = |line: &&str| {
                line.split([',', ')']).nth(2).and_then(|n| n.parse().ok()).is_some_and(|n: u32| n >= 2)
            };
            shown.lines().filter(twice).count() == 30
        });
        let (report, code) = doctor(&["--for", "0"]);
        finding(&report, "last-ack-unanswered");
        assert_eq!(code, 1);
    });
}

#[test]
fn resets_where_a_fin_is_expected() {
    in_namespace("rules::resets_where_a_fin_is_expected", || {
        let server = Server::local(900);
        let (report, code) = while_looking("2s", move || {
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                let (client, mut accepted) = server.pair();
                abort(client);
                let _ = accepted.read(&mut [0]);
                // Bytes that nobody reads.
                let (mut client, accepted) = server.pair();
                client.write_all(b"unread").expect("writes");
                accepted.peek(&mut [0]).expect("they have come");
                drop(accepted);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let causes: Vec<&str> = findings(&report, "abort-instead-of-close")
            .map(|finding| finding["evidence"][0]["source"].as_str().expect("a source"))
            .collect();
        assert!(causes.contains(&"TcpExtTCPAbortOnClose"), "{causes:?}");
        assert!(causes.contains(&"TcpExtTCPAbortOnData"), "{causes:?}");
        assert_eq!(code, 1);
    });
}

#[test]
fn an_accept_queue_that_nobody_empties() {
    in_namespace("rules::an_accept_queue_that_nobody_empties", || {
        let listener = listener_with_backlog(900, 8);
        let address = listener.local_addr().expect("an address");
        let _waiting: Vec<TcpStream> =
            (0..9).map(|_| TcpStream::connect(address).expect("connects")).collect();
        let (report, code) = doctor(&["--for", "0"]);
        let finding = finding(&report, "accept-queue-full");
        assert_eq!((finding["subject"]["listener"].as_str(), code), (Some("127.0.0.1:900"), 1));
    });
}

#[test]
fn syns_of_an_older_clock_that_meet_time_wait() {
    in_namespace("rules::syns_of_an_older_clock_that_meet_time_wait", || {
        // Otherwise the reset that answers the old ACK kills the TIME-WAIT at once, and it is met only once.
        set("net.ipv4.tcp_rfc1337", "1");
        // Timestamps are the milliseconds since the start of this host, and 1 is older than any.
        set("net.ipv4.tcp_timestamps", "2");
        let server = Server::local(900);
        let ports: Vec<u16> = (0..20)
            .map(|_| {
                let (client, accepted) = server.pair();
                let port = client.local_addr().expect("an address").port();
                close_first(accepted, client);
                port
            })
            .collect();
        let (report, code) = while_looking("2s", move || {
            let crafter = Crafter::new();
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                for port in &ports {
                    crafter.syn(*port, 900, 1, 1);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        assert_eq!(finding(&report, "syn-meets-time-wait")["confidence"], "possible");
        assert_eq!(finding(&report, "timestamps-behind-nat")["confidence"], "possible");
        assert_eq!(code, 1);
    });
}

#[test]
fn settings_that_do_not_do_what_they_were_set_for() {
    in_namespace("rules::settings_that_do_not_do_what_they_were_set_for", || {
        set("net.ipv4.tcp_rfc1337", "1");
        set("net.ipv4.tcp_fin_timeout", "10");
        set("net.ipv4.tcp_tw_reuse", "1");
        set("net.ipv4.tcp_timestamps", "0");
        let server = Server::local(900);
        server.server_closes(1_500);
        let (report, code) = doctor(&["--for", "0"]);
        assert_eq!(rules(&report), ["fin-timeout-misread", "reuse-without-effect", "time-wait-at-server"]);
        assert_eq!(finding(&report, "reuse-without-effect")["confidence"], "certain");
        assert_eq!(code, 1);
    });
}

#[test]
fn a_listener_whose_port_connect_may_take() {
    in_namespace("rules::a_listener_whose_port_connect_may_take", || {
        let _named = Server::local(40_000);
        let _chosen = Server::local(0);
        let (report, code) = doctor(&["--for", "0"]);
        let finding = finding(&report, "listener-in-ephemeral-range");
        assert_eq!((finding["severity"].as_str(), code), (Some("note"), 0));
        let claim = finding["claim"].as_str().expect("a claim");
        assert!(claim.contains("40000"), "{claim}");
        set("net.ipv4.ip_local_reserved_ports", "40000");
        assert_eq!(rules(&doctor(&["--for", "0"]).0), Vec::<String>::new());
    });
}

#[test]
fn a_server_that_is_gone_and_its_time_wait() {
    in_namespace("rules::a_server_that_is_gone_and_its_time_wait", || {
        let server = Server::local(900);
        server.server_closes(20);
        assert_eq!(rules(&doctor(&["--for", "0"]).0), Vec::<String>::new());
        drop(server);
        let (report, code) = doctor(&["--for", "0"]);
        assert_eq!(finding(&report, "bind-without-reuseaddr")["confidence"], "possible");
        assert_eq!(code, 0);
    });
}

#[test]
fn conntrack_is_counted_by_its_own_states() {
    let name = "rules::conntrack_is_counted_by_its_own_states";
    if lacks(name, "nft", "nftables") {
        return;
    }
    in_namespace(name, || {
        run(
            "nft",
            &["add table inet t; add chain inet t in { type filter hook input priority 0; }; \
            add rule inet t in ct state established accept"],
        );
        let server = Server::local(900);
        server.client_closes(100);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.case");
        let path = path.to_str().expect("a path");
        assert_eq!(lastack(&["doctor", "--for", "0", "--save", path]).status.code(), Some(0));
        let case = evidence::Case::from_bytes(&std::fs::read(path).expect("saved")).expect("a case");
        let conntrack = case.namespaces[0].conntrack.as_ref().expect("conntrack is loaded");
        assert_eq!(conntrack.entries, 100);
        assert_eq!(conntrack.tcp_by_state.get("TIME_WAIT"), Some(&100), "{conntrack:?}");
    });
}

#[test]
fn a_case_gives_the_same_answer_as_the_look_it_was_saved_from() {
    in_namespace("rules::a_case_gives_the_same_answer_as_the_look_it_was_saved_from", || {
        let server = Server::local(900);
        server.server_closes(1_200);
        let (client, accepted) = server.pair();
        client.shutdown(Shutdown::Write).expect("shuts down");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.case");
        let path = path.to_str().expect("a path");
        let live = lastack(&["doctor", "--for", "1s", "--json", "--save", path]);
        let saved = lastack(&["doctor", "--case", path, "--json"]);
        assert_eq!(live.status.code(), saved.status.code());
        assert_eq!(String::from_utf8_lossy(&live.stdout), String::from_utf8_lossy(&saved.stdout));
        drop((client, accepted));
    });
}
