//! Which generation has written a record: by the file, by the process that the record names, and by its time.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::entry::Entry;
use crate::process::{self, Process};
use crate::runtime::{Generation, LogKind};
use crate::step::Number;

/// How long a generation is remembered after its end: its last lines may still be unread.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a process that belongs to no generation is not looked up again.
const UNKNOWN: Duration = Duration::from_secs(1);
/// The most processes whose generation is remembered, for one file.
const PIDS_MAX: usize = 1024;

/// What a master says first.
const RUNNING: &[u8] = b"fpm is running, pid ";

/// Where a record comes from, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The pool.
    pub pool: Option<Arc<str>>,
    /// The replica.
    pub replica: Option<u32>,
    /// The generation.
    pub generation: Option<Number>,
    /// The release of the generation.
    pub release: Option<PathBuf>,
}

/// A generation that writes a log.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) pool: Arc<str>,
    generation: Arc<Generation>,
    /// The file that the generation was started with.
    conf: PathBuf,
    /// Since when the generation has no record any more.
    gone: Option<Instant>,
}

impl Writer {
    pub(super) fn new(pool: &Arc<str>, generation: Arc<Generation>, conf: PathBuf) -> Self {
        Self { pool: Arc::clone(pool), generation, conf, gone: None }
    }

    pub(super) fn replica(&self) -> u32 {
        self.generation.replica
    }

    /// When the record of the generation was written, just before its start.
    pub(super) fn recorded(&self) -> Option<std::time::SystemTime> {
        fs::metadata(&self.conf).and_then(|it| it.modified()).ok()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.conf == other.conf
    }

    /// Since when the generation serves, or served; None: it has not been published, or its record is gone.
    fn since(&self) -> Option<Timestamp> {
        let generation = &self.generation;
        let since = if generation.is_published().unwrap_or(false) {
            fs::symlink_metadata(&generation.public).and_then(|it| it.modified()).ok()
        } else {
            self.recorded().filter(|_| generation.has_been_published())
        };
        Timestamp::try_from(since?).ok()
    }

    fn origin(&self) -> Origin {
        Origin {
            pool: Some(Arc::clone(&self.pool)),
            replica: Some(self.replica()),
            generation: Some(self.generation.number),
            release: self.generation.release.as_ref().map(|it| it.path.clone()),
        }
    }

    /// Whether a name in a record can be this writer's.
    fn has_name(&self, section: Option<&str>) -> bool {
        match (section, self.generation.server.name_in_logs()) {
            (Some(section), Some(own)) => section == own,
            _ => true,
        }
    }
}

/// The writers of one file.
#[derive(Debug, Default)]
pub(super) struct Writers {
    all: Vec<Writer>,
    /// The configurations of processes. A process may be gone when a record that names it is read.
    pids: HashMap<i32, (Option<PathBuf>, Instant)>,
    /// The configuration of the master that was started last.
    started: Option<PathBuf>,
}

impl Writers {
    /// Takes over the writers that have a record now; others are remembered for a while.
    pub(super) fn set(&mut self, now: Instant, present: Vec<Writer>) {
        let mut gone = std::mem::take(&mut self.all);
        gone.retain(|old| !present.iter().any(|it| it.is_same(old)));
        for old in &mut gone {
            old.gone.get_or_insert(now);
        }
        gone.retain(|old| old.gone.is_some_and(|since| now < since + REMEMBERED));
        self.all = present;
        self.all.extend(gone);
        let all = &self.all;
        let is_known = |conf: &PathBuf| all.iter().any(|it| it.conf == *conf);
        self.pids.retain(|_, (conf, _)| conf.as_ref().is_some_and(is_known));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Writer> {
        self.all.iter()
    }

    /// Where a record comes from.
    pub(super) fn origin(&mut self, entry: &Entry) -> Origin {
        let section = entry.section.as_deref();
        let named = entry.pid.and_then(|pid| self.configuration(pid));
        if entry.text.starts_with(RUNNING) && entry.kind == LogKind::Error {
            self.started.clone_from(&named);
        }
        if let Some(conf) = named
            && let Some(writer) = self.all.iter().find(|it| it.conf == conf && it.has_name(section))
        {
            return writer.origin();
        }
        let possible: Vec<&Writer> = self.all.iter().filter(|it| it.has_name(section)).collect();
        let Some(first) = possible.first() else { return Origin::default() };
        let is_one = |same: &dyn Fn(&Writer) -> bool| possible.iter().all(|it| same(it));
        if !is_one(&|it| it.pool == first.pool) {
            return Origin::default();
        }
        let pool = Some(Arc::clone(&first.pool));
        if !is_one(&|it| it.replica() == first.replica()) {
            return Origin { pool, ..Origin::default() };
        }
        let known = Origin { pool, replica: Some(first.replica()), ..Origin::default() };
        let of_start = self.started.as_ref().filter(|_| is_of_start(entry));
        if let Some(writer) = of_start.and_then(|conf| possible.iter().find(|it| it.conf == *conf))
        {
            return writer.origin();
        }
        // A record of a master about itself can come from any master that runs.
        if entry.pid.is_none() && possible.len() > 1 {
            return known;
        }
        newest(&possible, entry.time.unwrap_or_else(Timestamp::now)).map_or(known, Writer::origin)
    }

    /// The file that a process, or its parent, was started with.
    fn configuration(&mut self, pid: i32) -> Option<PathBuf> {
        let now = Instant::now();
        if let Some((known, at)) = self.pids.get(&pid)
            && (known.is_some() || now < *at + UNKNOWN)
        {
            return known.clone();
        }
        let parent = || process::parent(pid).ok().flatten();
        let conf = configuration(pid).or_else(|| configuration(parent()?));
        if self.pids.len() >= PIDS_MAX {
            self.pids.clear();
        }
        self.pids.insert(pid, (conf.clone(), now));
        conf
    }
}

fn configuration(pid: i32) -> Option<PathBuf> {
    Process::open(pid).ok()?.configuration().ok()?
}

/// Whether a master writes this record just after [`RUNNING`].
fn is_of_start(entry: &Entry) -> bool {
    let texts: [&[u8]; 2] = [b"ready to handle connections", b"systemd monitor interval set to "];
    entry.kind == LogKind::Error && texts.iter().any(|text| entry.text.starts_with(text))
}

/// The newest generation that had been published when a record was written. None: no generation had been
/// published. None also if this generation is not the first, and was published in the second of the record:
/// the times of records are no more exact than that.
fn newest<'a>(possible: &[&'a Writer], time: Timestamp) -> Option<&'a Writer> {
    let since = |it: &&Writer| it.since().map(Timestamp::as_second);
    let mut published: Vec<(i64, &Writer)> =
        possible.iter().copied().filter_map(|it| Some((since(&it)?, it))).collect();
    published.retain(|(since, _)| *since <= time.as_second());
    let (since, newest) = published.into_iter().max_by_key(|(_, it)| it.generation.number)?;
    let is_first = newest.generation.number <= Number::Started(1);
    (is_first || since < time.as_second()).then_some(newest)
}

/// The name of a release: the last part of its path.
pub(super) fn short(release: &Path) -> String {
    release.file_name().unwrap_or(release.as_os_str()).to_string_lossy().into_owned()
}
