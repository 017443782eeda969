//! Unix sockets: publishes names by symlink, and counts connections in flight.
//!
//! A replica's public socket name is a symlink to the private socket of one generation. connect(2)
//! follows it, so moving it by rename(2) is one atomic step for every client that connects by path.
//! `/proc/net/unix` shows the connections that are accepted or queued, each under the path that was
//! *bound*, whatever name the client used.

mod connect;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::failpoint;
use crate::file;
pub use connect::{is_listening, listener};

/// The longest path of a unix socket, in bytes: `sun_path` of unix(7) without its final zero.
pub const PATH_MAX: usize = 107;

/// The sockets that are bound to one path, as the kernel shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bound {
    /// The inodes of the sockets that listen there. There may be several, if the path was bound
    /// again.
    pub listeners: Vec<u64>,
    /// Connections that a process has accepted.
    pub accepted: u32,
    /// Connections that wait to be accepted.
    pub queued: u32,
}

impl Bound {
    /// The requests that clients still wait for.
    pub fn in_flight(&self) -> u32 {
        self.accepted + self.queued
    }
}

/// A snapshot of all unix sockets with a path, from `/proc/net/unix`.
///
/// The kernel returns the file page by page, and finds its place again by counting. If sockets come
/// and go in between, it can skip one: with 32 busy clients, one read in 9,300 missed a socket that
/// listened all the time. So a snapshot is two reads that show the same listeners, with the larger
/// of the two counts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct UnixSockets(HashMap<PathBuf, Bound>);

/// How often two reads may differ, because listeners come and go.
const READS: usize = 8;

impl UnixSockets {
    /// Reads a snapshot. A failed read is an error: an empty snapshot would mean that no process
    /// listens anywhere.
    pub fn read() -> Result<Self> {
        Self::read_until_stable()
            .map_err(|error| Error::failed(format!("cannot read /proc/net/unix: {error}")))
    }

    fn read_until_stable() -> io::Result<Self> {
        let mut last = Self::read_once()?;
        for _ in 0..READS {
            let next = Self::read_once()?;
            let agree = last.listeners() == next.listeners();
            last.merge(next);
            if agree {
                break;
            }
        }
        Ok(last)
    }

    fn read_once() -> io::Result<Self> {
        Ok(Self::parse(&fs::read("/proc/net/unix")?))
    }

    /// The inodes of all listening sockets. No two sockets have the same one at a time.
    fn listeners(&self) -> BTreeSet<u64> {
        self.0.values().flat_map(|bound| &bound.listeners).copied().collect()
    }

    /// Takes the listeners of `next`, and the larger counts of both.
    fn merge(&mut self, next: Self) {
        let before = std::mem::replace(&mut self.0, next.0);
        for (path, old) in before {
            let bound = self.0.entry(path).or_default();
            bound.accepted = bound.accepted.max(old.accepted);
            bound.queued = bound.queued.max(old.queued);
        }
    }

    /// The sockets that are bound to `path`.
    pub fn bound(&self, path: &Path) -> Bound {
        self.0.get(path).cloned().unwrap_or_default()
    }

    /// The paths on which some process listens.
    pub fn listening(&self) -> impl Iterator<Item = &Path> {
        let listening = self.0.iter().filter(|(_, bound)| !bound.listeners.is_empty());
        listening.map(|(path, _)| path.as_path())
    }

    /// Whether some process listens on `path`.
    pub fn listens(&self, path: &Path) -> bool {
        self.0.get(path).is_some_and(|bound| !bound.listeners.is_empty())
    }

    /// Malformed lines are skipped: any process can bind a socket to a path with odd bytes in it.
    fn parse(text: &[u8]) -> Self {
        let mut sockets = HashMap::<PathBuf, Bound>::new();
        for line in text.split(|&byte| byte == b'\n') {
            if let Some((path, state, inode)) = parse_line(line) {
                let bound = sockets.entry(PathBuf::from(OsStr::from_bytes(path))).or_default();
                match state {
                    State::Listening => bound.listeners.push(inode),
                    State::Queued => bound.queued += 1,
                    State::Accepted => bound.accepted += 1,
                }
            }
        }
        Self(sockets)
    }
}

/// `__SO_ACCEPTCON` of `linux/net.h`: the flag of a socket that listens.
const ACCEPTS: u32 = 0x1_0000;

