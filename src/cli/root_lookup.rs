//! Finds the root of a command.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::error::{Error, Result};
use crate::root::Root;
use crate::trust;

/// The root of the Debian package. Its `etc` is a symlink to `/etc/pools-manager`.
const PACKAGE_ROOT: &str = "/var/lib/pools-manager";

/// The root, absolute and without symlinks: replicas outlive the working directory of a command, and
/// the kernel lists their sockets by the path that they were bound to.
///
/// `named`: from `--root` or `POOLS_MANAGER_ROOT`. Without it, the root is the nearest directory with
/// pools, from the working directory upwards; else the one of the package.
///
/// # Errors
///
/// There is no root; or another user can change the root above the working directory, and may have placed
/// it there for this command to find.
pub(super) fn root(named: Option<PathBuf>) -> Result<Root> {
    match named {
        Some(path) => at(&path),
        None => find(&working_dir()?, Path::new(PACKAGE_ROOT)),
    }
}

/// The root of a new pool: the root that [`root`] finds. If there is none, or if there is only the root of
/// the package and this user cannot create a pool in it, the working directory becomes a root.
pub(super) fn root_of_new_pool(named: Option<PathBuf>) -> Result<Root> {
    match named {
        Some(path) => at(&path),
        None => find_or_begin(&working_dir()?, Path::new(PACKAGE_ROOT)),
    }
}

fn find_or_begin(from: &Path, package_root: &Path) -> Result<Root> {
    if let Some(root) = find_above(from)? {
        return Ok(root);
    }
    let package = find_package(package_root);
    let is_writable =
        |root: &Root| access(root.pools_dir(), Access::WRITE_OK | Access::EXEC_OK).is_ok();
    Ok(package.filter(is_writable).unwrap_or_else(|| Root::new(from.to_owned())))
}

fn working_dir() -> Result<PathBuf> {
    env::current_dir().map_err(|error| {
        Error::config(format!("the working directory: {error}"))
            .hint("change to another directory, or name the root with --root or POOLS_MANAGER_ROOT")
    })
}

/// A root that is named, whether it has pools or not.
fn at(path: &Path) -> Result<Root> {
    canonical(path).map_err(|error| {
        error.hint("the root holds etc/, pid/ and sockets/: correct --root or POOLS_MANAGER_ROOT")
    })
}

fn canonical(path: &Path) -> Result<Root> {
    let canonical = fs::canonicalize(path);
    canonical
        .map(Root::new)
        .map_err(|error| Error::config(format!("the root {}: {error}", path.display())))
}

/// `from`: the working directory, absolute and without symlinks.
fn find(from: &Path, package_root: &Path) -> Result<Root> {
    if let Some(root) = find_above(from)? {
        return Ok(root);
    }
    find_package(package_root).ok_or_else(|| {
        Error::config(format!(
            "there is no root: {} has no etc/php/fpm/redundant-pools, nor has a directory above it, nor has {}",
            from.display(),
            package_root.display()
        ))
        .hint("run the command in the root, or name it with --root or POOLS_MANAGER_ROOT")
    })
}

/// The nearest root from a directory upwards.
fn find_above(from: &Path) -> Result<Option<Root>> {
    let above = from.ancestors().map(|path| Root::new(path.to_owned())).find(has_pools);
    // A root that is the working directory itself is not checked here: a command that changes something checks
    // it later, and a command that only reads works in any root.
    if let Some(root) = above.as_ref().filter(|root| root.path() != from) {
        require_trusted(root, from)?;
    }
    Ok(above)
}

fn find_package(path: &Path) -> Option<Root> {
    canonical(path).ok().filter(has_pools)
}

/// Whether this is the root of the Debian package, whose unit runs `serve`.
pub(super) fn is_of_package(root: &Root) -> bool {
    canonical(Path::new(PACKAGE_ROOT)).is_ok_and(|package| package.path() == root.path())
}

