//! Each way to open and to close, on the kernel: what it leaves at either end.

use kernel::sock_diag::{Query, SockDiag, States};
use lab::peer::{Bind, Leftover, Load, LoadResult, RunningLoad, RunningServer, Server};
use namespaced::in_namespace;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tcp::State::{self, CloseWait, Established, FinWait1, FinWait2, TimeWait};
use world::scenario::{Answer, Close, ClosesWhen, How, Http};

const PORT: u16 = 8080;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

const fn close(when: ClosesWhen, how: How, after_ms: u64) -> Close {
    Close { after_ms, ..Close::new(when, how) }
}

const FIRST: Close = close(ClosesWhen::Requests, How::Fin, 0);
const SECOND: Close = close(ClosesWhen::Peer, How::Fin, 0);
const NEVER: Close = close(ClosesWhen::Never, How::Fin, 0);

fn server(close: Close) -> Server {
    Server {
        listen: vec![at(PORT)],
        backlog: 128,
        accepts: true,
        workers: None,
        reuse_address: true,
        keepalive_s: None,
        answer: Answer::default(),
        close,
    }
}

fn load(turns: u32, close: Close) -> Load {
    Load {
        to: vec![at(PORT)],
        turns,
        per_second: None,
        burst: 1,
        concurrency: 4,
        for_ms: 60_000,
        requests: 1,
        request_bytes: 0,
        think_ms: 0,
        http: Http::V1_1,
        pool: None,
        pool_idle_ms: None,
        bind: None,
        ports: None,
        timeout_ms: 20_000,
        close,
    }
}

fn play(load: Load) -> (LoadResult, Leftover) {
    RunningLoad::start(load).expect("a load").end(false)
}

fn set(setting: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/ipv4/{setting}"), value).expect("a setting of the namespace");
}

/// Sockets at the server's and at the clients' end, by state.
fn sockets() -> (BTreeMap<State, u32>, BTreeMap<State, u32>) {
    let (mut servers, mut clients) = (BTreeMap::new(), BTreeMap::new());
    let mut diag = SockDiag::open().expect("sock_diag");
    diag.dump(Query::all(States::CONNECTED), |socket, _| {
        let end = if socket.local_port == PORT { &mut servers } else { &mut clients };
        *end.entry(socket.state).or_default() += 1;
    })
    .expect("sock_diag answers");
    (servers, clients)
}

