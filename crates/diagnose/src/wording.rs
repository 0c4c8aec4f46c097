//! How numbers and commands are written in what rules say, so that all rules write them alike.

use std::time::Duration;

/// A count with its thousands apart: `28,232`.
pub(crate) fn count(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 socket`, `28,232 sockets`.
pub(crate) fn counted(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A part of a whole in percent: `34 %`, `0.4 %`, and `0 %` of nothing.
pub(crate) fn percent(part: impl Into<u64>, whole: impl Into<u64>) -> String {
    let percent = share(part, whole) * 100.0;
    // The last percent is the one that matters: 99.6 % full is not full.
    if percent > 0.0 && percent < 9.95 || percent > 99.0 && percent < 100.0 {
        format!("{:.1} %", (percent * 10.0).floor() / 10.0)
    } else {
        format!("{:.0} %", percent.floor())
    }
}

/// A part of a whole, 0 to 1; 0 of nothing.
pub(crate) fn share(part: impl Into<u64>, whole: impl Into<u64>) -> f64 {
    let whole = whole.into();
    if whole == 0 { 0.0 } else { part.into() as f64 / whole as f64 }
}

/// An amount of memory: `640 B`, `51 kB`, `7.2 MB`, `51 MB`.
pub(crate) fn memory(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..10_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!("{} MB", count(bytes / 1_000_000)),
    }
}

/// A rate, with a digit after the point where it matters: `0.4`, `16.7`, `470`.
pub(crate) fn rate(per_second: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    if per_second < 99.95 { format!("{per_second:.1}") } else { count(per_second.round() as u64) }
}

/// A length of time in the one or two units that matter, rounded down: `850 ms`, `9.5 s`, `75 s`, `12 min`,
/// `3 h 20 min`, `2 d 4 h`.
pub(crate) fn length(time: Duration) -> String {
    let (milliseconds, seconds) = (time.as_millis(), time.as_secs());
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let with = |big: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{big} {unit}") } else { format!("{big} {unit} {small} {small_unit}") }
    };
    if milliseconds < 1_000 {
        format!("{milliseconds} ms")
    } else if seconds < 10 && milliseconds % 1_000 >= 100 {
        format!("{}.{} s", seconds, milliseconds % 1_000 / 100)
    } else if seconds < 120 {
        format!("{seconds} s")
    } else if hours < 2 {
        format!("{minutes} min")
    } else if days < 2 {
        with(hours, "h", minutes % 60, "min")
    } else {
        with(days, "d", hours % 24, "h")
    }
}

/// A value as evidence: a long list only by its beginning.
pub(crate) fn clipped(value: &str) -> std::borrow::Cow<'_, str> {
    const MOST: usize = 100;
    match value.char_indices().nth(MOST) {
        Some((end, _)) => {
            let whole = value[..end].rfind(',').unwrap_or(end);
            format!("{},... ({})", &value[..whole], counted(value.len() as u64, "byte", "bytes")).into()
        }
        None => value.into(),
    }
}

/// A text as one word of a shell command.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:+@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        let written: Vec<_> = [0_u32, 999, 1_000, 28_232, 1_000_000].map(count).into();
        assert_eq!(written, ["0", "999", "1,000", "28,232", "1,000,000"]);
        assert_eq!(counted(1_u32, "socket", "sockets"), "1 socket");
        assert_eq!(counted(1_001_u32, "socket", "sockets"), "1,001 sockets");
    }

    #[test]
    fn a_nearly_full_table_is_not_called_full() {
        let of = |part: u64, whole: u64| percent(part, whole);
        assert_eq!((of(999, 1_000).as_str(), of(9_999, 10_000).as_str()), ("99.9 %", "99.9 %"));
        assert_eq!((of(1, 1).as_str(), of(34, 100).as_str(), of(0, 5).as_str()), ("100 %", "34 %", "0 %"));
        assert_eq!((of(3, 0).as_str(), of(4, 1_000).as_str()), ("0 %", "0.4 %"));
        assert_eq!(of(99_999_999, 100_000_000), "99.9 %");
    }

    #[test]
    fn memory_and_rates_have_two_digits_that_count() {
        let written: Vec<_> = [999, 51_200, 7_227_392, 51_200_000, 1_000_000_000].map(memory).into();
        assert_eq!(written, ["999 B", "51 kB", "7.2 MB", "51 MB", "1,000 MB"]);
        let written: Vec<_> = [0.04, 16.67, 99.96, 1_075.4].map(rate).into();
        assert_eq!(written, ["0.0", "16.7", "100", "1,075"]);
    }

    #[test]
    fn lengths_are_rounded_down() {
        let of = |ms: u64| length(Duration::from_millis(ms));
        let written: Vec<_> = [0, 850, 9_599, 9_050, 75_999, 119_999, 120_000, 7_199_000].map(of).into();
        assert_eq!(written, ["0 ms", "850 ms", "9.5 s", "9 s", "75 s", "119 s", "2 min", "119 min"]);
        let written: Vec<_> = [7_200_000, 12_000_000, 172_800_000, 187_200_000].map(of).into();
        assert_eq!(written, ["2 h", "3 h 20 min", "2 d", "2 d 4 h"]);
    }

    #[test]
    fn a_long_list_is_shown_by_its_beginning() {
        assert_eq!(clipped("32768\t60999"), "32768\t60999");
        let list: Vec<String> = (1_024..2_000).map(|port| port.to_string()).collect();
        let shown = clipped(&list.join(",")).into_owned();
        assert!(
            shown.starts_with("1024,1025,") && shown.ends_with(",1042,1043,... (4,879 bytes)"),
            "{shown}"
        );
        assert_eq!(clipped(&"é".repeat(101)).chars().count(), 100 + ",... (202 bytes)".len());
    }

    #[test]
    fn a_namespace_name_cannot_leave_its_word() {
        assert_eq!(shell_word("web-1"), "web-1");
        assert_eq!(shell_word("a b; reboot"), "'a b; reboot'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
