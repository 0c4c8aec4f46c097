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
fn counters_of_macos_rise_between_two_dates() {
    let moment = |second: u32, resent: u32| {
        format!(
            "op@mac ~ % date\nSat Nov 21 09:29:{second} UTC 2026\nop@mac ~ % netstat -s -p tcp\ntcp:\n\t1000 packets sent\n\
             \t\t{resent} data packets (910 bytes) retransmitted\n\t2000 packets received\nudp:\n\t7 datagrams received\n"
        )
    };
    let case = case(&(moment(10, 5) + &moment(40, 25)));
    assert_eq!(case.host.system, System::Macos);
    let counters = &case.namespaces[0].counters;
    let resent = |moment: &std::collections::BTreeMap<String, u64>| moment.get("TcpRetransSegs").copied();
    assert_eq!((resent(&counters.start), resent(&counters.end)), (Some(5), Some(25)));
    assert!(because(&case, Unseen::Text).is_empty(), "{:?}", because(&case, Unseen::Text));
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

fn count(case: &Case, state: State) -> u32 {
    case.namespaces.iter().map(|namespace| namespace.sockets.by_state.of(state)).sum()
}

const FULL: &str = "$ ss -tan\nLISTEN 0 128 0.0.0.0:80 0.0.0.0:*\nESTAB 0 0 10.0.0.1:80 10.0.0.9:51034\n\
                    ESTAB 0 0 [2001:db8::1]:80 [2001:db8::9]:51034\nTIME-WAIT 0 0 10.0.0.1:80 10.0.0.9:51035\n";

#[test]
fn the_sockets_of_udp_take_no_place() {
    let udp = "UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* users:((\"systemd-resolve\",pid=500,fd=12))\n\
               ESTAB 0 0 10.0.0.1:40000 10.0.0.2:443 users:((\"chrome\",pid=7,fd=3))\n";
    let title = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n";
    for text in [format!("{FULL}$ ss -uanp\n{title}{udp}"), format!("{FULL}\n{title}{udp}")] {
        let case = case(&text);
        assert_eq!((count(&case, State::Established), count(&case, State::TimeWait)), (2, 1), "{text}");
        assert!(case.namespaces[0].sockets.bound.all.total() == 0, "{text}");
    }
    let alone = case(&format!("{title}{udp}"));
    let gaps = because(&alone, Unseen::Sockets);
    assert!(gaps.iter().any(|because| because.contains("taken for those of UDP")), "{gaps:?}");
}

#[test]
fn a_table_of_some_sockets_does_not_stand_for_all() {
    let some = "ESTAB 0 0 10.0.0.1:80 10.0.0.9:51034\n";
    for command in [
        "ss -tan dport = :51034",
        "ss -tan dst 10.0.0.9",
        "ss -tanp '( sport = :80 )'",
        "ss -tan | fgrep 51034",
    ] {
        let case = case(&format!("{FULL}$ {command}\n{some}"));
        assert_eq!((count(&case, State::Established), count(&case, State::TimeWait)), (2, 1), "{command}");
        let alone = self::case(&format!("$ {command}\n{some}"));
        let gaps = because(&alone, Unseen::Sockets);
        assert!(gaps.iter().any(|because| because.contains("a filter may")), "{command}: {gaps:?}");
    }
    // Of each family the table that was asked for it.
    let (four, six) = ("ESTAB 0 0 10.0.0.1:80 10.0.0.9:1\n", "ESTAB 0 0 [2001:db8::1]:80 [2001:db8::9]:1\n");
    let case = case(&format!("$ ss -tanf inet\n{four}{four}$ ss -tan -f inet6\n{six}"));
    assert_eq!(count(&case, State::Established), 3);
    let windows = self::case(
        "C:\\>netstat -ano -p tcp\n\nActive Connections\n\n  Proto  Local Address  Foreign Address  State  PID\n  \
         TCP 10.0.0.5:49721 10.0.0.9:443 TIME_WAIT 0\n\nC:\\>netstat -ano -p tcpv6\n\nActive Connections\n\n  \
         Proto  Local Address  Foreign Address  State  PID\n  TCP [2001:db8::1]:49721 [2001:db8::9]:443 TIME_WAIT 0\n",
    );
    assert_eq!(count(&windows, State::TimeWait), 2);
}

#[test]
fn rows_without_a_state_have_that_of_their_command() {
    let case = case(
        "$ ss -Htan state time-wait\n0 0 10.0.0.1:39038 10.0.0.2:8080\n0 0 10.0.0.1:39040 10.0.0.2:8080\n",
    );
    assert_eq!(groups(&case.namespaces[0]), ["10.0.0.1 -> 10.0.0.2:8080: 2 TIME-WAIT"]);
    let counted = read(&[Text::pasted("t", b"$ ss -Htan state time-wait | wc -l\n4000\n")], 1).unwrap_err();
    assert!(counted.to_string().contains("nothing of what"), "{counted}");
}

#[test]
fn a_table_of_one_family_has_no_other() {
    let case = case("$ ss -4 -tan\nLISTEN 0 128 *:80 *:*\nESTAB 0 0 10.0.0.1:80 10.0.0.9:51034\n");
    assert_eq!(case.namespaces[0].sockets.listeners.len(), 1);
    assert_eq!(groups(&case.namespaces[0]), ["10.0.0.1:80 <- 10.0.0.9: 1 ESTABLISHED"]);
}

#[test]
fn the_age_of_time_wait_and_the_owners_of_the_rest_may_be_in_two_tables() {
    let owners = "LISTEN 0 128 0.0.0.0:80 0.0.0.0:* users:((\"nginx\",pid=7,fd=3))\nTIME-WAIT 0 0 10.0.0.1:80 10.0.0.9:2\n";
    let timers =
        "LISTEN 0 128 0.0.0.0:80 0.0.0.0:*\nTIME-WAIT 0 0 10.0.0.1:80 10.0.0.9:2 timer:(timewait,12sec,0)\n";
    let case = case(&format!("$ ss -tanp\n{owners}$ ss -tano\n{timers}"));
    let host = &case.namespaces[0];
    assert_eq!(host.sockets.groups[0].time_wait.by_second().into_iter().collect::<Vec<_>>(), [(12, 1)]);
    assert_eq!((host.processes.len(), count(&case, State::TimeWait)), (1, 1));
    assert!(because(&case, Unseen::Ages).is_empty(), "{:?}", because(&case, Unseen::Ages));
}

#[test]
fn windows_shows_the_ports_of_connections_twice() {
    let case = case(
        "PS C:\\> Get-NetTCPConnection\n\nLocalAddress LocalPort RemoteAddress RemotePort State AppliedSetting OwningProcess\n\
         ------------ --------- ------------- ---------- ----- -------------- -------------\n\
         0.0.0.0      49720     0.0.0.0       0          Bound                4321\n\
         0.0.0.0      49999     0.0.0.0       0          Bound                4321\n\
         10.0.0.5     49720     10.0.0.9      443        Established Internet 4321\n",
    );
    let host = &case.namespaces[0];
    assert_eq!(groups(host), ["10.0.0.5 -> 10.0.0.9:443: 1 ESTABLISHED"]);
    assert_eq!(host.sockets.bound.all.total(), 1, "{:?}", host.sockets.bound);
}

#[test]
fn a_table_that_is_printed_again_and_again_is_one() {
    let windows = "\nActive Connections\n\n  Proto  Local Address          Foreign Address        State           PID\n  \
                   TCP    10.0.0.5:49721         10.0.0.9:443           TIME_WAIT       0\n";
    let german = windows.replace("Active Connections", "Aktive Verbindungen");
    let macos = "Active Internet connections (including servers)\n\
                 Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)\n\
                 tcp4       0      0  192.168.1.5.54322      17.57.12.11.443        TIME_WAIT\n";
    let linux = "Active Internet connections (servers and established)\n\
                 Proto Recv-Q Send-Q Local Address           Foreign Address         State\n\
                 tcp        0      0 10.0.0.1:900            10.0.0.9:80             TIME_WAIT\n";
    for text in [windows, &german, macos, linux] {
        assert_eq!(count(&case(&text.repeat(3)), State::TimeWait), 1, "{text}");
    }
}

#[test]
fn code_of_markdown_is_indented() {
    let plain = "Tcp: RtoAlgorithm ActiveOpens\nTcp: 1 77\n\n$ cat /proc/net/sockstat\nsockets: used 9\n\
                 TCP: inuse 7 orphan 0 tw 3 alloc 9 mem 1\n\n$ netstat -s\nTcp:\n    78 active connection openings\n";
    let read = |text: &str| {
        let case = case(text);
        (case.namespaces[0].sockstat.clone(), case.namespaces[0].counters.clone(), case.gaps)
    };
    let indented = format!("    {}\n", plain.trim_end().replace('\n', "\n    "));
    let (sockstat, _, _) = read(plain);
    assert_eq!(sockstat.len(), 6);
    assert_eq!(read(&format!("We see this:\n\n{indented}\nThanks\n")).0, sockstat);
    assert_eq!(read(&indented), read(plain));
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

#[test]
fn tables_without_a_row_that_can_be_read_are_refused_with_the_first() {
    let title = "State Recv-Q Send-Q Local Address:Port Peer Address:Port\n";
    for row in [
        "ESTAB 99999999999999999999 0 1.2.3.4:99999 5.6.7.8:80",
        "ESTAB 0 0 web1:ssh db:postgresql",
        "0 0 10.0.0.1:80 10.0.0.2:81",
    ] {
        let text = format!("{title}{row}\n{row}\n");
        let error = read(&[Text::pasted("t", text.as_bytes())], 1).unwrap_err().to_string();
        assert!(error.starts_with(&format!("t: line 2: \"{row}\" is no row")), "{error}");
        // Beside another output it is a part that is missing.
        assert!(
            read(&[Text::pasted("t", format!("{text}net.ipv4.tcp_tw_reuse = 2\n").as_bytes())], 1).is_ok()
        );
    }
    assert!(read(&[Text::pasted("t", title.as_bytes())], 1).is_ok(), "no socket is none that cannot be read");
}
