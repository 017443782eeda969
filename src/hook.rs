//! Runs a hook, a program of the operator.
//!
//! A hook is the leader of its own process group: Ctrl-C on the terminal does not reach it, and a hook
//! that has to end is ended together with its children. The end of its output is kept. A background
//! process of the hook can hold the output open for ever, so a hook has ended when its own process
//! has ended.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use crate::process::{Process, Signal};
use crate::root::Root;

/// The time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);
/// How many bytes at the end of the output are kept.
const KEPT: usize = 4096;
/// How many lines of that are printed.
const LINES: usize = 10;
/// The capacity of a pipe, in bytes: pipe(7).
const PIPE: usize = 64 * 1024;

/// Why a hook has failed.
#[derive(Debug)]
pub struct Failure {
    /// What happened. The text follows the name of the hook.
    pub what: String,
    /// The exit status; None if the hook was ended by a signal or did not start.
    pub status: Option<i32>,
    /// The last lines of its output, indented; empty if there are none.
    pub output: String,
}

/// Why the wait for a hook ended.
enum Wait {
    Ended,
    TimedOut,
    Stopped,
}

/// Runs a hook until it has ended. After `timeout`, or when `stop` is ready, its process group gets
/// TERM, and KILL two seconds later.
pub async fn run(
    mut command: Command,
    timeout: Duration,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let program = command.as_std().get_program().display().to_string();
    let cannot = |error: io::Error| Failure::silent(format!("cannot be run: {program}: {error}"));
    let (reader, writer) = io::pipe().map_err(cannot)?;
    let also = writer.try_clone().map_err(cannot)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(also).process_group(0);
    let mut child = command.spawn().map_err(cannot)?;
    drop(command); // it holds an end of the pipe
    let mut output = Output::of(reader.into()).map_err(cannot)?;
    let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let group = group.ok_or_else(|| cannot(io::ErrorKind::NotFound.into()))?;
    let leader = Process::open(group.as_raw_nonzero().get()).map_err(cannot)?;

    let ended = async {
        tokio::select! {
            ended = leader.wait(timeout) => ended.map(|it| if it { Wait::Ended } else { Wait::TimedOut }),
            () = stop => Ok(Wait::Stopped),
        }
    };
    let wait = output.read_until(ended).await.map_err(cannot)?;
    if !matches!(wait, Wait::Ended) {
        end(group, &leader, &mut output).await;
    }
    let status = child.wait().await.map_err(cannot)?;
    let what = match wait {
        Wait::Ended if status.success() => return Ok(()),
        Wait::Ended => format!("ended with {status}"),
        Wait::TimedOut => format!("was not done after {}", humantime::format_duration(timeout)),
        Wait::Stopped => "was told to stop".to_owned(),
    };
    let by_itself = matches!(wait, Wait::Ended);
    let status = status.code().filter(|_| by_itself);
    Err(Failure { what, status, output: output.tail() })
}

/// The path of a program: below the root if the name has a slash, else to be looked up in `PATH`.
pub fn locate(root: &Root, program: &str) -> PathBuf {
    if program.contains('/') { root.resolve(program) } else { program.into() }
}

/// Ends the process group. The leader is not reaped yet, so no other group can have its number.
async fn end(group: Pid, leader: &Process, output: &mut Output) {
    // An error means that the processes have ended already.
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    let _ = timeout_at(deadline, output.read_to_end()).await;
    let _ = leader.wait(deadline.saturating_duration_since(Instant::now())).await;
    let _ = kill_process_group(group, Signal::KILL);
}

impl Failure {
    /// The failure of a hook that did not start.
    pub fn silent(what: String) -> Self {
        Self { what, status: None, output: String::new() }
    }
}

/// Standard output and standard error of a hook.
struct Output {
    pipe: Receiver,
    is_open: bool,
    kept: VecDeque<u8>,
}

impl Output {
    fn of(pipe: OwnedFd) -> io::Result<Self> {
        let pipe = Receiver::from_owned_fd(pipe)?;
        Ok(Self { pipe, is_open: true, kept: VecDeque::new() })
    }

    /// Reads until `other` is ready.
    async fn read_until<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        loop {
            tokio::select! {
                it = &mut other => return it,
                () = self.read(), if self.is_open => {}
            }
        }
    }

    /// Reads until all writers have closed the pipe.
    async fn read_to_end(&mut self) {
        while self.is_open {
            self.read().await;
        }
    }

    async fn read(&mut self) {
        let mut piece = [0; KEPT];
        match self.pipe.read(&mut piece).await {
            Ok(0) | Err(_) => self.is_open = false,
            Ok(length) => self.keep(&piece[..length]),
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.kept.extend(piece);
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
    }

    /// The last lines, including what is still in the pipe. It reads no more than the capacity of the
    /// pipe, because a background process may print for ever.
    fn tail(mut self) -> String {
        let mut piece = [0; KEPT];
        for _ in 0..PIPE / KEPT {
            match rustix::io::read(&self.pipe, &mut piece) {
                Ok(length @ 1..) => self.keep(&piece[..length]),
                _ => break,
            }
        }
        let text = String::from_utf8_lossy(self.kept.make_contiguous()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }
}