/// Waits until the two ends look like this.
fn until(servers: &[(State, u32)], clients: &[(State, u32)]) {
    let wanted = (servers.iter().copied().collect(), clients.iter().copied().collect());
    let end = Instant::now() + Duration::from_secs(30);
    while sockets() != wanted {
        assert!(Instant::now() < end, "{:?} is not {wanted:?}", sockets());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn counter(name: &str) -> u64 {
    kernel::counters::read(&kernel::Root::default()).expect("counters").get(name).copied().unwrap_or(0)
}

#[test]
fn whoever_closes_first_keeps_time_wait() {
    in_namespace("whoever_closes_first_keeps_time_wait", || {
        set("tcp_rfc1337", "1");
        let running = RunningServer::start(server(FIRST)).unwrap();
        let (result, _) = play(load(40, SECOND));
        assert_eq!((result.ok(), result.connected, result.answered), (40, 40, 40));
        until(&[(TimeWait, 40)], &[]);
        let seen = running.end();
        assert_eq!((seen.accepted, seen.answered, seen.closed_by_client), (40, 40, 0));

        let running = RunningServer::start(server(SECOND)).unwrap();
        let (result, _) = play(load(40, FIRST));
        assert_eq!(result.ok(), 40);
        until(&[(TimeWait, 40)], &[(TimeWait, 40)]);
        assert_eq!(running.end().closed_by_client, 40);
    });
}

#[test]
fn an_answer_and_the_fin_in_one_go_close_first_even_against_a_client_in_a_hurry() {
    in_namespace("an_answer_and_the_fin_in_one_go_close_first_even_against_a_client_in_a_hurry", || {
        set("tcp_rfc1337", "1");
        let answer = Answer { with_fin: true, ..Answer::default() };
        let running = RunningServer::start(Server { answer, ..server(FIRST) }).unwrap();
        assert_eq!(play(load(40, FIRST)).0.ok(), 40);
        until(&[(TimeWait, 40)], &[]);
        drop(running);
    });
}

#[test]
fn resets_leave_no_time_wait_and_are_counted_by_their_kind() {
    in_namespace("resets_leave_no_time_wait_and_are_counted_by_their_kind", || {
        let running = RunningServer::start(server(SECOND)).unwrap();
        assert_eq!(play(load(20, close(ClosesWhen::Requests, How::Reset, 0))).0.ok(), 20);
        until(&[], &[]);
        assert_eq!((counter("TcpExtTCPAbortOnData"), counter("TcpExtTCPAbortOnClose")), (20, 0));
        let seen = running.end();
        assert_eq!(seen.failures.get("recv.ECONNRESET"), Some(&20));

        let running = RunningServer::start(server(SECOND)).unwrap();
        let (result, _) = play(load(20, close(ClosesWhen::Requests, How::Unread, 0)));
        assert_eq!((result.ok(), result.answered), (20, 0), "the answer was not read");
        until(&[], &[]);
        assert_eq!((counter("TcpExtTCPAbortOnData"), counter("TcpExtTCPAbortOnClose")), (20, 20));
        drop(running);

        let answer = Answer { unread: true, ..Answer::default() };
        let unread = close(ClosesWhen::Requests, How::Unread, 0);
        let running = RunningServer::start(Server { answer, ..server(unread) }).unwrap();
        play(Load { request_bytes: 5_000, ..load(20, SECOND) });
        until(&[], &[]);
        assert_eq!(counter("TcpExtTCPAbortOnClose"), 40);
        drop(running);
    });
}

#[test]
fn a_server_that_forgets_and_clients_that_only_shut_down_keep_nobody_and_stay() {
    in_namespace("a_server_that_forgets_and_clients_that_only_shut_down_keep_nobody_and_stay", || {
        let running = RunningServer::start(server(NEVER)).unwrap();
        // One worker: if it waited for each, it would never come to the second.
        let told = Load { concurrency: 1, ..load(30, close(ClosesWhen::Requests, How::Shutdown, 0)) };
        let (result, left) = play(told);
        assert_eq!(result.ok(), 30);
        until(&[(CloseWait, 30)], &[(FinWait2, 30)]);
        assert_eq!(running.end().forgotten, 30);
        // The server has closed at last, and so do those who waited for that.
        until(&[], &[(TimeWait, 30)]);
        drop(left);
    });
}

#[test]
fn a_goodbye_makes_the_client_close_first_and_who_ignores_it_is_reset() {
    in_namespace("a_goodbye_makes_the_client_close_first_and_who_ignores_it_is_reset", || {
        set("tcp_rfc1337", "1");
        let goodbye = |after_ms| close(ClosesWhen::Requests, How::Goodbye, after_ms);
        let running = RunningServer::start(server(goodbye(20_000))).unwrap();
        assert_eq!(play(load(20, SECOND)).0.ok(), 20);
        until(&[], &[(TimeWait, 20)]);
        assert_eq!(running.end().closed_by_client, 20);

        let running = RunningServer::start(server(goodbye(50))).unwrap();
        let (result, left) = play(load(20, NEVER));
        assert_eq!(result.ok(), 20);
        until(&[], &[(TimeWait, 20)]);
        assert_eq!(counter("TcpExtTCPAbortOnData"), 20);
        drop((running, left));
    });
}

#[test]
fn a_client_says_goodbye_and_the_server_closes_first() {
    in_namespace("a_client_says_goodbye_and_the_server_closes_first", || {
        set("tcp_rfc1337", "1");
        let running = RunningServer::start(server(SECOND)).unwrap();
        let goodbye = close(ClosesWhen::Requests, How::Goodbye, 20_000);
        assert_eq!(play(Load { requests: 3, ..load(20, goodbye) }).0.answered, 60);
        until(&[(TimeWait, 20)], &[]);
        drop(running);
    });
}

#[test]
fn a_pool_keeps_connections_and_gives_up_idle_ones() {
    in_namespace("a_pool_keeps_connections_and_gives_up_idle_ones", || {
        let running = RunningServer::start(server(SECOND)).unwrap();
        let (result, left) = play(Load { pool: Some(4), ..load(500, FIRST) });
        assert_eq!(result.answered, 500);
        assert!((1..=4).contains(&result.connected), "{result:?}");
        let kept = u32::try_from(result.connected).unwrap();
        until(&[(Established, kept)], &[(Established, kept)]);
        drop(left);
        until(&[], &[(TimeWait, kept)]);

        let (result, left) = play(Load { pool: Some(4), pool_idle_ms: Some(30), ..load(4, FIRST) });
        // What is idle for too long is closed though the load is long done.
        let closed = kept + u32::try_from(result.connected).unwrap();
        until(&[], &[(TimeWait, closed)]);
        drop((left, running));
    });
}

#[test]
fn what_finds_no_room_in_a_pool_is_closed_at_once_and_in_its_way() {
    in_namespace("what_finds_no_room_in_a_pool_is_closed_at_once_and_in_its_way", || {
        let answer = Answer { after_ms: 100, ..Answer::default() };
        let running = RunningServer::start(Server { answer, ..server(SECOND) }).unwrap();
        let surplus = |close: Close| {
            let told = Load { pool: Some(1), concurrency: 4, timeout_ms: 60_000, ..load(4, close) };
            let (result, left) = play(told);
            assert_eq!((result.answered, result.connected, result.ok()), (4, 4, 4), "{result:?}");
            assert!(result.failures.is_empty() && result.elapsed_us < 50_000_000, "{result:?}");
            left
        };
        // The server waits for the client: nobody else would close.
        let left = surplus(SECOND);
        until(&[(Established, 1)], &[(Established, 1), (TimeWait, 3)]);
        drop(left);
        until(&[], &[(TimeWait, 4)]);
        let left = surplus(close(ClosesWhen::Requests, How::Reset, 0));
        until(&[(Established, 1)], &[(Established, 1), (TimeWait, 4)]);
        assert_eq!(counter("TcpExtTCPAbortOnData"), 3);
        drop(left);
        until(&[], &[(TimeWait, 5)]);
        let left = surplus(NEVER);
        until(&[(Established, 4)], &[(Established, 4), (TimeWait, 5)]);
        drop((left, running));
    });
}

#[test]
fn who_is_told_that_nothing_more_is_answered_asks_no_more() {
    in_namespace("who_is_told_that_nothing_more_is_answered_asks_no_more", || {
        let running = RunningServer::start(server(FIRST)).unwrap();
        let (result, _) = play(Load { requests: 3, think_ms: 20, ..load(20, FIRST) });
        assert_eq!((result.answered, result.connected, result.ok()), (20, 20, 0), "{result:?}");
        assert!(result.failures.is_empty(), "{result:?}");
        let seen = running.end();
        assert!(seen.failures.is_empty(), "{seen:?}");
        assert_eq!(counter("TcpOutRsts"), 0);
    });
}

#[test]
fn a_pool_does_not_use_what_its_server_has_closed() {
    in_namespace("a_pool_does_not_use_what_its_server_has_closed", || {
        let running = RunningServer::start(server(close(ClosesWhen::Idle, How::Fin, 20))).unwrap();
        let told = Load { pool: Some(1), concurrency: 1, think_ms: 300, ..load(3, SECOND) };
        let (result, left) = play(told);
        assert_eq!((result.answered, result.connected, result.ok()), (3, 3, 3));
        assert!(result.failures.is_empty(), "{result:?}");
        drop((left, running));
    });
}

#[test]
fn ports_run_out_where_they_are_taken() {
    in_namespace("ports_run_out_where_they_are_taken", || {
        set("tcp_rfc1337", "1");
        set("tcp_tw_reuse", "0");
        set("ip_local_port_range", "40000 40009");
        let listen = vec![at(PORT), at(PORT + 1)];
        let running = RunningServer::start(Server { listen: listen.clone(), ..server(SECOND) }).unwrap();
        let told = Load { to: listen, concurrency: 1, ..load(30, FIRST) };
        let bind =
            |without_port| Bind { addresses: vec![[127, 0, 0, 1].into()], without_port, ..Bind::default() };

        // With the port bind() takes it for all destinations, and is what fails.
        let (result, _) = play(Load { bind: Some(bind(false)), ..told.clone() });
        assert_eq!((result.ok(), result.failed("bind.EADDRINUSE")), (10, 20), "{result:?}");
        // connect() avoids what bind() took.
        let (result, _) = play(told.clone());
        assert_eq!((result.ok(), result.failed("connect.EADDRNOTAVAIL")), (0, 30), "{result:?}");
        drop(running);
    });
}

#[test]
fn without_a_port_each_destination_is_a_budget_of_its_own() {
    in_namespace("without_a_port_each_destination_is_a_budget_of_its_own", || {
        set("tcp_rfc1337", "1");
        set("tcp_tw_reuse", "0");
        set("ip_local_port_range", "40000 40009");
        let listen = vec![at(PORT), at(PORT + 1)];
        let running = RunningServer::start(Server { listen: listen.clone(), ..server(SECOND) }).unwrap();
        let bind = Bind { addresses: vec![[127, 0, 0, 1].into()], without_port: true, ..Bind::default() };
        let (result, _) = play(Load { to: listen, concurrency: 1, bind: Some(bind), ..load(30, FIRST) });
        assert_eq!((result.ok(), result.failed("connect.EADDRNOTAVAIL")), (20, 10), "{result:?}");
        assert_eq!(result.connects_tried, 30);
        drop(running);
    });
}

#[test]
fn who_has_a_range_of_its_own_keeps_to_it_whatever_others_have_taken() {
    in_namespace("who_has_a_range_of_its_own_keeps_to_it_whatever_others_have_taken", || {
        set("tcp_rfc1337", "1");
        set("tcp_tw_reuse", "0");
        set("ip_local_port_range", "40000 40999");
        for (turns, listen) in [(1, at(PORT)), (2, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], PORT)))] {
            let running = RunningServer::start(Server { listen: vec![listen], ..server(SECOND) }).unwrap();
            let told = Load { to: vec![listen], concurrency: 1, ..load(12, FIRST) };
            // An odd number of them, and the last as well.
            for ports in [(40_100, 40_106), (40_201, 40_207)] {
                let (result, _) = play(Load { ports: Some(ports), ..told.clone() });
                assert_eq!((result.ok(), result.failed("connect.EADDRNOTAVAIL")), (7, 5), "{result:?}");
            }
            // bind() chooses from it, too: of an even number each.
            let bind = Bind { addresses: vec![listen.ip()], ..Bind::default() };
            let (result, _) = play(Load { ports: Some((40_300, 40_305)), bind: Some(bind), ..told });
            assert_eq!((result.ok(), result.failed("bind.EADDRINUSE")), (6, 6), "{result:?}");
            drop(running);
            until(&[], &[(TimeWait, 20 * turns)]);
            let mut ports = BTreeSet::new();
            let mut diag = SockDiag::open().expect("sock_diag");
            diag.dump(Query::all(States::CONNECTED), |socket, _| {
                ports.insert(socket.local_port);
            })
            .expect("sock_diag answers");
            let own = (40_100..=40_106).chain(40_201..=40_207).chain(40_300..=40_305);
            assert!(ports.iter().copied().eq(own), "{ports:?}");
        }
    });
}

