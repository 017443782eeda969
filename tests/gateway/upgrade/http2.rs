//! Clients by HTTP/2, which repeat only what the server says it has not begun (RFC 9113, section 6.8).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use harness::served::Served;
use hyper::{Method, Request};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use super::clients::Runs;

/// Clients that post a short form again and again.
pub(super) struct Http2Clients {
    enough: Arc<AtomicBool>,
    runs: Runs,
    threads: Vec<JoinHandle<Count>>,
}

#[derive(Default)]
struct Count {
    posts: usize,
    connections: usize,
}

impl Http2Clients {
    pub(super) fn start(served: &Served, clients: usize) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let runs = Runs::of(served, "http2");
        let url = format!("http://127.0.0.1:{}{}", served.port(), runs.page());
        let port = served.port();
        let client = |_| {
            let (enough, url) = (Arc::clone(&enough), url.clone());
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            thread::spawn(move || runtime.block_on(post(port, &url, &enough)))
        };
        let threads = (0..clients).map(client).collect();
        Self { enough, runs, threads }
    }

    /// Stops the clients. Each client must have had at least this many connections, and each post must have
    /// run once.
    pub(super) fn finish(self, connections: usize) {
        self.enough.store(true, Ordering::Relaxed);
        let mut posts = 0;
        for thread in self.threads {
            let count = thread.join().unwrap();
            assert!(count.connections >= connections, "{}", count.connections);
            posts += count.posts;
        }
        assert_eq!(self.runs.count(), posts);
    }
}

async fn post(port: u16, url: &str, enough: &AtomicBool) -> Count {
    let mut count = Count::default();
    while !enough.load(Ordering::Relaxed) {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut client, connection) = handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        count.connections += 1;
        while !enough.load(Ordering::Relaxed) {
            match one(client, url).await {
                Ok(same) => client = same,
                Err(error) => {
                    let is_ending =
                        error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
                    assert!(is_ending, "{error:?}");
                    break;
                }
            }
            count.posts += 1;
        }
        driver.abort();
    }
    count
}

async fn one(client: SendRequest<Bytes>, url: &str) -> Result<SendRequest<Bytes>, h2::Error> {
    let mut client = client.ready().await?;
    let request = Request::builder().method(Method::POST).uri(url).body(()).unwrap();
    let (response, mut body) = client.send_request(request, false)?;
    body.send_data(Bytes::from_static(b"a=b"), true)?;
    assert_eq!(text(response).await?, b"noted");
    Ok(client)
}

async fn text(response: ResponseFuture) -> Result<Vec<u8>, h2::Error> {
    let mut body = response.await?.into_body();
    let mut text = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        let _ = body.flow_control().release_capacity(part.len());
        text.extend_from_slice(&part);
    }
    Ok(text)
}
