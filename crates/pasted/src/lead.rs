//! What mail, tickets and pagers put before each line of an output: `> `, line numbers, times, bars. Without it a
//! line is what the tool printed.

use crate::table::proc_tcp;
use std::borrow::Cow;

/// The text without what stands before its lines; each line keeps its number.
pub(crate) fn without(text: Cow<'_, str>) -> Cow<'_, str> {
    unindented(without_marks(text))
}

/// What Markdown puts before each line of code.
const INDENT: &str = "    ";

/// Without the blanks before code as Markdown has it: lines that follow an empty one, or nothing, and are all indented.
/// Lines that are indented below one that is not are a tool's own: `Tcp:`, and its counters below it.
fn unindented(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut in_code = false;
    let mut after_nothing = true;
    let mut step = |line: &str| {
        let says_nothing = line.trim().is_empty();
        if !says_nothing {
            in_code = line.starts_with(INDENT) && (in_code || after_nothing);
        }
        after_nothing = says_nothing;
        in_code && !says_nothing
    };
    let Some(first) = text.lines().position(&mut step) else { return text };
    let mut plain = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let indented = index == first || index > first && step(line);
        plain.push_str(if indented { line.strip_prefix(INDENT).unwrap_or(line) } else { line });
    }
    Cow::Owned(plain)
}

fn without_marks(text: Cow<'_, str>) -> Cow<'_, str> {
    let numbered = is_numbered(&text);
    let needs = |line: &str| {
        let begins = line.trim_start().bytes().next().unwrap_or_default();
        numbered || begins.is_ascii_digit() || begins.is_ascii_uppercase() || b">|[\xe2".contains(&begins)
    };
    if !text.lines().any(|line| needs(line) && bare(line, numbered).len() != line.len()) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (says, end) = line.strip_suffix('\n').map_or((line, ""), |says| (says, "\n"));
        plain.push_str(bare(says, numbered));
        plain.push_str(end);
    }
    Cow::Owned(plain)
}

fn bare(line: &str, numbered: bool) -> &str {
    let line = if numbered { number(line).map_or(line, |(_, rest)| rest) } else { line };
    let line = unquoted(line);
    let line = unbarred(line);
    timed(line).unwrap_or(line)
}

/// Without the marks of quoted mail. A `>` that a command follows is a prompt, which nobody needs.
fn unquoted(line: &str) -> &str {
    let mut rest = line;
    while let Some(inner) = rest.trim_start().strip_prefix('>') {
        rest = inner.strip_prefix(' ').unwrap_or(inner);
    }
    rest
}

/// Without bars at both ends, as boxes and tables of wikis have them.
fn unbarred(line: &str) -> &str {
    const BARS: [char; 3] = ['│', '┃', '|'];
    let trimmed = line.trim();
    trimmed
        .strip_prefix(BARS)
        .and_then(|inner| inner.strip_suffix(BARS))
        .map_or(line, |inner| inner.strip_prefix(' ').unwrap_or(inner))
}

