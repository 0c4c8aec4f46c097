//! What can be typed.

use crate::look_length;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use evidence::Endpoint;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Shows how TCP connections end on a machine, and what is wrong with that
#[derive(Debug, Parser)]
#[command(name = "lastack", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Start with `lastack doctor`. It changes nothing.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Doctor(Doctor),
    Collect(Collect),
    Read(Read),
    Fix(Fix),
    /// Is the process that makes a change; started by `fix --apply`
    #[command(hide = true)]
    FixWorker,
    Lint(Lint),
    Lab(Lab),
    Whatif(WhatIf),
    Explain(Explain),
    Completions(Completions),
    Man(Man),
}

/// Says what is wrong with how connections end on this host, and what to do
///
/// Reads the sockets, settings and counters of the kernel; changes nothing. Without privilege it runs as well and
/// says what it could not see.
#[derive(Debug, Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) look: Look,
    /// Save what was seen, to be opened with --case on any machine
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) save: Option<PathBuf>,
    /// Open a saved case instead of looking; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["netns", "all_netns", "length", "save"])]
    pub(crate) case: Option<PathBuf>,
    /// Read what others pasted instead of looking: files with the output of ss, netstat, nstat, sysctl, conntrack or
    /// of files below /proc/net, of one host, told apart by themselves; a report of sos, as folder or archive; - is
    /// standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath, num_args = 1..,
          conflicts_with_all = ["netns", "all_netns", "length", "case"])]
    pub(crate) from: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) besides: Besides,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Where to look at this host, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Look {
    /// Look at this network namespace: a name (`ip netns list`), a path, or pid:N; may be repeated
    #[arg(long, value_name = "NAME|PATH|pid:N", conflicts_with = "all_netns")]
    pub(crate) netns: Vec<String>,
    /// Look at every network namespace of the host
    #[arg(long)]
    pub(crate) all_netns: bool,
    /// Look for so long: 500ms, 10s, 2m; 0 is one glance, which sees no counter move
    #[arg(long = "for", value_name = "DURATION", default_value = "1s", value_parser = look_length::parse)]
    pub(crate) length: Duration,
}

impl Look {
    pub(crate) fn options(&self) -> kernel::Options {
        let selection = match (self.all_netns, self.netns.as_slice()) {
            (true, _) => kernel::Selection::All,
            (false, []) => kernel::Selection::Here,
            (false, names) => kernel::Selection::These(names.to_vec()),
        };
        kernel::Options { selection, duration: self.length, ..kernel::Options::default() }
    }
}

/// What is joined with a case.
#[derive(Debug, Args)]
pub(crate) struct Besides {
    /// Read this configuration of nginx besides those of the nginx that run; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) nginx: Vec<PathBuf>,
    /// The same of HAProxy
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) haproxy: Vec<PathBuf>,
    /// Read this capture besides, and join what it shows; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) capture: Vec<PathBuf>,
}

/// Writes one file with all there is to see of this host, to be given to others
///
/// Looks at every network namespace: sockets, owners, settings, counters, conntrack, ports that bind() took, and what
/// the running nginx and HAProxy and sysctl.d are told. It judges nothing and changes nothing;
/// `lastack doctor --case FILE` opens the file on any machine. It says what is in the file, and what it could not see.
#[derive(Debug, Args)]
#[command(after_help = COLLECT_HELP)]
pub(crate) struct Collect {
    /// Save it here; nothing is replaced. Without it, the file is called after the time, in this directory
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) save: Option<PathBuf>,
    /// Leave this out: each address gets a stand-in, the same everywhere in the file, and the host has no name
    #[arg(long, value_name = "WHAT")]
    pub(crate) redact: Vec<Hidden>,
    /// Look for so long: 500ms, 10s, 2m; 0 is one glance, which sees no counter move
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = look_length::parse)]
    pub(crate) length: Duration,
    /// Take a saved case instead of looking; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "length")]
    pub(crate) case: Option<PathBuf>,
    /// Take what others pasted instead of looking, as `doctor --from` does
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath, num_args = 1.., conflicts_with_all = ["length", "case"])]
    pub(crate) from: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) besides: Besides,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What can be left out of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hidden {
    /// Addresses, and the host's name
    Addresses,
}

const COLLECT_HELP: &str = "\
What --redact does not hide, such as ports, processes, paths and names in configuration, is in docs/collect.md.

Exit status: 0 it is written, 2 it is not.";

