//! What a rule looks at in configurations: what is written, and what sockets show of it.

use crate::packets::MAX_FINDINGS;
use crate::told::{self, Keeping, Route};
use crate::wording::{count, counted, rate, share};
use crate::{Budget, Change, Confidence, Evidence, Finding, Severity, Subject, Verdict};
use crate::{keeping, repair};
use config::{Edit, sysctl};
use evidence::configuration::sysctl::{Sysctl, SysctlValue};
use evidence::{Case, Configuration, Endpoint, FilePlace, Namespace, Role, Unseen};
use std::collections::BTreeSet;
use tcp::State;

/// So many findings of one rule are told where files are judged alone.
const MAX_ALONE: usize = 200;

/// Closes a second to one upstream that cost what matters, as in packets.
const HURTS_PER_SECOND: f64 = 10.0;

/// Slower ones are checks and people.
const HABIT_PER_SECOND: f64 = 1.5;

/// At this part of a host's own connections, its counter of opened ones is about this upstream.
const NEARLY_ALL: f64 = 0.8;

/// So many servers of another way are compared with those of a route.
const MOST_COMPARED: usize = 100;

/// The namespace that the files of `sysctl.d` are for.
const HOST: &str = "host";

/// The configurations of a case, prepared for the rules.
pub struct ConfigurationLook<'a> {
    /// The whole case.
    pub case: &'a Case,
    /// True if files are judged by themselves, as `lastack lint` does: nobody was seen to use them.
    pub alone: bool,
    routes: Vec<Route<'a>>,
    budgets: Vec<Budget>,
}

/// What sockets show of the connections from a proxy to an upstream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Live {
    /// Connections that live.
    pub(crate) open: u32,
    pub(crate) time_wait: u32,
    /// Closed here first, a second.
    pub(crate) closes_per_second: f64,
    /// True if a part of that is a mean over the length of TIME-WAIT: the sockets' ages are not known.
    pub(crate) mean: bool,
    /// Opened a second, if nearly all that this host opens go there.
    pub(crate) opens_per_second: Option<f64>,
    /// Opened a second, if nearly none of them is left, and the route is one of HAProxy that closes its side by a
    /// reset.
    pub(crate) traceless_per_second: Option<f64>,
}

impl<'a> ConfigurationLook<'a> {
    /// Prepares the configurations of a case, if it has some, to be judged by what is seen of them.
    pub fn new(case: &'a Case) -> Option<Self> {
        if case.configurations.is_empty() {
            return None;
        }
        let budgets = (case.namespaces.iter())
            .flat_map(|namespace| crate::budgets(namespace, case.traffic.as_ref()))
            .collect();
        Some(Self { case, alone: false, routes: told::routes(case), budgets })
    }

    /// Prepares them to be judged by themselves.
    pub fn alone(case: &'a Case) -> Self {
        Self { case, alone: true, routes: told::routes(case), budgets: Vec::new() }
    }

