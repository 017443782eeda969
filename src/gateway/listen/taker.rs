//! Which process listens on an address that the gateway cannot bind.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::unistd::{Uid, User};

use crate::config::Listen;
use crate::process;
use crate::socket;

/// The most characters of a command line that are shown.
const SHOWN_MAX: usize = 60;
/// The state of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTENS: &str = "0A";

/// The process that listens on an address, such as `pid 7 (nginx: master process /usr/sbin/nginx)`. If
/// the user of this process may not see that process: the user of that process. None: not known.
pub(super) fn name(listen: &Listen) -> Option<String> {
    match listen {
        Listen::Unix(path) => socket::listener(path).ok().map(|peer| shown(peer.pid())),
        Listen::Tcp(address) => of_tcp(*address),
    }
}

fn of_tcp(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    let taken: Vec<Socket> =
        lines.filter_map(Socket::parse).filter(|it| it.collides(address)).collect();
    let inodes: Vec<u64> = taken.iter().map(|it| it.inode).collect();
    let holders = process::holders(&inodes).ok().filter(|_| !inodes.is_empty());
    let holders = holders.iter().flat_map(|it| it.master.iter().chain(&it.children));
    // Of a parent and its workers, the parent usually has the lowest pid.
    if let Some(pid) = holders.map(process::Process::pid).min() {
        return Some(shown(pid));
    }
    let uid = Uid::from_raw(taken.first()?.uid);
    let user = User::from_uid(uid).ok().flatten().map_or(uid.to_string(), |user| user.name);
    Some(format!("a process of {user}"))
}

fn shown(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace(char::is_control, " ");
    match line.trim() {
        "" => format!("pid {pid}"),
        line => format!("pid {pid} ({})", line.chars().take(SHOWN_MAX).collect::<String>().trim()),
    }
}

/// A listening socket of `/proc/net/tcp` or `/proc/net/tcp6` (`proc_net_tcp(5)`).
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

impl Socket {
    /// Parses a line such as
    /// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 33 0 4711 ...`
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (address, port) = fields.next()?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let _remote = fields.next()?;
        if fields.next()? != LISTENS {
            return None;
        }
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Self { address: SocketAddr::new(ip(address)?, port), uid, inode })
    }

    /// Whether this socket prevents another one from listening on `other`.
    fn collides(&self, other: SocketAddr) -> bool {
        let (own, other_ip) = (self.address.ip().to_canonical(), other.ip().to_canonical());
        let any = own.is_unspecified() || other_ip.is_unspecified();
        self.address.port() == other.port() && (own == other_ip || any)
    }
}

/// Parses an address: hexadecimal words of 32 bits, in the byte order of the machine.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at..at + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;

    #[test]
    fn listening_socket_is_parsed() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 4711 1 0000000000000000 100 0 0 10 0";
        let socket = Socket::parse(line).unwrap();
        let address = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(socket, Socket { address, uid: 33, inode: 4711 });
        assert_eq!(Socket::parse(&line.replace(" 0A ", " 01 ")), None);
        for odd in ["", "sl local_address rem_address st", "0: x:y 0:0 0A", "0: 0100007F 0A"] {
            assert_eq!(Socket::parse(odd), None, "{odd}");
        }
        assert!(socket.collides("0.0.0.0:8080".parse().unwrap()));
        assert!(!socket.collides("127.0.0.2:8080".parse().unwrap()));
        assert!(!socket.collides("127.0.0.1:8081".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_line_causes_a_panic(line: String, address in "[0-9A-F]{0,40}", port in "[0-9A-F]{0,5}") {
            let _ = Socket::parse(&line);
            let _ = Socket::parse(&format!("0: {address}:{port} 0:0 0A 0:0 0:0 0 33 0 4711 1"));
        }
    }

    #[test]
    fn taker_of_an_address_is_this_process() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let taken = listener.local_addr().unwrap();
            let name = name(&Listen::Tcp(taken)).unwrap();
            assert!(name.starts_with(&format!("pid {} (", std::process::id())), "{name}");
        }
    }
}
