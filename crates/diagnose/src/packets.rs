//! What a rule looks at in captures: connections, added up by client and server.

use crate::owner::{self, Owner};
use crate::told::{self, Route};
use crate::wording::{counted, share, shell_word};
use crate::{Evidence, Finding, Subject, Verdict};
use evidence::{Case, Clocks, Counted, Endpoint, Example, Exchange, Http, Traffic};
use std::collections::BTreeMap;

/// A rate over less than a second says nothing of the next one.
const SHORTEST_MS: u64 = 1_000;

/// So many pairs of hosts are named one by one by one rule.
pub(crate) const MAX_FINDINGS: usize = 5;

/// The captures of a case, prepared for the rules.
pub struct TrafficLook<'a> {
    /// The whole case.
    pub case: &'a Case,
    /// What its captures showed.
    pub traffic: &'a Traffic,
    /// Requests that each address answered, by its port: a proxy is a server too.
    served: BTreeMap<Endpoint, Vec<(Endpoint, u64)>>,
    /// What proxies of this host are told.
    routes: Vec<Route<'a>>,
}

/// What shows that a client is a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// Its requests say so: `Via`, `Forwarded` or `X-Forwarded-For`.
    Says,
    /// Its address answers so many requests of others in the same captures.
    Answers(u64),
    /// Its sockets on this host belong to a program that is one.
    Named(&'static str),
    /// Nothing: it may be one all the same.
    NotSeen,
}

/// At this part of the connections, or requests, it is its work and not a side line.
const PROXY: f64 = 0.5;

impl Proxy {
    pub(crate) fn is_seen(self) -> bool {
        self != Self::NotSeen
    }

    /// In a sentence, as evidence.
    pub(crate) fn shown(self, client: &str) -> Option<String> {
        match self {
            Self::Says => Some(format!(
                "requests of {client} bear `Via`, `Forwarded` or `X-Forwarded-For`: it is a proxy"
            )),
            Self::Answers(requests) => {
                let others = counted(requests, "request", "requests");
                Some(format!("{client} answered {others} elsewhere: it is a proxy"))
            }
            Self::Named(program) => {
                Some(format!("the program that connects from {client} is {program}, a proxy"))
            }
            Self::NotSeen => None,
        }
    }
}

impl<'a> TrafficLook<'a> {
    /// Prepares the captures of a case, if it has some.
    pub fn new(case: &'a Case) -> Option<Self> {
        let traffic = case.traffic.as_ref()?;
        let mut served = BTreeMap::<Endpoint, Vec<(Endpoint, u64)>>::new();
        for exchange in &traffic.exchanges {
            if let (Some(http), Some(_)) = (&exchange.http, exchange.server.address) {
                let address = Endpoint { port: None, ..exchange.server };
                served.entry(address).or_default().push((exchange.server, http.requests));
            }
        }
        Some(Self { case, traffic, served, routes: told::routes(case) })
    }

    /// Requests that the client of an exchange answered as a server itself, elsewhere than there.
    pub(crate) fn served_by(&self, exchange: &Exchange) -> u64 {
        let client = Endpoint { port: None, ..exchange.client };
        let served = self.served.get(&client).into_iter().flatten();
        served
            .filter(|(server, _)| *server != exchange.server)
            .fold(0, |sum, (_, requests)| sum.saturating_add(*requests))
    }

    /// What shows that the client of an exchange is a proxy.
    pub(crate) fn proxy(&self, exchange: &Exchange, http: &Http) -> Proxy {
        let answered = self.served_by(exchange);
        if share(http.relayed, http.connections) >= PROXY {
            Proxy::Says
        } else if answered > 0 && share(answered, http.requests) >= PROXY {
            Proxy::Answers(answered)
        } else {
            self.owner(exchange).and_then(Owner::proxy).map_or(Proxy::NotSeen, Proxy::Named)
        }
    }

