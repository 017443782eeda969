//! The two pages that php-fpm itself answers: `ping.path` and `pm.status_path`.

#[cfg(test)]
mod fuzz;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::{Address, FastCgiError, Request, Response, send};

/// If a child has waited this long for a request on its connection, the connection counts as idle.
pub const IDLE_AFTER: Duration = Duration::from_secs(1);

/// How much of an unexpected body an error shows, in characters.
const SHOWN: usize = 200;

/// php-fpm's status page: one pool, at the moment when a child answered.
///
/// The processes are counted from the page's list. The page's own sums are up to a second late, because
/// the master corrects them at its heartbeat. Right after a start they showed one active process while
/// three were busy.
///
/// The request for the page counts too: an idle pool has one active process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The pool's name, the section of its configuration.
    #[serde(default)]
    pub pool: String,
    /// Busy children: also the one that answers this request, and those that work on after an early
    /// answer (`fastcgi_finish_request`).
    #[serde(rename = "active processes")]
    pub active_processes: u32,
    /// Children that wait for a connection.
    #[serde(rename = "idle processes")]
    pub idle_processes: u32,
    /// All children.
    #[serde(rename = "total processes")]
    pub total_processes: u32,
    /// Connections that wait for a child. Filled for TCP only: on a unix socket the value is always 0.
    #[serde(rename = "listen queue", default)]
    pub listen_queue: u32,
    /// Connections accepted since the start.
    #[serde(rename = "accepted conn", default)]
    pub accepted: u64,
    /// How many times `pm.max_children` kept a child from being started.
    #[serde(rename = "max children reached", default)]
    pub max_children_reached: u64,
    /// Seconds since the master's start.
    #[serde(rename = "start since", default)]
    pub start_since: u64,
    #[serde(default)]
    processes: Vec<Process>,
    /// Requests since the start. php-fpm counts connections for the pool, and requests for each child
    /// that still runs. This is the larger of both numbers, because a kept connection has several
    /// requests.
    #[serde(skip)]
    pub requests: u64,
    /// The pids of the busy children, if the page lists them.
    #[serde(skip)]
    pub busy: Vec<i32>,
    /// `SCRIPT_FILENAME` of the present or last request of each child, as the web server wrote it,
    /// if the page lists the children.
    #[serde(skip)]
    pub scripts: Vec<String>,
    /// Busy children that wait for a request on their connection. A web server sends the first request of
    /// a connection at once. So almost all of these children have had a request already, and keep the
    /// connection for the next one.
    #[serde(skip)]
    pub kept: u32,
    /// The number of those of `kept` that have waited for at least [`IDLE_AFTER`].
    #[serde(skip)]
    pub kept_idle: u32,
    /// The time that the longest request in flight has taken. 0 without a list of processes.
    #[serde(skip)]
    pub longest_request: Duration,
}

/// One child.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Process {
    #[serde(default)]
    pid: i32,
    /// None, or "(null)", for a child that was just forked: it counts as busy.
    state: Option<String>,
    /// Requests since the start of the child.
    #[serde(default)]
    requests: u64,
    /// The time of the present request, or of the last one, in microseconds.
    #[serde(rename = "request duration", default)]
    duration: u64,
    /// `-` before the first request.
    #[serde(default)]
    script: String,
}

impl Process {
    fn is_idle(&self) -> bool {
        self.state.as_deref() == Some("Idle")
    }

    /// Whether no whole request has arrived on its connection. That is the state of a child from the
    /// accept(2) on, and again from the end of a request on, if the connection is kept.
    fn awaits_request(&self) -> bool {
        self.state.as_deref() == Some("Reading headers")
    }

    /// The time of the request in flight, if there is one.
    fn request_time(&self) -> Option<Duration> {
        let is_busy = self.state.is_some() && !self.is_idle() && !self.awaits_request();
        self.time().filter(|_| is_busy)
    }