fn has_pools(root: &Root) -> bool {
    root.pools_dir().is_dir()
}

fn require_trusted(root: &Root, from: &Path) -> Result<()> {
    let Err(problem) = trust::require(trust::of_root(root)) else { return Ok(()) };
    let path = root.path().display();
    let message = format!(
        "the root {path}, found above {}, is not safe: {}",
        from.display(),
        problem.message
    );
    let hint = problem.hint.unwrap_or_default();
    Err(Error::config(message)
        .hint(format!("{hint}; or name the root that you mean: --root {path}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const POOLS: &str = "etc/php/fpm/redundant-pools";

    /// A directory without pools on the way up, and one with them in place of the package's.
    fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let (from, package) = (top.join("site/www/release1"), top.join("package"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(package.join(POOLS)).unwrap();
        (dir, from, package)
    }

    fn add_pools(root: &Path) {
        fs::create_dir_all(root.join(POOLS)).unwrap();
    }

    #[test]
    fn nearest_directory_with_pools_is_the_root() {
        let (_dir, from, package) = places();
        assert_eq!(find(&from, &package).unwrap().path(), package);
        let outer = from.ancestors().nth(2).unwrap();
        add_pools(outer);
        assert_eq!(find(&from, &package).unwrap().path(), outer);
        assert_eq!(find(outer, &package).unwrap().path(), outer);
        let inner = from.parent().unwrap();
        add_pools(inner);
        assert_eq!(find(&from, &package).unwrap().path(), inner);
    }

    #[test]
    fn file_in_place_of_the_pools_is_no_root() {
        let (_dir, from, package) = places();
        let above = from.parent().unwrap().join(POOLS);
        fs::create_dir_all(above.parent().unwrap()).unwrap();
        fs::write(&above, "").unwrap();
        assert_eq!(find(&from, &package).unwrap().path(), package);
    }

    #[test]
    fn package_is_found_through_symlinks() {
        let (_dir, from, package) = places();
        let link = package.parent().unwrap().join("link");
        std::os::unix::fs::symlink(&package, &link).unwrap();
        assert_eq!(find(&from, &link).unwrap().path(), package);
    }

    #[test]
    fn new_pool_goes_to_the_root_that_is_there() {
        let (_dir, from, package) = places();
        assert_eq!(find_or_begin(&from, &package).unwrap().path(), package);
        assert_eq!(find_or_begin(&from, &package.join("absent")).unwrap().path(), from);
        let outer = from.ancestors().nth(2).unwrap();
        add_pools(outer);
        assert_eq!(find_or_begin(&from, &package).unwrap().path(), outer);
    }

    #[test]
    fn error_names_all_places() {
        let (_dir, from, package) = places();
        let absent = package.join("absent");
        let error = find(&from, &absent).unwrap_err();
        let (from, absent) = (from.display(), absent.display());
        let message = format!(
            "there is no root: {from} has no {POOLS}, nor has a directory above it, nor has {absent}"
        );
        assert_eq!(error.message, message);
    }

    #[test]
    fn root_above_that_others_can_change_is_refused() {
        let (_dir, from, package) = places();
        let root = from.parent().unwrap().parent().unwrap();
        add_pools(root);
        for place in [root.to_owned(), root.join("etc"), root.join(POOLS)] {
            for mode in [0o777, 0o1777, 0o757] {
                fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
                let error = find(&from, &package).unwrap_err();
                let start = format!(
                    "the root {}, found above {}, is not safe: {} can be written by every user",
                    root.display(),
                    from.display(),
                    place.display()
                );
                assert!(error.message.starts_with(&start), "{error}");
                let end = format!("; or name the root that you mean: --root {}", root.display());
                assert!(error.hint.unwrap().ends_with(&end));
                assert!(find(root, &package).is_ok());
            }
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(find(&from, &package).unwrap().path(), root);
    }
}