    /// The routes for which a rule has something to say, those of one kind to one upstream once. Routes that packets
    /// show are left out: there, they decide.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Route<'a>> {
        let mut seen = BTreeSet::new();
        self.routes.iter().filter(move |route| {
            let files = route.configuration.files.first();
            seen.insert((files, route.to.as_str(), kind_of(route))) && (self.alone || !self.in_packets(route))
        })
    }

    /// True if a capture shows connections of this route.
    fn in_packets(&self, route: &Route<'_>) -> bool {
        let traffic = self.case.traffic.iter();
        let mut exchanges = traffic.flat_map(|traffic| &traffic.exchanges);
        exchanges.any(|exchange| {
            route.servers.contains(&exchange.server)
                && exchange.client.address.is_none_or(|client| route.connects_from(self.case, client))
        })
    }

    /// The namespaces that a route's connections leave from.
    pub(crate) fn namespaces(&self, route: &Route<'_>) -> impl Iterator<Item = &'a Namespace> {
        let running = route.configuration.running.as_ref().map(|running| running.netns.clone());
        let all = self.case.namespaces.iter();
        all.filter(move |namespace| running.as_ref().is_none_or(|netns| *netns == namespace.name))
    }

    /// What sockets show of a route.
    pub(crate) fn live(&self, route: &Route<'_>) -> Live {
        let mut live = Live::default();
        for namespace in self.namespaces(route) {
            let (mut its, mut all) = (0_u64, 0_u64);
            for group in namespace.sockets.groups.iter().filter(|group| group.role == Role::Client) {
                all = all.saturating_add(group.states.total());
                if route.servers.contains(&group.remote) {
                    its = its.saturating_add(group.states.total());
                    let now = u32::try_from(group.states.live()).unwrap_or(u32::MAX);
                    live.open = live.open.saturating_add(now);
                    live.time_wait = live.time_wait.saturating_add(group.states.of(State::TimeWait));
                }
            }
            let counters = &namespace.counters;
            if counters.watched() {
                let opened = counters.rise("TcpActiveOpens").unwrap_or(0);
                let seconds = counters.interval_ms.max(1_000) as f64 / 1_000.0;
                let opens = |before: Option<f64>| Some(before.unwrap_or(0.0) + opened as f64 / seconds);
                if its > 0 && share(its, all) >= NEARLY_ALL {
                    live.opens_per_second = opens(live.opens_per_second);
                } else if its == 0 && route.resets() && share(all, opened) <= 1.0 - NEARLY_ALL {
                    live.traceless_per_second = opens(live.traceless_per_second);
                }
            }
            let named: Vec<String> = route.servers.iter().map(Endpoint::to_string).collect();
            let budgets = self.budgets.iter().filter(|budget| budget.netns == namespace.name);
            let its = budgets.filter(|budget| named.contains(&budget.destination));
            for budget in its.filter(|budget| budget.rate_lasts || budget.lacks_ages()) {
                live.closes_per_second += budget.closes_per_second;
                live.mean |= budget.lacks_ages();
            }
        }
        live
    }

    /// Other ways from the same namespace to the servers of a route that close connections, too, or may: which of
    /// them a socket belonged to, it does not tell.
    fn rivals(&self, route: &Route<'_>) -> Option<Evidence> {
        let netns =
            |route: &Route<'_>| route.configuration.running.as_ref().map(|running| running.netns.clone());
        let (here, kind) = (netns(route), kind_of(route));
        let servers: BTreeSet<Endpoint> = route.servers.iter().copied().collect();
        let mut rivals = self.routes.iter().filter(|other| {
            // Two sets of files of one name are one program.
            let same = (other.number, &other.to, kind_of(other)) == (route.number, &route.to, kind);
            !same
                && netns(other) == here
                && !matches!(other.keeping, Keeping::Pooled { .. })
                && other.servers.iter().take(MOST_COMPARED).any(|server| servers.contains(server))
        });
        let first = rivals.next()?;
        let more = match rivals.count() {
            0 => String::new(),
            more => format!(", and {} more", counted(u64::try_from(more).unwrap_or(u64::MAX), "way", "ways")),
        };
        let says = format!(
            "another way to these servers that closes connections, or may{more}: sockets do not tell which of them they \
             belong to"
        );
        Some(Evidence::new(first.configuration.at(first.place), says))
    }

    /// What a finding about a route is about.
    pub(crate) fn subject(&self, route: &Route<'_>) -> Subject {
        let running = route.configuration.running.as_ref();
        let netns = match (running, self.case.namespaces.as_slice()) {
            (Some(running), _) => running.netns.clone(),
            (None, [only]) => only.name.clone(),
            _ => String::new(),
        };
        Subject {
            netns,
            destination: route.servers.first().map(Endpoint::to_string),
            process: running.map(|running| running.name.clone()),
            pid: running.map(|running| running.pid),
            ..Subject::default()
        }
    }

    /// A route whose connections are closed by what files say: with what sockets show of it, or alone, where it is as
    /// bad as that.
    pub(crate) fn closing(
        &self,
        rule: &'static str,
        route: &Route<'_>,
        claim: String,
        alone: Severity,
    ) -> Option<Finding> {
        let mut evidence = route.says();
        let (severity, confidence) = if self.alone {
            (alone, Confidence::Certain)
        } else {
            let (severity, confidence, shown) = self.live(route).harm()?;
            evidence.push(shown);
            let others = self.rivals(route);
            evidence.extend(others.clone());
            match (confidence, others.is_none()) {
                (_, true) => (severity, confidence),
                (Confidence::Certain, false) => (severity, Confidence::Likely),
                (_, false) => (Severity::Note, Confidence::Possible),
            }
        };
        Some(Finding {
            rule,
            severity,
            confidence,
            claim,
            subject: self.subject(route),
            evidence,
            remedies: vec![route.repair(None)],
            avoid: keeping::avoid(),
            next: None,
        })
    }

    /// What sysctl files say, with the configuration that names the files.
    pub(crate) fn sysctls(&self) -> impl Iterator<Item = (&'a Configuration, &'a Sysctl)> {
        self.case
            .configurations
            .iter()
            .filter_map(|configuration| Some((configuration, configuration.sysctl.as_ref()?)))
    }

    /// That a line of a file of `sysctl.d` goes, if it is one of the case's.
    pub(crate) fn without_line(&self, files: &Configuration, place: FilePlace, what: &str) -> Option<Change> {
        let number = self.case.configurations.iter().position(|one| std::ptr::eq(one, files))?;
        let edit = Edit::Sysctl(sysctl::Change::Remove { line: place });
        Some(repair::change((number, files), place, what.to_owned(), edit))
    }

    /// What decides a setting at boot, and where it stands.
    pub(crate) fn written(&self, setting: &str) -> Option<(&'a SysctlValue, String)> {
        self.sysctls().find_map(|(configuration, sysctl)| {
            let winner = sysctl.winner(setting)?;
            Some((winner, configuration.at(winner.place)))
        })
    }

    /// The namespace that files of `sysctl.d` are for, if it was looked at.
    pub(crate) fn host(&self) -> Option<&'a Namespace> {
        self.case.namespaces.iter().find(|namespace| namespace.name == HOST)
    }

    /// True if the kernel of that namespace has no such setting: all that it has were read.
    pub(crate) fn host_lacks(&self, setting: &str) -> bool {
        let mut gaps = self.case.gaps.iter();
        let unread = gaps.any(|gap| {
            gap.unseen == Unseen::Settings && gap.netns.as_deref().is_none_or(|netns| netns == HOST)
        });
        let settings = self.host().map(|host| &host.settings);
        !unread && settings.is_some_and(|here| !here.values.is_empty() && here.text(setting).is_none())
    }

    /// As many as are worth reading.
    pub(crate) fn most(&self, findings: impl IntoIterator<Item = Finding>) -> Verdict {
        let most = if self.alone { MAX_ALONE } else { MAX_FINDINGS };
        findings.into_iter().take(most).collect::<Vec<_>>().into()
    }
}

