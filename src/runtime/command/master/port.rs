//! The port of a generation's processes.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{SystemTime, UNIX_EPOCH};

/// The ports to choose from. The kernel gives none of them to outgoing connections
/// (`net.ipv4.ip_local_port_range` begins at 32768): else a process that is started again could find
/// its port taken.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_767;

/// Chooses a free port of the loopback address, and reserves it against other masters for the life
/// of this process. The port itself stays free: the server's processes bind it later, maybe several
/// of them, by `SO_REUSEPORT`.
pub(super) fn reserve() -> io::Result<u16> {
    let count = u64::from(LAST - FIRST) + 1;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.subsec_micros());
    let start = (u64::from(time) + u64::from(std::process::id()) * 7919) % count;
    for step in 0..count {
        let port = FIRST + u16::try_from((start + step) % count).unwrap_or_default();
        let name = format!("pools-manager port {port}");
        let Ok(reserved) = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            std::mem::forget(reserved); // until this process ends
            return Ok(port);
        }
    }
    Err(ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_port_is_free_and_is_not_given_twice() {
        let (one, other) = (reserve().unwrap(), reserve().unwrap());
        assert_ne!(one, other);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, one)).is_ok());
        assert!((FIRST..=LAST).contains(&one));
    }
}