    /// The program whose sockets on this host are the client's of an exchange, if the case has them.
    pub(crate) fn owner(&self, exchange: &Exchange) -> Option<Owner<'a>> {
        owner::of(self.case, exchange)
    }

    /// What the client of an exchange is told, if it is a proxy whose files the case has. Of several ways to one server
    /// the first for which `fits` holds.
    pub(crate) fn told(&self, exchange: &Exchange, fits: impl Fn(&Route<'_>) -> bool) -> Option<&Route<'a>> {
        let client = exchange.client.address?;
        let to_it = |route: &&Route<'_>| route.servers.contains(&exchange.server) && fits(route);
        self.routes.iter().filter(to_it).find(|route| route.connects_from(self.case, client))
    }

    /// True if the client of an exchange is a host whose sockets are known, and nobody listens there: a proxy does.
    pub(crate) fn listens_nowhere(&self, exchange: &Exchange) -> bool {
        let mut here = self.case.namespaces.iter().map(|namespace| &namespace.sockets).filter(|sockets| {
            sockets
                .groups
                .iter()
                .any(|group| group.local.address.is_some() && group.local.address == exchange.client.address)
        });
        here.next().is_some_and(|sockets| sockets.listeners.is_empty())
            && here.all(|sockets| sockets.listeners.is_empty())
    }

    /// True if conntrack of this host dropped what it could not enter while it was looked at: SYNs that nobody
    /// answered may never have left.
    pub(crate) fn conntrack_drops(&self) -> bool {
        let all = self.case.namespaces.iter().filter_map(|namespace| namespace.conntrack.as_ref());
        all.into_iter().any(|conntrack| {
            conntrack.rise("insert_failed").is_some_and(|rise| rise > 0)
                || conntrack.rise("drop").is_some_and(|rise| rise > 0)
        })
    }

    /// The clocks behind an address, if they are those of several hosts.
    pub(crate) fn several_hosts(&self, address: Endpoint) -> Option<&'a Clocks> {
        self.traffic
            .clocks
            .iter()
            .find(|clocks| clocks.address.address == address.address && clocks.hosts >= 2)
    }

    /// A capture by its name.
    pub(crate) fn file(&self, example: Example) -> &'a str {
        self.traffic.files.get(usize::from(example.file)).map_or("capture", String::as_str)
    }

    /// The packets that show something, as evidence: one line a file.
    pub(crate) fn shows(&self, shown: &Counted, says: &str) -> Vec<Evidence> {
        let mut files = BTreeMap::<u16, Vec<String>>::new();
        for example in &shown.examples {
            files.entry(example.file).or_default().push(packets(*example));
        }
        let line = |(file, packets): (u16, Vec<String>)| {
            let source = self.file(Example { file, ..Example::default() });
            Evidence::new(source, format!("packets {}: {says}", listed(&packets)))
        };
        if files.is_empty() && shown.count > 0 {
            let connections = counted(shown.count, "connection", "connections");
            return vec![self.sums(format!("{connections}, numbers not kept: {says}"))];
        }
        files.into_iter().map(line).collect()
    }

    /// Numbers of a whole exchange as evidence, which no one packet shows.
    pub(crate) fn sums(&self, says: impl Into<String>) -> Evidence {
        let source = match self.traffic.files.as_slice() {
            [] => "capture".to_owned(),
            [file] => file.clone(),
            files => counted(files.len() as u64, "capture", "captures"),
        };
        Evidence::new(source, says)
    }

    /// What an exchange is about.
    pub(crate) fn subject(exchange: &Exchange) -> Subject {
        Subject {
            source: exchange.client.address.map(|_| exchange.client.to_string()),
            destination: (exchange.server != Endpoint::default()).then(|| exchange.server.to_string()),
            ..Subject::default()
        }
    }

    /// The command that draws one of the connections that show something.
    pub(crate) fn next(&self, exchange: &Exchange, counted: &Counted) -> Option<String> {
        let example = *counted.examples.first()?;
        let file = self.traffic.files.get(usize::from(example.file)).filter(|file| *file != "-")?;
        let file = shell_word(file);
        Some(if let Some(address) = exchange.client.address {
            let client = Endpoint::new(address, example.client_port).to_string();
            format!("lastack read {file} --connection {}", shell_word(&client))
        } else {
            let (first, last) = (example.first_packet, example.last_packet.max(example.first_packet));
            let filter = format!(
                "tcp.port == {} && frame.number >= {first} && frame.number <= {last}",
                example.client_port
            );
            format!("tshark -r {file} -Y {}", shell_word(&filter))
        })
    }

    /// The findings about the most connections, and how many more there are.
    pub(crate) fn most(&self, mut found: Vec<(u64, Finding)>) -> Verdict {
        found.sort_by_key(|(connections, _)| std::cmp::Reverse(*connections));
        let more = found.len().saturating_sub(MAX_FINDINGS);
        let mut findings: Vec<Finding> =
            found.into_iter().take(MAX_FINDINGS).map(|(_, finding)| finding).collect();
        // A case that was edited may have sums without the examples they came with.
        for finding in findings.iter_mut().filter(|finding| finding.evidence.is_empty()) {
            finding.evidence.push(self.sums("the sums of its connections; no packet was kept as an example"));
        }
        if more > 0
            && let Some(last) = findings.last_mut()
        {
            let says = format!(
                "the same with {}",
                counted(more as u64, "more pair of hosts", "more pairs of hosts")
            );
            last.evidence.push(self.sums(says));
        }
        findings.into()
    }
}

