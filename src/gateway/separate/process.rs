//! The process of a child, from the parent's side: its start, and the connection to it.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::message::{Begin, Outcome, ToChild};
use crate::error::{Error, Result};
use crate::privsep::link::{FDS_MAX, Limits};
use crate::privsep::{self, Asked, Link};

/// The argument that makes this program a child.
pub(super) const CHILD: &str = "gateway-process";
/// The environment variables that the child gets: time zone, backtraces, and the failpoint of a test.
const KEPT: [&str; 4] = ["TZ", "TZDIR", "RUST_BACKTRACE", "POOLS_MANAGER_TEST_AT"];
/// The child may be hostile. This limit is larger than any of its proper messages: the longest is the
/// state of a pool.
const LIMITS: Limits = Limits { bytes: 1 << 20, takes_fds: false };
/// How long a child may take to end after its last request.
const END: Duration = Duration::from_secs(3);

/// A child that runs. Dropping it kills the child.
#[derive(Debug)]
pub(super) struct ChildProcess {
    child: Child,
    /// The pid of the child.
    pub(super) pid: u32,
    /// The connection.
    pub(super) link: Arc<Link>,
}

impl ChildProcess {
    /// Starts a child, which gives up its rights first. The second value yields the requests of the
    /// child.
    pub(super) fn launch(begin: &Begin) -> Result<(Self, mpsc::Receiver<Asked>)> {
        let cannot =
            |error: io::Error| Error::failed(format!("cannot start the gateway process: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
        // The same program as this process, also if another one is installed meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(env::args_os().next().unwrap_or_default())
            .arg(CHILD)
            .stdin(OwnedFd::from(theirs))
            // A Ctrl-C on the terminal reaches the parent only.
            .process_group(0)
            .kill_on_drop(true);
        // Other variables may contain secrets, or describe this process: NOTIFY_SOCKET, LISTEN_FDS.
        let kept = |name: &OsStr| KEPT.iter().any(|kept| name == *kept);
        command.env_clear().envs(env::vars_os().filter(|(name, _)| kept(name)));
        let child = command.spawn().map_err(cannot)?;
        let pid = child.id().unwrap_or_default();
        privsep::introduce(&ours, begin).map_err(cannot)?;
        let (link, asked) = Link::start(ours, LIMITS).map_err(cannot)?;
        Ok((Self { child, pid, link: Arc::new(link) }, asked))
    }

    /// Passes the sockets to the child, and makes it start its gateway.
    pub(super) async fn start(
        &mut self,
        sockets: Vec<(OwnedFd, bool)>,
        is_successor: bool,
    ) -> Result<()> {
        match self.pass_and_start(sockets, is_successor).await {
            // A child that ends without an answer has written the reason to the log.
            Err(_) if self.has_ended().await => {
                Err(Error::failed("the gateway process has ended at its start"))
            }
            started => started,
        }
    }

    async fn pass_and_start(
        &self,
        sockets: Vec<(OwnedFd, bool)>,
        is_successor: bool,
    ) -> Result<()> {
        let mut sockets = sockets.into_iter().peekable();
        while sockets.peek().is_some() {
            let (fds, are_tls): (Vec<_>, _) = sockets.by_ref().take(FDS_MAX).unzip();
            tell(&self.link, &ToChild::Sockets(are_tls), fds).await?;
        }
        tell(&self.link, &ToChild::Start { is_successor }, Vec::new()).await
    }

    async fn has_ended(&mut self) -> bool {
        timeout(Duration::from_millis(500), self.child.wait()).await.is_ok()
    }

    /// Waits for the end of the child.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Closes the connection, and waits for the end of the child. Kills a child that takes too long.
    pub(super) async fn end(mut self) {
        self.link.close();
        if timeout(END, self.child.wait()).await.is_err() {
            tracing::warn!("the gateway process {} does not end: it is killed", self.pid);
            let _ = self.child.kill().await;
        }
    }

    /// Kills the child.
    pub(super) fn kill(&mut self) {
        let _ = self.child.start_kill();
    }
}

/// Sends a request, and waits for its outcome.
pub(super) async fn tell(link: &Link, request: &ToChild, fds: Vec<OwnedFd>) -> Result<()> {
    ask::<Outcome>(link, request, fds).await?.map_err(Error::from)
}

/// Sends a request, and waits for its answer.
pub(super) async fn ask<R: DeserializeOwned>(
    link: &Link,
    request: &ToChild,
    fds: Vec<OwnedFd>,
) -> Result<R> {
    let answer = link.ask(request, fds).await;
    answer.map_err(|error| Error::failed(format!("the gateway process does not answer: {error}")))
}
