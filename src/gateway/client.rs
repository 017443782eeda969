//! The client of a request and the host that it names: what the connection and the headers say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::header::{HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{StatusCode, Version};
use ipnet::IpNet;

use super::refusal::Refusal;

/// How many entries of `X-Forwarded-For` are read, from the right.
const HOPS_MAX: usize = 64;

/// The two ends of a connection. An IPv4 client of an IPv6 listener has its IPv4 address here, not
/// the IPv4-mapped one (`::ffff:192.0.2.1`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    remote: SocketAddr,
    local: SocketAddr,
}

impl Ends {
    /// The ends of a TCP connection.
    pub(super) fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self { remote: canonical(remote), local: canonical(local) }
    }

    /// The ends of a unix socket's connection, which counts as one from the loopback address.
    pub(super) fn unix() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { remote: nowhere, local: nowhere }
    }

    /// The peer's end.
    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The gateway's end.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The client of a request.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// Its address: the connection's, or the one that a trusted proxy names.
    pub address: IpAddr,
    /// Its port; 0: not known.
    pub port: u16,
    /// Whether it uses HTTPS, which only a trusted proxy can say.
    pub https: bool,
    /// The port that it connected to.
    pub server_port: u16,
    /// Whether the connection comes from a trusted proxy.
    pub is_forwarded: bool,
}

impl Client {
    /// The client of a request with these headers. They count only on a connection from one of the
    /// trusted networks.
    pub(super) fn of(ends: &Ends, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let (remote, server_port) = (ends.remote(), ends.local().port());
        if !is_trusted(remote.ip()) {
            let (address, port) = (remote.ip(), remote.port());
            return Self { address, port, https: false, server_port, is_forwarded: false };
        }
        // Each proxy appends the address of its peer: the first from the right that is not trusted
        // is the client's. What is left of that, the client can have written itself.
        let mut client = SocketAddr::new(remote.ip(), 0);
        for entry in entries(headers, "x-forwarded-for").take(HOPS_MAX) {
            let Some(address) = address(entry) else { break };
            client = address;
            if !is_trusted(address.ip()) {
                break;
            }
        }
        // Only the last entry is certainly the proxy's own.
        let last = |name| entries(headers, name).next();
        let https =
            last("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"));
        let port = last("x-forwarded-port").and_then(port);
        let server_port = port.unwrap_or(if https { 443 } else { server_port });
        Self { address: client.ip(), port: client.port(), https, server_port, is_forwarded: true }
    }
}

/// The entries of a header that is a list, the last one first. Several lines are one list, and empty
/// entries do not count (RFC 9110, sections 5.3 and 5.6.1).
fn entries<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// An address as proxies write it: with or without a port (0: none), IPv6 with or without brackets.
fn address(entry: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bracketed = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let bare = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    let address = bare.map(|address| SocketAddr::new(address, 0)).or_else(|| text.parse().ok());
    address.map(canonical)
}

/// A port that is not 0.
fn port(entry: &[u8]) -> Option<u16> {
    let is_number = entry.iter().all(u8::is_ascii_digit);
    let port = std::str::from_utf8(entry).ok().filter(|_| is_number)?.parse().ok()?;
    (port > 0).then_some(port)
}

/// The host that a request is for. The one in an absolute request target takes precedence over the
/// `Host` header (RFC 9112, section 3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// In small letters, without a port. Empty: HTTP/1.0 without a `Host`.
    pub name: String,
    /// As the client wrote it.
    pub raw: String,
}

impl Host {
    /// Reads it. An error is a 400: the header is missing in HTTP/1.1, empty, repeated, or no host.
    pub(super) fn of(request: &Parts) -> Result<Self, Refusal> {
        let mut headers = request.headers.get_all(HOST).iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(bad("more than one Host"));
        }
        let header = match header {
            Some(header) if header.is_empty() => return Err(bad("an empty Host")),
            Some(header) => header.to_str().map_err(|_| bad("Host is not text"))?,
            None if request.version >= Version::HTTP_11 => return Err(bad("no Host")),
            None => "",
        };
        let parse = |raw| Self::parse(raw).ok_or_else(|| bad("Host is not a host"));
        let host = parse(header)?;
        request.uri.authority().map_or(Ok(host), |authority| parse(authority.as_str()))
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

