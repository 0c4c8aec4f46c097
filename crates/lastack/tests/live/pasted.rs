//! What other tools print of a namespace, pasted, is the case of a look at it.

use crate::harness::{Server, lastack, listener_with_backlog, run, ss, until};
use evidence::{Case, KnownBy, Namespace, Role};
use namespaced::{in_namespace, lacks};
use std::net::{IpAddr, Ipv6Addr, TcpStream};
use std::path::Path;

/// Sockets in every state that stays, of both families and between them.
fn sockets() -> impl Sized {
    let server = Server::local(900);
    let wide = Server::on(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 901);
    let queued = listener_with_backlog(902, 7);
    server.client_closes(9);
    server.server_closes(4);
    let waiting = TcpStream::connect(("127.0.0.1", 902)).expect("waits in the queue");
    let kept = (
        server.pair(),
        wide.pair(),
        TcpStream::connect("127.0.0.1:901").map(|c| (c, wide.listener.accept())),
    );
    let (left, unread) = server.pair();
    drop(left);
    until("the orphan waits for a FIN", || ss("fin-wait-2", "") == 1);
    (server, wide, queued, waiting, kept, unread)
}

fn saved(folder: &Path, arguments: &[&str]) -> Case {
    let file = folder.join("x.case");
    let path = file.to_str().expect("a path");
    let output = lastack(&[&["doctor", "--json", "--save", path], arguments].concat());
    assert!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    Case::from_bytes(&std::fs::read(path).expect("the case was saved")).expect("a case")
}

/// Role, ends and states of each group, sorted.
fn states(namespace: &Namespace) -> Vec<(Role, String, String, String)> {
    let groups = namespace.sockets.groups.iter().map(|group| {
        let states: Vec<String> =
            group.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        (group.role, group.local.to_string(), group.remote.to_string(), states.join(", "))
    });
    let mut all: Vec<_> = groups.collect();
    all.sort();
    all
}

/// How each group's sockets are owned, and by whom.
fn owners(namespace: &Namespace) -> Vec<(String, String, KnownBy, String)> {
    let mut all = Vec::new();
    for group in &namespace.sockets.groups {
        for owner in &group.owners {
            let process = owner.process.map(|place| &namespace.processes[place as usize]);
            let name = process.map_or("-".to_owned(), |process| {
                // netstat cuts names off.
                format!("{} {}", process.pid, process.name.chars().take(8).collect::<String>())
            });
            let states: Vec<String> = owner.states.iter().map(|(state, _)| state.to_string()).collect();
            all.push((group.remote.to_string(), name, owner.known_by, states.join(", ")));
        }
    }
    all.sort();
    all
}

fn listeners(namespace: &Namespace) -> Vec<(String, u32, Option<u32>)> {
    let mut all: Vec<_> = namespace
        .sockets
        .listeners
        .iter()
        .map(|listener| (listener.address.to_string(), listener.queue, listener.backlog))
        .collect();
    all.sort();
    all
}

#[test]
fn every_tool_shows_the_sockets_that_a_look_shows() {
    in_namespace("pasted::every_tool_shows_the_sockets_that_a_look_shows", || {
        let _sockets = sockets();
        let folder = tempfile::tempdir().expect("a folder");
        let look = saved(folder.path(), &["--for", "0"]);
        let look = &look.namespaces[0];
        assert_eq!(states(look).iter().filter(|(_, _, _, states)| states.contains("TIME-WAIT")).count(), 2);
        let mut tools = vec![
            ("ss", vec!["-tanpoe"], true),
            ("ss", vec!["-tanpoei"], true),
            ("ss", vec!["-anp"], true),
            ("cat", vec!["/proc/net/tcp", "/proc/net/tcp6"], false),
        ];
        if !lacks("pasted::every_tool_shows_the_sockets_that_a_look_shows", "netstat", "net-tools") {
            tools.push(("netstat", vec!["-antpoe"], true));
            tools.push(("netstat", vec!["-anp"], true));
        }
        for (program, arguments, with_owners) in tools {
            let file = folder.path().join("pasted.txt");
            let text = run(program, &arguments);
            // As people paste it: with the prompt, and the line breaks of another system.
            let text =
                format!("root@web1:~# {program} {}\n{text}", arguments.join(" ")).replace('\n', "\r\n");
            std::fs::write(&file, text).expect("the text is written");
            let case = saved(folder.path(), &["--from", file.to_str().expect("a path")]);
            let from = &case.namespaces[0];
            let typed = format!("{program} {}", arguments.join(" "));
            assert_eq!(states(from), states(look), "{typed}");
            if with_owners {
                assert_eq!(owners(from), owners(look), "{typed}");
            }
            let queues =
                |namespace| listeners(namespace).into_iter().map(|(address, queue, _)| (address, queue));
            assert!(queues(from).eq(queues(look)), "{typed}");
            if program == "ss" {
                assert_eq!(listeners(from), listeners(look), "{typed}");
            }
            let timed = arguments.iter().any(|argument| argument.contains('o')) || program == "cat";
            let closes = |namespace: &Namespace| -> u32 {
                namespace.sockets.groups.iter().map(|group| group.time_wait.total()).sum()
            };
            assert_eq!(closes(from), if timed { closes(look) } else { 0 }, "{typed}");
            assert!(
                case.gaps.iter().all(|gap| !gap.because.contains("understood")),
                "{typed}: {:?}",
                case.gaps
            );
        }
    });
}

#[test]
fn settings_and_counters_are_those_of_a_look() {
    in_namespace("pasted::settings_and_counters_are_those_of_a_look", || {
        let server = Server::local(900);
        server.client_closes(5);
        let folder = tempfile::tempdir().expect("a folder");
        let look = saved(folder.path(), &["--for", "0"]);
        let shell = |line: &str| run("sh", &["-c", line]);
        let history = folder.path().join("history");
        let nstat = format!("NSTAT_HISTORY={} nstat -az", history.display());
        let text = format!(
            "$ sysctl -a\n{}$ nstat -az; sleep 1; nstat -az\n{}{}",
            shell("sysctl -a 2>/dev/null"),
            shell(&nstat),
            {
                server.client_closes(3);
                shell(&nstat)
            }
        );
        let file = folder.path().join("pasted.txt");
        std::fs::write(&file, text).expect("the text is written");
        let case = saved(folder.path(), &["--from", file.to_str().expect("a path")]);
        let (from, look) = (&case.namespaces[0], &look.namespaces[0]);
        assert_eq!(
            case.host.name,
            std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim()
        );
        for (name, value) in &from.settings.values {
            let told = look.settings.text(name).map(|value| value.split_whitespace().collect::<Vec<_>>());
            // conntrack's count moves, whoever looks.
            if name != "net.netfilter.nf_conntrack_count" {
                assert_eq!(told, Some(value.split_whitespace().collect()), "{name}");
            }
        }
        assert!(from.settings.values.len() > 20, "{:?}", from.settings);
        assert_eq!(from.counters.rise("TcpActiveOpens"), Some(3));
        assert_eq!(from.counters.rise("TcpExtTW"), Some(3));
        assert_eq!(from.counters.interval_ms, 1_000);
        let names = |namespace: &Namespace| namespace.counters.end.keys().cloned().collect::<Vec<_>>();
        let (in_text, in_look) = (names(from), names(look));
        let missing: Vec<_> = in_look.iter().filter(|name| !in_text.contains(name)).collect();
        // nstat leaves out what does not count.
        assert_eq!(missing, ["TcpCurrEstab", "TcpRtoAlgorithm", "TcpRtoMax", "TcpRtoMin"]);
    });
}
