//! What rules say: findings, their evidence, and what to do.

use config::Edit;
use evidence::{Case, Endpoint};
use schemars::JsonSchema;
use serde::Serialize;

/// How bad it is. The exit code is 1 from [`Severity::Warning`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; hurts nobody now.
    Note,
    /// Hurts, or soon will.
    Warning,
    /// Connections fail now.
    Error,
}

/// How sure a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The evidence fits this and other causes.
    Possible,
    /// Other causes are rare.
    Likely,
    /// Nothing else gives this evidence.
    Certain,
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Finding {
    /// The rule's name; `lastack explain NAME` is its page.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// One sentence with the numbers that matter and their bounds.
    pub claim: String,
    /// What it is about.
    pub subject: Subject,
    /// What was seen, and where.
    pub evidence: Vec<Evidence>,
    /// What to do, in the order to try it.
    pub remedies: Vec<Remedy>,
    /// What is often advised and wrong here.
    pub avoid: Vec<Avoid>,
    /// The command to run next, to see it with one's own eyes or to prove it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Rules that blame the client where packets show it, and say so wherever these were captured.
const OF_CLIENTS: [&str; 5] = [
    "client-without-pool",
    "time-wait-at-client",
    "upstream-keepalive-off",
    "upstream-keepalive-small",
    "upstream-keepalive-unpooled",
];

/// The same for the server.
const OF_SERVERS: [&str; 1] = ["time-wait-at-server"];

impl Finding {
    /// True if it counts for the host of the case, in which it was found. A capture shows both ends, so that what only
    /// one of them can do is found at both; it counts where it can be done. An address on the loopback interface is the
    /// host's as well: a server behind a balancer with direct routing has that of the service there.
    pub fn concerns(&self, case: &Case) -> bool {
        let mut own = case.namespaces.iter().flat_map(|namespace| &namespace.addresses).peekable();
        if !self.subject.netns.is_empty() || own.peek().is_none() {
            return true;
        }
        let end = match self.rule {
            rule if OF_CLIENTS.contains(&rule) => &self.subject.source,
            rule if OF_SERVERS.contains(&rule) => &self.subject.destination,
            _ => return true,
        };
        let end = end.as_deref().and_then(|end| end.parse::<Endpoint>().ok());
        let address = end.and_then(|end| end.address);
        address.is_none_or(|address| address.is_loopback() || own.any(|own| *own == address))
    }
}

/// What a finding is about; what does not apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Subject {
    /// Network namespace; left out where packets were read, which do not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// Source address of the connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Destination address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Listening address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// Process name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Evidence {
    /// Where: `sock_diag`, `TcpExtTCPTimeWaitOverflow`, `net.ipv4.tcp_tw_reuse`, `conntrack`; a capture by its name.
    pub source: String,
    /// What: `rose by 200 in 1.0 s`; of a capture `packets 17 to 25: ...`, as Wireshark counts them.
    pub says: String,
}

impl Evidence {
    pub(crate) fn new(source: impl Into<String>, says: impl Into<String>) -> Self {
        Self { source: source.into(), says: says.into() }
    }
}

/// Whether a remedy may be carried out by a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Applicability {
    /// Can be applied and taken back, and cannot break what works.
    Safe,
    /// Can be applied and taken back, but must be chosen by name: it has a price.
    Unsafe,
    /// For a person: it changes a program or a design.
    DisplayOnly,
}

/// Something that helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Remedy {
    /// Kebab-case name, unique within the rule.
    pub name: &'static str,
    /// What to do, as one imperative sentence.
    pub summary: String,
    /// Whether a program may do it.
    pub applicability: Applicability,
    /// What can go wrong.
    pub risk: String,
    /// What changes exactly; empty for advice.
    pub changes: Vec<Change>,
    /// What it will do to the numbers of the claim.
    pub expected: String,
    /// Counters and measures that must not rise after the change.
    pub guards: Vec<String>,
}

impl Remedy {
    /// Advice for a person.
    pub(crate) fn advice(
        name: &'static str,
        summary: impl Into<String>,
        risk: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            name,
            summary: summary.into(),
            applicability: Applicability::DisplayOnly,
            risk: risk.into(),
            changes: Vec::new(),
            expected: expected.into(),
            guards: Vec::new(),
        }
    }

    /// The same advice as something a program may do. Without a change (the setting could not be read, so
    /// there is no inverse) it stays advice.
    pub(crate) fn carried_out(
        mut self,
        applicability: Applicability,
        changes: impl IntoIterator<Item = Change>,
        guards: &[&str],
    ) -> Self {
        self.changes = changes.into_iter().collect();
        if !self.changes.is_empty() {
            self.applicability = applicability;
            self.guards = guards.iter().map(|guard| (*guard).to_owned()).collect();
        }
        self
    }
}

/// One change with its inverse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Change {
    /// Of a setting of the kernel.
    Setting {
        /// Its name.
        setting: String,
        /// Its value now: going back to it is the inverse.
        from: String,
        /// Its value after.
        to: String,
    },
    /// Of what a setting is from the next boot on. Nothing changes now.
    AtBoot {
        /// Its name.
        #[serde(rename = "setting_at_boot")]
        setting: String,
        /// What the files of `sysctl.d` set it to so far.
        from: String,
        /// Its value now, which is to stay.
        to: String,
    },
    /// Of what a program is told. The file as it was is the inverse.
    Program(ProgramChange),
}

/// A change of what nginx or HAProxy is told, or of what a file sets at boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProgramChange {
    /// `nginx`, `haproxy` or `sysctl`.
    pub program: &'static str,
    /// The file that says what is changed; the change may need others, too.
    pub file: String,
    /// The line that it is about, from 1.
    pub line: u32,
    /// What is changed, as one clause.
    pub what: String,
    /// Which of the configurations of the case it is.
    #[serde(skip)]
    pub configuration: usize,
    /// The change itself.
    #[serde(skip)]
    pub edit: Edit,
}

/// Something that does not help, though it is often advised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Avoid {
    /// What: `lower tcp_fin_timeout`.
    pub what: String,
    /// Why not, as one clause.
    pub because: String,
}

impl Avoid {
    pub(crate) fn new(what: impl Into<String>, because: impl Into<String>) -> Self {
        Self { what: what.into(), because: because.into() }
    }
}

/// A rule that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unknown {
    /// The rule.
    pub rule: &'static str,
    /// What is missing.
    pub because: String,
    /// How to see it.
    pub how_to_see: String,
}