enum State {
    Listening,
    Queued,
    Accepted,
}

/// `Num: RefCount Protocol Flags Type St Inode Path`, of `net/unix/af_unix.c`.
fn parse_line(line: &[u8]) -> Option<(&[u8], State, u64)> {
    let mut rest = line;
    let mut field = || {
        let start = rest.iter().position(|&byte| byte != b' ')?;
        let end = rest[start..].iter().position(|&byte| byte == b' ')? + start;
        let found = std::str::from_utf8(&rest[start..end]).ok()?;
        rest = &rest[end..];
        Some(found)
    };
    field()?.strip_suffix(':')?;
    let (_refs, _protocol) = (field()?, field()?);
    let flags = u32::from_str_radix(field()?, 16).ok()?;
    let _type = field()?;
    let state = field()?;
    let inode = field()?.parse().ok()?;
    let path = rest.strip_prefix(b" ").filter(|path| path.starts_with(b"/"))?;
    let state = match state {
        "01" if flags & ACCEPTS != 0 => State::Listening,
        "02" => State::Queued,
        "03" => State::Accepted,
        _ => return None,
    };
    Some((path, state, inode))
}

/// The inodes of the connections that a process has accepted on `path`.
pub fn accepted(path: &Path) -> io::Result<Vec<u64>> {
    let text = fs::read("/proc/net/unix")?;
    let lines = text.split(|&byte| byte == b'\n').filter_map(parse_line);
    let here = lines.filter(|(bound, ..)| *bound == path.as_os_str().as_bytes());
    Ok(here.filter(|(_, state, _)| matches!(state, State::Accepted)).map(|it| it.2).collect())
}

/// What a public socket name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// It does not exist.
    Absent,
    /// A socket itself: a master that listens on the public name.
    Socket,
    /// A symlink to this path.
    Link(PathBuf),
    /// Another kind of file: pools-manager does not touch it.
    Other,
}

impl Name {
    /// Whether pools-manager or php-fpm may have made it, so that it may be removed.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Socket | Self::Link(_))
    }
}

/// Reads what `name` is.
pub fn read_name(name: &Path) -> io::Result<Name> {
    let metadata = match fs::symlink_metadata(name) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Name::Absent),
        Err(error) => return Err(error),
    };
    if metadata.file_type().is_socket() {
        return Ok(Name::Socket);
    }
    if !metadata.is_symlink() {
        return Ok(Name::Other);
    }
    let target = fs::read_link(name)?;
    Ok(Name::Link(name.parent().unwrap_or(Path::new("/")).join(target)))
}

/// Makes `name` a symlink to its sibling `target`, atomically: a client that connects reaches the
/// old target or the new one, never neither.
pub fn publish(name: &Path, target: &Path) -> io::Result<()> {
    // A relative target survives when the whole root is moved or mounted elsewhere.
    let relative = match (name.parent(), target.parent(), target.file_name()) {
        (Some(from), Some(to), Some(file)) if from == to => Path::new(file),
        _ => target,
    };
    let new = unfinished(name);
    file::remove(&new)?;
    symlink(relative, &new)?;
    failpoint::hit("a new link made, not in its place");
    fs::rename(&new, name)
}

/// The temporary name that [`publish`] renames. It is left behind if the manager is killed in
/// between.
pub fn unfinished(name: &Path) -> PathBuf {
    let mut new = name.as_os_str().to_owned();
    new.push(".new");
    new.into()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, Process};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::os::unix::net::{UnixListener, UnixStream};

    const SAMPLE: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 11173 /srv/sockets/www1.sock
