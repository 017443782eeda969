//! Follows the symlinks that name the current releases.
//!
//! One inotify instance watches the directories of all symlinks. It is only a hint: each symlink is
//! also read every two seconds. That finds moves which inotify does not report: on a file system
//! without inotify (NFS), in a directory that was replaced, or after the queue has overflowed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::rhythm::Rhythm;

/// The time between two readings of a symlink.
const POLL: Duration = Duration::from_secs(2);

/// The inotify instance of all pools.
#[derive(Clone)]
pub(super) struct Links(Arc<Shared>);

struct Shared {
    rhythm: Rhythm,
    /// None: inotify is not available, and symlinks are only polled.
    watcher: Mutex<Option<RecommendedWatcher>>,
    /// What to wake, by directory. Never locked together with `watcher`: the watcher's thread locks
    /// `waiting` before it takes a request.
    waiting: Mutex<BTreeMap<PathBuf, Vec<Arc<Notify>>>>,
}

impl Links {
    pub(super) fn new(rhythm: Rhythm) -> Self {
        let (watcher, waiting) = (Mutex::default(), Mutex::default());
        let links = Self(Arc::new(Shared { rhythm, watcher, waiting }));
        let weak = Arc::downgrade(&links.0);
        let report = move |event: notify::Result<Event>| {
            if let Some(shared) = weak.upgrade() {
                shared.wake(&event);
            }
        };
        match notify::recommended_watcher(report) {
            Ok(watcher) => *lock(&links.0.watcher) = Some(watcher),
            Err(error) => tracing::warn!("symlinks are looked at every {POLL:?} only: {error}"),
        }
        links
    }

    /// Follows one symlink. Its present state does not count as a change.
    pub(super) fn follow(&self, symlink: &Path, debounce: Duration) -> Link {
        Link {
            links: Arc::clone(&self.0),
            symlink: symlink.to_owned(),
            debounce,
            woken: Arc::new(Notify::new()),
            watched: None,
            known: Identity::of(symlink),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Wakes the links that wait for a directory; all links, if events were lost.
    fn wake(&self, event: &notify::Result<Event>) {
        let is_in = |dir: &Path, event: &Event| {
            event.need_rescan() || event.paths.iter().any(|path| path.parent() == Some(dir))
        };
        for (dir, waiting) in &*lock(&self.waiting) {
            if event.as_ref().map_or(true, |event| is_in(dir, event)) {
                for woken in waiting {
                    woken.notify_one();
                }
            }
        }
    }

    fn watch(&self, dir: &Path, woken: &Arc<Notify>) {
        lock(&self.waiting).entry(dir.to_owned()).or_default().push(Arc::clone(woken));
        if let Some(watcher) = &mut *lock(&self.watcher)
            && let Err(error) = watcher.watch(dir, RecursiveMode::NonRecursive)
        {
            let dir = dir.display();
            tracing::warn!("{dir} is looked at every {POLL:?} only: {error}");
        }
    }

    fn unwatch(&self, dir: &Path, woken: &Arc<Notify>) {
        let is_last = {
            let mut waiting = lock(&self.waiting);
            let Some(of_dir) = waiting.get_mut(dir) else { return };
            of_dir.retain(|it| !Arc::ptr_eq(it, woken));
            let is_last = of_dir.is_empty();
            if is_last {
                waiting.remove(dir);
            }
            is_last
        };
        if let (true, Some(watcher)) = (is_last, &mut *lock(&self.watcher)) {
            // This fails if the directory is gone: then its watch is gone too.
            let _ = watcher.unwatch(dir);
        }
    }
}

/// One symlink that is followed.
pub(super) struct Link {
    links: Arc<Shared>,
    symlink: PathBuf,
    debounce: Duration,
    woken: Arc<Notify>,
    /// The path of the watched directory, and its device and inode: another directory may get this
    /// path.
    watched: Option<(PathBuf, (u64, u64))>,
    known: Option<Identity>,
}

/// Identifies a symlink in its present state. The identity differs for another symlink at the same
/// path, and for the same symlink after it was moved away and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    ino: u64,
    changed: (i64, i64),
    target: PathBuf,
}

impl Identity {
    /// None: there is no symlink at the moment.
    pub(super) fn of(symlink: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(symlink).ok()?;
        let target = fs::read_link(symlink).ok()?;
        Some(Self {
            ino: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            target,
        })
    }
}

impl Link {
    /// Waits until the symlink has changed, and then has stayed the same for the debounce time. A
    /// symlink that is gone is no change until it is there again.
    pub(super) async fn changed(&mut self) {
        loop {
            self.watch();
            let now = Identity::of(&self.symlink);
            if now.is_some() && now != self.known && self.stays(now.as_ref()).await {
                self.known = now;
                return;
            }
            let next = self.links.rhythm.until_next(POLL);
            let _ = timeout(next, self.woken.notified()).await;
        }
    }

