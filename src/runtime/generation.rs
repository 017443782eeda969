//! A generation: its names on disk, and its record.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Server, Spec};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::file;
use crate::pool::Pool;
use crate::release::Release;
use crate::socket;
use crate::step::{GenerationId, Number};

/// The prefix of the record's line in the generated file.
const RECORD: &str = "; record: ";

/// The highest number that a generation's names must have room for. Without this room, a path that is
/// just short enough would become too long at the tenth deploy.
const ROOM: Number = Number::Started(99_999);

/// One run of a replica: one master, one private socket, one release.
///
/// The file that starts a generation also records it. The file stays after the generation's end, until
/// a newer generation has such a file. So `status` does not have to run php-fpm to resolve the
/// configuration, and the numbers of a replica's generations only go up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The replica's number.
    pub replica: u32,
    /// The generation's number.
    pub number: Number,
    /// The replica's public socket name.
    pub public: PathBuf,
    /// The path that its master bound: the kernel lists its connections under this path.
    pub bound: PathBuf,
    /// The path that clients connect to.
    pub socket: PathBuf,
    /// Its master's pid file.
    pub pid_file: PathBuf,
    /// The public name of the pid file.
    pub public_pid: Option<PathBuf>,
    /// The release that it is pinned to; None: releases are not pinned.
    pub release: Option<Release>,
    /// The server's part of the record.
    #[serde(flatten)]
    pub server: Server,
}

impl Generation {
    /// A new generation. An error if its socket path is too long.
    pub fn new(
        pool: &Pool,
        id: GenerationId,
        spec: &Spec,
        release: Option<&Release>,
    ) -> Result<Self> {
        let GenerationId { replica, generation: number } = id;
        let socket = private_name(spec.public(), number);
        check_length(&private_name(spec.public(), number.max(ROOM)), spec)?;
        Ok(Self {
            replica,
            number,
            public: spec.public().to_owned(),
            bound: socket.clone(),
            socket,
            pid_file: record_path(pool, replica, number).with_extension("pid"),
            public_pid: spec.public_pid().map(Path::to_owned),
            release: release.cloned(),
            server: spec.server(),
        })
    }

    /// The record, with its paths derived from the name of the record's file: paths in the text are
    /// not trusted. None: the text is another generation's, or the root has moved since.
    pub(super) fn derived(self, pool: &Pool, replica: u32, number: Number) -> Option<Self> {
        let pid_file = record_path(pool, replica, number).with_extension("pid");
        let is_its_own = (self.replica, self.number) == (replica, number);
        if !is_its_own || self.pid_file != pid_file {
            return None;
        }
        let socket = private_name(&self.public, number);
        Some(Self { bound: socket.clone(), socket, ..self })
    }

    /// A master that listens on the replica's public name itself.
    pub fn adopted(replica: u32, spec: &Spec) -> Self {
        let public = spec.public();
        // After adoption it is reached by its private name. If the public name is a socket, a link
        // with the private name is an older master's.
        let adopted = !matches!(socket::read_name(public), Ok(socket::Name::Socket));
        let private = private_name(public, Number::Adopted);
        Self {
            replica,
            number: Number::Adopted,
            public: public.to_owned(),
            bound: public.to_owned(),
            socket: if adopted { private } else { public.to_owned() },
            pid_file: spec.public_pid().map(Path::to_owned).unwrap_or_default(),
            public_pid: spec.public_pid().map(Path::to_owned),
            release: None,
            server: spec.adopted_server(),
        }
    }

    /// Gives an adopted master a private name, a hard link to its socket, so that it stays
    /// reachable after the public name has moved.
    pub fn keep_reachable(&mut self) -> io::Result<()> {
        if self.number.is_adopted() && self.socket == self.public {
            let private = private_name(&self.public, Number::Adopted);
            file::remove(&private)?;
            fs::hard_link(&self.public, &private)?;
            self.socket = private;
            failpoint::hit("linked, its public name still a socket");
        }
        Ok(())
    }

    /// The private name of an adopted master of the same replica.
    pub fn private_name_of_adopted(&self) -> PathBuf {
        private_name(&self.public, Number::Adopted)
    }

    /// Whether the replica's public name leads to it.
    pub fn is_published(&self) -> io::Result<bool> {
        Ok(match socket::read_name(&self.public)? {
            socket::Name::Link(target) => target == self.socket,
            socket::Name::Socket => self.number.is_adopted(),
            _ => false,
        })
    }