0000000000000000: 00000003 00000000 00000000 0001 03 22001 /srv/sockets/www1.sock
0000000000000000: 00000002 00000000 00000000 0001 02     0 /srv/sockets/www1.sock
0000000000000000: 00000003 00000000 00000000 0001 03 22002
0000000000000000: 00000002 00000000 00010000 0001 01 11174 @abstract
0000000000000000: 00000002 00000000 00010000 0001 01 11175 /srv/with space/\xff.sock
nonsense
";

    #[test]
    fn connections_are_counted_by_bound_path() {
        let sockets = UnixSockets::parse(SAMPLE);
        let bound = sockets.bound(Path::new("/srv/sockets/www1.sock"));
        assert_eq!(bound, Bound { listeners: vec![11173], accepted: 1, queued: 1 });
        assert!(sockets.listens(Path::new(OsStr::from_bytes(b"/srv/with space/\xff.sock"))));
        assert_eq!(sockets.0.len(), 2);
    }

    #[test]
    fn the_kernel_counts_under_the_bound_path_through_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("a.g1.sock"), dir.path().join("a.sock"));
        let listener = UnixListener::bind(&private).unwrap();
        publish(&public, &private).unwrap();
        let _client = UnixStream::connect(&public).unwrap();
        assert_eq!(UnixSockets::read().unwrap().bound(&private).queued, 1);
        let _accepted = listener.accept().unwrap();
        let bound = UnixSockets::read().unwrap().bound(&private);
        assert_eq!((bound.queued, bound.accepted), (0, 1));
        assert_eq!(UnixSockets::read().unwrap().bound(&public), Bound::default());
    }

    #[test]
    fn merged_reads_keep_the_larger_counts() {
        let path = Path::new("/srv/sockets/www1.sock");
        let mut sockets = UnixSockets::parse(SAMPLE);
        let mut other = sockets.clone();
        other.0.insert(path.to_owned(), Bound { listeners: vec![], accepted: 3, queued: 0 });
        assert_ne!(sockets.listeners(), other.listeners());
        sockets.merge(other);
        assert_eq!(sockets.bound(path), Bound { listeners: vec![], accepted: 3, queued: 1 });
    }

    #[test]
    fn listening_is_found_out_by_a_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        assert!(!is_listening(&path).unwrap());
        let listener = UnixListener::bind(&path).unwrap();
        // More than the backlog holds.
        assert!((0..200).all(|_| is_listening(&path).unwrap()));
        drop(listener);
        assert!(!is_listening(&path).unwrap());
        std::fs::write(dir.path().join("file"), "no socket").unwrap();
        assert!(!is_listening(&dir.path().join("file")).unwrap());
        assert!(!is_listening(&dir.path().join("file/below")).unwrap());
        assert!(!is_listening(&dir.path().join("x".repeat(200))).unwrap());
    }

    /// In a child process, because the limit counts for the whole process.
    #[test]
    fn without_a_free_descriptor_reads_are_errors() {
        const CHILD: &str = "POOLS_MANAGER_TEST_WITHOUT_DESCRIPTORS";
        if std::env::var_os(CHILD).is_none() {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let name = "socket::tests::without_a_free_descriptor_reads_are_errors";
            let ran = child.args(["--exact", name]).env(CHILD, "1").output().unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let inode = UnixSockets::read().unwrap().bound(&path).listeners;
        let us = Process::open(i32::try_from(std::process::id()).unwrap()).unwrap();
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = |current| setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
        limit(Some(3));
        let errors = [
            UnixSockets::read().is_err(),
            is_listening(&path).is_err(),
            us.holds(&inode).is_err(),
            us.is_stopped().is_err(),
            us.is_php_fpm_master().is_err(),
            process::holders(&inode).is_err(),
            process::children(&us).is_err(),
        ];
        limit(maximum);
        assert_eq!(errors, [true; 7]);
        assert!(is_listening(&path).unwrap() && us.holds(&inode).unwrap());
        drop(listener);
    }

    #[test]
    fn peer_credentials_name_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let bound = UnixListener::bind(&path).unwrap();
        let peer = listener(&path).unwrap();
        assert_eq!(peer.pid().unsigned_abs(), std::process::id());
        assert_eq!(peer.uid(), rustix::process::geteuid().as_raw());
        assert!(UnixSockets::read().unwrap().listening().any(|it| it == path));
        drop(bound);
        assert!(listener(&path).is_err());
    }

    #[test]
    fn publishing_replaces_a_socket_and_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let public = dir.path().join("a.sock");
        let _listener = UnixListener::bind(&public).unwrap();
        fs::write(dir.path().join("a.sock.new"), "left by a crash").unwrap();
        assert_eq!(read_name(&public).unwrap(), Name::Socket);
        publish(&public, &dir.path().join("a.g2.sock")).unwrap();
        assert_eq!(read_name(&public).unwrap(), Name::Link(dir.path().join("a.g2.sock")));
        assert_eq!(fs::read_link(&public).unwrap(), Path::new("a.g2.sock"));
    }
}