/// Says of the connections in a capture how they ended, and why
///
/// Reads pcap and pcapng, compressed or not, of one or several files, which are merged by time. A packet's number is
/// the one that Wireshark shows. Without --json it prints what is wrong and a summary; with it, one line for each
/// connection, in the order of first packets.
#[derive(Debug, Args)]
#[command(after_help = READ_HELP)]
pub(crate) struct Read {
    /// The captures; - is standard input, which may still grow (`tcpdump -w - | lastack read -`)
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Show one connection packet by packet: its number, or its client's address and port
    #[arg(long, value_name = "N|CLIENT:PORT", conflicts_with = "filter")]
    pub(crate) connection: Option<Wanted>,
    /// Fold nothing in the packets of --connection
    #[arg(long, requires = "connection")]
    pub(crate) all_packets: bool,
    /// Take only the connections for which this holds: `ending == reset && resets.server > 0`
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Shows what would help, and does it: guarded, and taken back unless it is confirmed
///
/// Without --apply it changes nothing: it shows each remedy with its change, why, its inverse, its risk and its
/// guards. With
/// --apply it does those that are safe, or those that are named. If nobody confirms that they stay, the terminal
/// goes, a guard trips, or anything is killed, all is taken back.
#[derive(Debug, Args)]
#[command(after_help = FIX_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct Fix {
    /// Only what helps against this finding; may be repeated
    #[arg(long, value_name = "RULE", value_parser = rule_names(), hide_possible_values = true)]
    pub(crate) finding: Vec<String>,
    /// This remedy; may be repeated. One that has a price is done only if it is named
    #[arg(long, value_name = "NAME")]
    pub(crate) remedy: Vec<String>,
    /// Write the plan to this file; if it is there already, read it instead of looking
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) plan: Option<PathBuf>,
    /// For more than one host: print a playbook that carries the plan out on them, a batch at a time
    #[arg(long = "as", value_name = "FORM", conflicts_with_all = ["apply", "json"])]
    pub(crate) form: Option<Form>,
    /// Make the changes
    #[arg(long, conflicts_with = "case")]
    pub(crate) apply: bool,
    /// Make them though the plan was made for a host of another name
    #[arg(long, requires = "apply")]
    pub(crate) any_host: bool,
    /// Confirm beforehand: ask nothing, and keep the changes if the guards hold
    #[arg(long, requires = "apply")]
    pub(crate) yes: bool,
    /// Watch the guards for so long after the change
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = look_length::parse)]
    pub(crate) guard: Duration,
    /// Watch the counters for so long before the change, and once more at the end; else as long as --guard, but not
    /// longer than 10s
    #[arg(long, value_name = "DURATION", value_parser = look_length::parse)]
    pub(crate) baseline: Option<Duration>,
    /// Wait so long for the answer whether the changes stay
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = look_length::parse)]
    pub(crate) confirm_within: Duration,
    /// Take back an apply that was kept: its name in --log, or `last`
    #[arg(long, value_name = "ID|last", conflicts_with_all = ["apply", "finding", "remedy", "plan", "form", "case", "netns", "all_netns", "nginx", "haproxy", "capture"])]
    pub(crate) rollback: Option<String>,
    /// Watch the guards of an apply that was kept once more, for --guard; changes nothing
    #[arg(long, value_name = "ID|last", conflicts_with_all = ["apply", "rollback", "finding", "remedy", "plan", "form", "case", "netns", "all_netns", "nginx", "haproxy", "capture"])]
    pub(crate) watch: Option<String>,
    /// List what was done; settle first what was not finished
    #[arg(long, conflicts_with_all = ["apply", "rollback", "watch", "finding", "remedy", "plan", "form", "case", "netns", "all_netns", "nginx", "haproxy", "capture"])]
    pub(crate) log: bool,
    #[command(flatten)]
    pub(crate) look: Look,
    /// Plan for a saved case instead of looking; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["netns", "all_netns", "length"])]
    pub(crate) case: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) besides: Besides,
    /// Keep the journal in this folder; else /var/lib/lastack for root, $XDG_STATE_HOME/lastack for others
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How a plan is written for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A playbook for `ansible-playbook`
    Ansible,
}

const FIX_HELP: &str = "\
docs/fix.md says what is watched, what is never done, and what happens when something is killed meanwhile.

Exit status without --apply: 0 nothing is wrong, 1 something is, 2 it could not be told. With --apply or --rollback: 0 it is \
done, or there was nothing to do, 1 it was taken back, or not all of it could be taken back, or something is wrong and nothing \
was chosen against it, 2 it was refused, or failed. With \
--watch: 0 the guards held, 1 one did not, 2 it could not be told.";

