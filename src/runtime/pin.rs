//! Pins a process to a release, in its own mount namespace.
//!
//! Root unshares a mount namespace. An ordinary user also unshares a user namespace, in which the
//! process keeps its user id and may mount. The mount must come before the exec, which drops the
//! capabilities again.
//!
//! Where the other releases can be told apart from other files, they are hidden: see [`view`].

mod later;
mod view;

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};

use crate::error::{self, Error};
use crate::pool::{Pinning, Pool};
use crate::release::Release;
pub(super) use later::add_name;
use view::View;

/// Makes a child mount the release on `current_dir`, for itself only, before the exec, and hide the
/// other releases. Changes nothing without a release, or if the pool does not pin.
#[allow(unsafe_code)]
pub(in crate::runtime) fn pin(
    launch: &mut tokio::process::Command,
    pool: &Pool,
    release: Option<&Release>,
) -> error::Result<()> {
    let (Some(release), Some(pinning)) = (release, &pool.settings.pinning) else {
        return Ok(());
    };
    let pin = Pin::new(pool, pinning, release)?;
    // SAFETY: between fork and exec only system calls are made: no allocation,
    // no lock, nothing that another thread of this process could hold.
    unsafe {
        launch.pre_exec(move || pin.mount());
    }
    Ok(())
}

/// The help for a failed pin.
pub(in crate::runtime) const PIN_HINT: &str = "root needs CAP_SYS_ADMIN to mount a release for a process alone; an ordinary user needs user namespaces (see the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone, AppArmor's restriction of them, and the seccomp profile of a container)";

fn c_string(path: &Path) -> error::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::config(format!("the path {} holds a zero byte", path.display())))
}

struct Pin {
    release: CString,
    current_dir: CString,
    /// The lines of `uid_map` and `gid_map`; None for root.
    user: Option<(String, String)>,
    /// None: the other releases are not hidden.
    view: Option<View>,
}

impl Pin {
    fn new(pool: &Pool, pinning: &Pinning, release: &Release) -> error::Result<Self> {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let siblings = pinning.siblings(release)?;
        Ok(Self {
            release: c_string(&release.path)?,
            current_dir: c_string(&pinning.current_dir)?,
            user: (!uid.is_root()).then(|| (format!("{uid} {uid} 1"), format!("{gid} {gid} 1"))),
            view: siblings.map(|it| View::new(&it, pool.root.path())).transpose()?,
        })
    }

    fn mount(&self) -> io::Result<()> {
        match &self.user {
            None => step("unshare the mount namespace", unshare(CloneFlags::CLONE_NEWNS))?,
            Some((uid_map, gid_map)) => {
                let both = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
                step("unshare a user namespace", unshare(both))?;
                step("write /proc/self/setgroups", put(c"/proc/self/setgroups", "deny"))?;
                step("write /proc/self/uid_map", put(c"/proc/self/uid_map", uid_map))?;
                step("write /proc/self/gid_map", put(c"/proc/self/gid_map", gid_map))?;
            }
        }
        // Slave: the pin stays in this namespace, but a later unmount of the host also happens
        // here. Else php-fpm would keep that mount busy.
        let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        step("make the mounts private", bind(None, c"/", slave))?;
        if let Some(view) = &self.view {
            view.mount()?;
        }
        let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
        step("mount the release", bind(Some(&self.release), &self.current_dir, recursive))
    }
}

fn bind(from: Option<&std::ffi::CStr>, to: &std::ffi::CStr, flags: MsFlags) -> nix::Result<()> {
    mount(from, to, None::<&std::ffi::CStr>, flags, None::<&std::ffi::CStr>)
}

fn put(path: &std::ffi::CStr, text: &str) -> rustix::io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// The parent gets only the errno, so the name of the failed step is written to the child's stderr.
fn step<T, E: Into<io::Error>>(what: &str, result: Result<T, E>) -> io::Result<T> {
    result.map_err(|errno| {
        let stderr = rustix::stdio::stderr();
        for part in ["ERROR: cannot ", what, "\n"] {
            let _ = rustix::io::write(stderr, part.as_bytes());
        }
        errno.into()
    })
}
