//! A request of the gateway to itself, before it accepts connections: the state of each pool.
//!
//! The request takes the same way as the requests of clients: through a worker, hyper and the handler. Only
//! its connection does not come from a listening socket.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connection::Accepted;
use super::workers::Workers;
use crate::error::{Error, Result};

/// How long the response may take. It takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest response, in bytes.
const RESPONSE_MAX: u64 = 1 << 20;
const REQUEST: &[u8] =
    b"GET /.pools-manager/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// The header of the PROXY protocol, version 2, of a connection that a proxy opens for itself.
const PROXY_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[derive(Deserialize)]
struct Health {
    unavailable: Vec<String>,
}

/// The pools that cannot be served. Error: the gateway does not answer.
pub(super) async fn unavailable(
    workers: &Arc<Workers>,
    connections: &Arc<Semaphore>,
    proxy_protocol: bool,
) -> Result<Vec<String>> {
    let failed =
        |why: &str| Error::failed(format!("the gateway does not answer its own request: {why}"));
    let (ours, theirs) = StdStream::pair().map_err(|error| failed(&error.to_string()))?;
    let asked = async {
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
        workers.hand_over(Accepted { socket: theirs.into(), ends: None, is_tls: false, permit });
        let mut stream = UnixStream::from_std(ours)?;
        if proxy_protocol {
            stream.write_all(PROXY_HEADER).await?;
        }
        stream.write_all(REQUEST).await?;
        let mut response = Vec::new();
        stream.take(RESPONSE_MAX).read_to_end(&mut response).await?;
        Ok::<_, io::Error>(response)
    };
    let response = match timeout(TIMEOUT, asked).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(failed(&error.to_string())),
        Err(_) => return Err(failed(&format!("nothing within {TIMEOUT:?}"))),
    };
    let body = response.windows(4).position(|it| it == b"\r\n\r\n").map(|at| &response[at + 4..]);
    let health: Option<Health> = body.and_then(|body| serde_json::from_slice(body).ok());
    health.map(|it| it.unavailable).ok_or_else(|| failed(&String::from_utf8_lossy(&response)))
}
