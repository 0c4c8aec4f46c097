//! Other readers of captures. Each answers a part of what `lastack read` does.

use super::super::race::Reader;
use std::path::Path;
use std::process::Stdio;

/// One of them.
pub(super) struct Rival {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
    /// As it is shown.
    name: &'static str,
    /// `FILE` is the capture, `DIR` a place to write to.
    arguments: &'static [&'static str],
    /// Before the number of its flows, where it prints that, and how many flows a connection is.
    counts: Option<(&'static str, u64)>,
    /// The time of lastack in parts of its time, at most.
    pub(super) goal: f64,
    /// It takes many times as long as the others.
    pub(super) slow: bool,
}

/// Names of addresses are not looked up, and nothing is sent or kept.
pub(super) const ALL: [Rival; 5] = [
    Rival {
        program: "softflowd",
        package: "softflowd",
        name: "softflowd",
        arguments: &["-r", "FILE", "-p", "DIR/softflowd.pid", "-c", "none"],
        counts: Some(("Flows expired: ", 1)),
        goal: 1.0,
        slow: false,
    },
    Rival {
        program: "nfpcapd",
        package: "nfdump",
        name: "nfpcapd",
        arguments: &["-r", "FILE", "-w", "DIR"],
        counts: Some(("Ident: 'none' Flows: ", 2)),
        goal: 1.0,
        slow: false,
    },
    Rival {
        program: "argus",
        package: "argus-server",
        name: "argus",
        arguments: &["-F", "/dev/null", "-r", "FILE", "-w", "/dev/null"],
        counts: None,
        goal: 1.0,
        slow: false,
    },
    Rival {
        program: "tcptrace",
        package: "tcptrace",
        name: "tcptrace -n",
        arguments: &["-n", "FILE"],
        counts: None,
        goal: 1.0,
        slow: true,
    },
    Rival {
        program: "tshark",
        package: "tshark",
        name: "tshark -n -q -z conv,tcp",
        arguments: &["-n", "-q", "-z", "conv,tcp", "-r", "FILE"],
        counts: None,
        goal: 1.0 / 40.0,
        slow: true,
    },
];

impl Rival {
    pub(super) fn reader(&self, file: &Path, directory: &Path) -> Reader {
        let (file, directory) = (file.display().to_string(), directory.display().to_string());
        let arguments =
            self.arguments.iter().map(|word| word.replace("FILE", &file).replace("DIR", &directory));
        Reader::new(self.name, self.program, arguments).quiet()
    }

    /// The connections that it says it saw. It is run for that, if it says so.
    pub(super) fn connections(&self, reader: &Reader) -> anyhow::Result<Option<u64>> {
        let Some((before, flows)) = self.counts else { return Ok(None) };
        let output = reader.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok(number_after(&String::from_utf8_lossy(&said), before).map(|count| count / flows))
    }
}

fn number_after(text: &str, before: &str) -> Option<u64> {
    let (_, rest) = text.split_once(before)?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_where_it_is_printed() {
        assert_eq!(number_after("Flows expired: 714 (0 forced)\n", "Flows expired: "), Some(714));
        assert_eq!(number_after("Ident: 'none' Flows: 1425, Packets: 9", "Flows: "), Some(1425));
        assert_eq!(number_after("no flows", "Flows: "), None);
        assert_eq!(number_after("Flows: many", "Flows: "), None);
    }
}