/// Which connection is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This one, counted from 1 in the order of first packets.
    Number(u32),
    /// The first of this client.
    Client(Endpoint),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse::<u32>() {
            return if number > 0 {
                Ok(Self::Number(number))
            } else {
                Err("connections count from 1".to_owned())
            };
        }
        match text.parse::<Endpoint>() {
            Ok(client) if client.address.is_some() && client.port.is_some() => Ok(Self::Client(client)),
            _ => Err("a number, as --json has it, or a client such as 10.0.0.1:51034".to_owned()),
        }
    }
}

/// A version of a program: `1.22.1`, or all that the program says of itself.
fn version(text: &str) -> Result<String, String> {
    let numbered = |word: &str| {
        let mut parts = word.splitn(3, '.');
        let digits =
            |part: Option<&str>| part.is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()));
        digits(parts.next()) && digits(parts.next())
    };
    let words = text.split([' ', '/', '-']);
    let is_one = words.into_iter().any(numbered);
    is_one.then(|| text.to_owned()).ok_or_else(|| "no version, such as 1.22.1".to_owned())
}

/// Says what is wrong with files of nginx, HAProxy and sysctl.d, wherever they are used
///
/// Looks at no host. What includes name is read; a part of an nginx configuration is read as if it were included.
/// Files of HAProxy are read as one configuration, in their order; so are those of sysctl.d.
#[derive(Debug, Args)]
#[command(after_help = LINT_HELP)]
pub(crate) struct Lint {
    /// The files; their text tells whose they are
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// The nginx that they are for, such as 1.22.1: its defaults count
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) nginx_version: Option<String>,
    /// The HAProxy that they are for, such as 2.6
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub(crate) haproxy_version: Option<String>,
    /// Whose files they are, where their text does not tell
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) of: Option<LintOf>,
    /// Print SARIF 2.1.0, for code hosts and editors
    #[arg(long, conflicts_with = "json")]
    pub(crate) sarif: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Whose files are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintOf {
    /// nginx
    Nginx,
    /// HAProxy
    Haproxy,
    /// sysctl.conf, sysctl.d
    Sysctl,
}

const LINT_HELP: &str = "\
Exit status: 0 nothing is wrong, 1 a warning or an error, 2 a file could not be read. Notes are worth knowing, and leave it 0. \
docs/lint.md has the rules.";

const READ_HELP: &str = "\
A filter compares fields of --json with values: ending == reset, http.requests >= 2, client ~ \"10.0.0.\", \
first_closer == null; a field alone asks whether there is something: http. These are joined by && and ||, \
turned by !, grouped by ( ). ~ asks whether a text contains another. docs/read.md has the fields.

Exit status: 0 nothing is wrong, 1 a rule found something (a warning or an error; with --filter, among the connections \
taken; with --json, too), 2 nothing could be read. With --connection: 0 if there is such a connection, else 2.";

/// Shows an incident and its cures on a real kernel, in namespaces of its own, and in virtual time
///
/// A scenario is a small world: hosts, servers, clients, proxies, and what goes wrong; its variants are cures. On the
/// kernel it runs in network namespaces that end with it; nothing of the host is touched.
#[derive(Debug, Args)]
pub(crate) struct Lab {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Lists the scenarios
    List(LabList),
    /// Shows a scenario: what it is about, its variants, and its file
    Show(LabShow),
    /// Runs scenarios
    Run(LabRun),
    /// Is the stage of a variant; started by `lab run`, in namespaces of its own
    #[command(hide = true)]
    Stage,
    /// Is a host of a stage; started by it
    #[command(hide = true)]
    Host {
        /// What it is called
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LabList {
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct LabShow {
    /// The scenario: a name of the list, or a file
    #[arg(value_name = "NAME|FILE", value_hint = ValueHint::FilePath)]
    pub(crate) name: String,
    /// Print the file as it is, to be copied and changed
    #[arg(long, conflicts_with = "json")]
    pub(crate) file: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = LAB_HELP)]
pub(crate) struct LabRun {
    /// The scenarios: names of the list, or files
    #[arg(value_name = "NAME|FILE", value_hint = ValueHint::FilePath, required_unless_present = "all")]
    pub(crate) names: Vec<String>,
    /// Run all of the list
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// Run the first variant and this one only
    #[arg(long, value_name = "NAME")]
    pub(crate) remedy: Option<String>,
    /// Where to run
    #[arg(long, value_name = "STAGE", default_value = "both")]
    pub(crate) on: On,
    /// Try `lastack fix` on the kernel: the load fails, `doctor` finds why, `fix --apply` repairs it, the same load
    /// succeeds, and `fix --rollback` leaves all as it was
    #[arg(long, conflicts_with = "on")]
    pub(crate) repair: bool,
    /// Run so many scenarios at a time: counts stay the same, rates and latencies become those of a busy machine
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) jobs: NonZeroUsize,
    /// Run each variant so many times on the kernel: the measures are the medians, and how far the runs lie apart is
    /// shown
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "repair")]
    pub(crate) repeat: NonZeroUsize,
    /// Keep the case and the captures of each host in this folder, for `doctor --case` and `read`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Where a scenario is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// On this machine's kernel, in namespaces
    Kernel,
    /// In virtual time
    Simulator,
    /// On both, compared
    Both,
}

