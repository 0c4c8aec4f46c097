//! One end of a connection, or of many that share it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address, a port, or both; what is left out stands for "any": `10.0.0.1:80`, `[2001:db8::1]:80`,
/// `10.0.0.1`, `*:80`, `*`. IPv4 addresses mapped into IPv6 are written as IPv4, because the kernel draws
/// ports for both from one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address; none stands for several.
    pub address: Option<IpAddr>,
    /// The port; none stands for several.
    pub port: Option<u16>,
}

impl Endpoint {
    /// An address with a port.
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { address: Some(address.to_canonical()), port: Some(port) }
    }

    /// An address with any port.
    pub fn any_port(address: IpAddr) -> Self {
        Self { address: Some(address.to_canonical()), port: None }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (Some(IpAddr::V6(address)), Some(port)) => write!(f, "[{address}]:{port}"),
            (Some(address), Some(port)) => write!(f, "{address}:{port}"),
            (Some(address), None) => write!(f, "{address}"),
            (None, Some(port)) => write!(f, "*:{port}"),
            (None, None) => f.write_str("*"),
        }
    }
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address with a port, such as 10.0.0.1:80, [2001:db8::1]:80 or *:80")]
pub struct NotAnEndpoint(String);

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAnEndpoint(text.chars().take(80).collect());
        if text == "*" {
            return Ok(Self::default());
        }
        if let Some(port) = text.strip_prefix("*:") {
            return Ok(Self { address: None, port: Some(port.parse().map_err(|_| wrong())?) });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::any_port(address));
        }
        let socket: std::net::SocketAddr = text.parse().map_err(|_| wrong())?;
        Ok(Self::new(socket.ip(), socket.port()))
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_written_so_that_they_parse_back() {
        for text in ["10.0.0.1:80", "[2001:db8::1]:80", "2001:db8::1", "10.0.0.1", "*:80", "*"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("[::ffff:10.0.0.1]:80".parse::<Endpoint>().unwrap().to_string(), "10.0.0.1:80");
        for text in ["", "10.0.0.1:", "10.0.0.1:65536", "*:x", "host:80"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