    /// Whether the symlink, as it is now, has stayed the same for the debounce time.
    pub(super) fn is_settled(&self, now: Option<&Identity>) -> bool {
        now == self.known.as_ref()
    }

    async fn stays(&self, identity: Option<&Identity>) -> bool {
        sleep(self.debounce).await;
        Identity::of(&self.symlink).as_ref() == identity
    }

    /// Watches the directory that the symlink is in now.
    fn watch(&mut self) {
        let parent = self.symlink.parent().unwrap_or(Path::new("/"));
        let found = fs::metadata(parent).ok().map(|it| (it.dev(), it.ino()));
        if found == self.watched.as_ref().map(|it| it.1) {
            return;
        }
        let dir = fs::canonicalize(parent);
        self.unwatch();
        if let (Some(found), Ok(dir)) = (found, dir) {
            self.links.watch(&dir, &self.woken);
            self.watched = Some((dir, found));
        }
    }

    fn unwatch(&mut self) {
        if let Some((dir, _)) = self.watched.take() {
            self.links.unwatch(&dir, &self.woken);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.unwatch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const DEBOUNCE: Duration = Duration::from_millis(5);
    const DEADLINE: Duration = Duration::from_secs(30);

    fn point(link: &Path, target: &str) {
        let new = link.with_extension("new");
        symlink(target, &new).unwrap();
        fs::rename(&new, link).unwrap();
    }

    async fn is_noticed(link: &mut Link) {
        timeout(DEADLINE, link.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn a_moved_symlink_is_noticed_whichever_way_it_was_moved() {
        let dir = tempfile::tempdir().unwrap();
        let www = dir.path().join("www");
        fs::create_dir(&www).unwrap();
        let path = www.join("current");
        symlink("1", &path).unwrap();
        let mut link = Links::new(Rhythm::start()).follow(&path, DEBOUNCE);
        // In one step.
        point(&path, "2");
        is_noticed(&mut link).await;
        // Absent for a moment.
        fs::remove_file(&path).unwrap();
        symlink("3", &path).unwrap();
        is_noticed(&mut link).await;
        // To the same target once more.
        point(&path, "3");
        is_noticed(&mut link).await;
        // With its directory.
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        symlink("4", other.join("current")).unwrap();
        fs::rename(&www, dir.path().join("old")).unwrap();
        fs::rename(&other, &www).unwrap();
        is_noticed(&mut link).await;
        point(&path, "5");
        is_noticed(&mut link).await;
    }

    #[tokio::test]
    async fn a_symlink_that_is_gone_or_still_moves_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("current");
        symlink("1", &path).unwrap();
        let mut link = Links::new(Rhythm::start()).follow(&path, Duration::from_millis(200));
        fs::remove_file(&path).unwrap();
        let moves = async {
            for target in 2..40 {
                point(&path, &target.to_string());
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            biased;
            () = moves => {}
            () = link.changed() => panic!("it had not settled"),
        }
        is_noticed(&mut link).await;
        assert_eq!(link.known.clone().unwrap().target, Path::new("39"));
    }
}