#[test]
fn a_named_port_is_used_again_with_reuse_address() {
    in_namespace("a_named_port_is_used_again_with_reuse_address", || {
        let running = RunningServer::start(server(FIRST)).unwrap();
        let bind = Bind { port: 40_001, reuse_address: true, ..Bind::default() };
        let (result, _) = play(Load { concurrency: 1, bind: Some(bind), ..load(3, SECOND) });
        assert_eq!(result.connected, 3, "{result:?}");
        until(&[(TimeWait, 1)], &[]);
        drop(running);
    });
}

#[test]
fn a_server_that_does_not_accept_fills_its_queue() {
    in_namespace("a_server_that_does_not_accept_fills_its_queue", || {
        let deaf = Server { accepts: false, backlog: 2, ..server(SECOND) };
        let running = RunningServer::start(deaf).unwrap();
        // One after the other: of SYNs that come together more than there is room for may be answered.
        let (result, left) = play(Load { timeout_ms: 200, concurrency: 1, ..load(8, NEVER) });
        // A queue of two holds three; those wait for an answer, the others for a handshake.
        assert_eq!((result.connected, result.failed("connect.ETIMEDOUT")), (3, 5), "{result:?}");
        assert_eq!((result.failed("recv.ETIMEDOUT"), result.ok()), (3, 0), "{result:?}");
        drop((running, left));
    });
}

