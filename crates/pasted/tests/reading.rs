//! What people paste, of systems and releases that do not run here, in the style of their documentation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::{Case, Namespace, Role, System, Unseen};
use pasted::{PastedError, Text, read};
use tcp::State;

fn case(text: &str) -> Case {
    read(&[Text::pasted("ticket.txt", text.as_bytes())], 1).unwrap()
}

fn groups(namespace: &Namespace) -> Vec<String> {
    let role = |role| if role == Role::Client { "->" } else { "<-" };
    let one = |group: &evidence::Group| {
        let states: Vec<String> =
            group.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        format!("{} {} {}: {}", group.local, role(group.role), group.remote, states.join(", "))
    };
    namespace.sockets.groups.iter().map(one).collect()
}

fn because(case: &Case, unseen: Unseen) -> Vec<&str> {
    case.gaps.iter().filter(|gap| gap.unseen == unseen).map(|gap| gap.because.as_str()).collect()
}

const WINDOWS: &str = r"Microsoft Windows [Version 10.0.17763.5329]
C:\Users\op>netstat -ano

Active Connections

  Proto  Local Address          Foreign Address        State           PID
  TCP    0.0.0.0:135            0.0.0.0:0              LISTENING       1012
  TCP    10.0.0.5:49720         10.0.0.9:443           ESTABLISHED     4321
  TCP    10.0.0.5:49721         10.0.0.9:443           TIME_WAIT       0
  TCP    10.0.0.5:49722         10.0.0.9:443           TIME_WAIT       0
  TCP    [::]:135               [::]:0                 LISTENING       1012
  UDP    0.0.0.0:500            *:*                                    2044

C:\Users\op>netsh int ipv4 show dynamicport tcp

Protocol tcp Dynamic Port Range
---------------------------------
Start Port      : 49152
Number of Ports : 1000

C:\Users\op>reg query HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters

HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters
    DataBasePath    REG_EXPAND_SZ    %SystemRoot%\System32\drivers\etc
    TcpTimedWaitDelay    REG_DWORD    0x1e
";

#[test]
fn windows_is_told_from_its_own_tools() {
    for text in [WINDOWS.to_owned(), WINDOWS.replace('\n', "\r\n")] {
        let case = case(&text);
        assert_eq!(case.host.system, System::Windows);
        let host = &case.namespaces[0];
        assert_eq!(groups(host), ["10.0.0.5 -> 10.0.0.9:443: 1 ESTABLISHED, 2 TIME-WAIT"]);
        assert_eq!(host.sockets.listeners.len(), 2);
        assert_eq!(host.settings.local_port_range().ports(), 1_000);
        assert_eq!(host.settings.time_wait().as_secs(), 30);
        assert_eq!(because(&case, Unseen::Ages).len(), 1);
        assert_eq!(
            because(&case, Unseen::Text),
            ["line 1 of ticket.txt (of no output that is known) is passed over"]
        );
        for gap in &case.gaps {
            assert!(!gap.how_to_see.contains("ss -") && !gap.how_to_see.contains("sysctl"), "{gap:?}");
        }
        assert_eq!(Case::from_bytes(&case.to_bytes()).unwrap(), case, "the system survives the file");
    }
}

#[test]
fn macos_is_told_by_its_dots() {
    let case = case(
        "op@mac ~ % netstat -anv -p tcp\nActive Internet connections (including servers)\n\
         Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)      rhiwat  shiwat    pid   epid\n\
         tcp4       0      0  192.168.1.5.54321      17.57.12.11.443        ESTABLISHED  131072  131072   Mail:77  0\n\
         tcp4       0      0  192.168.1.5.54322      17.57.12.11.443        TIME_WAIT    131072  131072      0  0\n\
         tcp46      0      0  *.8080                 *.*                    LISTEN       131072  131072  nginx:9  0\n\
         op@mac ~ % sysctl net.inet.tcp.msl\nnet.inet.tcp.msl: 7500\n",
    );
    assert_eq!(case.host.system, System::Macos);
    let host = &case.namespaces[0];
    assert_eq!(groups(host), ["192.168.1.5 -> 17.57.12.11:443: 1 ESTABLISHED, 1 TIME-WAIT"]);
    assert_eq!((host.settings.time_wait().as_secs(), host.settings.local_port_range().first), (15, 49_152));
    assert_eq!(host.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [9, 77]);
}

#[test]
fn a_case_is_of_one_system() {
    let mixed = format!("$ ss -tan\nESTAB 0 0 10.0.0.1:1 10.0.0.2:2\n{WINDOWS}");
    let error = read(&[Text::pasted("t", mixed.as_bytes())], 1).unwrap_err();
    assert!(matches!(error, PastedError::OtherSystem { line: 6, .. }), "{error}");
    assert!(error.to_string().contains("this is of Windows, but t, line 2, is of Linux"), "{error}");
}

