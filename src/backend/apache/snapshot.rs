//! A balancer and its members at one moment, read from either document.

use std::fmt;
use std::path::Path;

use super::document::{Columns, Section, column};

/// Apache's own `retry=` where a member sets none (`PROXY_WORKER_DEFAULT_RETRY`), in seconds.
const DEFAULT_RETRY: u64 = 60;

/// One balancer at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The name without `balancer://`.
    pub name: String,
    /// The nonce that a change needs; None: `ProxySet nonce=None` makes the balancer read-only.
    pub nonce: Option<String>,
    /// The balancer's attributes, under the names of the document that they were read from.
    pub attributes: Columns,
    /// All workers, in Apache's order.
    pub workers: Vec<Worker>,
}

/// One member of a balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The whole name, such as `unix:/path|fcgi://pool-1`.
    pub name: String,
    /// The name without the unix socket, such as `fcgi://pool-1`.
    pub url: String,
    /// Its status.
    pub status: MemberStatus,
    /// Requests in flight as Apache counts them (it miscounts).
    pub busy: u64,
    /// How many times it was chosen.
    pub elected: u64,
    /// Its route for sticky sessions, or empty.
    pub route: String,
    /// All values of the document, under the document's names.
    pub columns: Columns,
}

impl Snapshot {
    /// The worker of that URL, given alone or with its unix socket.
    pub fn worker(&self, url: &str) -> Option<&Worker> {
        let wanted = url.trim_end_matches('/');
        let is = |known: &str| known.trim_end_matches('/').eq_ignore_ascii_case(wanted);
        self.workers.iter().find(|worker| is(&worker.name) || is(&worker.url))
    }

    /// Sessions stick to their worker, even while it drains.
    pub fn is_sticky(&self) -> bool {
        let by = column(&self.attributes, "stickysession").unwrap_or_default();
        // The page says `(None)`, and said ` - ` in 2.2.
        !matches!(by, "" | "-" | "(None)")
    }

    /// A session whose worker is out of use gets 503, and no other worker.
    pub fn forbids_failover(&self) -> bool {
        let names = ["nofailover", "DisableFailover"];
        names.iter().any(|name| column(&self.attributes, name) == Some("On"))
    }
}

impl From<Section> for Snapshot {
    fn from(section: Section) -> Self {
        Self {
            name: section.name,
            nonce: section.nonce.filter(|nonce| !nonce.is_empty()),
            attributes: section.attributes,
            workers: section.rows.into_iter().filter_map(Worker::from_columns).collect(),
        }
    }
}

impl Worker {
    /// Whether it gets new requests. With `retry=0` Apache tries a worker in error at the next
    /// request, so such a worker counts as used.
    pub fn is_used(&self) -> bool {
        let tried_at_once = self.status.is_in_error() && self.retry_seconds() == 0;
        self.status.serves() || (tried_at_once && self.status.is_free())
    }

    /// Seconds until Apache tries a worker in error again.
    pub fn retry_seconds(&self) -> u64 {
        let retry = column(&self.columns, "retry").and_then(|value| value.parse().ok());
        retry.unwrap_or(DEFAULT_RETRY)
    }

    /// The same seconds; None: the document does not show them. The HTML page is such a document.
    pub fn shown_retry_seconds(&self) -> Option<u64> {
        column(&self.columns, "name").map(|_| self.retry_seconds())
    }

    /// The unix socket that it connects to; None: its name has none.
    pub fn socket(&self) -> Option<&Path> {
        let (socket, _) = self.name.strip_prefix("unix:")?.split_once('|')?;
        Some(Path::new(socket))
    }

    fn from_columns(columns: Columns) -> Option<Self> {
        let text = |name| column(&columns, name).unwrap_or_default();
        let name = column(&columns, "name").or_else(|| column(&columns, "Worker URL"))?.to_owned();
        Some(Self {
            url: name.rsplit_once('|').map_or(&*name, |(_, url)| url).to_owned(),
            status: MemberStatus::new(text("status")),
            busy: text("busy").parse().unwrap_or(0),
            elected: text("elected").parse().unwrap_or(0),
            route: text("route").to_owned(),
            name,
            columns,
        })
    }
}

/// The status of a worker, as `ap_proxy_parse_wstatus` of Apache's `proxy_util.c` writes it: any
/// of Init Ign Drn Gen Shut Dis Stop Err Stby Spar Free `HcFl`, and Ok for one that may be used. A
/// draining worker is `Init Drn Ok`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberStatus(String);

impl MemberStatus {
    /// Parses the words of Apache. Unknown words are kept, and have no effect.
    pub fn new(text: &str) -> Self {
        Self(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Whether the word is among them.
    pub fn has(&self, word: &str) -> bool {
        self.0.split(' ').any(|known| known == word)
    }

    /// It gets no new requests, except those of its sticky sessions.
    pub fn is_draining(&self) -> bool {
        self.has("Drn")
    }

    /// It gets no requests at all.
    pub fn is_disabled(&self) -> bool {
        self.has("Dis")
    }

    /// The operator stopped it.
    pub fn is_stopped(&self) -> bool {
        self.has("Stop")
    }

    /// Apache could not connect to it, and waits for its `retry=` seconds to pass.
    pub fn is_in_error(&self) -> bool {
        self.has("Err")
    }

    /// Errors do not put it out of use.
    pub fn ignores_errors(&self) -> bool {
        self.has("Ign")
    }

    /// It is a hot standby or a hot spare: used when the others cannot be.
    pub fn is_standby(&self) -> bool {
        self.has("Stby") || self.has("Spar")
    }

    /// It has not been taken out of use. It may still be in error.
    pub fn is_free(&self) -> bool {
        let out = ["Drn", "Dis", "Stop", "Shut", "HcFl"];
        self.has("Init") && !out.iter().any(|word| self.has(word))
    }

    /// It gets new requests (a standby: once it is needed).
    pub fn serves(&self) -> bool {
        self.is_free() && self.has("Ok") && !self.is_in_error()
    }
}

impl fmt::Display for MemberStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