    fn client_of(ends: &Ends, headers: &[(&'static str, &str)]) -> Client {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["127.0.0.1/32", "10.0.0.0/8"].map(|it| it.parse().unwrap());
        Client::of(ends, &map, &trusted)
    }

    fn from(remote: &str) -> Ends {
        Ends::new(remote.parse().unwrap(), "192.0.2.1:8080".parse().unwrap())
    }

    /// The client's address and port, where these are the lines of `X-Forwarded-For`.
    fn forwarded(remote: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let client = client_of(&from(remote), &lines);
        SocketAddr::new(client.address, client.port).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_names_another_client() {
        let proxy = "127.0.0.1:5";
        assert_eq!(forwarded("1.2.3.4:5", &["9.9.9.9"]), "1.2.3.4:5");
        assert_eq!(forwarded(proxy, &[]), "127.0.0.1:0");
        assert_eq!(forwarded(proxy, &["9.9.9.9"]), "9.9.9.9:0");
        // What the client itself has written is on the left.
        assert_eq!(forwarded(proxy, &["6.6.6.6, 9.9.9.9, 10.0.0.1"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6", "9.9.9.9"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6, 9.9.9.9", "10.0.0.1"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["10.1.1.1"]), "10.1.1.1:0");
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_search() {
        let proxy = "127.0.0.1:5";
        assert_eq!(forwarded(proxy, &["6.6.6.6, x, 9.9.9.9"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["x, 9.9.9.9"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6, x, 10.0.0.1"]), "10.0.0.1:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6, unknown"]), "127.0.0.1:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6", "\u{e9}", "10.0.0.1"]), "10.0.0.1:0");
        for odd in ["1.2.3", "1.2.3.4:", "1.2.3.4:99999", "[::1", "::1]", "[1.2.3.4]", "01.2.3.4"] {
            assert_eq!(forwarded(proxy, &["6.6.6.6", odd]), "127.0.0.1:0", "{odd}");
        }
        // These are no entries.
        assert_eq!(forwarded(proxy, &["6.6.6.6, 9.9.9.9, ,", ""]), "9.9.9.9:0");
        let many = vec!["10.0.0.1"; HOPS_MAX].join(",");
        assert_eq!(forwarded(proxy, &[&format!("6.6.6.6,{many}")]), "10.0.0.1:0");
    }

    #[test]
    fn an_address_may_have_a_port_and_brackets() {
        let proxy = "127.0.0.1:5";
        assert_eq!(forwarded(proxy, &["6.6.6.6, 9.9.9.9:1234"]), "9.9.9.9:1234");
        assert_eq!(forwarded(proxy, &["6.6.6.6, [2001:db8::1]:443"]), "[2001:db8::1]:443");
        assert_eq!(forwarded(proxy, &["6.6.6.6, [2001:db8::1]"]), "[2001:db8::1]:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6,2001:db8::1"]), "[2001:db8::1]:0");
        assert_eq!(forwarded(proxy, &["9.9.9.9:1, 10.0.0.1:2"]), "9.9.9.9:1");
    }

    #[test]
    fn mapped_addresses_are_ipv4_addresses() {
        assert_eq!(forwarded("[::ffff:1.2.3.4]:5", &["9.9.9.9"]), "1.2.3.4:5");
        assert_eq!(forwarded("[::ffff:10.0.0.1]:5", &["9.9.9.9"]), "9.9.9.9:0");
        let mapped = "6.6.6.6, 9.9.9.9, [::ffff:10.0.0.1]:7";
        assert_eq!(forwarded("127.0.0.1:5", &[mapped]), "9.9.9.9:0");
        let local = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(Ends::new(local, local).local().to_string(), "192.0.2.1:80");
    }

    #[test]
    fn a_trusted_proxy_says_how_its_client_connected() {
        let proxy = from("127.0.0.1:5");
        let seen = |ends, headers: &[(&'static str, &str)]| {
            let client = client_of(ends, headers);
            (client.https, client.server_port)
        };
        let (proto, port) = ("x-forwarded-proto", "x-forwarded-port");
        assert_eq!(seen(&proxy, &[]), (false, 8080));
        assert_eq!(seen(&proxy, &[(proto, "HTTPS")]), (true, 443));
        assert_eq!(seen(&proxy, &[(proto, "https"), (port, "8443")]), (true, 8443));
        assert_eq!(seen(&proxy, &[(proto, "http"), (port, "81")]), (false, 81));
        // The entries on the left can be the client's own.
        assert_eq!(seen(&proxy, &[(proto, "https, http")]), (false, 8080));
        assert_eq!(seen(&proxy, &[(proto, "https"), (proto, "http")]), (false, 8080));
        for odd in ["0", "65536", "+1", "x", "1, x"] {
            assert_eq!(seen(&proxy, &[(port, odd)]), (false, 8080), "{odd}");
        }
        assert_eq!(seen(&from("1.2.3.4:5"), &[(proto, "https"), (port, "81")]), (false, 8080));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        let host = |raw| Host::parse(raw).map(|host| host.name);
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(host("Example.COM"), is("example.com"));
        assert_eq!(host("example.com.:8080"), is("example.com"));
        assert_eq!(host("[::1]:80"), is("[::1]"));
        assert_eq!(host("[::1]"), is("[::1]"));
        assert_eq!(host("example.com:"), is("example.com"));
        for odd in ["a b", "a/b", "a@b", ":80", "a:b", "a:99999", "a:+1", "[x]", "a\"", ".", "é"] {
            assert_eq!(host(odd), None, "{odd}");
        }
    }
}