    /// Whether it was the last generation that was published, before the public name was lent or
    /// removed. The public name of the pid file shows that, because this name moves only with a
    /// publication. True for an adopted master; else false if the pid file has no public name.
    pub fn has_been_published(&self) -> bool {
        let to = socket::Name::Link(self.pid_file.clone());
        let named = self.public_pid.as_ref().and_then(|name| socket::read_name(name).ok());
        self.number.is_adopted() || named == Some(to)
    }

    /// The line of the generation's file that is its record.
    pub(super) fn record_line(&self) -> Result<String> {
        let record = serde_json::to_string(self)
            .map_err(|error| Error::failed(format!("generation record: {error}")))?;
        Ok(format!("{RECORD}{record}"))
    }

    /// Writes the generation's file, and returns it open for reading. The server inherits this open
    /// file, so that no other file can take its place.
    pub(super) fn write(&self, pool: &Pool, text: &str) -> Result<File> {
        let path = self.file(pool);
        file::write_new(&path, text)
            .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())))
    }

    /// The file that records the generation. php-fpm is started with it.
    pub(super) fn file(&self, pool: &Pool) -> PathBuf {
        record_path(pool, self.replica, self.number)
    }

    /// The file that gets the output of its processes; None: the server has a log of its own. It
    /// stays until the generation's record is removed, that is, as long as no newer generation runs.
    pub fn log(&self) -> Option<PathBuf> {
        let is_command = matches!(self.server, Server::Command(_)) && !self.number.is_adopted();
        is_command.then(|| self.pid_file.with_extension("log"))
    }

    /// Its replica and number.
    pub fn id(&self) -> GenerationId {
        GenerationId { replica: self.replica, generation: self.number }
    }

    /// All names that it needs, with the temporary names of its links.
    pub fn names(&self, pool: &Pool) -> Vec<PathBuf> {
        let conf = record_path(pool, self.replica, self.number);
        let moved = [Some(&self.public), self.public_pid.as_ref()];
        let temporary = moved.into_iter().flatten().map(|name| socket::unfinished(name));
        [conf, self.pid_file.clone(), self.socket.clone()].into_iter().chain(temporary).collect()
    }

    /// Removes the files of a generation that has ended.
    pub fn remove_leftovers(&self) -> io::Result<()> {
        let remove = |path: &Path| {
            let which = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            };
            file::remove(path).map_err(which)
        };
        // Another kind of file with this name is not php-fpm's.
        if self.socket != self.public && socket::read_name(&self.socket)?.is_ours() {
            remove(&self.socket)?;
        }
        if matches!(self.server, Server::Command(_)) && !self.number.is_adopted() {
            super::command::master::remove_sockets_dir(&self.sockets_dir())?;
        }
        failpoint::hit("its socket removed, its pid file still there");
        if self.number.is_adopted() {
            // Its pid file has the public name, which may belong to a newer generation now.
            return match socket::read_name(&self.pid_file)? {
                socket::Name::Link(_) => Ok(()),
                _ => remove(&self.pid_file),
            };
        }
        if let Some(public) = &self.public_pid
            && socket::read_name(public)? == socket::Name::Link(self.pid_file.clone())
        {
            remove(public)?;
        }
        remove(&self.pid_file)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.number {
            Number::Adopted => write!(f, "the master that listens on {}", self.public.display()),
            Number::Started(_) => write!(f, "{}", self.id()),
        }
    }
}

/// The records of all generations of a pool among these names in `pid/`, oldest first. Other files,
/// and files that cannot be read, are skipped.
pub(super) fn recorded(pool: &Pool, files: &[OsString]) -> Vec<Generation> {
    let dir = pool.root.pid_dir();
    let read = |file: &OsString| {
        let (replica, number) = named(pool, file.to_str()?)?;
        read_record(&dir.join(file))?.derived(pool, replica, number)
    };
    let mut found: Vec<Generation> = files.iter().filter_map(read).collect();
    found.sort_by_key(|generation| (generation.replica, generation.number));
    found
}

/// Removes the record of a generation that has ended.
pub fn remove_record(pool: &Pool, ended: &Generation) -> Result<()> {
    let record = record_path(pool, ended.replica, ended.number);
    for path in ended.log().into_iter().chain([record]) {
        file::remove(&path)
            .map_err(|error| Error::failed(format!("cannot remove {}: {error}", path.display())))?;
    }
    failpoint::hit("a record removed");
    Ok(())
}

/// The replica and the generation in the name of a record's file: `www.1.g7.conf`.
fn named(pool: &Pool, file: &str) -> Option<(u32, Number)> {
    let name = file.strip_prefix(&pool.name)?.strip_prefix('.')?.strip_suffix(".conf")?;
    let (replica, number) = name.split_once(".g")?;
    let named = (replica.parse().ok()?, Number::from(number.parse::<u32>().ok()?));
    let is_canonical = format!("{}.g{}", named.0, named.1) == name;
    (is_canonical && pool.replicas().any(|it| it == named.0)).then_some(named)
}