/// So many a second, over the time of an exchange.
pub(crate) fn per_second(number: u64, length_ms: u64) -> f64 {
    number as f64 * 1_000.0 / length_ms.max(SHORTEST_MS) as f64
}

/// True if both directions were captured, as far as can be told: else half of every connection looks missing.
pub(crate) fn both_directions(exchange: &Exchange) -> bool {
    let complete = exchange.handshakes.get("complete").copied().unwrap_or(0);
    complete.saturating_mul(2) >= exchange.connections
}

/// Who a client is, in a sentence.
pub(crate) fn client(exchange: &Exchange) -> String {
    match exchange.client.address {
        Some(address) => address.to_string(),
        None => "clients too many to keep apart".to_owned(),
    }
}

/// Who a server is, in a sentence.
pub(crate) fn server(server: Endpoint) -> String {
    if server == Endpoint::default() { "several servers".to_owned() } else { server.to_string() }
}

fn packets(example: Example) -> String {
    let Example { first_packet, last_packet, .. } = example;
    match last_packet.cmp(&first_packet) {
        std::cmp::Ordering::Greater => format!("{first_packet} to {last_packet}"),
        std::cmp::Ordering::Equal => first_packet.to_string(),
        // The end is in another file.
        std::cmp::Ordering::Less => format!("from {first_packet} on"),
    }
}

/// `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(file: u16, first_packet: u64, last_packet: u64) -> Example {
        Example { file, first_packet, last_packet, client_port: 40_000 }
    }

    fn case() -> Case {
        let files = vec!["web 1.pcap".to_owned(), "-".to_owned()];
        Case { traffic: Some(Traffic { files, ..Traffic::default() }), ..Case::default() }
    }

    #[test]
    fn packets_are_named_by_file_and_number() {
        let case = case();
        let look = TrafficLook::new(&case).unwrap();
        let examples = vec![example(0, 17, 25), example(0, 30, 30), example(1, 9, 2), example(7, 1, 2)];
        let evidence = look.shows(&Counted { count: 4, examples }, "resets");
        let said: Vec<String> =
            evidence.iter().map(|evidence| format!("{}: {}", evidence.source, evidence.says)).collect();
        assert_eq!(
            said,
            [
                "web 1.pcap: packets 17 to 25 and 30: resets",
                "-: packets from 9 on: resets",
                "capture: packets 1 to 2: resets"
            ]
        );
    }

    #[test]
    fn the_next_command_names_the_connection_where_the_file_can_be_read_again() {
        let case = case();
        let look = TrafficLook::new(&case).unwrap();
        let next = |client: &str, file| {
            let exchange = Exchange { client: client.parse().unwrap(), ..Exchange::default() };
            look.next(&exchange, &Counted { count: 1, examples: vec![example(file, 17, 25)] })
        };
        let command = "lastack read 'web 1.pcap' --connection";
        assert_eq!(next("10.0.0.1", 0), Some(format!("{command} 10.0.0.1:40000")));
        assert_eq!(next("2001:db8::1", 0), Some(format!("{command} '[2001:db8::1]:40000'")));
        let filter = "'tcp.port == 40000 && frame.number >= 17 && frame.number <= 25'";
        assert_eq!(next("*", 0), Some(format!("tshark -r 'web 1.pcap' -Y {filter}")));
        assert_eq!(next("10.0.0.1", 1), None);
    }
}
