//! Pools and replicas: plain data, and where their files are.

use std::path::{Path, PathBuf};

use crate::config::{self, Settings};

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

    /// Where every pool has a directory of its own.
    pub fn pools_dir(&self) -> PathBuf {
        self.0.join("etc/php/fpm/redundant-pools")
    }

    /// Where locks and the records of generations are.
    pub fn pid_dir(&self) -> PathBuf {
        self.0.join("pid")
    }
}

/// One application: a directory with `pools-manager.toml` and `1.conf`, `2.conf`, ...
#[derive(Debug, Clone)]
pub struct Pool {
    /// The name of its directory.
    pub name: String,
    /// The root that it belongs to.
    pub root: Root,
    /// How many replicas it has: `1.conf` to `N.conf` without a gap.
    pub replica_count: u32,
    /// What its `pools-manager.toml` says.
    pub settings: Settings,
}

impl Pool {
    /// The numbers of its replicas, from 1.
    pub fn replicas(&self) -> impl Iterator<Item = u32> + use<> {
        1..=self.replica_count
    }

    /// What its operator has told us about it.
    pub fn settings_file(&self) -> PathBuf {
        self.dir().join(config::FILE_NAME)
    }

    /// The php-fpm configuration of one replica, as its operator wrote it.
    pub fn replica_conf(&self, replica: u32) -> PathBuf {
        self.dir().join(format!("{replica}.conf"))
    }

    fn dir(&self) -> PathBuf {
        self.root.pools_dir().join(&self.name)
    }

    /// The file whose lock makes its holder the only one that changes the pool.
    pub fn lock_file(&self) -> PathBuf {
        self.root.pid_dir().join(format!("{}.lock", self.name))
    }
}
