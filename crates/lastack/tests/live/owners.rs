//! Who owns a socket, and how that is known.

use crate::harness::{Server, lastack, set};
use evidence::{Case, Group, KnownBy, Namespace, Role};
use namespaced::in_namespace;
use tcp::State;

/// The one namespace of a look of that length.
fn look(duration: &str) -> Namespace {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.case");
    let path = file.to_str().expect("a path");
    let output = lastack(&["doctor", "--json", "--for", duration, "--save", path]);
    assert!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let case = Case::from_bytes(&std::fs::read(path).expect("the case was saved")).expect("a case");
    case.namespaces.into_iter().next().expect("one namespace")
}

fn owners(namespace: &Namespace, group: &Group, state: State) -> Vec<(String, KnownBy, u32)> {
    let with_state = group.owners.iter().filter(|owner| owner.states.of(state) > 0);
    with_state
        .map(|owner| {
            let process = owner.process.map_or("-", |place| &namespace.processes[place as usize].name);
            (process.to_owned(), owner.known_by, owner.states.of(state))
        })
        .collect()
}

fn group<'a>(namespace: &'a Namespace, role: Role, text: &str) -> &'a Group {
    let end =
        |group: &&Group| if role == Role::Client { group.remote } else { group.local }.to_string() == text;
    namespace.sockets.groups.iter().find(|group| group.role == role && end(group)).expect("the group")
}

#[test]
fn live_sockets_by_inode_and_time_wait_by_the_listener() {
    in_namespace("owners::live_sockets_by_inode_and_time_wait_by_the_listener", || {
        let server = Server::local(900);
        let _pair = server.pair();
        server.server_closes(5);
        server.client_closes(3);
        let namespace = look("0");
        let own = std::fs::read_to_string("/proc/self/comm").expect("our name").trim().to_owned();
        let incoming = group(&namespace, Role::Server, "127.0.0.1:900");
        assert_eq!(owners(&namespace, incoming, State::Established), [(own.clone(), KnownBy::Inode, 1)]);
        assert_eq!(owners(&namespace, incoming, State::TimeWait), [(own.clone(), KnownBy::Listener, 5)]);
        let opened = group(&namespace, Role::Client, "127.0.0.1:900");
        assert_eq!(owners(&namespace, opened, State::Established), [(own, KnownBy::Inode, 1)]);
        assert_eq!(owners(&namespace, opened, State::TimeWait), []);
        assert_eq!(opened.unowned(State::TimeWait), 3);
    });
}

#[test]
fn time_wait_by_the_cookie_seen_while_it_lived() {
    in_namespace("owners::time_wait_by_the_cookie_seen_while_it_lived", || {
        set("net.ipv4.tcp_rfc1337", "1");
        let server = Server::local(900);
        let pairs: Vec<_> = (0..4).map(|_| server.pair()).collect();
        let closer = std::thread::spawn(move || {
            // The look lists live sockets at its start and ten times a second; it has long begun by then.
            std::thread::sleep(std::time::Duration::from_millis(2_500));
            for (client, accepted) in pairs {
                crate::harness::close_first(client, accepted);
            }
        });
        let namespace = look("5s");
        closer.join().expect("closes");
        let own = std::fs::read_to_string("/proc/self/comm").expect("our name").trim().to_owned();
        let opened = group(&namespace, Role::Client, "127.0.0.1:900");
        assert_eq!(owners(&namespace, opened, State::TimeWait), [(own, KnownBy::Cookie, 4)]);
    });
}

#[test]
fn a_listener_without_traffic_names_its_process_and_backlog() {
    in_namespace("owners::a_listener_without_traffic_names_its_process_and_backlog", || {
        let _listener = crate::harness::listener_with_backlog(900, 7);
        let namespace = look("0");
        let listener = &namespace.sockets.listeners[0];
        let seen = (listener.address.to_string(), listener.backlog, listener.queue, listener.autobound);
        assert_eq!(seen, ("127.0.0.1:900".to_owned(), Some(7), 0, Some(false)));
        let process = &namespace.processes[listener.process.expect("an owner") as usize];
        assert_eq!(process.pid, std::process::id());
        assert!(process.open_files.is_some_and(|files| files >= 4), "{process:?}");
        assert!(process.open_files_limit.is_some_and(|limit| limit > 4), "{process:?}");
    });
}