/// What is said of a route, and where: of those of one kind to one upstream one is told.
fn kind_of<'r>(route: &'r Route<'_>) -> (&'r str, Option<FilePlace>) {
    match &route.keeping {
        Keeping::Off { how, place, .. } => (how.as_str(), *place),
        Keeping::Unpooled { how, place, .. } => (how.as_str(), Some(*place)),
        Keeping::Pooled { .. } => ("pooled", None),
        Keeping::Unknown => ("unknown", None),
    }
}

/// What decides a setting of a namespace at boot, as evidence: the file and its line.
pub(crate) fn set_at_boot(case: &Case, namespace: &Namespace, setting: &str) -> Option<Evidence> {
    if namespace.name != HOST {
        return None;
    }
    case.configurations.iter().find_map(|configuration| {
        let winner = configuration.sysctl.as_ref()?.winner(setting)?;
        if crate::written::refusal(setting, &winner.value).is_some() {
            return None;
        }
        let value = crate::wording::clipped(&winner.value);
        Some(Evidence::new(configuration.at(winner.place), format!("sets {setting} to {value} at boot")))
    })
}

impl Live {
    /// True if connections are closed here, and not now and then.
    pub(crate) fn closes(self) -> bool {
        self.closes_per_second >= HABIT_PER_SECOND
    }

    /// How bad it is that connections are not kept, and what shows it; none if nobody uses the route.
    pub(crate) fn harm(self) -> Option<(Severity, Confidence, Evidence)> {
        let time_wait = counted(self.time_wait, "socket", "sockets");
        let live = counted(self.open, "connection", "connections");
        if self.closes() {
            let hurts = self.closes_per_second >= HURTS_PER_SECOND;
            let mean = if self.mean { ", as a mean over the length of TIME-WAIT" } else { "" };
            let says = format!(
                "{} connections a second to its servers are closed here first{mean}: {time_wait} in TIME-WAIT, {live} open",
                rate(self.closes_per_second)
            );
            let severity = if hurts { Severity::Warning } else { Severity::Note };
            // It may have been one burst, and over.
            let confidence = if self.mean { Confidence::Likely } else { Confidence::Certain };
            return Some((severity, confidence, Evidence::new("sock_diag", says)));
        }
        match self.opens_per_second {
            Some(opens) if opens >= HURTS_PER_SECOND => {
                let says = format!(
                    "this host opened {} connections a second, and nearly all of its sockets are to these servers: {live} \
                     open, {time_wait} in TIME-WAIT",
                    rate(opens)
                );
                Some((Severity::Warning, Confidence::Likely, Evidence::new("TcpActiveOpens", says)))
            }
            _ if self.open > 0 || self.time_wait > 0 => {
                let says = format!("{live} to its servers open, {} in TIME-WAIT", count(self.time_wait));
                Some((Severity::Note, Confidence::Possible, Evidence::new("sock_diag", says)))
            }
            _ => {
                let opens = self.traceless_per_second.filter(|opens| *opens >= HURTS_PER_SECOND)?;
                let says = format!(
                    "this host opened {} connections a second, and hardly one has left a socket, as where HAProxy ends its \
                     side by a reset: a capture shows whether they are these",
                    rate(opens)
                );
                Some((Severity::Note, Confidence::Possible, Evidence::new("TcpActiveOpens", says)))
            }
        }
    }
}
