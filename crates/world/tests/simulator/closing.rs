//! What becomes of a connection by who closes it, when and how, as the peers of the kernel stage do it.

use super::{FIRST, SECOND, check, get, world};
use world::{Run, simulate};

/// A client says goodbye with its last request.
#[test]
fn who_is_told_goodbye_closes_first() {
    let said = |requests: u32, server: &str| {
        let close = "close = { when = \"requests\", how = \"goodbye\", after_ms = 300 }";
        let world = world("", "", server, &format!("connections = 10\nrequests = {requests}\n{close}"));
        let measures = simulate(&world).measures;
        let at = |host: &str| get(&measures, &format!("{host}.sockets.TIME-WAIT"));
        let failed = measures.0.keys().any(|name| name.contains(".failed."));
        let segments = get(&measures, "server.counters.InSegs");
        assert!(!failed && (get(&measures, "load.ok") - 10.0).abs() < 1e-9, "{measures:?}");
        (at("client"), at("server"), get(&measures, "client.counters.OutRsts"), segments)
    };
    // SYN, ACK, request, ACK of its answer, FIN: no message of its own.
    let one = said(1, SECOND);
    assert_eq!(one, (0.0, 10.0, 0.0, 50.0));
    assert_eq!(said(3, SECOND), (0.0, 10.0, 0.0, 70.0));
    assert_eq!(said(1, "close = { when = \"idle\", after_ms = 60000 }"), one);
    let never = said(2, "close = { when = \"never\" }");
    assert_eq!((never.0, never.1, never.2), (0.0, 0.0, 10.0), "who never closes is waited for, and reset");
}

/// Seen on 6.18: close() that lingers keeps its caller and stays no orphan, resets nothing, and shortens nothing.
#[test]
fn who_lingers_waits_for_the_acknowledgement_of_its_fin() {
    let linger =
        |seconds: u32| format!("close = {{ when = \"requests\", how = \"linger\", linger_s = {seconds} }}");
    // Acknowledged at once: as without it.
    let plain = simulate(&world("", "", SECOND, &format!("connections = 100\n{FIRST}")));
    let run = simulate(&world("", "", SECOND, &format!("connections = 100\n{}", linger(5))));
    for name in ["load.ok", "client.sockets.TIME-WAIT", "client.counters.TCPAbortOnData"] {
        assert_eq!(get(&run.measures, name).to_bits(), get(&plain.measures, name).to_bits(), "{name}");
    }
    assert!(
        (get(&run.measures, "load.ok") - 100.0).abs() < f64::EPSILON && run.end_ms < 1_000,
        "{}",
        run.end_ms
    );

    let lost = "[[fault]]\nhost = \"client\"\ndrop = \"fins\"\n";
    let orphans = "\"net.ipv4.tcp_orphan_retries\" = 1";
    let end = |close: &str| {
        let client = format!("connections = 3\n{close}\n{lost}");
        simulate(&world("settle_ms = 100\nlimit_ms = 30000", orphans, SECOND, &client))
    };
    // Whoever does not linger is done at once, and its orphan gives up soon.
    let run = end(FIRST);
    assert!(run.end_ms < 1_000, "{}", run.end_ms);
    // Three times two seconds, and a timer of the kernel's is late.
    let run = end(&linger(2));
    assert!((6_000..6_500).contains(&run.end_ms), "{}", run.end_ms);
    // Those before gave up when they were orphans; the last is one since a tenth of a second.
    check(&run.measures, &[("client.peak.FIN-WAIT-1", 2.0), ("client.counters.TCPAbortOnData", 0.0)]);

    // The limit comes before.
    assert_eq!(end(&linger(60)).end_ms, 30_000);

    // What comes meanwhile is reset, as after any close(), and the wait is over.
    let server = "close = { when = \"idle\", after_ms = 20, how = \"linger\", linger_s = 9 }";
    let client = "connections = 2\nrequests = 3\nthink_ms = 50\nclose = { when = \"requests\" }\n\
                  [[fault]]\nhost = \"server\"\ndrop = \"fins\"\n";
    let run = simulate(&world("", "", server, client));
    check(&run.measures, &[("server.counters.TCPAbortOnData", 2.0), ("load.ok", 0.0)]);
}

