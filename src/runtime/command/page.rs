//! Requests for the application's pages: warm-up paths, and the front page.

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::Server;
use crate::pool::{Pool, Protocol, Settings};
use crate::runtime::php_fpm;
use crate::runtime::{FrontPage, Generation};

/// The host of a request, if no setting names one.
const LOCALHOST: &str = "localhost";

/// Requests a page. Fails with the reason if the answer is a server error, or does not come within
/// `timeout`.
pub(in crate::runtime) async fn request_page(
    pool: &Pool,
    server: &Server,
    generation: &Generation,
    path: &str,
    timeout: Duration,
) -> Result<(), String> {
    if server.protocol == Protocol::Fastcgi {
        return php_fpm::request_page(pool, generation, path, timeout).await;
    }
    let host = php_fpm::host(&pool.settings);
    match get(&generation.socket, path, host.as_deref(), timeout).await? {
        status @ 500.. => Err(format!("status {status}")),
        _ => Ok(()),
    }
}

/// Whether a release has a page for a path. Always true for an HTTP server: no file shows its pages.
pub(in crate::runtime) fn has_page(
    settings: &Settings,
    protocol: Protocol,
    release: &Path,
    path: &str,
) -> bool {
    protocol == Protocol::Http || php_fpm::has_script(settings, release, path)
}

/// Requests the front page.
pub(in crate::runtime) async fn front_page(
    pool: &Pool,
    server: &Server,
    generation: &Generation,
    release: &Path,
    timeout: Duration,
) -> FrontPage {
    match server.protocol {
        Protocol::Fastcgi => php_fpm::front_page(pool, generation, release, timeout).await,
        Protocol::Http => match request_page(pool, server, generation, "/", timeout).await {
            Ok(()) => FrontPage::Good,
            Err(why) => FrontPage::Bad(why),
        },
    }
}

/// A GET over HTTP on a unix socket, on a connection of its own. Returns the status after the whole
/// response. An error is the reason, in one sentence.
pub(super) async fn get(
    socket: &Path,
    path: &str,
    host: Option<&str>,
    timeout: Duration,
) -> Result<u16, String> {
    let exchange = exchange(socket, path, host.unwrap_or(LOCALHOST));
    match tokio::time::timeout(timeout, exchange).await {
        Ok(status) => status,
        Err(_) => Err(format!("no answer from {} within {timeout:?}", socket.display())),
    }
}

async fn exchange(socket: &Path, path: &str, host: &str) -> Result<u16, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", socket.display());
    let stream = UnixStream::connect(socket).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("pools-manager/", env!("CARGO_PKG_VERSION"), " (probe)"))
        .header(CONNECTION, "close")
        .body(String::new())
        .map_err(|error| failed(&error))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            frame?;
        }
        Ok::<u16, hyper::Error>(status)
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map_err(|error| failed(&error)),
            // An error of the connection is also an error of the answer.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}
