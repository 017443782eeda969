//! The client of a request, by the connection and the headers of trusted proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::header::HeaderMap;
use ipnet::IpNet;

/// The number of entries of `X-Forwarded-For` that are read, from the right.
const HOPS_MAX: usize = 64;

/// The addresses of a connection. An IPv4 client of an IPv6 listener has its IPv4 address, not the
/// IPv4-mapped one (`::ffff:192.0.2.1`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    remote: SocketAddr,
    local: SocketAddr,
    is_local: bool,
    is_tls: bool,
}

impl Ends {
    /// The ends of a TCP connection.
    pub(super) fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        let remote = canonical(remote);
        Self { remote, local: canonical(local), is_local: remote.ip().is_loopback(), is_tls: false }
    }

    /// The ends that a proxy names at the beginning of this connection (PROXY protocol).
    pub(super) fn by_proxy(self, remote: SocketAddr, local: SocketAddr) -> Self {
        let named = Self::new(remote, local);
        Self { is_local: named.is_local && self.is_local, ..named }
    }

    /// The same ends, of a connection with TLS.
    pub(super) fn over_tls(self) -> Self {
        Self { is_tls: true, ..self }
    }

    /// The ends of a connection on a unix socket: both are the loopback address.
    pub(super) fn unix() -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { remote: nowhere, local: nowhere, is_local: true, is_tls: false }
    }

    /// Whether the request comes from this machine: the peer of the connection has a loopback address or
    /// uses a unix socket. If the peer names a client (PROXY protocol), this client has a loopback address
    /// too.
    pub(super) fn is_local(&self) -> bool {
        self.is_local
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
    /// The address of the connection, or the one that a trusted proxy sends.
    pub address: IpAddr,
    /// The port; 0: not known.
    pub port: u16,
    /// Whether the client uses HTTPS: with the gateway, or according to a trusted proxy.
    pub https: bool,
    /// The port to which the client connected.
    pub server_port: u16,
    /// Whether the connection comes from a trusted proxy.
    pub is_forwarded: bool,
}

impl Client {
    /// The address for which the limits of single clients count: see [`network`].
    pub(super) fn network(&self) -> IpAddr {
        network(self.address)
    }

    /// The client of a request with these headers. They are used only if the connection comes from one
    /// of the `trusted` networks.
    pub(super) fn of(ends: &Ends, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let (remote, server_port) = (ends.remote(), ends.local().port());
        if !is_trusted(remote.ip()) {
            let (address, port) = (remote.ip(), remote.port());
            let https = ends.is_tls;
            return Self { address, port, https, server_port, is_forwarded: false };
        }
        // Each proxy appends the address of its peer. So the first address from the right that is not
        // trusted is the client's. The client may have written the entries to the left of it.
        let mut client = SocketAddr::new(remote.ip(), 0);
        for entry in entries(headers, "x-forwarded-for").take(HOPS_MAX) {
            let Some(address) = address(entry) else { break };
            client = address;
            if !is_trusted(address.ip()) {
                break;
            }
        }
        // Only the last entry is certainly written by the proxy.
        let last = |name| entries(headers, name).next();
        let proto = last("x-forwarded-proto");
        let says_https = proto.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"));
        let https = says_https || (proto.is_none() && ends.is_tls);
        let port = last("x-forwarded-port").and_then(port);
        let server_port = port.unwrap_or(if says_https { 443 } else { server_port });
        Self { address: client.ip(), port: client.port(), https, server_port, is_forwarded: true }
    }
}

/// The IPv4 address of a client, or its IPv6 /64 network: a client can choose any address in this network.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The entries of a list header, the last one first. Several lines form one list, and empty entries
/// are skipped (RFC 9110, sections 5.3 and 5.6.1).
fn entries<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// Parses an address with or without a port (0: none), and IPv6 with or without brackets.
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

