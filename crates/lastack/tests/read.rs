//! `lastack read` on captures that are made here: the page, the sequence, filters, broken files, pipes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::pty::OpenptFlags;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// A capture in the making: raw IPv4 between 10.0.0.1 and 10.0.0.2:80.
struct Made {
    file: Vec<u8>,
    micros: u32,
    port: u16,
    seq: [u32; 2],
}

impl Made {
    fn new() -> Self {
        let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0]);
        Self { file, micros: 0, port: 40_000, seq: [1_000, 9_000] }
    }

    fn open(&mut self) -> &mut Self {
        self.port += 1;
        self.seq = [1_000, 9_000].map(|seq| seq + u32::from(self.port));
        self.send(0, SYN, b"").send(1, SYN | ACK, b"").send(0, ACK, b"")
    }

    /// Later by so many milliseconds.
    fn after(&mut self, milliseconds: u32) -> &mut Self {
        self.micros += milliseconds * 1_000;
        self
    }

    fn send(&mut self, from: usize, flags: u8, data: &[u8]) -> &mut Self {
        self.micros += 100;
        let ports = if from == 0 { [self.port, 80] } else { [80, self.port] };
        let mut segment = ports.map(u16::to_be_bytes).concat();
        let ack = if flags & ACK == 0 { 0 } else { self.seq[1 - from] };
        segment.extend([self.seq[from].to_be_bytes(), ack.to_be_bytes()].concat());
        segment.extend([0x50, flags, 0x10, 0, 0, 0, 0, 0]);
        segment.extend(data);
        let length = u16::try_from(20 + segment.len()).unwrap();
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        packet.extend([10, 0, 0, if from == 0 { 1 } else { 2 }, 10, 0, 0, if from == 0 { 2 } else { 1 }]);
        packet.extend(segment);
        let head =
            [1_700_000_000 + self.micros / 1_000_000, self.micros % 1_000_000, length.into(), length.into()];
        self.file.extend(head.map(u32::to_le_bytes).concat());
        self.file.extend(packet);
        self.seq[from] += u32::try_from(data.len()).unwrap() + u32::from(flags & (SYN | FIN) != 0);
        self
    }

    fn request(&mut self) -> &mut Self {
        self.send(0, PSH | ACK, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            .send(1, PSH | ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .send(0, ACK, b"")
    }

    fn close(&mut self, first: usize) -> &mut Self {
        self.send(first, FIN | ACK, b"")
            .send(1 - first, ACK, b"")
            .send(1 - first, FIN | ACK, b"")
            .send(first, ACK, b"")
    }

    fn saved(&self, name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, &self.file).unwrap();
        (folder, path)
    }
}

