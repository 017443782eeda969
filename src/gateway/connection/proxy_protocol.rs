//! The PROXY protocol, version 2: a header before the first request, with the client's address
//! (haproxy.org, doc/proxy-protocol.txt, section 2.2).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::gateway::client::Ends;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The largest accepted length after the first 16 bytes: the longest addresses, and some extensions.
const LENGTH_MAX: u16 = 4096;

/// Reads the header. Returns `ends`, the ends of the connection itself, if the header names no TCP
/// connection. Error `InvalidData`: no valid header.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), ends: Ends) -> io::Result<Ends> {
    let mut start = [0; 16];
    stream.read_exact(&mut start).await?;
    let [.., command, family, high, low] = start;
    let length = u16::from_be_bytes([high, low]);
    if start[..12] != SIGNATURE || length > LENGTH_MAX {
        return Err(bad());
    }
    let mut rest = vec![0; length.into()];
    stream.read_exact(&mut rest).await?;
    match (command, family) {
        (0x21, 0x11) => tcp::<4>(&rest, ends).ok_or_else(bad),
        (0x21, 0x21) => tcp::<16>(&rest, ends).ok_or_else(bad),
        // A health check by the proxy, or a client on a unix socket.
        (0x20 | 0x21, _) => Ok(ends),
        _ => Err(bad()),
    }
}

fn bad() -> io::Error {
    ErrorKind::InvalidData.into()
}

fn tcp<const N: usize>(rest: &[u8], ends: Ends) -> Option<Ends>
where
    IpAddr: From<[u8; N]>,
{
    let (remote, rest) = rest.split_first_chunk::<N>()?;
    let (local, rest) = rest.split_first_chunk::<N>()?;
    let (remote_port, local_port) = ports(rest)?;
    Some(ends.by_proxy(
        SocketAddr::new(IpAddr::from(*remote), remote_port),
        SocketAddr::new(IpAddr::from(*local), local_port),
    ))
}

fn ports(rest: &[u8]) -> Option<(u16, u16)> {
    let (ports, _) = rest.split_first_chunk::<4>()?;
    let [a, b, c, d] = *ports;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_now(bytes: &[u8]) -> io::Result<Ends> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut &bytes[..], Ends::unix()))
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn header_names_both_ends_of_the_connection() {
        let four = header(0x21, 0x11, &[1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 1, 187]);
        let ends = read_now(&four).unwrap();
        assert_eq!(
            (ends.remote().to_string(), ends.local().to_string()),
            ("1.2.3.4:80".into(), "5.6.7.8:443".into())
        );
        let six = header(
            0x21,
            0x21,
            &[&[0; 15][..], &[1], &[0; 15], &[2], &[0, 80, 1, 187], b"more"].concat(),
        );
        assert_eq!(read_now(&six).unwrap().remote().to_string(), "[::1]:80");
        let mapped = [&[0; 10][..], &[255, 255, 1, 2, 3, 4]].concat();
        let mapped = header(0x21, 0x21, &[&mapped[..], &mapped, &[0, 80, 1, 187]].concat());
        assert_eq!(read_now(&mapped).unwrap().local().to_string(), "1.2.3.4:443");
        for nobody in [header(0x20, 0, b""), header(0x21, 0, b""), header(0x21, 0x31, b"x")] {
            assert_eq!(read_now(&nobody).unwrap().remote(), Ends::unix().remote());
        }
    }

    #[test]
    fn malformed_header_is_refused() {
        assert!(read_now(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_err());
        assert!(read_now(&header(0x21, 0x11, &[1, 2, 3])).is_err());
        assert!(read_now(&header(0x31, 0x11, &[0; 12])).is_err());
        assert!(read_now(&header(0x21, 0x11, &[0; 5000])).is_err());
    }

    proptest! {
        #[test]
        fn no_input_causes_a_panic(rest: Vec<u8>, command: u8, family: u8) {
            let _ = read_now(&rest);
            let _ = read_now(&header(command, family, &rest));
        }
    }
}
