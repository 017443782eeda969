//! Where a new pool has its symlink and its mount point.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::pool;
use crate::root::Root;

/// The symlink to the release, and the directory on which it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `current_release_symlink`, absolute.
    pub symlink: PathBuf,
    /// `current_dir`, absolute.
    pub current_dir: PathBuf,
}

/// Directories of the root that are no place for releases.
const TAKEN: [&str; 4] = ["etc", "pid", "sockets", "bin"];

impl Layout {
    /// The layout of a new pool, in `dir` if it is given. Else a release in a directory `releases` gets the
    /// layout of Capistrano and Deployer. Else the layout is in `www`; if another pool uses that, in a
    /// directory with the name of the new pool.
    pub fn new(
        root: &Root,
        pool: &str,
        dir: Option<&Path>,
        release: Option<&Path>,
    ) -> Result<Self> {
        let releases = release.and_then(Path::parent);
        let app = releases.filter(|it| it.file_name() == Some("releases".as_ref()));
        let layout = match (dir, app.and_then(Path::parent)) {
            (Some(dir), _) => Self::beside(&root.resolve(dir)),
            (None, Some(app)) => {
                Self { symlink: app.join("current"), current_dir: app.join("pinned/current") }
            }
            (None, None) => {
                let usual = Self::beside(&root.resolve("www"));
                if usual.is_free(root) { usual } else { Self::beside(&root.resolve(pool)) }
            }
        };
        if let Some(taken) =
            TAKEN.into_iter().find(|it| layout.current_dir.starts_with(root.resolve(it)))
        {
            return Err(Error::config(format!("{taken}/ is no directory for releases"))
                .hint("name another directory of the root: --dir DIR"));
        }
        if layout.is_free(root) {
            return Ok(layout);
        }
        Err(Error::config(format!("another pool has {}", layout.current_dir.display()))
            .hint("name a directory for this pool: --dir DIR"))
    }

    /// The layout with the releases beside each other in a directory.
    fn beside(dir: &Path) -> Self {
        Self { symlink: dir.join("current.release"), current_dir: dir.join("current") }
    }

    /// Whether no pool that can be read has these paths.
    fn is_free(&self, root: &Root) -> bool {
        let names = pool::names(root).unwrap_or_default();
        !names.iter().filter_map(|name| pool::load(root, name).ok()).any(|pool| {
            let pinning = pool.settings.pinning.as_ref();
            pinning
                .is_some_and(|it| it.symlink == self.symlink || it.current_dir == self.current_dir)
        })
    }
}

/// A path as it is written into a configuration: a path below the root is relative to the root.
pub(super) fn written(root: &Root, path: &Path) -> String {
    path.strip_prefix(root.path()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_follows_the_release() {
        let root = Root::new("/srv/no-such-root".into());
        let layout = |pool, dir: Option<&str>, release: Option<&str>| {
            let layout = Layout::new(&root, pool, dir.map(Path::new), release.map(Path::new))?;
            Ok::<_, Error>([layout.symlink, layout.current_dir].map(|it| written(&root, &it)))
        };
        let own = ["www/current.release", "www/current"];
        assert_eq!(layout("shop", None, None).unwrap(), own);
        assert_eq!(layout("shop", None, Some("/srv/app/v1")).unwrap(), own);
        let app = ["/srv/app/current", "/srv/app/pinned/current"];
        assert_eq!(layout("shop", None, Some("/srv/app/releases/1")).unwrap(), app);
        let dir = ["shop/current.release", "shop/current"];
        assert_eq!(layout("shop", Some("shop"), Some("/srv/app/releases/1")).unwrap(), dir);
        assert!(layout("shop", Some("etc/x"), None).is_err());
    }
}
