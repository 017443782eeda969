//! Runs one of the operator's hooks.
//!
//! It leads a process group of its own: a Ctrl-C on the terminal is for us, and what it has started
//! is ended with it when it has to be ended. Of what it prints the end is kept. A process that it
//! leaves in the background may hold its output open for ever: what counts is that the hook itself
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

/// How long a hook that was told to end may take until it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How much is kept of what it prints, in bytes.
const KEPT: usize = 4096;
/// How many lines of that are shown.
const LINES: usize = 10;
/// What a pipe can hold, in bytes: pipe(7).
const PIPE: usize = 64 * 1024;

/// Why a hook has failed.
#[derive(Debug)]
pub struct Failure {
    /// What happened, as words that follow the hook's name.
    pub what: String,
    /// The exit status, where it has exited by itself.
    pub status: Option<i32>,
    /// The last lines that it has printed, indented; empty if there are none.
    pub output: String,
}

/// Why it was not waited for any longer.
enum Wait {
    Ended,
    TimedOut,
    Stopped,
}

/// Runs a hook until it has ended, for at most `timeout`, and not when `stop` has come. It is then
/// told to end (TERM), and killed where it does not.
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
    drop(command); // it holds the pipe open
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

/// The program that the operator has named: looked up in `PATH`, unless there is a slash in it.
pub fn locate(root: &Root, program: &str) -> PathBuf {
    if program.contains('/') { root.resolve(program) } else { program.into() }
}

/// Ends all of its group. Its leader has not been reaped, so the number is still its own.
async fn end(group: Pid, leader: &Process, output: &mut Output) {
    // That they have ended by themselves meanwhile is as well.
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    let _ = timeout_at(deadline, output.read_to_end()).await;
    let _ = leader.wait(deadline.saturating_duration_since(Instant::now())).await;
    let _ = kill_process_group(group, Signal::KILL);
}

impl Failure {
    /// It has not even begun.
    pub fn silent(what: String) -> Self {
        Self { what, status: None, output: String::new() }
    }
}

/// What it prints, on both of its outputs.
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

    /// Reads until something else has come.
    async fn read_until<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        loop {
            tokio::select! {
                it = &mut other => return it,
                () = self.read(), if self.is_open => {}
            }
        }
    }

    /// Reads until nobody can print any more.
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

    /// Its last lines, with what is still in the pipe; no more than that, since somebody who was
    /// left in the background may print for ever.
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
