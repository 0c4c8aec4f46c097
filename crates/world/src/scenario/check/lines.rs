//! Lines that a scenario adds to the configuration of a proxy, which is a program of the machine: what they say is about
//! connections, and no more.
//!
//! Both programs run commands, read files and talk to sockets in the file system if their configuration says so, and
//! quotes and escapes write one word in many ways. So what is taken is listed, not what is refused.

use super::places::MOST_KEPT;
use super::wrong;
use crate::scenario::{Program, Proxy, ScenarioError};

/// What an `upstream` block takes that is about its connections
/// (<https://nginx.org/en/docs/http/ngx_http_upstream_module.html>).
const NGINX: [&str; 10] = [
    "hash",
    "ip_hash",
    "keepalive",
    "keepalive_requests",
    "keepalive_time",
    "keepalive_timeout",
    "least_conn",
    "queue",
    "random",
    "zone",
];

/// What a `backend` takes that is about its connections (HAProxy's configuration manual, section 4.2).
const HAPROXY: [&str; 12] = [
    "balance",
    "default-server",
    "fullconn",
    "hash-type",
    "http-check",
    "http-reuse",
    "max-keep-alive-queue",
    "no",
    "option",
    "retries",
    "retry-on",
    "timeout",
];

/// What `default-server` takes (section 5.2): not the parameters of TLS, which name files.
const SERVER: [&str; 17] = [
    "agent-inter",
    "check",
    "downinter",
    "fall",
    "fastinter",
    "inter",
    "max-reuse",
    "maxconn",
    "maxqueue",
    "minconn",
    "no-check",
    "pool-low-conn",
    "pool-max-conn",
    "pool-purge-delay",
    "rise",
    "slowstart",
    "weight",
];

/// The most lines.
const MOST: usize = 64;
/// The longest one, bytes.
const LONGEST: usize = 256;

/// The largest zone of nginx, KiB: memory that its processes share.
const LARGEST_ZONE: u64 = 16 << 10;

pub(super) fn lines(place: &str, proxy: &Proxy) -> Result<(), ScenarioError> {
    if proxy.lines.len() > MOST {
        return Err(wrong(place, format_args!("lines: at most {MOST}")));
    }
    for line in &proxy.lines {
        let why = match proxy.program {
            _ if line.len() > LONGEST => Some(format!("at most {LONGEST} bytes")),
            Program::Nginx => nginx(line),
            Program::Haproxy => haproxy(line),
        };
        if let Some(why) = why {
            let shown: String = line.chars().take(60).collect();
            return Err(wrong(place, format_args!("lines: {shown:?}: {why}")));
        }
    }
    Ok(())
}

/// Neither quotes nor escapes, variables, comments, braces or line ends: a word is what it looks like.
fn odd(line: &str, besides: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " \t-_.,:=%+".contains(c) || besides.contains(c);
    let odd = line.chars().find(|c| !plain(*c))?;
    Some(format!("{odd:?} is not taken here; words are letters, digits and -_.,:=%+"))
}

fn nginx(line: &str) -> Option<String> {
    // Variables are what a hash is of.
    if let Some(why) = odd(line, ";$") {
        return Some(why);
    }
    let Some((statements, "")) = line.trim_end().rsplit_once(';') else {
        return Some("it does not end with ;".to_owned());
    };
    statements.split(';').find_map(|statement| {
        let words: Vec<&str> = statement.split_whitespace().collect();
        match words[..] {
            [first, ..] if !NGINX.contains(&first) => {
                Some(format!("{first:?} is none of {}", NGINX.join(", ")))
            }
            [] => Some(format!("\"\" is none of {}", NGINX.join(", "))),
            ["keepalive", kept, ..] if kept.parse::<u32>().is_ok_and(|kept| kept <= MOST_KEPT) => None,
            ["keepalive", ..] => Some(format!("keepalive: a number, at most {MOST_KEPT}")),
            // Without a size it is a zone that another block has made.
            ["zone", _] => None,
            ["zone", _, size, ..] if kibibytes(size).is_some_and(|size| size <= LARGEST_ZONE) => None,
            ["zone", ..] => Some(format!("zone: a name, and a size of at most {LARGEST_ZONE}k")),
            _ => None,
        }
    })
}

/// A size as nginx takes it.
fn kibibytes(size: &str) -> Option<u64> {
    let unit = size.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = size.strip_suffix(unit)?.parse().ok()?;
    match unit {
        "" => Some(number.div_ceil(1 << 10)),
        "k" | "K" => Some(number),
        "m" | "M" => number.checked_mul(1 << 10),
        _ => None,
    }
}

fn haproxy(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let first = words.first().copied().unwrap_or_default();
    if !HAPROXY.contains(&first) {
        return Some(format!("{first:?} is none of {}", HAPROXY.join(", ")));
    }
    let second = words.get(1).copied().unwrap_or_default();
    // What is asked for has slashes.
    let asks = first == "http-check" || first == "option" && second == "httpchk";
    if let Some(why) = odd(line, if asks { "/" } else { "" }) {
        return Some(why);
    }
    if words.contains(&"external-check") {
        return Some("external-check runs a program".to_owned());
    }
    let mut parameters = words.iter().skip(1).filter(|_| first == "default-server");
    let value = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let unknown = parameters.find(|word| !SERVER.contains(word) && !value(word))?;
    Some(format!("{unknown:?} is none of {}", SERVER.join(", ")))
}
