//! Where connections meet: what rules add groups up by.

use crate::Subject;
use evidence::{Endpoint, Group, Role};

/// A local port that serves, whoever connects to it, or a destination that is connected to, from wherever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A local port; none if the groups of many ports were folded into one.
    Port(Option<u16>),
    /// An address with a port, or what folding left of it.
    Destination(Endpoint),
}

impl Place {
    /// Where the sockets of a group meet their peers.
    pub(crate) fn of(group: &Group) -> Self {
        match group.role {
            Role::Server => Self::Port(group.local.port),
            Role::Client => Self::Destination(group.remote),
        }
    }

    /// The place in a sentence: `on port 8080`, `to 10.0.0.2:80`.
    pub(crate) fn preposition(self) -> String {
        match self {
            Self::Port(Some(port)) => format!("on port {port}"),
            Self::Port(None) => "on several ports".to_owned(),
            Self::Destination(end) if end == Endpoint::default() => "to several destinations".to_owned(),
            Self::Destination(end) => format!("to {end}"),
        }
    }

    /// The same as a filter of `ss`; empty if it cannot be said.
    pub(crate) fn filter(self) -> String {
        match self {
            Self::Port(Some(port)) => format!("'( sport = :{port} )'"),
            Self::Destination(Endpoint { address: Some(_), .. }) => format!("'( dst {} )'", self.end()),
            Self::Destination(Endpoint { address: None, port: Some(port) }) => {
                format!("'( dport = :{port} )'")
            }
            Self::Port(None) | Self::Destination(_) => String::new(),
        }
    }

    /// Writes the place into what a finding is about.
    pub(crate) fn into_subject(self, mut subject: Subject) -> Subject {
        match self {
            Self::Port(Some(_)) => subject.listener = Some(self.end()),
            Self::Destination(end) if end != Endpoint::default() => subject.destination = Some(self.end()),
            Self::Port(None) | Self::Destination(_) => {}
        }
        subject
    }

    fn end(self) -> String {
        match self {
            Self::Port(port) => Endpoint { address: None, port }.to_string(),
            Self::Destination(end) => end.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_filter_that_ss_understands() {
        let filter = |text: &str| Place::Destination(text.parse().unwrap()).filter();
        assert_eq!(filter("10.0.0.2:80"), "'( dst 10.0.0.2:80 )'");
        assert_eq!(filter("[2001:db8::1]:80"), "'( dst [2001:db8::1]:80 )'");
        assert_eq!(filter("*:80"), "'( dport = :80 )'");
        assert_eq!(filter("*"), "");
        assert_eq!(Place::Port(Some(80)).filter(), "'( sport = :80 )'");
    }
}
