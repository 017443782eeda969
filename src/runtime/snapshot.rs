//! What all pools of a root have in common: the names in `pid/`, and the unix sockets.
//!
//! Both take longer to read with each pool. Without a snapshot, a command on all pools and the
//! supervisor would read both once for each pool: with 100 pools that was most of their time.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::generation::{self, Generation};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::root::Root;
use crate::socket::UnixSockets;

/// The names in `pid/` and the unix sockets, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    root: Root,
    files: Vec<OsString>,
    /// The sockets. They are read after the names: a generation is recorded before it listens.
    pub unix_sockets: UnixSockets,
}

/// The last snapshot, and when its reading began.
static LAST: Mutex<Option<(Instant, Arc<Snapshot>)>> = Mutex::const_new(None);

impl Snapshot {
    /// Reads a snapshot, or shares one whose reading began after this call. Of many calls at the same
    /// time, the first one reads for itself, and the second one for all others.
    pub async fn shared(root: &Root) -> Result<Arc<Self>> {
        let called = Instant::now();
        let mut last = LAST.lock().await;
        if let Some((began, snapshot)) = &*last
            && *began >= called
            && snapshot.root == *root
        {
            return Ok(Arc::clone(snapshot));
        }
        let (began, root) = (Instant::now(), root.clone());
        let read = spawn_blocking(move || Self::read(&root)).await;
        let read = read.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()));
        let snapshot = Arc::new(read?);
        *last = Some((began, Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    fn read(root: &Root) -> Result<Self> {
        let files = names_in_pid_dir(root)?;
        Ok(Self { root: root.clone(), files, unix_sockets: UnixSockets::read()? })
    }

    /// The records of all generations of a pool of this root, oldest first.
    pub fn records(&self, pool: &Pool) -> Vec<Generation> {
        generation::recorded(pool, &self.files)
    }
}

/// The records of all generations of a pool, oldest first.
pub fn discover(pool: &Pool) -> Result<Vec<Generation>> {
    Ok(generation::recorded(pool, &names_in_pid_dir(&pool.root)?))
}

fn names_in_pid_dir(root: &Root) -> Result<Vec<OsString>> {
    let dir = root.pid_dir();
    let entries = dir.read_dir().map_err(|error| {
        Error::config(format!("cannot read {}: {error}", dir.display())).hint(match error.kind() {
            ErrorKind::NotFound => format!("mkdir {}", dir.display()),
            _ => "it has to be a directory that you may read".to_owned(),
        })
    })?;
    Ok(entries.flatten().map(|entry| entry.file_name()).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::os::unix::net::UnixListener;

    use tokio::task::JoinSet;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pid")).unwrap();
        let root = Root::new(dir.path().to_owned());
        (dir, root)
    }

    #[tokio::test]
    async fn snapshot_shows_what_was_there_before_the_call() {
        let (dir, root) = root();
        for name in ["one", "other"] {
            let path = dir.path().join("pid").join(name);
            let _listener = UnixListener::bind(&path).unwrap();
            let snapshot = Snapshot::shared(&root).await.unwrap();
            assert!(snapshot.files.contains(&name.into()));
            assert!(snapshot.unix_sockets.listens(&path));
        }
    }

    #[tokio::test]
    async fn calls_at_the_same_time_share_a_reading() {
        let (_dir, root) = root();
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let root = root.clone();
            calls.spawn(async move { Snapshot::shared(&root).await.unwrap() });
        }
        let snapshots = calls.join_all().await;
        let distinct: HashSet<_> = snapshots.iter().map(Arc::as_ptr).collect();
        assert!(distinct.len() < snapshots.len() / 2, "{}", distinct.len());
    }

    #[tokio::test]
    async fn missing_directory_is_an_error_of_each_call() {
        let (dir, root) = root();
        fs::remove_dir(dir.path().join("pid")).unwrap();
        for _ in 0..2 {
            let error = Snapshot::shared(&root).await.unwrap_err();
            assert!(error.message.starts_with("cannot read "), "{error}");
        }
    }
}