/// As on the kernel stage: what is not read is no answer that was had, and need not come in full; what was not even asked
/// for is not left.
#[test]
fn a_client_that_leaves_the_last_answer_resets_and_has_one_answer_less() {
    let client = "connections = 10\nrequests = 3\nclose = { when = \"requests\", how = \"unread\" }";
    let run = simulate(&world("", "", SECOND, client));
    let of_client = [("load.ok", 10.0), ("load.requests", 20.0), ("client.counters.TCPAbortOnClose", 10.0)];
    check(&run.measures, &of_client);
    // It would end with the connection, in five seconds.
    let server = "answer = { length = false }\nclose = { when = \"requests\", after_ms = 5000 }";
    let one = client.replace("requests = 3", "requests = 1");
    let run = simulate(&world("", "", server, &one));
    check(&run.measures, &[("load.requests", 0.0), ("client.counters.TCPAbortOnClose", 10.0)]);
    assert!(run.end_ms < 1_000, "{}", run.end_ms);
    // Told after the first answer that there is no more.
    let run = simulate(&world("", "", "close = { when = \"requests\" }", client));
    check(&run.measures, &[("load.requests", 10.0), ("client.counters.OutRsts", 0.0)]);
}

/// As on the kernel stage: the next request is not sent, and nobody is reset.
#[test]
fn who_is_told_that_nothing_more_is_answered_closes_in_its_way() {
    for (close, at_client) in [
        ("close = { when = \"requests\" }", 0.0),
        ("close = { when = \"peer\" }", 0.0),
        ("close = { when = \"peer\", after_ms = 30 }", 0.0),
        ("close = { when = \"idle\", after_ms = 30 }", 0.0),
        ("close = { when = \"requests\", how = \"goodbye\" }", 0.0),
        ("close = { when = \"never\" }", 10.0),
    ] {
        for think in [0, 20] {
            let server = "close = { when = \"requests\", after_ms = 5 }";
            let server =
                if close.contains("requests\" }") { "close = { when = \"requests\" }" } else { server };
            let client = format!("connections = 10\nrequests = 3\nthink_ms = {think}\n{close}");
            let run = simulate(&world("", "", server, &client));
            check(
                &run.measures,
                &[
                    ("load.connected", 10.0),
                    ("load.ok", 0.0),
                    ("server.counters.OutRsts", 0.0),
                    ("client.counters.OutRsts", 0.0),
                    ("client.sockets.CLOSE-WAIT", at_client),
                ],
            );
            let failed: Vec<_> = run.measures.0.keys().filter(|name| name.contains(".failed.")).collect();
            assert!(failed.is_empty(), "{close} {think}: {failed:?}");
        }
    }
}

/// exit() waits for nothing, and whoever lingered goes on without an owner.
#[test]
fn the_end_of_a_program_ends_its_lingering() {
    let client = "connections = 5\nclose = { when = \"requests\", how = \"linger\", linger_s = 60 }\n\
                  [[fault]]\nhost = \"client\"\ndrop = \"fins\"\n[[step]]\nat_ms = 2000\nend = \"load\"\n";
    let run = simulate(&world("settle_ms = 100", "", SECOND, client));
    assert_eq!(run.end_ms, 2_100);
    check(&run.measures, &[("client.sockets.FIN-WAIT-1", 1.0), ("client.counters.OutRsts", 0.0)]);
}

#[test]
fn who_closes_second_and_who_has_no_room_in_its_pool_close_in_their_way() {
    let resets = |server: &str, client: &str| {
        let measures = simulate(&world("", "", server, &format!("connections = 8\n{client}"))).measures;
        let of = |name: &str| get(&measures, name);
        (of("server.counters.OutRsts"), of("client.counters.OutRsts"), of("client.sockets.ESTABLISHED"))
    };
    // The client closes before the server has answered as often as it wants to.
    let server = "close = { when = \"requests\", requests = 5, how = \"reset\" }";
    assert_eq!(resets(server, FIRST), (8.0, 0.0, 0.0));
    // Four at once, and room for one.
    let pool = |close: &str| format!("pool = 1\nconcurrency = 4\n{close}");
    let answer = "answer = { after_ms = 50 }\nclose = { when = \"peer\" }";
    let by_reset = resets(answer, &pool("close = { when = \"requests\", how = \"reset\" }"));
    assert!(by_reset.1 >= 3.0 && by_reset.1 <= 6.0, "{by_reset:?}");
    let by_fin = resets(answer, &pool("close = { when = \"requests\" }"));
    assert_eq!((by_fin.0, by_fin.1), (0.0, 0.0));
    let never = resets(answer, &pool("close = { when = \"never\" }"));
    assert!(never.2 > by_fin.2 && never.1 < 1.0, "{never:?} {by_fin:?}");
}

