//! Other readers of captures. Each answers a part of what `lastack read` does.

use super::super::race::Reader;
use std::path::Path;

/// One of them.
pub(super) struct Rival {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
    /// As it is shown.
    name: &'static str,
    /// `FILE` is the capture, `DIR` a place to write to.
    arguments: &'static [&'static str],
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
        goal: 1.0,
        slow: false,
    },
    Rival {
        program: "nfpcapd",
        package: "nfdump",
        name: "nfpcapd",
        arguments: &["-r", "FILE", "-w", "DIR"],
        goal: 1.0,
        slow: false,
    },
    Rival {
        program: "argus",
        package: "argus-server",
        name: "argus",
        arguments: &["-F", "/dev/null", "-r", "FILE", "-w", "/dev/null"],
        goal: 1.0,
        slow: false,
    },
    Rival {
        program: "tcptrace",
        package: "tcptrace",
        name: "tcptrace -n",
        arguments: &["-n", "FILE"],
        goal: 1.0,
        slow: true,
    },
    Rival {
        program: "tshark",
        package: "tshark",
        name: "tshark -n -q -z conv,tcp",
        arguments: &["-n", "-q", "-z", "conv,tcp", "-r", "FILE"],
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
}
