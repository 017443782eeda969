//! One process of the server: started, and started again with growing delay when it ends.

use std::io::Write;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, WaitStatus};
use tokio::time::Instant;

use super::Shared;
use super::exec::exec;

/// How long a process has to run, so that its end is not a failed start.
const STAYED: Duration = Duration::from_secs(1);
/// The same for a process that ends with status 0: it may have served its last request
/// (`PHP_FCGI_MAX_REQUESTS`).
const STAYED_WELL: Duration = Duration::from_millis(50);
/// How many failed starts in a row end a master whose server has never stayed up.
pub(super) const FAILURES_MAX: u32 = 4;
/// The delay before the second attempt. Each one doubles it, up to the last one.
const FIRST_DELAY: Duration = Duration::from_millis(20);
const LAST_DELAY: Duration = Duration::from_secs(5);
/// The signals that others send: an end by one of them is no failure of the server.
const KILLS: [Signal; 2] = [Signal::KILL, Signal::TERM];
/// The delay after such an end, if the process had just been started: the kernel may have killed it
/// because there is no memory.
const AFTER_KILL: Duration = Duration::from_millis(50);

/// A process of the server, or its place while it does not run.
pub(super) struct Worker {
    number: u32,
    /// None: it does not run.
    pub(super) pid: Option<Pid>,
    started: Instant,
    /// Its failed starts in a row.
    failures: u32,
    /// When it is to be started again.
    due: Option<Instant>,
}

impl Worker {
    /// Starts the process. Fails if the program cannot be executed.
    pub(super) fn start(shared: &Shared, number: u32) -> Result<Self, String> {
        let started = Instant::now();
        let pid = exec(shared, number)
            .map_err(|error| format!("cannot run {}: {error}", shared.order.run[0]))?;
        Ok(Self { number, pid: Some(pid), started, failures: 0, due: None })
    }

    /// Starts the process again.
    pub(super) fn restart(&mut self, shared: &Shared, now: Instant) {
        self.due = None;
        match exec(shared, self.number) {
            Ok(pid) => (self.pid, self.started) = (Some(pid), now),
            Err(error) => {
                self.failures += 1;
                self.due = Some(now + self.delay());
                log(&format!("process {} cannot be started: {error}", self.number));
            }
        }
    }

    /// When it is to be started again; None: it runs.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it has run for long enough to prove that the server works.
    pub(super) fn is_proof(&self, now: Instant) -> bool {
        self.pid.is_some() && now - self.started >= STAYED
    }

    /// Notes that the process has ended. Returns the number of its failed starts in a row.
    pub(super) fn ended(&mut self, status: WaitStatus, now: Instant) -> u32 {
        let pid = self.pid.take().map_or(0, |pid| pid.as_raw_nonzero().get());
        let ran = now - self.started;
        let is_well = status.exit_status() == Some(0);
        let stayed = ran >= if is_well { STAYED_WELL } else { STAYED };
        let signal = status.terminating_signal();
        let is_killed = signal.is_some_and(|it| KILLS.map(Signal::as_raw).contains(&it));
        self.failures = if stayed || is_killed { 0 } else { self.failures + 1 };
        let delay = if is_killed && !stayed { AFTER_KILL } else { self.delay() };
        self.due = Some(now + delay);
        let how = match (status.exit_status(), signal) {
            (Some(code), _) => format!("ended with status {code}"),
            (_, Some(signal)) => format!("was ended by signal {signal}"),
            _ => "ended".to_owned(),
        };
        log(&format!("process {} (pid {pid}) {how} after {ran:.3?}", self.number));
        self.failures
    }

    /// At once after the first failure, then with growing delay.
    fn delay(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            more => FIRST_DELAY.saturating_mul(1 << (more - 2).min(20)).min(LAST_DELAY),
        }
    }
}

/// Writes a line to the generation's log. A failure cannot be reported anywhere.
pub(super) fn log(what: &str) {
    let now = humantime::format_rfc3339_micros(SystemTime::now());
    let line = format!("{now} pools-manager: {what}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