/// Without `2026-11-21T09:29:23.123Z `, `[2026-11-21 09:29:23] `, `Nov 21 09:29:23 ` or `09:29:23 `, where more
/// follows than `date` would print; and without what a log has behind its time: `web1 script[12]: `, `stdout F `.
fn timed(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('[').unwrap_or(line);
    let shaped = |text: &str, shape: &[u8]| -> Option<usize> {
        let stamp = text.get(..shape.len())?;
        let fits = stamp.bytes().zip(shape).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            b'D' => byte.is_ascii_digit() || byte == b' ',
            b'T' => byte == b' ' || byte == b'T',
            wanted => byte == *wanted,
        });
        fits.then_some(shape.len())
    };
    let in_month = || {
        let (month, rest) = inner.split_at_checked(4)?;
        let named = month.strip_suffix(' ').is_some_and(|month| MONTHS.contains(&month));
        shaped(rest, b"Dd dd:dd:dd").filter(|_| named).map(|length| length + 4)
    };
    let length =
        shaped(inner, b"dddd-dd-ddTdd:dd:dd").or_else(in_month).or_else(|| shaped(inner, b"dd:dd:dd"))?;
    let rest = inner.get(length..)?;
    let zone = |c: char| c.is_ascii_digit() || ".,:+-Z".contains(c);
    let rest = rest.trim_start_matches(zone);
    let rest = if line.starts_with('[') { rest.strip_prefix(']')? } else { rest };
    let rest = rest.strip_prefix([' ', '\t'])?;
    let rest = of_a_log(rest).unwrap_or(rest);
    // `date` may show a zone after its time, and no more.
    (rest.split_whitespace().nth(1).is_some() || rest.starts_with(char::is_whitespace)).then_some(rest)
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What follows a host and a program of syslog, or a stream of a container's log.
fn of_a_log(line: &str) -> Option<&str> {
    let stream = ["stdout ", "stderr "].into_iter().find_map(|stream| line.strip_prefix(stream));
    if let Some(rest) = stream {
        return rest.strip_prefix("F ").or_else(|| rest.strip_prefix("P "));
    }
    let (host, rest) = line.split_once(' ')?;
    let (program, rest) = rest.split_once(": ")?;
    // A row of a table has more blanks before its first colon.
    let named = |text: &str| {
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./[]()@".contains(&byte);
        !text.is_empty() && text.bytes().all(sign)
    };
    (named(host) && named(program)).then_some(rest)
}

/// True if every line that says anything has the number that follows that of the line before.
fn is_numbered(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let Some(first) = lines.next() else { return false };
    let Some((mut last, _)) = number(first) else { return false };
    // The rows of /proc/net/tcp are numbered, too, by the kernel.
    if proc_tcp::is_row(first) {
        return false;
    }
    let mut several = false;
    for line in lines {
        match number(line) {
            // Lines that say nothing may have been left out.
            Some((next, _)) if next > last && next - last < 100 => last = next,
            _ => return false,
        }
        several = true;
    }
    several
}

/// A line's number and what follows it: `  12\t...` as `cat -n` writes it, `12: ...`, `12| ...`, `  12 ...`.
fn number(line: &str) -> Option<(u32, &str)> {
    let line = line.trim_start();
    let digits = line.bytes().take(9).take_while(u8::is_ascii_digit).count();
    let (number, rest) = line.split_at_checked(digits).filter(|_| digits > 0)?;
    let rest = match rest.strip_prefix([':', '|', '\t', '│']) {
        Some(rest) => rest.strip_prefix(' ').unwrap_or(rest),
        None if rest.is_empty() => rest,
        None => rest.strip_prefix(' ')?,
    };
    Some((number.parse().ok()?, rest))
}

/// True for a line that only marks where an output begins or ends: fences of Markdown, tags of wikis and HTML.
pub(crate) fn is_fence(line: &str) -> bool {
    let line = line.trim();
    let tag = |begins: char, ends: char, names: &[&str]| {
        let inner = line.strip_prefix(begins).and_then(|inner| inner.strip_suffix(ends));
        inner.is_some_and(|inner| {
            let name = inner.trim_start_matches('/').split([':', ' ', '=', '>']).next().unwrap_or_default();
            names.iter().any(|known| known.eq_ignore_ascii_case(name))
        })
    };
    let word =
        |line: &str| line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+.{}".contains(&byte));
    line.strip_prefix("```")
        .or_else(|| line.strip_prefix("~~~"))
        .is_some_and(|language| word(language.trim()))
        || tag('{', '}', &["noformat", "code", "quote", "panel"])
        || tag('[', ']', &["code", "quote", "pre"])
        || tag('<', '>', &["pre", "code", "syntaxhighlight", "source", "blockquote", "details"])
}

