//! The side of the new process.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::time::Duration;
use std::{env, fs};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::VARIABLE;
use super::channel::Channel;
use super::message::{FromNew, FromOld, Hello, VERSION};
use super::passing;
use crate::error::{Error, Result};
use crate::inherited::{Inherited, Socket};
use crate::process::Process;

/// How long the old process may take to answer a request while it drains. Normally it takes milliseconds.
pub const ANSWER: Duration = Duration::from_secs(2);
/// How long the old process may take to end after its drain.
const END: Duration = Duration::from_secs(5);

/// The process that this one replaces.
#[derive(Debug)]
pub struct Predecessor {
    pid: u32,
    /// None: the old process has ended.
    process: Option<Process>,
    drain_limit: Duration,
    pools: Vec<String>,
    /// None: the old process has ended.
    talk: Mutex<Option<Talk>>,
}

#[derive(Debug)]
struct Talk {
    channel: Channel,
    /// How many answers are still to come to requests whose wait was given up.
    late: u32,
}

/// Why this process is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    /// The old process has sent the expected message.
    Told,
    /// The old process has ended.
    Alone,
}

impl Predecessor {
    /// Takes over from the process that has started this one. This process gets the sockets of the old
    /// one. It also gets the standard error of the old one, in place of the pipe with which this process
    /// was started. None: this process was started by other means.
    ///
    /// To be called once, in a runtime.
    pub async fn take() -> Result<Option<(Self, Inherited)>> {
        if env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                Error::failed("the serve that has started this one has ended")
            }
            _ => Error::failed(format!("cannot take over from the running serve: {error}"))
                .hint(format!("only serve itself sets the variable {VARIABLE}")),
        };
        let (stream, mut fds) = passed().map_err(failed)?;
        let mut channel = Channel::new(stream).map_err(failed)?;
        let hello: Hello = channel.next().await.map_err(failed)?;
        if hello.version != VERSION {
            let message = format!(
                "the running serve upgrades by version {} of the protocol, and this one by {VERSION}",
                hello.version
            );
            return Err(Error::failed(message).hint("restart serve"));
        }
        if fds.len() != hello.sockets.len() + 1 {
            return Err(failed(ErrorKind::InvalidData.into()));
        }
        let stderr = fds.remove(0);
        rustix::stdio::dup2_stderr(&stderr).map_err(|error| failed(error.into()))?;
        let socket = |(fd, (purpose, is_activated))| Socket { fd, purpose, is_activated };
        let sockets = fds.into_iter().zip(hello.sockets).map(socket).collect();
        let talk = Mutex::new(Some(Talk { channel, late: 0 }));
        let process = Process::open(parent_id().cast_signed()).ok();
        let process = process.filter(|_| parent_id() == hello.pid);
        let drain_limit = Duration::from_millis(hello.drain_limit_ms);
        let (pid, pools) = (hello.pid, hello.pools);
        let predecessor = Self { pid, process, drain_limit, pools, talk };
        Ok(Some((predecessor, Inherited::new(sockets))))
    }

    /// The pools that the old process can serve.
    pub fn pools(&self) -> &[String] {
        &self.pools
    }

    /// Tells the old process that this process can serve, and waits for `Go`.
    pub async fn ready(&self) -> Go {
        self.tell(&FromNew::Ready).await;
        self.wait_for(&FromOld::Go).await
    }

    /// Tells the old process that this process accepts connections, and waits for `Main`: the service
    /// manager then knows this process.
    pub async fn serves(&self) -> Go {
        self.tell(&FromNew::Serves).await;
        self.wait_for(&FromOld::Main).await
    }

    /// Tells the old process why this process cannot serve.
    pub async fn failed(&self, error: &Error) {
        self.tell(&FromNew::Failed(error.to_string())).await;
    }

    /// Waits until the old process has ended, up to a limit. The old process limits its drain itself, but
    /// not while it is stopped (SIGSTOP).
    pub async fn ended(&self) {
        if let Some(process) = &self.process {
            let _ = process.wait(self.drain_limit + END).await;
        }
    }

    /// Makes the old process begin no request of a pool, until [`Predecessor::unpause`]. If the old
    /// process has ended, nothing is to be done. Error: the old process does not answer, or refuses.
    pub async fn pause(&self, pool: &str) -> Result<()> {
        self.ask(&FromNew::Pause(pool.to_owned())).await
    }

    /// Makes the old process observe a pool that it has paused, and serve the pool again.
    pub async fn unpause(&self, pool: &str) -> Result<()> {
        self.ask(&FromNew::Unpause(pool.to_owned())).await
    }

    async fn ask(&self, question: &FromNew) -> Result<()> {
        let mut talk = self.talk.lock().await;
        let Some(it) = talk.as_mut() else { return Ok(()) };
        if it.channel.send(question).await.is_err() {
            *talk = None;
            return Ok(());
        }
        it.late += 1;
        let answered = async {
            let mut answer = FromOld::Done;
            while it.late > 0 {
                answer = it.channel.next::<FromOld>().await?;
                it.late -= 1;
            }
            Ok::<_, io::Error>(answer)
        };
        match timeout(ANSWER, answered).await {
            Ok(Ok(FromOld::Refused(why))) => Err(Error::failed(why)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => {
                *talk = None;
                Ok(())
            }
            Err(_) => {
                // Otherwise the old process would pause the pool as soon as it goes on.
                if let FromNew::Pause(pool) = question {
                    let _ = it.channel.send(&FromNew::Unpause(pool.clone())).await;
                    it.late += 1;
                }
                Err(Error::failed(format!(
                    "the previous serve, pid {}, still has requests, and does not answer",
                    self.pid
                ))
                .hint("end it, if it does not end by itself"))
            }
        }
    }

    async fn tell(&self, message: &FromNew) {
        let mut talk = self.talk.lock().await;
        if let Some(it) = talk.as_mut()
            && it.channel.send(message).await.is_err()
        {
            *talk = None;
        }
    }

    async fn wait_for(&self, wanted: &FromOld) -> Go {
        while let Some(message) = self.next().await {
            if message == *wanted {
                return Go::Told;
            }
        }
        Go::Alone
    }

    /// None: the old process has ended.
    async fn next(&self) -> Option<FromOld> {
        let mut talk = self.talk.lock().await;
        let next = talk.as_mut()?.channel.next().await;
        if next.is_err() {
            *talk = None;
        }
        next.ok()
    }
}

/// The channel and the descriptors that were passed on it.
fn passed() -> io::Result<(UnixStream, Vec<OwnedFd>)> {
    let stream = UnixStream::from(rustix::stdio::stdin().try_clone_to_owned()?);
    // Programs that this process starts must not inherit the channel.
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    let fds = passing::receive(&stream)?;
    Ok((stream, fds))
}