#[test]
fn a_server_on_several_ports_serves_whoever_comes_to_any_of_them() {
    in_namespace("a_server_on_several_ports_serves_whoever_comes_to_any_of_them", || {
        let listen: Vec<SocketAddr> = (0..16).map(|more| at(PORT + more)).collect();
        let running = RunningServer::start(Server { listen: listen.clone(), ..server(SECOND) }).unwrap();
        let (result, _) = play(Load { to: listen, concurrency: 32, ..load(2_000, FIRST) });
        assert_eq!((result.ok(), result.failures.len()), (2_000, 0), "{result:?}");
        assert_eq!(running.end().accepted, 2_000);
    });
}

#[test]
fn a_server_whose_workers_are_busy_leaves_the_others_in_its_queue() {
    in_namespace("a_server_whose_workers_are_busy_leaves_the_others_in_its_queue", || {
        let busy = Server { workers: Some(2), backlog: 8, ..server(SECOND) };
        let running = RunningServer::start(busy).unwrap();
        // Whoever is served keeps its worker: it does not close.
        let (result, left) = play(Load { timeout_ms: 300, concurrency: 5, ..load(5, NEVER) });
        assert_eq!((result.connected, result.ok()), (5, 2), "{result:?}");
        assert_eq!(result.failed("recv.ETIMEDOUT"), 3, "{result:?}");
        drop((running, left));
    });
}

