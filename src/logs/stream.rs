//! The loop: reads all logs, waits for changes, and hands each record to an output.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::catalog::{self, Found};
use super::clock::Clock;
use super::entry::Entry;
use super::followed::{Followed, Start};
use super::origin::{Origin, Writers};
use super::record::Record;
use super::select::Select;
use super::wake::Wake;
use super::watch::{Change, Watch};
use crate::error::Result;
use crate::pool::{self, Pool};
use crate::root::Root;

/// The time between two looks at everything, whatever inotify reports: a directory above may be renamed.
const LOOK: Duration = Duration::from_secs(30);
/// The time between two looks while a directory cannot be watched.
const POLL: Duration = Duration::from_secs(1);
/// How long the last reading may take.
const LAST: Duration = Duration::from_secs(2);
/// The most bytes of one file that are searched for its last records.
const SEARCH: u64 = 16 << 20;

/// Takes the records.
pub trait Output {
    /// Takes a record. `file` is the log that it is in.
    fn put(&mut self, entry: &Entry, origin: &Origin, file: &Path);
    /// Writes what it has taken.
    fn flush(&mut self);
    /// A log cannot be read.
    fn problem(&mut self, problem: &str);
    /// Whether nothing more can be written.
    fn is_over(&self) -> bool;
}

/// The logs of the pools of a root.
#[derive(Debug)]
pub struct Stream {
    root: Root,
    select: Select,
    pools: BTreeMap<String, Pool>,
    found: BTreeMap<String, Vec<Found>>,
    sources: BTreeMap<PathBuf, Source>,
    /// None: inotify is not available.
    watch: Option<Watch>,
    /// Whether a directory cannot be watched.
    is_blind: bool,
    clock: Clock,
    /// The problems that were reported.
    reported: BTreeSet<String>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Source {
    followed: Followed,
    writers: Writers,
    /// Where the first file that is found is read from.
    start: Start,
    is_dirty: bool,
}

impl Stream {
    /// Finds the logs. Reading begins at their ends. Error: the pools cannot be listed.
    pub fn new(root: &Root, select: Select, out: &mut impl Output) -> Result<Self> {
        let watch = Watch::new().inspect_err(|error| {
            out.problem(&format!("logs are looked at every {POLL:?} only: {error}"));
        });
        let mut stream = Self {
            root: root.clone(),
            select,
            pools: BTreeMap::new(),
            found: BTreeMap::new(),
            sources: BTreeMap::new(),
            watch: watch.ok(),
            is_blind: false,
            clock: Clock::new(),
            reported: BTreeSet::new(),
            buffer: Vec::new(),
        };
        stream.reload(out)?;
        for source in stream.sources.values_mut() {
            source.start = Start::End;
        }
        stream.look_at_dirty(out);
        Ok(stream)
    }

    /// Whether a log is known.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    fn report(&mut self, problem: String, out: &mut impl Output) {
        if !self.reported.contains(&problem) {
            out.problem(&problem);
            self.reported.insert(problem);
        }
    }

    /// Reads the list of pools again, and their records.
    fn reload(&mut self, out: &mut impl Output) -> Result<()> {
        let names = pool::names(&self.root)?;
        self.pools.retain(|name, _| names.contains(name));
        for name in names {
            match pool::load(&self.root, &name) {
                Ok(pool) => drop(self.pools.insert(name, pool)),
                Err(error) => self.report(error.in_one_line(), out),
            }
        }
        let names: Vec<String> = self.pools.keys().cloned().collect();
        self.refresh(names, out);
        Ok(())
    }

    /// Reads the records of some pools again.
    fn refresh(&mut self, names: impl IntoIterator<Item = String>, out: &mut impl Output) {
        let mut paths = HashMap::new();
        for name in names {
            let Some(pool) = self.pools.get(&name) else { continue };
            match catalog::of_pool(pool, &mut paths) {
                Ok((found, others)) => {
                    self.found.insert(name.clone(), found);
                    for other in others {
                        let (path, kind) = (other.path.display(), other.kind.name());
                        let problem = format!("pool \"{name}\": its {kind} log is no file: {path}");
                        self.report(problem, out);
                    }
                }
                Err(error) => self.report(error.in_one_line(), out),
            }
        }
        let pools = &self.pools;
        self.found.retain(|name, _| pools.contains_key(name));
        self.set_sources();
        self.set_watches(out);
    }

