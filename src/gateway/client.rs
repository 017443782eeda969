//! Who asks, and for which host: what a connection and the headers of a request say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::header::{HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{StatusCode, Version};

use super::refusal::Refusal;
use crate::config::Network;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The other one; who comes by a unix socket counts as the loopback address.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

impl Ends {
    /// Of a connection by a unix socket.
    pub(super) fn unix() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { remote: nowhere, local: nowhere }
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// His address: the connection's, or what a trusted proxy says.
    pub address: IpAddr,
    /// His port; 0: not known.
    pub port: u16,
    /// He came by HTTPS, as a trusted proxy says.
    pub https: bool,
    /// Whether a trusted proxy speaks for him.
    pub is_forwarded: bool,
}

impl Client {
    /// Who asks, by this connection and these headers.
    pub(super) fn of(ends: &Ends, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let remote = ends.remote.ip();
        if !is_trusted(remote) {
            let port = ends.remote.port();
            return Self { address: remote, port, https: false, is_forwarded: false };
        }
        // Each proxy adds, on the right, who it was asked by: the first from there whom we do not
        // trust is the client; what he says of others is hearsay.
        let named = headers.get_all("x-forwarded-for").into_iter();
        let named: Vec<IpAddr> = named
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map_while(|address| address.trim().parse().ok())
            .collect();
        let client = named.iter().rev().find(|it| !is_trusted(**it)).or(named.first());
        let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        Self {
            address: client.copied().unwrap_or(remote),
            port: 0,
            https: proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https")),
            is_forwarded: true,
        }
    }
}

/// The host that a request is for: what is in its target goes before what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// In small letters, without a port. Empty: HTTP/1.0 without a `Host`.
    pub name: String,
    /// As it was written.
    pub raw: String,
}

impl Host {
    /// Reads it, or says that it makes no sense.
    pub(super) fn of(request: &Parts) -> Result<Self, Refusal> {
        let mut headers = request.headers.get_all(HOST).iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(bad("more than one Host"));
        }
        let header = header.map(|value| value.to_str().map_err(|_| bad("Host is no text")));
        let header = header.transpose()?;
        if header.is_none() && request.version >= Version::HTTP_11 {
            return Err(bad("no Host"));
        }
        let raw = match request.uri.authority() {
            Some(authority) => authority.as_str(),
            None => header.unwrap_or_default(),
        };
        Self::parse(raw).ok_or_else(|| bad("Host makes no sense"))
    }

    fn parse(raw: &str) -> Option<Self> {
        let colon = raw.rfind(':').filter(|colon| raw.rfind(']').is_none_or(|it| it < *colon));
        let (name, port) = match colon {
            Some(colon) => (&raw[..colon], &raw[colon + 1..]),
            None => (raw, ""),
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let is_port = port.is_empty() || (is_number && port.parse::<u16>().is_ok());
        let is_address = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is_valid = match is_address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it)),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_missing = name.is_empty() && !raw.is_empty();
        (is_valid && is_port && !is_missing).then(|| Self { name, raw: raw.to_owned() })
    }
}

fn bad(why: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(remote: &str, forwarded: &[&str]) -> (String, bool) {
        let ends = Ends { remote: remote.parse().unwrap(), ..Ends::unix() };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        let trusted = ["127.0.0.1", "10.0.0.0/8"].map(|it| it.parse().unwrap());
        let client = Client::of(&ends, &headers, &trusted);
        (client.address.to_string(), client.https)
    }

    #[test]
    fn only_who_is_trusted_may_speak_for_others() {
        let is = |address: &str, https| (address.to_owned(), https);
        assert_eq!(client("1.2.3.4:5", &["9.9.9.9"]), is("1.2.3.4", false));
        assert_eq!(client("127.0.0.1:5", &[]), is("127.0.0.1", true));
        assert_eq!(client("127.0.0.1:5", &["9.9.9.9"]), is("9.9.9.9", true));
        // What the client himself has written stands on the left.
        assert_eq!(client("127.0.0.1:5", &["6.6.6.6, 9.9.9.9, 10.0.0.1"]), is("9.9.9.9", true));
        assert_eq!(client("127.0.0.1:5", &["6.6.6.6", "9.9.9.9"]), is("9.9.9.9", true));
        assert_eq!(client("127.0.0.1:5", &["10.1.1.1"]), is("10.1.1.1", true));
        assert_eq!(client("127.0.0.1:5", &["nonsense"]), is("127.0.0.1", true));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        let host = |raw| Host::parse(raw).map(|host| host.name);
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(host("Example.COM"), is("example.com"));
        assert_eq!(host("example.com.:8080"), is("example.com"));
        assert_eq!(host("[::1]:80"), is("[::1]"));
        assert_eq!(host("[::1]"), is("[::1]"));
        assert_eq!(host(""), is(""));
        assert_eq!(host("example.com:"), is("example.com"));
        for odd in ["a b", "a/b", "a@b", ":80", "a:b", "a:99999", "a:+1", "[x]", "a\"", ".", "é"] {
            assert_eq!(host(odd), None, "{odd}");
        }
    }
}
