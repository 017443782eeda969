//! What the operator wants done with the requests of a pool behind the gateway: to hold them, or to
//! answer them with a maintenance page. Stored in `pid/POOL.traffic.json`.
//!
//! This file is not a part of the state file. Only the holder of the pool's lock writes the state file,
//! and a rollout may hold that lock for minutes. `resume` must not wait for that lock. And a hook of the
//! rollout must be able to hold requests while the rollout has the lock.
//!
//! The gateway reads the file at its start, with each refresh of the pool, when a command tells it to,
//! and every second while requests are held. So a hold and a maintenance outlive a gateway.

mod page;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use page::Page;

use crate::error::{Error, Result};
use crate::file;
use crate::lock::Lock;
use crate::pool::Pool;

/// The longest hold. Clients and proxies seldom wait longer than a minute.
pub const HOLD_MAX: Duration = Duration::from_secs(10 * 60);
/// The version of the file's format that this program writes.
const VERSION: u64 = 1;
/// The most bytes of a file: JSON may write each byte of a page as six.
const BYTES_MAX: u64 = 6 * page::BYTES_MAX + (1 << 20);

/// What the operator wants done with the requests of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    version: u64,
    /// Requests are held. The hold may be over: see [`Hold::left`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Requests get a maintenance page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { version: VERSION, hold: None, maintenance: None }
    }
}

/// Requests wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it began, as RFC 3339 in UTC.
    pub since: String,
    /// When it ends by itself, as RFC 3339 in UTC.
    pub until: String,
}

/// Requests get 503 and a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// When it began, as RFC 3339 in UTC.
    pub since: String,
    /// The page; None: the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Page>,
    /// The networks whose clients are served as usual.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpNet>,
    /// After how many seconds clients may try again: `Retry-After`.
    pub retry_after: u64,
}

/// The part that files of every version have.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Hold {
    /// A hold that begins now.
    pub fn now(time: Duration) -> Self {
        let now = SystemTime::now();
        let until = now.checked_add(time.min(HOLD_MAX)).unwrap_or(now);
        Self { since: shown(now), until: humantime::format_rfc3339_millis(until).to_string() }
    }

    /// How long the hold still lasts; None: it is over. A clock that was set back does not prolong the
    /// hold beyond [`HOLD_MAX`].
    pub fn left(&self) -> Option<Duration> {
        let until = humantime::parse_rfc3339(&self.until).ok()?;
        let left = until.duration_since(SystemTime::now()).ok()?;
        (!left.is_zero()).then_some(left.min(HOLD_MAX))
    }
}

impl Maintenance {
    /// A maintenance that begins now.
    pub fn now(page: Option<Page>, allow: Vec<IpNet>, retry_after: Duration) -> Self {
        let since = shown(SystemTime::now());
        Self { since, page, allow, retry_after: retry_after.as_secs().max(1) }
    }

    /// Whether a client is served as usual.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(&client))
    }
}

impl Traffic {
    /// Reads the file. If it does not exist, requests are served as usual.
    pub fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let read = file::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes));
        match read {
            Ok(_) => Self::parse(&bytes, path),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::failed(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// The hold, unless it is over.
    pub fn present_hold(&self) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| hold.left().is_some())
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let path = path.display();
        let bad = |why: String| {
            Error::failed(format!("{path} is no file of hold and maintenance: {why}")).hint(
                "write it again: pools-manager resume, and pools-manager maintenance on or off",
            )
        };
        match serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))? {
            Versioned { version: VERSION } => {
                serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))
            }
            Versioned { version } if version > VERSION => Err(Error::failed(format!(
                "{path} was written by a newer pools-manager (version {version} of the format)"
            ))
            .hint("use the newer pools-manager; this one does not change the file")),
            Versioned { version } => Err(bad(format!("it has no such version as {version}"))),
        }
    }

    /// Writes the file whole, and renames it into place: a reader finds the old one or the new one, also
    /// after a crash of the machine.
    fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("json.new");
        file::remove(&new)?;
        let written = self.write_new(&new).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = file::remove(&new);
            return written;
        }
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }

    fn write_new(&self, new: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut file = file::options().write(true).create_new(true).mode(0o644).open(new)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}

/// Changes what is stored for a pool. Waits for another command that changes it, which takes
/// milliseconds. A damaged file is replaced: it only said what the operator wanted, and now the operator
/// wants something else.
pub async fn change(pool: &Pool, change: impl FnOnce(&mut Traffic)) -> Result<Traffic> {
    let path = pool.traffic_file();
    let _lock = Lock::take(&pool.traffic_lock_file(), &pool.name, true, |_| ()).await?;
    let mut traffic = match Traffic::read(&path) {
        Ok(traffic) => traffic,
        Err(_) if is_damaged(&path) => Traffic::default(),
        Err(error) => return Err(error),
    };
    change(&mut traffic);
    traffic
        .write(&path)
        .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(traffic)
}

/// Whether a file can be read, and was not written by a newer version of this program.
fn is_damaged(path: &Path) -> bool {
    let text = file::open(path).and_then(|file| io::read_to_string(file.take(BYTES_MAX)));
    text.is_ok_and(|text| {
        serde_json::from_str::<Versioned>(&text).is_ok_and(|it| it.version <= VERSION)
            || serde_json::from_str::<Versioned>(&text).is_err()
    })
}

fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_ends_by_itself_and_is_never_longer_than_the_limit() {
        let left = Hold::now(Duration::from_secs(30)).left().unwrap();
        assert!(left > Duration::from_secs(20) && left <= Duration::from_secs(30), "{left:?}");
        assert_eq!(Hold::now(Duration::ZERO).left(), None);
        let far = Hold { until: "2999-01-01T00:00:00Z".to_owned(), ..Hold::now(HOLD_MAX) };
        assert_eq!(far.left(), Some(HOLD_MAX));
        let odd = Hold { until: "soon".to_owned(), ..far };
        assert_eq!(odd.left(), None);
    }

    #[test]
    fn file_is_read_back_and_a_damaged_or_newer_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.traffic.json");
        assert_eq!(Traffic::read(&path).unwrap(), Traffic::default());
        let page = Page { media_type: "text/html".to_owned(), text: "\u{1}".repeat(1000) };
        let allow = vec!["10.0.0.0/8".parse().unwrap()];
        let traffic = Traffic {
            hold: Some(Hold::now(HOLD_MAX)),
            maintenance: Some(Maintenance::now(Some(page), allow, Duration::ZERO)),
            ..Traffic::default()
        };
        traffic.write(&path).unwrap();
        assert_eq!(Traffic::read(&path).unwrap(), traffic);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for (text, is_replaced) in
            [("", true), ("{", true), ("{\"version\":1,\"hold\":7}", true), ("[]", true)]
                .into_iter()
                .chain([("{\"version\":2}", false), ("{\"version\":0}", true)])
        {
            fs::write(&path, text).unwrap();
            assert!(Traffic::read(&path).is_err(), "{text}");
            assert_eq!(is_damaged(&path), is_replaced, "{text}");
        }
    }

    #[test]
    fn only_clients_of_the_networks_are_allowed() {
        let allow = ["10.0.0.0/8", "::1/128"].map(|it| it.parse().unwrap()).to_vec();
        let maintenance = Maintenance::now(None, allow, Duration::from_secs(60));
        let allows = |client: &str| maintenance.allows(client.parse().unwrap());
        assert!(allows("10.1.2.3") && allows("::1") && !allows("11.0.0.1") && !allows("::2"));
    }
}