    fn set_sources(&mut self) {
        let now = Instant::now();
        let mut present: BTreeMap<&Path, Vec<&Found>> = BTreeMap::new();
        for found in self.found.values().flatten() {
            present.entry(&found.path).or_default().push(found);
        }
        for (path, found) in &present {
            if !self.sources.contains_key(*path) {
                let source = Source {
                    followed: Followed::new(path, found[0].kind),
                    writers: Writers::default(),
                    start: start(path, found),
                    is_dirty: true,
                };
                self.sources.insert(path.to_path_buf(), source);
            }
        }
        for (path, source) in &mut self.sources {
            let found = present.get(path.as_path()).into_iter().flatten();
            source.writers.set(now, found.map(|it| it.writer.clone()).collect());
        }
        let select = &self.select;
        self.sources.retain(|_, it| !it.writers.is_empty() && select.has_file_of(&it.writers));
    }

    fn set_watches(&mut self, out: &mut impl Output) {
        let logs = self.sources.keys().filter_map(|path| Some(path.parent()?.to_owned()));
        let dirs: BTreeSet<PathBuf> = logs.chain([self.root.pid_dir()]).collect();
        let Some(watch) = &mut self.watch else { return };
        let failed = watch.set(dirs);
        self.is_blind = !failed.is_empty();
        for (dir, error) in failed {
            let dir = dir.display();
            self.report(format!("{dir} is looked at every {POLL:?} only: {error}"), out);
        }
    }

    /// The last records of all logs, `count` at most, by time. Reading goes on after them.
    pub fn last(&mut self, count: usize, out: &mut impl Output) {
        let mut all = Vec::new();
        let (mut problems, most) = (Vec::new(), SEARCH);
        for (path, source) in &mut self.sources {
            let records = match source.followed.last(count, most) {
                Ok(records) => records,
                Err(error) => {
                    problems.push(unreadable(path, &error.to_string()));
                    continue;
                }
            };
            let mut time = None;
            for record in records {
                let entry = Entry::of(&record, source.followed.kind, &self.clock);
                // A record without a time follows the one before it.
                time = entry.time.or(time);
                let origin = source.writers.origin(&entry);
                if self.select.has(&origin) {
                    all.push((time, entry, origin, path));
                }
            }
        }
        all.sort_by_key(|(time, ..)| *time);
        for (_, entry, origin, path) in &all[all.len().saturating_sub(count)..] {
            out.put(entry, origin, path);
        }
        drop(all);
        for problem in problems {
            self.report(problem, out);
        }
        out.flush();
    }

    /// Hands each new record to the output, until `wake` stops the stream or the output is over. With a
    /// `reader`, the stream also ends when nothing reads from this descriptor any more.
    pub fn follow(&mut self, wake: &Wake, reader: Option<BorrowedFd<'_>>, out: &mut impl Output) {
        let mut looked = Instant::now();
        while !wake.is_stopped() && !out.is_over() {
            if wake.take_reload()
                && let Err(error) = self.reload(out)
            {
                self.report(error.in_one_line(), out);
            }
            let is_read = self.look_at_dirty(out);
            out.flush();
            if is_read {
                let due = looked + if self.is_blind || self.watch.is_none() { POLL } else { LOOK };
                if self.wait(wake, reader, due) {
                    return;
                }
                if Instant::now() >= due {
                    looked = Instant::now();
                    self.look_at_all(out);
                }
            }
            self.note_changes(out);
            self.tick(out);
        }
        self.finish(out);
    }

    /// Looks at the logs that have changed, and reads one turn of each. True: all of them were read to the end.
    fn look_at_dirty(&mut self, out: &mut impl Output) -> bool {
        let now = Instant::now();
        let (clock, select, mut problems) = (&self.clock, &self.select, Vec::new());
        let mut is_read = true;
        for (path, source) in self.sources.iter_mut().filter(|(_, it)| it.is_dirty) {
            let Source { followed, writers, start, is_dirty } = source;
            problems.extend(followed.look(*start, now).map(|it| unreadable(path, &it)));
            *start = Start::Beginning;
            let kind = followed.kind;
            let mut emit = |record: Record| put(&record, kind, path, clock, select, writers, out);
            *is_dirty = followed.read(&mut self.buffer, now, &mut emit).unwrap_or_else(|error| {
                problems.push(unreadable(path, &error.to_string()));
                false
            });
            is_read &= !*is_dirty;
        }
        for problem in problems {
            out.problem(&problem);
        }
        is_read
    }

    fn look_at_all(&mut self, out: &mut impl Output) {
        let names: Vec<String> = self.pools.keys().cloned().collect();
        self.refresh(names, out);
        self.sources.values_mut().for_each(|it| it.is_dirty = true);
    }