fn read_record(path: &Path) -> Option<Generation> {
    record(&file::read(path).ok()?)
}

pub(super) fn record(text: &str) -> Option<Generation> {
    let line = text.lines().find_map(|line| line.strip_prefix(RECORD))?;
    serde_json::from_str(line).ok()
}

/// The file that starts a generation, and records it.
pub(super) fn record_path(pool: &Pool, replica: u32, number: Number) -> PathBuf {
    pool.root.pid_dir().join(format!("{}.{replica}.g{number}.conf", pool.name))
}

/// `php-fpm-www1.sock` -> `php-fpm-www1.g7.sock`
fn private_name(public: &Path, number: Number) -> PathBuf {
    let mut name = public.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".g{number}"));
    if let Some(extension) = public.extension() {
        name.push(".");
        name.push(extension);
    }
    public.with_file_name(name)
}

/// The generation's number in a private name.
pub(super) fn number_of(public: &Path, private: &Path) -> Option<Number> {
    let stem = public.file_stem()?.to_str()?;
    let number = private.file_name()?.to_str()?.strip_prefix(stem)?.strip_prefix(".g")?;
    let number = Number::from(number.split('.').next()?.parse::<u32>().ok()?);
    (private_name(public, number) == private).then_some(number)
}

/// Whether the private names of all generations fit with this public socket name.
pub fn has_room(public: &Path) -> bool {
    private_name(public, ROOM).as_os_str().len() <= socket::PATH_MAX
}

fn check_length(socket: &Path, spec: &Spec) -> Result<()> {
    let length = socket.as_os_str().len();
    if length <= socket::PATH_MAX {
        return Ok(());
    }
    Err(Error::config(format!(
        "the path of the socket {} would have {length} bytes, and the kernel takes {} at most",
        socket.display(),
        socket::PATH_MAX
    ))
    .hint(format!("shorten {}, or move the root to a shorter path", spec.server().described().1)))
}

#[cfg(test)]
pub(super) mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_names_are_siblings_of_the_public_one() {
        let private = |public: &str| private_name(Path::new(public), Number::Started(7));
        assert_eq!(private("/s/php-fpm-www1.sock"), Path::new("/s/php-fpm-www1.g7.sock"));
        assert_eq!(private("/s/www1"), Path::new("/s/www1.g7"));
        let number = |private: &str| number_of(Path::new("/s/www1.sock"), Path::new(private));
        assert_eq!(number("/s/www1.g12.sock"), Some(Number::Started(12)));
        let others = [
            "/s/www1.sock",
            "/s/www12.g1.sock",
            "/s/www1.g1",
            "/t/www1.g1.sock",
            "/s/www1.g01.sock",
        ];
        assert!(others.iter().all(|it| number(it).is_none()));
    }

    #[test]
    fn paths_in_a_record_are_not_trusted() {
        let recorded = Generation {
            replica: 1,
            number: Number::Started(7),
            public: "/s/www1.sock".into(),
            bound: "/etc/passwd".into(),
            socket: "/etc/passwd".into(),
            pid_file: "/r/pid/www.1.g7.pid".into(),
            public_pid: None,
            release: None,
            server: Server::sample(),
        };
        let pool = fuzz::pool_in("/r");
        let read =
            |replica, number| recorded.clone().derived(&pool, replica, Number::Started(number));
        let derived = read(1, 7).unwrap();
        assert_eq!(
            (derived.socket, derived.bound),
            ("/s/www1.g7.sock".into(), "/s/www1.g7.sock".into())
        );
        assert_eq!((read(2, 7), read(1, 8)), (None, None), "the file has another name");
        assert_eq!(recorded.derived(&fuzz::pool_in("/moved"), 1, Number::Started(7)), None);
        let names = [
            "www.1.g7.conf",
            "www.3.g7.conf",
            "www.1.1.g7.conf",
            "www.01.g7.conf",
            "web.1.g7.conf",
        ];
        let of = names.map(|name| named(&pool, name));
        assert_eq!(of, [Some((1, Number::Started(7))), None, None, None, None]);
    }

    #[test]
    fn too_long_socket_path_is_refused() {
        let spec = Spec::PhpFpm(fuzz::resolved());
        assert!(check_length(Path::new(&format!("/{}", "x".repeat(106))), &spec).is_ok());
        assert!(check_length(Path::new(&format!("/{}", "x".repeat(107))), &spec).is_err());
    }
}
