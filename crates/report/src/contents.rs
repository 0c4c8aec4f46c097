//! What a case holds, for the one who is about to give it away.

use crate::pen::{Paint, Pen, Style};
use crate::report::{GapRow, thousands};
use evidence::{Case, Configuration, Namespace, Unseen};
use serde::Serialize;
use std::io::{self, Write};

/// Name and version of the JSON.
pub const CONTENTS_SCHEMA: &str = "lastack.contents/1";

/// So many names are listed each.
const NAMES: usize = 20;

/// What a case file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// [`CONTENTS_SCHEMA`].
    pub schema: &'static str,
    /// The file.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// The host's name.
    pub host: String,
    /// When the look ended.
    pub taken_at: String,
    /// How many addresses have stand-ins; null if they are as they were.
    pub stand_ins: Option<usize>,
    /// What is in each network namespace.
    pub namespaces: Vec<NamespaceContents>,
    /// Whose configuration is in it.
    pub configurations: Vec<ConfigurationContents>,
    /// Connections of captures; null without one.
    pub captured_connections: Option<u64>,
    /// What could not be seen.
    pub coverage: Vec<GapRow>,
}

/// What is known of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamespaceContents {
    /// Its name.
    pub name: String,
    /// All sockets.
    pub sockets: u64,
    /// Those in TIME-WAIT.
    pub time_wait: u32,
    /// Those that listen.
    pub listeners: usize,
    /// Processes that own sockets.
    pub processes: usize,
    /// Settings.
    pub settings: usize,
    /// Counters.
    pub counters: usize,
    /// How long they were watched; 0 is a single glance.
    pub watched_ms: u64,
    /// True if it is known which ports bind() took.
    pub bound_ports: bool,
    /// Entries of conntrack; null if it is not loaded, or was not seen.
    pub conntrack_entries: Option<u64>,
}

/// A configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigurationContents {
    /// `nginx`, `haproxy` or `sysctl.d`.
    pub program: &'static str,
    /// Its files.
    pub files: Vec<String>,
}

impl Contents {
    /// What this case holds, which is in this file. `stand_ins`: how many addresses have them, if they do.
    pub fn new(case: &Case, file: &str, bytes: u64, stand_ins: Option<usize>) -> Self {
        Self {
            schema: CONTENTS_SCHEMA,
            file: file.to_owned(),
            bytes,
            host: case.host.name.clone(),
            taken_at: case.host.taken_at.clone(),
            stand_ins,
            namespaces: case.namespaces.iter().map(NamespaceContents::new).collect(),
            configurations: case.configurations.iter().map(ConfigurationContents::new).collect(),
            captured_connections: case.traffic.as_ref().map(|traffic| traffic.connections),
            coverage: case.gaps.iter().map(GapRow::new).collect(),
        }
    }
}

impl NamespaceContents {
    fn new(namespace: &Namespace) -> Self {
        let sockets = &namespace.sockets;
        Self {
            name: namespace.name.clone(),
            sockets: sockets.by_state.total(),
            time_wait: sockets.by_state.of(tcp::State::TimeWait),
            listeners: sockets.listeners.len(),
            processes: namespace.processes.len(),
            settings: namespace.settings.values.len(),
            counters: namespace.counters.end.len(),
            watched_ms: if namespace.counters.watched() { namespace.counters.interval_ms } else { 0 },
            bound_ports: sockets.bound.named.is_some(),
            conntrack_entries: namespace.conntrack.as_ref().map(|conntrack| conntrack.entries),
        }
    }

    fn says(&self) -> String {
        let counted = |number: u64, one: &str, many: &str| {
            format!("{} {}", thousands(number), if number == 1 { one } else { many })
        };
        let watched = match self.watched_ms {
            0 => "at one moment".to_owned(),
            ms => format!("over {}.{} s", ms / 1_000, ms % 1_000 / 100),
        };
        let mut parts = vec![
            counted(self.sockets, "socket", "sockets"),
            format!("{} in TIME-WAIT", thousands(self.time_wait)),
            counted(self.listeners as u64, "listener", "listeners"),
            counted(self.processes as u64, "process", "processes"),
            counted(self.settings as u64, "setting", "settings"),
            format!("{} {watched}", counted(self.counters as u64, "counter", "counters")),
        ];
        if self.bound_ports {
            parts.push("ports that bind() took".to_owned());
        }
        if let Some(entries) = self.conntrack_entries {
            parts.push(counted(entries, "entry of conntrack", "entries of conntrack"));
        }
        parts.join(", ")
    }
}

