//! Starts a master, pinned to its release in a private mount namespace.
//!
//! Root unshares a mount namespace. An ordinary user unshares a user
//! namespace with it, in which he is himself and may mount; the mount must
//! come before the exec, which takes the capabilities away again.

use std::ffi::CString;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};

use super::resolved::{complaints, in_memory};
use super::{Command, Generation};
use crate::error::{Error, Result};
use crate::pool::Pool;

/// Starts the master of `generation` with the file `conf`, and returns when
/// php-fpm says that it is up: its first process exits when the master that
/// it leaves behind listens.
pub async fn start(
    pool: &Pool,
    command: &Command,
    generation: &Generation,
    conf: &Path,
    timeout: Duration,
) -> Result<()> {
    let mut said = in_memory("").map_err(|error| Error::failed(format!("memfd: {error}")))?;
    let stderr = said.try_clone().map_err(|error| Error::failed(format!("memfd: {error}")))?;
    let mut launch = tokio::process::Command::new(&command.program);
    launch
        .args(&command.args)
        .arg("--fpm-config")
        .arg(conf)
        .current_dir(pool.root.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        // A Ctrl-C on the terminal is for us: php-fpm must not see it.
        .process_group(0)
        .kill_on_drop(true);
    if let (Some(release), Some((_, current_dir))) =
        (&generation.release, &pool.settings.php.pinning)
    {
        pin(&mut launch, &release.path, current_dir)?;
    }
    let status = match launch.spawn() {
        Ok(mut child) => tokio::time::timeout(timeout, child.wait()).await,
        Err(error) => Ok(Err(error)),
    };
    let mut text = String::new();
    let _ = said.rewind().and_then(|()| said.read_to_string(&mut text));
    verdict(command, generation, status, timeout, &text)
}

fn verdict(
    command: &Command,
    generation: &Generation,
    status: std::result::Result<io::Result<ExitStatus>, tokio::time::error::Elapsed>,
    timeout: Duration,
    said: &str,
) -> Result<()> {
    let program = &command.program;
    let what = match status {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => format!("{generation} did not start: php-fpm ended with {status}"),
        Ok(Err(error)) => format!("{generation} did not start: cannot run {program}: {error}"),
        Err(_) => format!("{generation} did not start: php-fpm was not up after {timeout:?}"),
    };
    let said = complaints(said);
    Err(Error::failed(if said.is_empty() { what } else { format!("{what}\n{said}") }))
}

/// Makes the child mount `release` on `current_dir`, for itself only, before it execs.
#[allow(unsafe_code)]
fn pin(launch: &mut tokio::process::Command, release: &Path, current_dir: &Path) -> Result<()> {
    let pin = Pin {
        release: c_string(release)?,
        current_dir: c_string(current_dir)?,
        user: (!nix::unistd::geteuid().is_root()).then(|| {
            let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
            (format!("{uid} {uid} 1"), format!("{gid} {gid} 1"))
        }),
    };
    // SAFETY: between fork and exec only system calls are made: no allocation,
    // no lock, nothing that another thread of the manager could hold.
    unsafe {
        launch.pre_exec(move || pin.mount());
    }
    Ok(())
}

fn c_string(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::config(format!("the path {} holds a zero byte", path.display())))
}

struct Pin {
    release: CString,
    current_dir: CString,
    /// The lines of `uid_map` and `gid_map`; None for root.
    user: Option<(String, String)>,
}

impl Pin {
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
        // Slave: our mount stays ours, but what the host unmounts later goes
        // here too, instead of being kept busy by a php-fpm that never saw it.
        let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        step("make the mounts private", bind(None, c"/", slave))?;
        let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
        step("mount the release", bind(Some(&self.release), &self.current_dir, recursive))
    }
}

fn bind(from: Option<&std::ffi::CStr>, to: &std::ffi::CStr, flags: MsFlags) -> nix::Result<()> {
    mount(from, to, None::<&std::ffi::CStr>, flags, None::<&std::ffi::CStr>)
}

fn put(path: &std::ffi::CStr, text: &str) -> nix::Result<()> {
    let errno = |error: rustix::io::Errno| nix::Error::from_raw(error.raw_os_error());
    let file = rustix::fs::open(path, OFlags::WRONLY, Mode::empty()).map_err(errno)?;
    rustix::io::write(&file, text.as_bytes()).map_err(errno)?;
    Ok(())
}

/// The parent gets to know the errno only: which step failed goes to what
/// will be php-fpm's stderr.
fn step(what: &str, result: nix::Result<()>) -> io::Result<()> {
    result.map_err(|errno| {
        let stderr = rustix::stdio::stderr();
        for part in ["ERROR: cannot ", what, "\n"] {
            let _ = rustix::io::write(stderr, part.as_bytes());
        }
        errno.into()
    })
}
