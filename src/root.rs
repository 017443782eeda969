//! The root: the directory that holds all other files.

use std::path::{Path, PathBuf};

/// The directory that holds `etc/ www/ pid/ sockets/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// `path` must be absolute: replicas outlive the manager's working directory.
    pub fn new(path: PathBuf) -> Self {
        debug_assert!(path.is_absolute());
        Self(path)
    }

    /// The root itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// An operator's path: relative ones are relative to the root.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    /// The directory that has one directory for each pool.
    pub fn pools_dir(&self) -> PathBuf {
        self.0.join("etc/php/fpm/redundant-pools")
    }

    /// The directory of locks, pid files and the records of generations.
    pub fn pid_dir(&self) -> PathBuf {
        self.0.join("pid")
    }

    /// The file whose lock the supervisor of the root holds. No pool has a file of that name.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.pid_dir().join("supervisor")
    }
}