/// The signs that HTML writes with names.
pub(crate) fn without_entities(text: Cow<'_, str>) -> Cow<'_, str> {
    const NAMES: [(&str, &str); 6] =
        [("&quot;", "\""), ("&#34;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&amp;", "&")];
    if !NAMES.iter().any(|(name, _)| text.contains(name)) {
        return text;
    }
    Cow::Owned(NAMES.iter().fold(text.into_owned(), |text, (name, sign)| text.replace(name, sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        without(Cow::Borrowed(text)).into_owned()
    }

    #[test]
    fn what_others_put_before_lines_is_taken_off() {
        for (line, bare) in [
            ("> $ ss -tan", "$ ss -tan"),
            (">> ESTAB 0 0 a b", "ESTAB 0 0 a b"),
            ("> > \tcubic rto:204", "\tcubic rto:204"),
            ("│ ESTAB 0 0 a b │", "ESTAB 0 0 a b "),
            ("|ESTAB 0 0 a b|", "ESTAB 0 0 a b"),
            ("2026-11-21T09:29:23.123456Z $ ss -tan", "$ ss -tan"),
            ("[2026-11-21 09:29:23] tcp 0 0", "tcp 0 0"),
            ("2026-11-21T09:29:23+01:00 \tcubic", "\tcubic"),
            ("2026-11-21T09:29:23.5Z stdout F ESTAB 0 0 a b", "ESTAB 0 0 a b"),
            ("Nov 21 09:29:23 ESTAB 0 0 a:1 b:2", "ESTAB 0 0 a:1 b:2"),
            ("Nov  2 09:29:23 web1 script[12]: ESTAB 0 0 a:1 b:2", "ESTAB 0 0 a:1 b:2"),
            ("Nov  2 09:29:23 web1 root: net.ipv4.tcp_fin_timeout = 60", "net.ipv4.tcp_fin_timeout = 60"),
            ("Nov  2 09:29:23 Tcp: RtoAlgorithm RtoMin", "Tcp: RtoAlgorithm RtoMin"),
            ("09:29:23 ESTAB 0 0 a:1 b:2", "ESTAB 0 0 a:1 b:2"),
            ("[09:29:23] ESTAB 0 0 a:1 b:2", "ESTAB 0 0 a:1 b:2"),
        ] {
            assert_eq!(plain(line), bare, "{line}");
            assert_eq!(plain(&format!("{line}\nx\n")), format!("{bare}\nx\n"));
        }
        assert_eq!(plain("  1\t$ ss\n  2\tESTAB\n\n  4\tx\n"), "$ ss\nESTAB\n\nx\n");
        assert_eq!(plain("7: $ ss\n8: ESTAB\n"), "$ ss\nESTAB\n");
    }

    #[test]
    fn what_a_tool_printed_stays() {
        for text in [
            "2026-11-21T06:29:23+00:00",
            "2026-11-21 06:29:23",
            "2026-11-21 06:29:23 UTC",
            "Sat Nov 21 06:29:23 UTC 2026",
            "09:29:23 up",
            "Nov 21 06:29:23 2026",
            "0 0 10.0.0.1:80 10.0.0.2:81\n0 0 10.0.0.1:80 10.0.0.2:82\n",
            "12 0 10.0.0.1:80 10.0.0.2:81\n13 0 10.0.0.1:80 10.0.0.2:82\nx",
            "0: 0100007F:1F90 00000000:0000 0A 00000000:00000001 00:00000000 00000000 0 0 42403349\n\
             1: 0100007F:1F91 00000000:0000 0A 00000000:00000001 00:00000000 00000000 0 0 42403350\n",
            "ESTAB 0 0 a:1 b:2 users:((\"x|\",pid=1,fd=2)) |",
            "",
        ] {
            assert!(matches!(without(Cow::Borrowed(text)), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn fences_are_no_output() {
        for line in
            ["```", "```console", "~~~", "{noformat}", "{code:bash}", "{code}", "<pre>", "</pre>", "[/code]"]
        {
            assert!(is_fence(line), "{line}");
        }
        for line in ["`ss -tan`", "{x}", "<sshd>", "[nginx.exe]", "", "``` ESTAB 0 0"] {
            assert!(!is_fence(line), "{line}");
        }
        assert_eq!(without_entities("users:((&quot;a&amp;b&quot;,pid=1))".into()), "users:((\"a&b\",pid=1))");
    }
}