    /// Waits for a change, until `due` at most. True: the reader is gone.
    fn wait(&self, wake: &Wake, reader: Option<BorrowedFd<'_>>, due: Instant) -> bool {
        let now = Instant::now();
        let deadlines = self.sources.values().filter_map(|it| it.followed.deadline(now));
        let time = deadlines.chain([due]).min().unwrap_or(due).saturating_duration_since(now);
        let time = Timespec::try_from(time).ok();
        let mut fds = vec![PollFd::from_borrowed_fd(wake.fd(), PollFlags::IN)];
        fds.extend(reader.iter().map(|it| PollFd::from_borrowed_fd(*it, PollFlags::empty())));
        fds.extend(self.watch.as_ref().map(|it| PollFd::from_borrowed_fd(it.fd(), PollFlags::IN)));
        let _ = poll(&mut fds, time.as_ref());
        wake.clear();
        reader.is_some() && fds[1].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    fn note_changes(&mut self, out: &mut impl Output) {
        let Some(watch) = &self.watch else { return };
        let (mut pools, mut has_new_pool) = (BTreeSet::new(), false);
        for change in watch.changes() {
            let Change::Name(path) = change else { return self.look_at_all(out) };
            if let Some(source) = self.sources.get_mut(&path) {
                source.is_dirty = true;
                continue;
            }
            let dir = path.parent();
            let of_dir = self.sources.iter_mut().filter(|(other, _)| other.parent() == dir);
            for (_, source) in of_dir.filter(|(_, it)| it.followed.has_old()) {
                source.is_dirty = true;
            }
            if dir == Some(&self.root.pid_dir()) {
                let changed = self.pools_of_record(&path);
                has_new_pool |= changed.as_ref().is_some_and(BTreeSet::is_empty);
                pools.extend(changed.unwrap_or_default());
            }
        }
        if has_new_pool && let Err(error) = self.reload(out) {
            self.report(error.in_one_line(), out);
        } else if !pools.is_empty() {
            self.refresh(pools, out);
        }
    }

    /// The pools to which a file with this name can belong: a record, `www.1.g7.conf`, or the symlink to an
    /// error log, `www.1.error.log`. None: the file is neither.
    fn pools_of_record(&self, path: &Path) -> Option<BTreeSet<String>> {
        let name = path.file_name()?.to_str()?;
        let record = || name.strip_suffix(".conf")?.rsplit_once(".g");
        let replica = name.strip_suffix(".error.log").or_else(|| Some(record()?.0))?;
        let pools = self.pools.keys().filter(|it| replica.starts_with(&format!("{it}.")));
        Some(pools.cloned().collect())
    }

    /// Hands out the records that have waited long enough, and looks at files that inotify does not report.
    fn tick(&mut self, out: &mut impl Output) {
        let now = Instant::now();
        let (clock, select) = (&self.clock, &self.select);
        for (path, Source { followed, writers, is_dirty, .. }) in &mut self.sources {
            let kind = followed.kind;
            followed.tick(now, &mut |it| put(&it, kind, path, clock, select, writers, out));
            *is_dirty |= followed.has_old();
        }
    }

    /// Reads what there is, and hands out all of it.
    fn finish(&mut self, out: &mut impl Output) {
        let end = Instant::now() + LAST;
        self.sources.values_mut().for_each(|it| it.is_dirty = true);
        while !out.is_over() && !self.look_at_dirty(out) && Instant::now() < end {}
        let (clock, select) = (&self.clock, &self.select);
        for (path, Source { followed, writers, .. }) in &mut self.sources {
            let kind = followed.kind;
            followed.end(&mut |it| put(&it, kind, path, clock, select, writers, out));
        }
        out.flush();
    }
}

fn unreadable(path: &Path, problem: &str) -> String {
    format!("the log {} cannot be read: {problem}", path.display())
}

fn put(
    record: &Record,
    kind: crate::runtime::LogKind,
    path: &Path,
    clock: &Clock,
    select: &Select,
    writers: &mut Writers,
    out: &mut impl Output,
) {
    let entry = Entry::of(record, kind, clock);
    let origin = writers.origin(&entry);
    if select.has(&origin) {
        out.put(&entry, &origin, path);
    }
}

/// A log that a new generation has made is read from its beginning, one that was there before from
/// its end.
fn start(path: &Path, found: &[&Found]) -> Start {
    let made = std::fs::metadata(path).and_then(|it| it.created());
    let first = found.iter().filter_map(|it| it.writer.recorded()).min();
    match (made, first) {
        (Ok(made), Some(first)) if made < first => Start::End,
        (Ok(_), None) => Start::End,
        _ => Start::Beginning,
    }
}