/// Ten connections, and what failed of them. Nothing else may have.
fn ends(server: &str, client: &str, failed: &[(&str, f64)]) -> Run {
    let run = simulate(&world("", "", server, &format!("connections = 10\nper_second = 20.0\n{client}")));
    check(&run.measures, failed);
    let known = |name: &str| failed.iter().any(|(known, _)| *known == name);
    let other: Vec<_> =
        run.measures.0.keys().filter(|name| name.contains(".failed.") && !known(name)).collect();
    assert!(other.is_empty(), "{client}: {other:?}");
    run
}

#[test]
fn who_thinks_or_rests_does_not_hear_the_end() {
    // The request goes out behind the server's FIN: a reset, but recv() says what came first.
    let idle = "close = { when = \"idle\", after_ms = 100 }";
    for close in [FIRST, SECOND, "close = { when = \"never\" }"] {
        let client = format!("requests = 2\nthink_ms = 220\n{close}");
        let run = ends(idle, &client, &[("load.failed.recv.EOF", 10.0), ("load.ok", 0.0)]);
        check(&run.measures, &[("server.counters.OutRsts", 10.0), ("client.counters.EstabResets", 10.0)]);
    }
    // What is left unread when the pause is over is still a reset.
    let server = "answer = { with_fin = true }\nclose = { when = \"requests\" }";
    let client = "close = { when = \"requests\", how = \"unread\", after_ms = 40 }";
    let run = ends(server, client, &[("load.ok", 10.0)]);
    check(&run.measures, &[("client.counters.TCPAbortOnClose", 10.0), ("server.sockets.TIME-WAIT", 0.0)]);
    // Who was asked to close, and rests for too long, is reset; shutdown() fails then, and close() follows.
    let server = "close = { when = \"requests\", how = \"goodbye\", after_ms = 300 }";
    let client = "timeout_ms = 1500\nclose = { when = \"peer\", how = \"shutdown\", after_ms = 450 }";
    let run = ends(server, client, &[("load.ok", 10.0)]);
    check(&run.measures, &[("server.counters.OutRsts", 10.0), ("client.counters.EstabResets", 10.0)]);
    assert!(run.end_ms < 6_000, "{}", run.end_ms);
}

#[test]
fn a_server_is_idle_since_its_answer() {
    let server = |answers: u32| {
        format!("answer = {{ after_ms = {answers} }}\nclose = {{ when = \"idle\", after_ms = 100 }}")
    };
    let client = "requests = 2\nthink_ms = 60\nclose = { when = \"requests\" }";
    // 140 ms from request to request, or 210; an answer takes longer than a server waits.
    for answers in [80, 150] {
        ends(&server(answers), client, &[("load.ok", 10.0), ("load.requests", 20.0)]);
    }
}

#[test]
fn a_pool_looks_at_a_connection_when_it_takes_it_out() {
    // The server resets what its client thinks about: it takes the only place, and the last one finds no room.
    let server = "answer = { after_ms = 40 }\nclose = { when = \"idle\", how = \"reset\", after_ms = 100 }";
    let client = "connections = 6\nconcurrency = 20\nthink_ms = 220\npool = 1\npool_idle_ms = 170";
    let run = simulate(&world("", "", server, &format!("{client}\nper_second = 20.0\n{FIRST}")));
    check(&run.measures, &[("client.counters.EstabResets", 5.0), ("load.ok", 6.0)]);
    // What broke in it is not used.
    let slow = format!("connections = 10\nper_second = 5.0\npool = 4\n{FIRST}");
    let run = simulate(&world("", "", server, &slow));
    check(
        &run.measures,
        &[("load.connected", 10.0), ("load.requests", 10.0), ("load.failed.send.EPIPE", 0.0)],
    );
    // The server has said that it closes, and its FIN is lost: the client waits for as long as it has patience.
    let server = "close = { when = \"requests\", how = \"shutdown\", after_ms = 300 }";
    let client = "pool = 2\nconcurrency = 20\ntimeout_ms = 1500\nclose = { when = \"peer\" }\n\
                  [[fault]]\nhost = \"client\"\nincoming = true\ndrop = \"fins\"\n";
    let run = ends(server, client, &[("load.failed.recv.ETIMEDOUT", 10.0)]);
    check(&run.measures, &[("client.sockets.ESTABLISHED", 0.0)]);
}