const LAB_HELP: &str = "\
With --json one line for each scenario and variant. docs/scenarios.md has the language of scenarios.

Exit status: 0 all was as expected, 1 something was not, 2 it could not be run. A variant that lacks a program or a \
privilege is skipped, with its reason.";

/// Says what a change would do to a load, before it is made
///
/// A model of the load is fitted to what was seen (who connects to whom, how often, how long, who closes), and played
/// in virtual time: as it is, under each remedy alone, and under one after the other. Without --set and --remedy
/// these are the remedies that `doctor` advises. It changes nothing, and says what it assumed. Without --case,
/// --capture and
/// --scenario it looks at this host.
#[derive(Debug, Args)]
#[command(after_help = WHATIF_HELP)]
pub(crate) struct WhatIf {
    /// Fit the load to this case (`doctor --save`); - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "length")]
    pub(crate) case: Option<PathBuf>,
    /// Fit it to this capture, too, or to it alone; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) capture: Vec<PathBuf>,
    /// Take the load from the first variant of a scenario: a name of `lab list`, or a file
    #[arg(long, value_name = "NAME|FILE", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["case", "capture", "netns", "length", "failed", "load", "lasting"])]
    pub(crate) scenario: Option<String>,
    /// What if this setting had this value: net.ipv4.ip_local_port_range="10240 65000"; of another host of the model
    /// with its name and a colon before; may be repeated
    #[arg(long, value_name = "[HOST:]KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// What if this remedy were carried out, or this variant of the scenario: keep-connections, more-destinations=4;
    /// `list` shows them; may be repeated
    #[arg(long, value_name = "NAME[=N]")]
    pub(crate) remedy: Vec<String>,
    /// So many connects failed for want of a port while the load was seen, as the program logs it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) failed: u64,
    /// What if the load were so many times as large
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub(crate) load: f64,
    /// Let the load go on for so long: 90s, 10m
    #[arg(long, value_name = "DURATION", value_parser = look_length::parse)]
    pub(crate) lasting: Option<Duration>,
    /// Look at this network namespace, or take it from the case; the one with the most sockets without it
    #[arg(long, value_name = "NAME|PATH|pid:N")]
    pub(crate) netns: Vec<String>,
    /// Look at this host for so long
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = look_length::parse)]
    pub(crate) length: Duration,
    /// Draw the course over time to this file, as SVG
    #[arg(long, value_name = "FILE.svg", value_hint = ValueHint::FilePath)]
    pub(crate) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

const WHATIF_HELP: &str = "\
Numbers are from low to high: what the evidence leaves open is tried at both ends. docs/whatif.md says how the load is \
fitted, what is simulated, and how far predictions were from a real kernel.

Exit status: 0 nothing fails with all that was asked for, 1 connects still fail, or TIME-WAIT does not fit its table, 2 it \
could not be told.";

/// Explains a rule, or lists the rules
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The rule; all are listed without it
    #[arg(value_name = "RULE", value_parser = rule_names(), hide_possible_values = true)]
    pub(crate) rule: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Prints completions for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the manual page (`lastack man | man -l -`)
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What the exit code says; part of the help and of the manual page.
pub(crate) const EXIT_STATUS: &str = "\
Exit status: 0 nothing is wrong, 1 something is (a warning or an error), 2 it could not be told.";

fn rule_names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(diagnose::rules().iter().map(diagnose::Rule::name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_contradict_each_other_nowhere() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
