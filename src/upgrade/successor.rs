//! The side of the old process.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::channel::Channel;
use super::message::{FromNew, FromOld, Hello, VERSION};
use super::program::Program;
use super::{VARIABLE, passing};
use crate::error::{Error, Result};
use crate::inherited::{Purpose, Socket};
use crate::log;

/// How long the new process may take to end after it has closed the channel.
const END: Duration = Duration::from_secs(2);
/// How much is kept of the output of the new process before it takes over standard error, in bytes.
const SAID_MAX: usize = 4096;

/// The process that replaces this one. Dropping this value before [`Successor::confirm`] kills the
/// process.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    pid: Pid,
    channel: Channel,
    said: Arc<Mutex<Vec<u8>>>,
    /// Ends when the new process has closed the pipe.
    passing_on: Option<JoinHandle<()>>,
    is_confirmed: bool,
}

/// What the new process gets.
#[derive(Debug, Default)]
pub struct Passed {
    /// The listening sockets.
    pub sockets: Vec<Socket>,
    /// The pools that this process can serve.
    pub pools: Vec<String>,
    /// How long this process drains at most.
    pub drain_limit: Duration,
}

impl Successor {
    /// Starts the program, and passes it the sockets.
    pub async fn launch(program: &Program, passed: Passed) -> Result<Self> {
        program.check()?;
        let path = program.path().display().to_string();
        let cannot = |error: io::Error| Error::failed(format!("cannot start {path}: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
        let mut child = Command::new(program.path())
            .args(program.args())
            .env(VARIABLE, std::process::id().to_string())
            // These variables name this process.
            .env_remove("WATCHDOG_PID")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .stdin(OwnedFd::from(theirs))
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        let said = Arc::default();
        let stderr = child.stderr.take();
        let passing_on = stderr.map(|it| tokio::spawn(pass_on(it, Arc::clone(&said))));
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let Some(pid) = pid else { return Err(cannot(ErrorKind::NotFound.into())) };
        let Passed { sockets, pools, drain_limit } = passed;
        let passed = pass(&ours, sockets);
        let mut channel = Channel::new(ours).map_err(cannot)?;
        let sent = match passed {
            Ok(sockets) => {
                let own = std::process::id();
                let drain_limit_ms = u64::try_from(drain_limit.as_millis()).unwrap_or(u64::MAX);
                let hello = Hello { version: VERSION, pid: own, sockets, pools, drain_limit_ms };
                channel.send(&hello).await
            }
            Err(error) => Err(error),
        };
        let mut successor = Self { child, pid, channel, said, passing_on, is_confirmed: false };
        match sent {
            Ok(()) => Ok(successor),
            Err(error) => Err(successor.why(&error).await),
        }
    }

    /// The pid of the new process.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the new process can serve, up to `limit`.
    pub async fn ready(&mut self, limit: Duration) -> Result<()> {
        self.wait_for(FromNew::Ready, limit).await
    }

    /// Makes the new process serve, and waits until it does, up to `limit`.
    pub async fn go(&mut self, limit: Duration) -> Result<()> {
        if let Err(error) = self.channel.send(&FromOld::Go).await {
            return Err(self.why(&error).await);
        }
        self.wait_for(FromNew::Serves, limit).await
    }

    /// Tells the new process that it is the main process of the service from now on.
    pub async fn confirm(&mut self) {
        self.is_confirmed = true;
        // If the new process has ended, the service manager starts the next one.
        let _ = self.channel.send(&FromOld::Main).await;
    }

    /// The next request of the new process, while this process serves its last requests. None: the new
    /// process has ended.
    pub async fn next(&mut self) -> Option<FromNew> {
        self.channel.next().await.ok()
    }

    /// Answers a request of the new process: done, or why not.
    pub async fn answer(&mut self, done: Result<()>) {
        let answer = done.map_or_else(|why| FromOld::Refused(why.message), |()| FromOld::Done);
        let _ = self.channel.send(&answer).await;
    }

    /// Kills the new process, and waits until it has ended: then it holds no lock.
    pub async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!("cannot kill pid {}: {error}", self.pid());
        }
    }

    /// Passes a signal on to the new process.
    pub fn signal(&mut self, signal: Signal) {
        // The kernel gives the pid to no other process before this one has waited for the new process.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid, signal);
        }
    }

    async fn wait_for(&mut self, wanted: FromNew, limit: Duration) -> Result<()> {
        let next = async {
            loop {
                match self.channel.next::<FromNew>().await {
                    Ok(message) if message == wanted => return Ok(()),
                    Ok(FromNew::Failed(why)) => return Err(io::Error::other(why)),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
        };
        match timeout(limit, next).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.why(&error).await),
            Err(_) => {
                let what = if wanted == FromNew::Ready { "not ready" } else { "does not serve" };
                Err(self.failed(&format!("{what} within {limit:?} (upgrade_timeout)")))
            }
        }
    }

    /// Why the channel has ended.
    async fn why(&mut self, error: &io::Error) -> Error {
        if error.kind() == ErrorKind::Other {
            // The reason that the new process itself has sent.
            return Error::failed(error.to_string());
        }
        match timeout(END, self.child.wait()).await {
            Ok(Ok(status)) => {
                if let Some(passing_on) = &mut self.passing_on {
                    let _ = timeout(END, passing_on).await;
                }
                self.failed(&format!("it has ended with {status}"))
            }
            _ => self.failed(&format!("it does not talk as serve does: {error}")),
        }
    }

    fn failed(&self, what: &str) -> Error {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Error::failed(format!("pid {}: {what}{said}", self.pid()))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.is_confirmed {
            let _ = self.child.start_kill();
        }
    }
}

/// Passes the standard error of this process and then the sockets. Returns what each socket is for, and
/// whether it belongs to the service manager.
fn pass(stream: &UnixStream, sockets: Vec<Socket>) -> io::Result<Vec<(Purpose, bool)>> {
    let stderr = rustix::stdio::stderr().try_clone_to_owned()?;
    let (fds, what): (Vec<_>, Vec<_>) =
        sockets.into_iter().map(|it| (it.fd, (it.purpose, it.is_activated))).unzip();
    let fds: Vec<OwnedFd> = [stderr].into_iter().chain(fds).collect();
    passing::send(stream, &fds)?;
    Ok(what)
}

/// Passes on the output of the new process, until it has the standard error of this process.
async fn pass_on(stderr: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut stderr = BufReader::new(stderr);
    let mut part = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut part).await {
        log::say(&String::from_utf8_lossy(&part[..length]));
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&part[..length]);
        let excess = said.len().saturating_sub(SAID_MAX);
        said.drain(..excess);
    }
}
