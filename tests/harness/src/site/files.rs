//! The content of `pid/` and `sockets/`, for comparison before and after a command.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Site;

/// The target of each symlink; inode, time and content of each other file.
pub type Files = BTreeMap<PathBuf, String>;

impl Site {
    /// All files that the manager and its replicas keep. Not the logs; and not the locks and the
    /// history, which every command changes.
    pub fn files(&self) -> Files {
        // A directory that a test has taken away has no files.
        let entries = ["pid", "sockets"].into_iter().flat_map(|dir| fs::read_dir(self.path(dir)));
        let paths = entries.flatten().map(|entry| entry.unwrap().path());
        paths.filter(|path| !is_passed_over(path)).map(|path| (path.clone(), of(&path))).collect()
    }

    /// The files in `sockets/`.
    pub fn sockets(&self) -> Files {
        let mut files = self.files();
        files.retain(|path, _| path.starts_with(self.path("sockets")));
        files
    }

    /// The names of all [`Self::files`].
    pub fn file_names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.strip_prefix(self.root()).unwrap().display().to_string();
        self.files().keys().map(name).collect()
    }
}

fn is_passed_over(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["log", "lock", "json"].iter().any(|passed| extension == *passed)
        || path.ends_with("apache2.pid")
        || path.ends_with("pools-manager.sock")
        || path.ends_with("haproxy.sock")
}

fn of(path: &Path) -> String {
    let metadata = fs::symlink_metadata(path).unwrap();
    if metadata.is_symlink() {
        return format!("-> {}", fs::read_link(path).unwrap().display());
    }
    // A read of a FIFO would wait for a writer.
    let text = if metadata.is_file() {
        fs::read_to_string(path).unwrap_or_default()
    } else {
        String::new()
    };
    format!(
        "inode {}, changed at {}.{}: {text}",
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec()
    )
}
