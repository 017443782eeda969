//! The account that runs PHP, and the directories that it may not enter.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, open};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::file;

/// The page that most sites have. If it exists, it must be readable.
const FRONT_PAGE: &str = "index.php";

/// The account that runs PHP: the section's `user` if root starts php-fpm, else the user who starts
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub(crate) name: String,
    /// None: those of the user who runs this process.
    ids: Option<(Uid, Gid, Vec<Gid>)>,
}

/// A path that an account has no access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// A directory that it may not enter.
    Enter(PathBuf),
    /// A file that it may not read.
    Read(PathBuf),
}

impl Account {
    /// The account of the user who runs this process.
    pub(crate) fn own() -> Self {
        let uid = Uid::effective();
        let name = User::from_uid(uid).ok().flatten().map_or(uid.to_string(), |user| user.name);
        Self { name, ids: None }
    }

    /// The account with this name or number, with the groups that php-fpm gives to it. None: there is
    /// no such account. Only a php-fpm of root changes its user. So if this process is not root's, this is
    /// [`Self::own`].
    pub(crate) fn named(user: &str, group: Option<&str>) -> Option<Self> {
        if !Uid::effective().is_root() {
            return Some(Self::own());
        }
        let found = match user.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)).ok()?,
            Err(_) => User::from_name(user).ok()?,
        }?;
        let gid = match group.map(|group| (group, group.parse())) {
            None => found.gid,
            Some((_, Ok(number))) => Gid::from_raw(number),
            Some((name, Err(_))) => Group::from_name(name).ok()??.gid,
        };
        let groups = getgrouplist(&CString::new(found.name.as_str()).ok()?, gid).ok()?;
        Some(Self { name: found.name, ids: Some((found.uid, gid, groups)) })
    }

    /// Its user, group and supplementary groups; None: those of the user who runs this process.
    pub(crate) fn ids(&self) -> Option<(u32, u32, Vec<u32>)> {
        let (uid, gid, groups) = self.ids.as_ref()?;
        Some((uid.as_raw(), gid.as_raw(), groups.iter().map(|it| it.as_raw()).collect()))
    }

    /// The first directory that the account may not enter on the way through `mount_point` into the
    /// release that is mounted there; or the front page of the release, if the account may not read
    /// the page. A thread takes the ids of the account and asks the kernel, so that access control
    /// lists count too.
    pub(crate) fn barrier(&self, mount_point: &Path, release: &Path) -> Option<Barrier> {
        // Opened with the ids of this process: the account does not pass the directories above the release.
        let opened = open(release, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).ok()?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| match self.take_ids() {
                Ok(()) => closed_dir(mount_point)
                    .map(Barrier::Enter)
                    .or_else(|| closed_release(&opened, release)),
                Err(_) => None, // root in a container may lack the right; then the answer is unknown
            });
            thread.join().ok().flatten()
        })
    }

    /// Whether the account can append to a file, or create the file: see [`file::can_append`].
    pub(crate) fn can_append(&self, path: &Path) -> io::Result<()> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| match self.take_ids() {
                Ok(()) => file::can_append(path),
                Err(_) => Ok(()), // the answer is unknown, as above
            });
            thread.join().unwrap_or(Ok(()))
        })
    }

    /// The first directory on the way to `path` that the account may not enter; or `path` itself, if the
    /// account does not have `access` to it. None: the account has access, the path does not exist, or the
    /// answer is unknown.
    pub(crate) fn denied(&self, path: &Path, access: Access) -> Option<PathBuf> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| match self.take_ids() {
                Ok(()) => {
                    closed_dir(path).or_else(|| is_shut(CWD, path, access).then(|| path.to_owned()))
                }
                Err(_) => None, // as above
            });
            thread.join().ok().flatten()
        })
    }

    /// Gives the calling thread, and only this thread, the ids of the account until it ends.
    fn take_ids(&self) -> Result<(), Errno> {
        let Some((uid, gid, groups)) = &self.ids else { return Ok(()) };
        let raw = |gid: &Gid| rustix::fs::Gid::from_raw(gid.as_raw());
        set_thread_groups(&groups.iter().map(raw).collect::<Vec<_>>())?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid.as_raw()), raw(gid));
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    }
}

/// Checks the directories above the mount point. The mounted release hides the mount point's own
/// mode.
fn closed_dir(mount_point: &Path) -> Option<PathBuf> {
    let mut dirs: Vec<&Path> = mount_point.ancestors().skip(1).collect();
    dirs.reverse();
    let closed = dirs.into_iter().find(|dir| is_shut(CWD, dir, Access::EXEC_OK));
    closed.map(Path::to_owned)
}

/// Checks the release itself. It need not have a front page.
fn closed_release(opened: &OwnedFd, release: &Path) -> Option<Barrier> {
    if is_shut(opened.as_fd(), Path::new("."), Access::EXEC_OK) {
        return Some(Barrier::Enter(release.to_owned()));
    }
    let page = Path::new(FRONT_PAGE);
    let is_unreadable = is_shut(opened.as_fd(), page, Access::READ_OK);
    is_unreadable.then(|| Barrier::Read(release.join(page)))
}

/// Whether access is denied; false if the path does not exist.
fn is_shut(dir: BorrowedFd<'_>, path: &Path, access: Access) -> bool {
    accessat(dir, path, access, AtFlags::empty()) == Err(Errno::ACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn first_barrier_is_found() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let [above, hidden] = ["above", "hidden"].map(|name| dir.path().join(name));
        let (mount_point, release) = (above.join("current"), hidden.join("release"));
        let page = release.join("index.php");
        fs::create_dir_all(&mount_point).unwrap();
        fs::create_dir_all(&release).unwrap();
        fs::write(&page, "").unwrap();
        set_mode(dir.path(), 0o755);
        set_mode(&above, 0o755);
        set_mode(&release, 0o755);
        set_mode(&page, 0o644);
        // If root runs the test, the account `nobody` is checked; else the account of the user who runs it.
        let account = Account::named("nobody", None).unwrap();
        let found = || account.barrier(&mount_point, &release);
        assert_eq!(found(), None);
        set_mode(&mount_point, 0);
        assert_eq!(found(), None);
        set_mode(&page, 0);
        assert_eq!(found(), Some(Barrier::Read(page.clone())));
        set_mode(&release, 0o600);
        assert_eq!(found(), Some(Barrier::Enter(release.clone())));
        set_mode(&above, 0o600);
        assert_eq!(found(), Some(Barrier::Enter(above.clone())));
        for dir in [&above, &mount_point, &release] {
            set_mode(dir, 0o755);
        }
    }

    #[test]
    fn directories_above_the_release_do_not_matter() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let (hidden, release) = (dir.path().join("hidden"), dir.path().join("hidden/release"));
        fs::create_dir_all(&release).unwrap();
        set_mode(dir.path(), 0o755);
        set_mode(&release, 0o755);
        if Uid::effective().is_root() {
            set_mode(&hidden, 0o700);
        }
        let account = Account::named("nobody", None).unwrap();
        assert_eq!(account.barrier(&dir.path().join("current"), &release), None);
    }

    #[test]
    fn ids_of_other_threads_do_not_change() {
        let before = (Uid::effective(), Gid::effective());
        Account::named("nobody", None).unwrap().barrier(Path::new("/a"), Path::new("/"));
        assert_eq!((Uid::effective(), Gid::effective()), before);
        assert_eq!(Account::named("no-such-user", None).is_none(), before.0.is_root());
    }
}
