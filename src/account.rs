//! The account that runs PHP, and what it may do.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, open};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// What most sites have, and has to be readable where they have it.
const FRONT_PAGE: &str = "index.php";

/// The account that runs PHP: that of the section's `user` where root starts php-fpm, else
/// whoever starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub(crate) name: String,
    /// None: whoever runs this.
    ids: Option<(Uid, Gid, Vec<Gid>)>,
}

/// Where an account is shut out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// A directory that it may not enter.
    Enter(PathBuf),
    /// A file that it may not read.
    Read(PathBuf),
}

impl Account {
    /// Whoever runs this.
    pub(crate) fn own() -> Self {
        let uid = Uid::effective();
        let name = User::from_uid(uid).ok().flatten().map_or(uid.to_string(), |user| user.name);
        Self { name, ids: None }
    }

    /// The account with this name or number, and its groups as php-fpm gives it; None where there
    /// is no such account. Only root's php-fpm becomes somebody else.
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

    /// The first directory that it may not enter on the way through `mount_point` into the
    /// release that is mounted there, or the release's front page, if it may not read that. Asked
    /// of the kernel, by a thread that is this account for as long: so access control lists count
    /// as well.
    pub(crate) fn barrier(&self, mount_point: &Path, release: &Path) -> Option<Barrier> {
        // Held open, because the directories above the release itself are not on the way.
        let opened = open(release, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).ok()?;
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| match self.become_it() {
                Ok(()) => closed_dir(mount_point).or_else(|| closed_release(&opened, release)),
                Err(_) => None, // a container's root may not; then it cannot be told
            });
            asked.join().ok().flatten()
        })
    }

    /// Turns the calling thread, and no other one, into this account for good.
    fn become_it(&self) -> Result<(), Errno> {
        let Some((uid, gid, groups)) = &self.ids else { return Ok(()) };
        let raw = |gid: &Gid| rustix::fs::Gid::from_raw(gid.as_raw());
        set_thread_groups(&groups.iter().map(raw).collect::<Vec<_>>())?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid.as_raw()), raw(gid));
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    }
}

/// The directories above the mount point; what is mounted there hides its own mode.
fn closed_dir(mount_point: &Path) -> Option<Barrier> {
    let mut dirs: Vec<&Path> = mount_point.ancestors().skip(1).collect();
    dirs.reverse();
    let closed = dirs.into_iter().find(|dir| is_shut(CWD, dir, Access::EXEC_OK))?;
    Some(Barrier::Enter(closed.to_owned()))
}

/// A release without a front page may be as good as any.
fn closed_release(opened: &OwnedFd, release: &Path) -> Option<Barrier> {
    if is_shut(opened.as_fd(), Path::new("."), Access::EXEC_OK) {
        return Some(Barrier::Enter(release.to_owned()));
    }
    let page = Path::new(FRONT_PAGE);
    let is_unreadable = is_shut(opened.as_fd(), page, Access::READ_OK);
    is_unreadable.then(|| Barrier::Read(release.join(page)))
}

/// That something is not there is another matter.
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
    fn the_first_barrier_is_named() {
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
        // Root may ask for others; everybody else is kept out by what he has closed for himself.
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
    fn the_way_to_the_release_itself_does_not_matter() {
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
    fn only_the_thread_that_asks_becomes_somebody_else() {
        let before = (Uid::effective(), Gid::effective());
        Account::named("nobody", None).unwrap().barrier(Path::new("/a"), Path::new("/"));
        assert_eq!((Uid::effective(), Gid::effective()), before);
        assert_eq!(Account::named("no-such-user", None).is_none(), before.0.is_root());
    }
}