#[test]
fn without_reuse_address_a_server_cannot_start_again_over_time_wait() {
    in_namespace("without_reuse_address_a_server_cannot_start_again_over_time_wait", || {
        for reuse_address in [true, false] {
            let told = Server { reuse_address, ..server(FIRST) };
            let running = RunningServer::start(told.clone()).unwrap();
            assert_eq!(play(load(5, SECOND)).0.ok(), 5);
            drop(running);
            if reuse_address {
                drop(RunningServer::start(told).unwrap());
                // Those of the first go, so that the second begins.
                let killed = std::process::Command::new("ss").args(["-tK", "state", "time-wait"]).output();
                assert!(killed.unwrap().status.success());
                until(&[], &[]);
            } else {
                let error = RunningServer::start(told).unwrap_err();
                assert!(error.ends_with(": bind.EADDRINUSE"), "{error}");
            }
        }
    });
}

#[test]
fn turns_begin_at_their_rate_and_not_before() {
    in_namespace("turns_begin_at_their_rate_and_not_before", || {
        let running = RunningServer::start(server(SECOND)).unwrap();
        let begin = Instant::now();
        let (result, _) = play(Load { per_second: Some(100.0), ..load(21, FIRST) });
        assert_eq!((result.ok(), result.turns), (21, 21));
        assert!(begin.elapsed() >= Duration::from_millis(200));
        let (result, _) = play(Load { per_second: Some(100.0), for_ms: 100, ..load(1_000, FIRST) });
        assert!((1..=11).contains(&result.turns), "{result:?}");
        drop(running);
    });
}

#[test]
fn loads_that_make_no_sense_are_refused() {
    let refused = |load: Load| RunningLoad::start(load).unwrap_err();
    assert!(refused(Load { to: Vec::new(), ..load(1, FIRST) }).contains("nowhere"));
    assert!(refused(load(2_000_000, FIRST)).contains("at most 1000000"));
    assert!(refused(Load { per_second: Some(0.0), ..load(1, FIRST) }).contains("above zero"));
    assert!(refused(Load { per_second: Some(f64::NAN), ..load(1, FIRST) }).contains("above zero"));
}

#[test]
fn a_stop_ends_a_connect_that_hangs() {
    in_namespace("a_stop_ends_a_connect_that_hangs", || {
        let deaf = Server { accepts: false, backlog: 0, ..server(SECOND) };
        let running = RunningServer::start(deaf).unwrap();
        // A queue of none holds one; of two that come at once both may find the place.
        let load = Load { timeout_ms: 120_000, concurrency: 3, per_second: Some(20.0), ..load(3, NEVER) };
        let load = RunningLoad::start(load).unwrap();
        std::thread::sleep(Duration::from_millis(400));
        let begin = Instant::now();
        let (result, left) = load.end(true);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert_eq!((result.turns, result.connected, result.connects_tried), (3, 1, 3), "{result:?}");
        assert!(result.failures.is_empty(), "{result:?}");
        drop((running, left));
    });
}

