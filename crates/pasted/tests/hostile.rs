//! Any text is read to an end, or refused in one line, and costs no more memory than its size allows.

use pasted::{Text, read};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is allocated, and the most of it.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "memory is measured where it is given")]
// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(now, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn check(bytes: &[u8]) {
    match read(&[Text::pasted("t", bytes)], 3) {
        Ok(case) => assert!(
            !case.namespaces.is_empty()
                || !case.gaps.is_empty()
                || case.host != evidence::Host::default()
                || bytes.len() < 60
        ),
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("t: ") && !said.chars().any(char::is_control), "{said:?}");
        }
    }
}

/// Lines of every output, to be mixed.
const LINES: [&str; 34] = [
    "$ ss -tanp | grep x",
    "root@web1:~# ip netns exec blue ss -tan state time-wait",
    "$ date; nstat -n; sleep 3; nstat",
    "$ hostname",
    "web1",
    "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process",
    "ESTAB 0 0 10.0.0.1:80 10.0.0.2:50001 users:((\"nginx\",pid=7,fd=3)) timer:(keepalive,1min59sec,0) ino:5 sk:1",
    "TIME-WAIT 0 0 [::ffff:10.0.0.1]:80 [2001:db8::1]:50002 timer:(timewait,59sec,0)",
    "LISTEN 0 128 *:80 *:*",
    "\t cubic wscale:7,7 rto:204 lastack:4",
    "0 0 10.0.0.1:80 10.0.0.2:50001",
    "Total: 11 (kernel 0)",
    "TCP:   14 (estab 7, closed 5, orphaned 0, timewait 4)",
    "Active Internet connections (servers and established)",
    "Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name",
    "tcp        0      0 127.0.0.1:39038         127.0.0.1:8080          TIME_WAIT   0 0 - timewait (59.98/0/0)",
    "tcp6       1      0 :::8081                 :::*                    LISTEN      656/python3",
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
    "   1: 0100007F:987E 0100007F:1F90 06 00000000:00000000 03:0000176D 00000000     0        0 0 3 0",
    "Tcp: RtoAlgorithm RtoMin OutRsts",
    "Tcp: 1 200 18446744073709551615",
    "TcpExt: SyncookiesSent TW",
    "TcpExt: 0 5",
    "Tcp:",
    "    7 resets sent",
    "TcpExt:",
    "    TCPTimeWaitOverflow: 9",
    "#kernel",
    "TcpOutRsts                      7                  0.0",
    "net.ipv4.ip_local_port_range = 1 65535",
    "tcp      6 117 TIME_WAIT src=10.0.0.1 dst=10.0.0.2 sport=5000 dport=80 src=10.0.0.2 dst=10.0.0.1 [ASSURED]",
    "cpu=0 found=0 insert_failed=2 drop=1",
    "Sat Nov 21 06:29:23 UTC 2026",
    "",
];

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        check(&bytes);
    }

    #[test]
    fn any_lines_in_any_order(lines in proptest::collection::vec(0..LINES.len(), 0..60)) {
        let text: Vec<&str> = lines.iter().map(|line| LINES[*line]).collect();
        check(text.join("\n").as_bytes());
    }

    #[test]
    fn lines_cut_and_damaged(
        lines in proptest::collection::vec((0..LINES.len(), any::<prop::sample::Index>(), ".{0,3}"), 0..30)
    ) {
        let mut text = String::new();
        for (line, at, noise) in &lines {
            let line: Vec<char> = LINES[*line].chars().collect();
            let at = if line.is_empty() { 0 } else { at.index(line.len()) };
            text.extend(&line[..at]);
            text.push_str(noise);
            text.extend(&line[at..]);
            text.push('\n');
        }
        check(text.as_bytes());
        let half = text.len() / 2;
        check(&text.as_bytes()[..half]);
    }
}

/// The memory that reading takes beside the text itself.
fn taken(text: &str) -> usize {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    check(text.as_bytes());
    MOST.load(Relaxed) - before
}

/// The other tests run beside it and are counted, too: they take little.
#[test]
fn memory_does_not_grow_with_hostile_text() {
    const LENGTH: usize = 1 << 20;
    // So many groups are kept, whatever is read (see `evidence::MAX_GROUPS`), and listeners and processes beside them.
    const ALLOWED: usize = 40 << 20;
    let of = |line: &dyn Fn(&mut String, u32)| {
        let mut text = String::with_capacity(LENGTH + 200);
        for number in 0.. {
            if text.len() >= LENGTH {
                break;
            }
            line(&mut text, number);
        }
        text
    };
    let peers = of(&|text, n| {
        let _ = writeln!(text, "ESTAB 0 0 10.0.0.1:80 11.{}.{}.{}:9", n >> 16 & 255, n >> 8 & 255, n & 255);
    });
    let listeners = of(&|text, n| {
        let _ = writeln!(text, "LISTEN 0 9 *:{} *:* users:((\"x\",pid={n},fd=3))", n & 0xffff);
    });
    let counters = of(&|text, n| {
        let _ = writeln!(text, "TcpExtNo{n} 5 0.0");
    });
    let settings = of(&|text, n| {
        let _ = writeln!(text, "net.ipv4.x{n} = 5");
    });
    let tables = of(&|text, n| {
        let _ = writeln!(text, "cpu=0 insert_failed=1 a{n}=5");
    });
    let one_line = "x ".repeat(LENGTH / 2);
    let one_row = format!("ESTAB 0 0 1.1.1.1:1 1.1.1.1:2 {}", "users:((".repeat(LENGTH / 8));
    let wrapped = format!("ESTAB 0 0 1.1.1.1:1\n{}", format!("{}\n", "y".repeat(63)).repeat(LENGTH / 64));
    let garbage = of(&|text, n| {
        let _ = write!(text, "{}", char::from_u32(n.wrapping_mul(2_654_435_761) >> 12).unwrap_or('\n'));
    });
    for (name, text) in [
        ("peers", peers),
        ("listeners", listeners),
        ("counters", counters),
        ("settings", settings),
        ("tables", tables),
        ("one line", one_line),
        ("one row", one_row),
        ("wrapped", wrapped),
        ("garbage", garbage),
    ] {
        let taken = taken(&text);
        assert!(taken < ALLOWED, "{name}: {} MiB for {} MiB", taken >> 20, text.len() >> 20);
    }
}