/// Two exchanges, one of them with a long body, and a reset.
fn mixed() -> Made {
    let mut made = Made::new();
    made.open().request().after(2_500).request().close(1);
    made.open().send(0, PSH | ACK, b"GET /big HTTP/1.1\r\n\r\n");
    made.send(1, PSH | ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n");
    for _ in 0..40 {
        made.send(1, ACK, &[b'x'; 1_000]).send(0, ACK, b"");
    }
    made.close(0);
    made.open().request().send(0, RST | ACK, b"");
    made
}

fn lastack<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    command.arg("read").args(arguments).stdin(Stdio::null()).env("COLUMNS", "80");
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"] {
        command.env_remove(variable);
    }
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn piped(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = lastack(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_page_of_a_capture() {
    let (_folder, file) = mixed().saved("web\u{1b}[2J.pcap");
    for width in ["80", "40"] {
        let output = lastack([&file]).env("COLUMNS", width).output().unwrap();
        let page = text(&output.stdout);
        assert!(!page.contains('\u{1b}') && page.contains("web\\u{1b}[2J.pcap"), "{page}");
        let most = width.parse().unwrap();
        assert!(page.lines().all(|line| line.chars().count() <= most), "{page}");
        for said in ["graceful 2", "reset 1", "server 1", "4 requests", "10.0.0.1 -> 10.0.0.2:80"] {
            let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(said), "{said}: {page}");
        }
    }
}

#[test]
fn one_connection_packet_by_packet() {
    let (_folder, file) = mixed().saved("web.pcap");
    for connection in ["1", "2", "10.0.0.1:40003"] {
        for width in ["80", "100", "40"] {
            let output = lastack([OsStr::new("--connection"), connection.as_ref(), file.as_ref()])
                .env("COLUMNS", width)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            let name = format!("sequence-{}-{width}", connection.rsplit(':').next().unwrap());
            insta::assert_snapshot!(name, text(&output.stdout));
        }
    }
    let all =
        lastack([OsStr::new("--connection"), "2".as_ref(), "--all-packets".as_ref(), file.as_ref()]).output();
    assert!(!text(&all.unwrap().stdout).contains("..."));
    let json = lastack([OsStr::new("--connection"), "2".as_ref(), "--json".as_ref(), file.as_ref()])
        .output()
        .unwrap();
    let rows: Vec<Value> =
        text(&json.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 89);
    assert_eq!(rows[0]["flags"], "SYN");
    assert_eq!(rows[88]["client"], serde_json::json!(["TIME-WAIT", "CLOSED"]));
    let missing = lastack([OsStr::new("--connection"), "4".as_ref(), file.as_ref()]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("there is no connection 4; the last one is 3"));
}

#[test]
fn a_filter_takes_what_it_says_and_mistakes_have_a_column() {
    let (_folder, file) = mixed().saved("web.pcap");
    let taken = |filter: &str| {
        let output = lastack([OsStr::new("--json"), "--filter".as_ref(), filter.as_ref(), file.as_ref()])
            .output()
            .unwrap();
        text(&output.stdout).lines().count()
    };
    assert_eq!([taken("ending == reset"), taken("http.requests >= 1"), taken("syns > 1")], [1, 3, 0]);
    let page = lastack([OsStr::new("--filter"), "ending == reset".as_ref(), file.as_ref()]).output().unwrap();
    assert!(text(&page.stdout).contains("Connections in the capture  1\n"), "{}", text(&page.stdout));
    let wrong =
        lastack([OsStr::new("--filter"), "endign == reset".as_ref(), file.as_ref()]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert_eq!(
        text(&wrong.stderr),
        "lastack: --filter, column 1: there is no field `endign`; did you mean `ending`?\n"
    );
}

#[test]
fn the_same_from_a_pipe_and_from_a_file() {
    let made = mixed();
    let (_folder, file) = made.saved("web.pcap");
    let from_file = lastack([OsStr::new("--json"), file.as_ref()]).output().unwrap();
    let sorted = |output: &Output| {
        let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let from_pipe = piped(&["--json", "-"], &made.file);
    assert_eq!(sorted(&from_pipe), sorted(&from_file));
    assert_eq!(sorted(&from_file).len(), 3);
    // A stream can be looked at twice, too.
    let sequence = piped(&["-", "--connection", "3"], &made.file);
    assert!(text(&sequence.stdout).contains("RST"), "{}", text(&sequence.stdout));
}

#[test]
fn a_broken_file_gives_what_came_before_the_break() {
    let mut made = mixed();
    made.file.truncate(made.file.len() - 7);
    let (folder, file) = made.saved("cut.pcap");
    let output = lastack([OsStr::new("--json"), file.as_ref()]).output().unwrap();
    assert_ne!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout).lines().count(), 3);
    assert_eq!(text(&output.stderr).lines().count(), 1);
    assert!(text(&output.stderr).contains("cut.pcap"), "{}", text(&output.stderr));
    let page = lastack([&file]).output().unwrap();
    assert!(text(&page.stdout).contains("cut.pcap: "), "{}", text(&page.stdout));

    // One that is no capture does not hide the others; alone, it is a failure.
    let other = folder.path().join("other");
    std::fs::write(&other, "no capture").unwrap();
    let both = lastack([OsStr::new("--json"), other.as_ref(), file.as_ref()]).output().unwrap();
    assert_ne!(both.status.code(), Some(2));
    assert_eq!(text(&both.stdout).lines().count(), 3);
    for nothing in [other.as_os_str(), OsStr::new("/nonexistent"), OsStr::new("/"), OsStr::new("/dev/null")] {
        let output = lastack([nothing]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{nothing:?}");
        assert!(output.stdout.is_empty());
        assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let (_folder, file) = mixed().saved("web.pcap");
    let expected = lastack([&file]).output().unwrap().status.code();
    for (options, code) in [(&[][..], expected), (&["--json"], expected), (&["--connection", "2"], Some(0))] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = lastack(options).arg(&file).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), code, "{options:?}: {}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn doctor_joins_a_capture_to_a_case() {
    let (folder, file) = mixed().saved("web.pcap");
    let case = folder.path().join("host.case");
    std::fs::write(&case, evidence::Case::default().to_bytes()).unwrap();
    let doctor = |case: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
        command.args(["doctor", "--json", "--capture"]).arg(&file).arg("--case").arg(case);
        command.output().unwrap()
    };
    let report: Value = serde_json::from_slice(&doctor(&case).stdout).unwrap();
    assert_eq!(report["traffic"]["connections"], 3);
    assert_eq!(report["traffic"]["endings"]["graceful"], 2);
}

#[test]
fn what_doctor_saves_with_a_capture_says_the_same_later() {
    let (folder, file) = mixed().saved("web.pcap");
    let saved = folder.path().join("host.case");
    let doctor = |options: &[&OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
        let output = command.args(["doctor", "--json"]).args(options).output().unwrap();
        assert_ne!(output.status.code(), Some(2), "{}", text(&output.stderr));
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let now = doctor(&["--capture".as_ref(), file.as_ref(), "--save".as_ref(), saved.as_ref()]);
    let later = doctor(&["--case".as_ref(), saved.as_ref()]);
    assert_eq!(now, later);
    assert_eq!(later.1["traffic"]["connections"], 3);
    assert!(later.1["host"]["kernel"].is_string(), "the host was looked at, too");
}

/// A warning is what a script asks for: HTTP/1.0 through a proxy, ten times a second and more.
#[test]
fn a_warning_is_exit_status_1_and_a_healthy_capture_0() {
    let capture = |version: &str, connections: u32| {
        let mut made = Made::new();
        for _ in 0..connections {
            made.open().send(0, PSH | ACK, format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n").as_bytes());
            made.send(1, PSH | ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").close(1).after(20);
        }
        made
    };
    let (_folder, off) = capture("1.0", 60).saved("off.pcap");
    let (_folder, few) = capture("1.1", 5).saved("few.pcap");
    for json in [&[][..], &["--json"]] {
        let code = |file| lastack(json).arg(file).output().unwrap().status.code();
        assert_eq!((code(&off), code(&few)), (Some(1), Some(0)));
    }
    let page = lastack([&off]).output().unwrap();
    assert!(text(&page.stdout).contains("upstream-keepalive-off"), "{}", text(&page.stdout));
}

#[test]
fn a_stream_is_told_while_it_grows() {
    let mut child = lastack(["--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();

    let mut made = Made::new();
    made.open().request().close(0);
    input.write_all(&made.file).unwrap();
    made.file.clear();
    // Others go on for long enough that nothing more is expected of the first.
    made.open();
    for _ in 0..600 {
        made.after(100).send(0, ACK, b"x");
    }
    input.write_all(&made.file).unwrap();
    input.flush().unwrap();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["ending"], &first["last_packet"]), (&"graceful".into(), &10.into()));

    made.file.clear();
    made.close(1);
    input.write_all(&made.file).unwrap();
    drop(input);
    let last: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&last["ending"], &last["first_closer"]), (&"graceful".into(), &"server".into()));
    assert!(lines.next().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A stream that gives a little at a time, until the bar is there: it comes after a second.
#[test]
fn a_person_who_waits_sees_how_far_it_is_and_the_end_takes_it_away() {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let slave = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(slave.to_str().unwrap()).unwrap();
    let mut command = lastack(["-"]);
    command.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(slave);
    let mut child = command.spawn().unwrap();
    // The last end of the terminal is the child's: its death ends what is read here.
    drop(command);
    let (shown, showing) = mpsc::channel();
    let reader = thread::spawn(move || {
        let (mut master, mut buffer) = (File::from(master), [0; 4_096]);
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            shown.send(buffer[..count].to_vec()).unwrap();
        }
    });

    let mut input = child.stdin.take().unwrap();
    let mut made = Made::new();
    made.open();
    let mut seen = Vec::new();
    for _ in 0..600 {
        for _ in 0..300 {
            made.send(0, ACK, b"x");
        }
        input.write_all(&std::mem::take(&mut made.file)).unwrap();
        seen.extend(showing.recv_timeout(Duration::from_millis(100)).unwrap_or_default());
        if text(&seen).contains("reading: ") {
            break;
        }
    }
    drop(input);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    reader.join().unwrap();
    seen.extend(showing.iter().flatten());
    let seen = text(&seen);
    assert!(seen.contains(" packets, "), "{seen:?}");
    // Whatever was drawn last is cleared: carriage return, then erase to the end.
    assert!(seen.trim_end_matches(['\r', '\n']).ends_with("\u{1b}[2K"), "{seen:?}");
}
