//! The control socket: commands make the gateway refresh endpoints, and ask for its state.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::RwLock;

use super::accept_errors::AcceptErrors;
use super::control_answers::ControlAnswers;
use super::tasks::Spawner;
use super::upgrades::Upgrades;
use crate::control::{self, LINE_MAX, Request, Response};

/// What carries out the requests.
pub(super) trait Answers: Clone + Send + Sync + 'static {
    /// Carries out a request.
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;
}

impl Answers for ControlAnswers {
    async fn answer(&self, request: Request) -> Response {
        Self::answer(self, request).await
    }
}

/// Serves the control socket.
#[derive(Debug, Clone)]
pub(super) struct ControlServer<A> {
    /// Carries out the requests.
    pub answers: A,
    /// The path of the socket.
    pub socket: PathBuf,
    /// Starts a task for each connection.
    pub spawner: Spawner,
    /// Requests upgrades. None: this process cannot be replaced.
    pub upgrades: Option<Upgrades>,
    /// Whether another process answers now. Requests are then passed on to that process. The lock is held
    /// for reading while this process answers a request.
    pub is_handed_over: Arc<RwLock<bool>>,
}

impl<A: Answers> ControlServer<A> {
    /// Accepts connections. Never ends.
    pub(super) async fn listen(self, listener: Arc<UnixListener>) {
        let mut errors = AcceptErrors::on("the control socket");
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    errors.end();
                    let server = self.clone();
                    // An error concerns one connection: the command at the other end notices it too.
                    self.spawner.spawn(async move { drop(server.serve(stream).await) });
                }
                Err(error) => errors.add(&error).await,
            }
        }
    }

    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read.take(LINE_MAX)).lines();
        while let Some(line) = lines.next_line().await? {
            let answer = match serde_json::from_str(&line) {
                Ok(Request::Upgrade) => self.upgrade().await,
                Ok(request) => self.answer(request).await,
                Err(error) => Response::Failed(format!("the request is malformed: {error}")),
            };
            write.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
        }
        Ok(())
    }

    async fn answer(&self, request: Request) -> Response {
        let is_handed_over = self.is_handed_over.read().await;
        if *is_handed_over {
            drop(is_handed_over);
            return self.pass_on(&request).await;
        }
        self.answers.answer(request).await
    }

    /// Passes a request on to the process that has replaced this one. This process has accepted the
    /// connection of the command before the replacement.
    async fn pass_on(&self, request: &Request) -> Response {
        match control::send(&self.socket, request).await {
            Ok(Some(response)) => response,
            Ok(None) => Response::Failed("the gateway has ended".to_owned()),
            Err(error) => Response::Failed(error.message),
        }
    }

    /// Carries out an upgrade. The response is sent when the upgrade has succeeded or failed.
    async fn upgrade(&self) -> Response {
        let Some(upgrades) = &self.upgrades else {
            return Response::Failed("this gateway is a part of another program".to_owned());
        };
        match upgrades.request().await {
            Ok(pid) => Response::Upgraded(pid),
            Err(why) => Response::Failed(why),
        }
    }
}