#[test]
fn old_releases_of_ss_are_read() {
    // iproute2 3.x: stars for every address, no brackets around IPv6, users without names of fields.
    let case = case(
        "[root@web1 ~]# ss -tanpo\nState      Recv-Q Send-Q        Local Address:Port          Peer Address:Port \n\
         LISTEN     0      128                      *:22                       *:*      users:((\"sshd\",1018,3))\n\
         LISTEN     0      128                     :::80                      :::*      users:((\"httpd\",77,4))\n\
         ESTAB      0      0                10.0.0.1:22               10.0.0.9:51034  timer:(keepalive,119min,0) users:((\"sshd\",2044,3))\n\
         TIME-WAIT  0      0      ::ffff:10.0.0.1:80       ::ffff:10.0.0.9:51035  timer:(timewait,12sec,0)\n",
    );
    let host = &case.namespaces[0];
    assert_eq!(
        groups(host),
        ["10.0.0.1:22 <- 10.0.0.9: 1 ESTABLISHED", "10.0.0.1:80 <- 10.0.0.9: 1 TIME-WAIT"]
    );
    assert_eq!(host.sockets.groups[1].time_wait.by_second().into_iter().collect::<Vec<_>>(), [(12, 1)]);
    assert_eq!(host.processes.len(), 3);
}

#[test]
fn wrapped_rows_and_missing_headers_are_read() {
    let case = case(
        "ESTAB      0      0      10.0.0.1:51034\n          10.0.0.2:80   users:((\"curl\",pid=7,fd=3))\n\
         TIME-WAIT  0      0      10.0.0.1:51035   10.0.0.2:80\nESTAB 0 0 10.0.0.1:51036\n\nbye\n",
    );
    let host = &case.namespaces[0];
    assert_eq!(groups(host), ["10.0.0.1 -> 10.0.0.2:80: 1 ESTABLISHED, 1 TIME-WAIT"]);
    assert_eq!(host.processes[0].name, "curl");
    let odd = because(&case, Unseen::Sockets);
    assert!(odd.iter().any(|because| because.contains("2 lines") && because.contains("line 4")), "{odd:?}");
}

#[test]
fn a_socket_is_counted_once_in_several_tables() {
    let case = case(
        "$ netstat -antp\ntcp 0 0 10.0.0.1:51034 10.0.0.2:80 TIME_WAIT -\ntcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN 9/sshd\n\
         $ ss -tano\nTIME-WAIT 0 0 10.0.0.1:51034 10.0.0.2:80 timer:(timewait,5sec,0)\n\
         $ ss -tano state close-wait\n1 0 10.0.0.1:51099 10.0.0.2:80\n",
    );
    let host = &case.namespaces[0];
    let counts = &host.sockets.by_state;
    assert_eq!((counts.of(State::TimeWait), counts.of(State::Listen)), (1, 1));
    assert_eq!(host.processes.iter().map(|process| process.name.as_str()).collect::<Vec<_>>(), ["sshd"]);
}

#[test]
fn namespaces_are_kept_apart_by_their_commands() {
    let case = case(
        "# ip netns exec blue ss -tan\nESTAB 0 0 10.0.0.1:51034 10.0.0.2:80\n\
         # ss -tan\nESTAB 0 0 10.9.0.1:51034 10.0.0.2:80\n# hostname\nweb1\n",
    );
    let names: Vec<&str> = case.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["host", "blue"]);
    assert_eq!(case.host.name, "web1");
    assert_eq!(groups(&case.namespaces[1]), ["10.0.0.1 -> 10.0.0.2:80: 1 ESTABLISHED"]);
}

#[test]
fn what_was_not_asked_for_is_said() {
    let case = case("$ ss -tn\nESTAB 0 0 10.0.0.1:51034 10.0.0.2:80\nESTAB 0 0 web1:ssh 10.0.0.2:8\n");
    let gaps = because(&case, Unseen::Sockets);
    assert!(gaps.iter().any(|because| because.contains("TIME-WAIT: the command did not ask")), "{gaps:?}");
    assert!(gaps.iter().any(|because| because.starts_with("line 3 of ticket.txt")), "{gaps:?}");
}

#[test]
fn the_sockets_of_unix_are_passed_over() {
    let case = case(
        "Active Internet connections (servers and established)\n\
         Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name\n\
         tcp        0      0 127.0.0.1:900           0.0.0.0:*               LISTEN      7/x\n\
         Active UNIX domain sockets (servers and established)\n\
         Proto RefCnt Flags       Type       State         I-Node   PID/Program name     Path\n\
         unix  2      [ ACC ]     STREAM     LISTENING     12345    7/x                  /run/x\n",
    );
    assert_eq!((case.host.system, case.namespaces[0].sockets.listeners.len()), (System::Linux, 1));
    assert_eq!(because(&case, Unseen::Text), [""; 0]);
}