/// FINs of this namespace never arrive.
fn drop_fins() {
    let rules = "add table inet t\nadd chain inet t o { type filter hook output priority 0; }\n\
                 add rule inet t o tcp flags & fin == fin drop\n";
    let mut nft =
        std::process::Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft");
    nft.stdin.take().expect("a pipe").write_all(rules.as_bytes()).expect("nft reads");
    assert!(nft.wait().expect("nft ends").success());
}

#[test]
fn who_lingers_is_held_until_its_fin_is_acknowledged_or_the_time_is_over() {
    in_namespace("who_lingers_is_held_until_its_fin_is_acknowledged_or_the_time_is_over", || {
        let linger =
            |seconds| Close { linger_s: Some(seconds), ..Close::new(ClosesWhen::Requests, How::Linger) };
        set("tcp_rfc1337", "1");
        let running = RunningServer::start(server(SECOND)).unwrap();
        let (result, _) = play(Load { concurrency: 1, ..load(20, linger(60)) });
        assert_eq!(result.ok(), 20, "{result:?}");
        assert!(result.elapsed_us < 10_000_000, "each is acknowledged at once: {result:?}");
        until(&[], &[(TimeWait, 20)]);
        assert_eq!(counter("TcpExtTCPAbortOnData"), 0);

        drop_fins();
        // An orphan would be gone after two tries: the socket still has its owner.
        set("tcp_orphan_retries", "1");
        let (result, _) = play(Load { concurrency: 1, ..load(2, linger(1)) });
        assert_eq!(result.ok(), 2, "{result:?}");
        assert!((2_000_000..4_000_000).contains(&result.elapsed_us), "a second each: {result:?}");

        let load = RunningLoad::start(load(1, linger(u16::MAX))).expect("a load");
        std::thread::sleep(Duration::from_millis(1_500));
        assert_eq!(sockets().1.get(&FinWait1), Some(&1), "{:?}", sockets());
        let begin = Instant::now();
        let (result, left) = load.end(true);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert_eq!((result.connected, result.answered), (1, 1), "{result:?}");
        assert_eq!(counter("TcpExtTCPAbortOnData"), 0, "what is left of it goes on");
        drop((running, left));
    });
}

#[test]
fn whatever_is_waited_for_a_stop_ends_it() {
    in_namespace("whatever_is_waited_for_a_stop_ends_it", || {
        const HOUR: u64 = 3_600_000;
        let patient = |change: &dyn Fn(&mut Load)| {
            let mut load = Load { timeout_ms: HOUR, ..load(1, close(ClosesWhen::Requests, How::Fin, 0)) };
            change(&mut load);
            load
        };
        let slow = Server { answer: Answer { after_ms: HOUR, ..Answer::default() }, ..server(FIRST) };
        let large = Server { answer: Answer { bytes: 100 << 20, ..Answer::default() }, ..server(SECOND) };
        let late = close(ClosesWhen::Requests, How::Fin, HOUR);
        let unread = close(ClosesWhen::Never, How::Unread, 0);
        let cases: Vec<(&str, Server, Load)> = vec![
            ("an answer", slow, patient(&|_| ())),
            ("a thought", server(SECOND), patient(&|load| (load.requests, load.think_ms) = (2, HOUR))),
            ("a late close", server(late), patient(&|load| load.close = late)),
            ("a reader", large, patient(&|load| load.close = unread)),
            (
                "a reader of a request",
                Server { accepts: false, ..server(SECOND) },
                patient(&|load| (load.request_bytes, load.timeout_ms) = (100 << 20, 2_000)),
            ),
        ];
        for (waits_for, server, load) in cases {
            let server = RunningServer::start(server).expect("it listens");
            let load = RunningLoad::start(load).expect("a load");
            std::thread::sleep(Duration::from_millis(300));
            let begin = Instant::now();
            let (result, left) = load.end(true);
            // The server stops while the client's socket is there.
            server.end();
            assert!(begin.elapsed() < Duration::from_secs(5), "{waits_for}: {:?}", begin.elapsed());
            assert_eq!(result.connected, 1, "{waits_for}: {result:?}");
            drop(left);
        }
    });
}