impl ConfigurationContents {
    fn new(configuration: &Configuration) -> Self {
        let program = match configuration {
            Configuration { nginx: Some(_), .. } => "nginx",
            Configuration { haproxy: Some(_), .. } => "haproxy",
            _ => "sysctl.d",
        };
        Self { program, files: configuration.files.clone() }
    }
}

/// Writes a page: what is in the file, and what is not.
pub fn write_contents(contents: &Contents, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    let host = match contents.host.as_str() {
        "" => String::new(),
        host => format!(" of {host}"),
    };
    let at = match contents.taken_at.split('.').next().unwrap_or_default() {
        "" => String::new(),
        at => format!(", {at}Z"),
    };
    let remark = format!("{} KiB{host}{at}", thousands(contents.bytes.div_ceil(1_024)));
    pen.flow(&[(Paint::Strong, &contents.file), (Paint::Plain, "  ")], 2, (Paint::Faint, &remark))?;
    for namespace in contents.namespaces.iter().take(NAMES) {
        pen.flow(
            &[(Paint::Plain, "  "), (Paint::Strong, &namespace.name), (Paint::Plain, ": ")],
            4,
            (Paint::Plain, &namespace.says()),
        )?;
    }
    let more = contents.namespaces.len().saturating_sub(NAMES);
    if more > 0 {
        pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Faint, &format!("and {more} more network namespaces")))?;
    }
    for configuration in contents.configurations.iter().take(NAMES) {
        let mut files = configuration.files.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
        let more = configuration.files.len().saturating_sub(NAMES);
        if more > 0 {
            files = format!("{files} and {more} more");
        }
        pen.flow(
            &[(Paint::Plain, "  "), (Paint::Strong, configuration.program), (Paint::Plain, ": ")],
            4,
            (Paint::Plain, &files),
        )?;
    }
    if let Some(connections) = contents.captured_connections {
        let says = format!("{} connections", thousands(connections));
        pen.flow(
            &[(Paint::Plain, "  "), (Paint::Strong, "captures"), (Paint::Plain, ": ")],
            4,
            (Paint::Plain, &says),
        )?;
    }
    let redacted = match contents.stand_ins {
        Some(number) => {
            format!("{} addresses have stand-ins, and the host has no name", thousands(number as u64))
        }
        None => "as they are (--redact addresses gives them stand-ins)".to_owned(),
    };
    pen.flow(
        &[(Paint::Plain, "  "), (Paint::Strong, "addresses"), (Paint::Plain, ": ")],
        4,
        (Paint::Plain, &redacted),
    )?;
    // Stand-ins are no fault of the look.
    let gaps = || contents.coverage.iter().filter(|gap| gap.unseen != Unseen::Addresses);
    if gaps().next().is_some() {
        pen.heading("Not in it", "")?;
    }
    for gap in gaps().take(NAMES) {
        let netns = gap.netns.as_ref().map_or(String::new(), |netns| format!(" (in {netns})"));
        let because = format!("{}{netns}", gap.because);
        pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, &because))?;
        pen.flow(
            &[(Paint::Plain, "    "), (Paint::Faint, "to see it: ")],
            6,
            (Paint::Command, &gap.how_to_see),
        )?;
    }
    let more = gaps().count().saturating_sub(NAMES);
    if more > 0 {
        pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Faint, &format!("and {more} more")))?;
    }
    pen.blank()?;
    pen.command(
        &[(Paint::Plain, "open it: ")],
        2,
        &format!("lastack doctor --case {}", quoted(&contents.file)),
    )
}

/// A file's name as a shell takes it.
fn quoted(file: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if !file.starts_with('-') && file.bytes().all(plain) {
        return file.to_owned();
    }
    format!("'{}'", file.replace('\'', "'\\''"))
}
