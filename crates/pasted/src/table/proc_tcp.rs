//! /proc/net/tcp and tcp6 (net/ipv4/tcp_ipv4.c `tcp4_seq_show()`, net/ipv6/tcp_ipv6.c `tcp6_seq_show()`).

use super::{Read, Row, Timer, number, word};
use crate::address::End;
use std::net::Ipv4Addr;
use tcp::State;

/// The kernel tells timers to user space in hundredths of a second (`USER_HZ`).
const MS_PER_TICK: u32 = 10;

/// The timer of a mini-socket.
const TIMER_TIME_WAIT: u8 = 3;

/// True for the first line of a row.
pub(super) fn begins(line: &str) -> bool {
    let mut rest = line;
    word(&mut rest).and_then(|slot| slot.strip_suffix(':')).is_some_and(|slot| number(slot).is_some())
}

/// True for a row, or the title of the table.
pub(crate) fn is_row(line: &str) -> bool {
    line.trim_start().starts_with("sl  local_address") || begins(line) && matches!(row(line), Read::Socket(_))
}

/// Reads a row.
pub(super) fn row(line: &str) -> Read<'_> {
    socket(line).map_or(Read::Odd, Read::Socket)
}

fn socket(line: &str) -> Option<Row<'_>> {
    let mut rest = line;
    word(&mut rest)?;
    let (local, remote) = (end(word(&mut rest)?)?, end(word(&mut rest)?)?);
    let state = State::from_linux(u8::from_str_radix(word(&mut rest)?, 16).ok()?)?;
    let (send_queue, receive_queue) = word(&mut rest)?.split_once(':')?;
    let (timer, ticks) = word(&mut rest)?.split_once(':')?;
    let retransmits = hexadecimal(word(&mut rest)?)?;
    let uid = number(word(&mut rest)?)?;
    word(&mut rest)?;
    let inode = number(word(&mut rest)?)?;
    Some(Row {
        receive_queue: Some(hexadecimal(receive_queue)?),
        send_queue: Some(hexadecimal(send_queue)?).filter(|_| state != State::Listen),
        timer: Some(Timer {
            time_wait: u8::from_str_radix(timer, 16).ok()? == TIMER_TIME_WAIT,
            left_ms: hexadecimal(ticks)?.saturating_mul(MS_PER_TICK),
            retransmits: u8::try_from(retransmits).unwrap_or(u8::MAX),
        }),
        uid: Some(uid),
        inode: Some(inode),
        ..Row::new(state, local, remote)
    })
}

fn hexadecimal(word: &str) -> Option<u32> {
    u32::from_str_radix(word, 16).ok()
}

/// `0100007F:1F90`: 32-bit words as the machine holds them, here little-endian, as nearly all do.
fn end(word: &str) -> Option<End> {
    let (address, port) = word.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = |at: usize| Some(hexadecimal(address.get(at..at + 8)?)?.swap_bytes());
    let (bits, wide) = match address.len() {
        8 => (Ipv4Addr::from_bits(words(0)?).to_ipv6_mapped().to_bits(), false),
        32 => {
            let bits = (0..4).try_fold(0_u128, |bits, at| Some(bits << 32 | u128::from(words(at * 8)?)))?;
            (bits, true)
        }
        _ => return None,
    };
    // Every address, of either family.
    let any = bits == Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().to_bits();
    Some(End { address: if any { 0 } else { bits }, port, wide, masked: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn rows_of_both_families_are_read() {
        let line = "   1: 0100007F:987E 0100007F:1F90 06 00000000:00000000 03:0000176D 00000000     0        0 0 3 0";
        let row = socket(line).unwrap();
        assert_eq!((row.state, row.local.port, row.remote.port), (State::TimeWait, 39_038, 8_080));
        assert_eq!(row.local.address, Ipv4Addr::LOCALHOST.to_ipv6_mapped().to_bits());
        assert_eq!(row.timer, Some(Timer { time_wait: true, left_ms: 59_970, retransmits: 0 }));
        let line = "0: 00000000000000000000000001000000:1F91 0000000000000000FFFF00000100007F:B004 01 \
                    00000000:00000005 00:00000000 00000000 33 0 42403360 1 0 20 0 0 10 -1";
        let row = socket(line).unwrap();
        assert_eq!(row.local.address, Ipv6Addr::LOCALHOST.to_bits());
        assert_eq!(row.remote.address, Ipv4Addr::LOCALHOST.to_ipv6_mapped().to_bits());
        assert_eq!((row.receive_queue, row.uid, row.inode), (Some(5), Some(33), Some(42_403_360)));
        assert!(row.is_wide());
    }

    #[test]
    fn a_row_cut_short_is_none() {
        let line = "0: 0100007F:1F90 00000000:0000 0A 00000000:00000001 00:00000000 00000000 0 0 42403349";
        assert_eq!(socket(line).unwrap().local.port, 8_080);
        for length in 0..line.len() - 7 {
            assert_eq!(row(&line[..length]), Read::Odd, "{}", &line[..length]);
        }
        assert_eq!(row("0: 0100007F:1F90 00000000:0000 FF 0:0 0:0 0 0 0 1"), Read::Odd);
    }
}