/// Parses a port other than 0.
fn port(entry: &[u8]) -> Option<u16> {
    let is_number = entry.iter().all(u8::is_ascii_digit);
    let port = std::str::from_utf8(entry).ok().filter(|_| is_number)?.parse().ok()?;
    (port > 0).then_some(port)
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

    /// The client's address and port for these lines of `X-Forwarded-For`.
    fn forwarded(remote: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let client = client_of(&from(remote), &lines);
        SocketAddr::new(client.address, client.port).to_string()
    }

    #[test]
    fn forwarded_for_counts_only_from_a_trusted_proxy() {
        let proxy = "127.0.0.1:5";
        assert_eq!(forwarded("1.2.3.4:5", &["9.9.9.9"]), "1.2.3.4:5");
        assert_eq!(forwarded(proxy, &[]), "127.0.0.1:0");
        assert_eq!(forwarded(proxy, &["9.9.9.9"]), "9.9.9.9:0");
        // The client's own entries are on the left.
        assert_eq!(forwarded(proxy, &["6.6.6.6, 9.9.9.9, 10.0.0.1"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6", "9.9.9.9"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6, 9.9.9.9", "10.0.0.1"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["10.1.1.1"]), "10.1.1.1:0");
    }

    #[test]
    fn invalid_entry_ends_the_search() {
        let proxy = "127.0.0.1:5";
        assert_eq!(forwarded(proxy, &["6.6.6.6, x, 9.9.9.9"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["x, 9.9.9.9"]), "9.9.9.9:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6, x, 10.0.0.1"]), "10.0.0.1:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6, unknown"]), "127.0.0.1:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6", "\u{e9}", "10.0.0.1"]), "10.0.0.1:0");
        for odd in ["1.2.3", "1.2.3.4:", "1.2.3.4:99999", "[::1", "::1]", "[1.2.3.4]", "01.2.3.4"] {
            assert_eq!(forwarded(proxy, &["6.6.6.6", odd]), "127.0.0.1:0", "{odd}");
        }
        // Empty entries.
        assert_eq!(forwarded(proxy, &["6.6.6.6, 9.9.9.9, ,", ""]), "9.9.9.9:0");
        let many = vec!["10.0.0.1"; HOPS_MAX].join(",");
        assert_eq!(forwarded(proxy, &[&format!("6.6.6.6,{many}")]), "10.0.0.1:0");
    }

    #[test]
    fn forwarded_address_may_have_a_port_and_brackets() {
        let proxy = "127.0.0.1:5";
        assert_eq!(forwarded(proxy, &["6.6.6.6, 9.9.9.9:1234"]), "9.9.9.9:1234");
        assert_eq!(forwarded(proxy, &["6.6.6.6, [2001:db8::1]:443"]), "[2001:db8::1]:443");
        assert_eq!(forwarded(proxy, &["6.6.6.6, [2001:db8::1]"]), "[2001:db8::1]:0");
        assert_eq!(forwarded(proxy, &["6.6.6.6,2001:db8::1"]), "[2001:db8::1]:0");
        assert_eq!(forwarded(proxy, &["9.9.9.9:1, 10.0.0.1:2"]), "9.9.9.9:1");
    }

    #[test]
    fn ipv4_mapped_addresses_become_ipv4_addresses() {
        assert_eq!(forwarded("[::ffff:1.2.3.4]:5", &["9.9.9.9"]), "1.2.3.4:5");
        assert_eq!(forwarded("[::ffff:10.0.0.1]:5", &["9.9.9.9"]), "9.9.9.9:0");
        let mapped = "6.6.6.6, 9.9.9.9, [::ffff:10.0.0.1]:7";
        assert_eq!(forwarded("127.0.0.1:5", &[mapped]), "9.9.9.9:0");
        let local = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(Ends::new(local, local).local().to_string(), "192.0.2.1:80");
    }

    #[test]
    fn forwarded_proto_and_port_are_used() {
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
        // The client may have written the entries on the left.
        assert_eq!(seen(&proxy, &[(proto, "https, http")]), (false, 8080));
        assert_eq!(seen(&proxy, &[(proto, "https"), (proto, "http")]), (false, 8080));
        for odd in ["0", "65536", "+1", "x", "1, x"] {
            assert_eq!(seen(&proxy, &[(port, odd)]), (false, 8080), "{odd}");
        }
        assert_eq!(seen(&from("1.2.3.4:5"), &[(proto, "https"), (port, "81")]), (false, 8080));
    }
}
