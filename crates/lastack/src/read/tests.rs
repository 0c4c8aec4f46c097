//! Several threads answer what one does.

use super::*;
use proptest::prelude::*;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// What was written, to be looked at later.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A segment with timestamps: of which connection, in which direction, flags, where in the numbers, data, later by.
type Sent = (u8, bool, u8, u8, u8, u16);

fn any_sent() -> impl Strategy<Value = Sent> {
    let flags = prop::sample::select(vec![0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14]);
    (0..40_u8, any::<bool>(), flags, 0..4_u8, 0..30_u8, any::<u16>())
}

/// A capture of raw IPv4, the connections of three clients with two servers. Whether a number of a connection is a
/// new one depends on the port.
fn capture(all: &[Sent]) -> Vec<u8> {
    let mut file = EMPTY[..20].to_vec();
    file.extend(101_u32.to_le_bytes());
    let mut micros = 0;
    for (connection, forth, flags, place, length, later) in all {
        micros += u32::from(*later);
        let (client, server) = ([10, 0, 0, 1 + connection % 3], [10, 1, 0, 1 + connection % 2]);
        let ends = [(client, 40_000 + u16::from(*connection)), (server, 80)];
        let [from, to] = if *forth { ends } else { [ends[1], ends[0]] };
        let mut packet = vec![0x45, 0];
        packet.extend((52 + u16::from(*length)).to_be_bytes());
        packet.extend([0, *place, 0x40, 0, 64, 6, 0, 0]);
        packet.extend([from.0, to.0].concat());
        packet.extend([from.1, to.1].map(u16::to_be_bytes).concat());
        let number = u32::from(*place) * 25;
        packet.extend([number, 0].map(u32::to_be_bytes).concat());
        packet.extend([0x80, *flags, 0x10, 0, 0, 0, 0, 0, 1, 1, 8, 10]);
        packet.extend([micros / 1_000, 0].map(u32::to_be_bytes).concat());
        packet.extend(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".iter().take(usize::from(*length)));
        let length = u32::try_from(packet.len()).unwrap();
        file.extend([1_700_000_000, micros, length, length].map(u32::to_le_bytes).concat());
        file.extend(packet);
    }
    file
}

/// The lines and what they add up to, of these files.
fn told(files: &[&[u8]], threads: usize, filter: Option<&Filter>) -> (String, Traffic, Vec<FileEnding>) {
    let readers = files.iter().map(|bytes| Reader::new(bytes).unwrap()).collect();
    let written = Written::default();
    let mut output = Output::to(written.clone());
    let added = whole(readers, threads, filter, Some(&mut output), [3, 4], Progress::new(None)).unwrap();
    let endings = added.merge.readers().iter().filter_map(|reader| reader.ending().cloned()).collect();
    let traffic = added.tally.finish(&added.merge, added.span_ns, added.clocks);
    let lines = std::mem::take(&mut *written.0.lock().unwrap());
    (String::from_utf8(lines).unwrap(), traffic, endings)
}

proptest! {
    /// Of one file and of two that are merged, of one that breaks off, with a filter and without.
    #[test]
    fn threads_change_nothing(
        sent in prop::collection::vec(any_sent(), 0..600),
        cut in 0..40_usize,
        threads in 2..6_usize,
        filtered: bool,
    ) {
        let filter = Filter::parse("packets.client > 1").unwrap();
        let filter = filtered.then_some(&filter);
        let (first, second) = sent.split_at(sent.len() / 3);
        let (first, mut second) = (capture(first), capture(second));
        second.truncate(second.len().saturating_sub(cut).max(24));
        for files in [vec![&*second], vec![&*first, &*second]] {
            let (lines, traffic, endings) = told(&files, threads, filter);
            let (expected, expected_traffic, expected_endings) = told(&files, 1, filter);
            prop_assert_eq!(lines, expected);
            prop_assert_eq!(traffic, expected_traffic);
            prop_assert_eq!(format!("{endings:?}"), format!("{expected_endings:?}"));
        }
    }
}

#[test]
fn lines_come_in_order_from_any_number_of_threads() {
    // More connections than a chunk has, each of one packet.
    let ports = (0..3_000_u16).map(|port| {
        let mut file = capture(&[(0, true, 0x02, 0, 0, 0)]);
        file[24 + 16 + 20..][..2].copy_from_slice(&port.to_be_bytes());
        file.split_off(24)
    });
    let file = [&capture(&[])[..], &ports.collect::<Vec<_>>().concat()].concat();
    let (expected, ..) = told(&[&file], 1, None);
    assert_eq!(expected.lines().count(), 3_000);
    for threads in 2..9 {
        assert_eq!(told(&[&file], threads, None).0, expected, "{threads}");
    }
    for (port, line) in expected.lines().enumerate() {
        assert!(line.contains(&format!("\"client\":\"10.0.0.1:{port}\"")), "{line}");
    }
}

#[test]
fn an_output_that_fails_ends_all_threads_with_one_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let all: Vec<Sent> = (0..2_000_u16).map(|_| (1, true, 0x02, 0, 0, 1)).collect();
    let mut file = capture(&all);
    // Each SYN opens a connection: another number.
    for (at, packet) in (24..file.len()).step_by(16 + 52).zip(1_u32..) {
        file[at + 16 + 24..][..4].copy_from_slice(&packet.to_be_bytes());
    }
    let readers = || vec![Reader::new(&file).unwrap()];
    let mut output = Output::to(Full(300_000));
    let failed = whole(readers(), 4, None, Some(&mut output), [3, 4], Progress::new(None)).err().unwrap();
    assert!(format!("{failed:#}").starts_with("cannot write to standard output: "), "{failed:#}");
}