    /// The time of the request, as the page shows it. For a request that began while the page was made,
    /// php-fpm computes a negative time, and shows a huge number. The result is then None.
    fn time(&self) -> Option<Duration> {
        let is_real = i64::try_from(self.duration).is_ok();
        is_real.then(|| Duration::from_micros(self.duration))
    }
}

impl Status {
    fn count_processes(mut self) -> Self {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        if !self.processes.is_empty() {
            let idle = self.processes.iter().filter(|process| process.is_idle()).count();
            self.idle_processes = count(idle);
            self.total_processes = count(self.processes.len());
            self.active_processes = self.total_processes - self.idle_processes;
        }
        let busy = self.processes.iter().filter(|process| !process.is_idle());
        self.busy = busy.map(|process| process.pid).collect();
        self.scripts = self.processes.iter().map(|process| process.script.clone()).collect();
        let kept = self.processes.iter().filter(|process| process.awaits_request());
        self.kept = count(kept.clone().count());
        let is_idle = |it: &&Process| it.time().is_some_and(|time| time >= IDLE_AFTER);
        self.kept_idle = count(kept.filter(is_idle).count());
        let requests: u64 = self.processes.iter().map(|process| process.requests).sum();
        self.requests = requests.max(self.accepted);
        let times = self.processes.iter().filter_map(Process::request_time);
        self.longest_request = times.max().unwrap_or_default();
        self
    }
}

/// Requests php-fpm's `ping.path`. The answer must have status 200 and exactly the body `expect`
/// (the `ping.response`, usually `pong`).
pub async fn ping(
    socket: &Path,
    ping_path: &str,
    expect: &str,
    timeout: Duration,
) -> Result<(), FastCgiError> {
    let response = send(socket, &Request::get(ping_path), timeout).await?;
    if response.status == 200 && response.body == expect.as_bytes() {
        return Ok(());
    }
    Err(unexpected(socket, ping_path, &response))
}

/// Requests php-fpm's `pm.status_path`.
///
/// First with the list of processes, because the sums are up to a second late. The list contains
/// the last requests of the children, as clients wrote them. If these break the document, the page
/// is requested again without the list, and the sums are used.
pub async fn status(
    socket: &Path,
    status_path: &str,
    timeout: Duration,
) -> Result<Status, FastCgiError> {
    let fetch = async |query: &str| {
        send(socket, &Request::get(&format!("{status_path}?{query}")), timeout).await
    };
    let listed = fetch("json&full").await?;
    if let Some(status) = read(&listed) {
        return Ok(status.count_processes());
    }
    let summed = fetch("json").await?;
    read(&summed)
        .map(Status::count_processes)
        .ok_or_else(|| unexpected(socket, status_path, &summed))
}

fn read(response: &Response) -> Option<Status> {
    let text = String::from_utf8_lossy(&response.body);
    serde_json::from_str(&text).ok().filter(|_| response.status == 200)
}

fn unexpected(socket: &Path, path: &str, response: &Response) -> FastCgiError {
    FastCgiError::Unexpected {
        address: Address::Unix(socket.to_owned()),
        path: path.to_owned(),
        status: response.status,
        body: String::from_utf8_lossy(&response.body).chars().take(SHOWN).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_the_next_request_is_no_request() {
        let child = |state: &str, duration: u64| serde_json::json!({"pid": 1, "state": state, "request duration": duration});
        let document = serde_json::json!({
            "active processes": 0, "idle processes": 0, "total processes": 0,
            "processes": [
                child("Reading headers", 90_000_000),
                child("Reading headers", 5_000),
                // The request of this child began while the page was made.
                child("Reading headers", u64::MAX - 3),
                child("Running", 2_000_000),
                child("Idle", 300_000_000),
            ],
        });
        let status: Status = serde_json::from_value(document).unwrap();
        let status = status.count_processes();
        assert_eq!((status.kept, status.kept_idle, status.active_processes), (3, 1, 4));
        assert_eq!(status.longest_request, Duration::from_secs(2));
    }
}
