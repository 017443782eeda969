//! Control groups (cgroups(7)): a server that a command starts joins those of the supervisor.
//!
//! A process inherits the groups of the process that starts it. A server that a command in a login
//! session or in a CI job starts would end with that session, or have its limits, and the limits
//! of the supervisor's service would not apply to it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::lock;
use crate::root::Root;
use crate::service_manager::scope;

/// Where the kernel's hierarchies of groups are mounted.
const MOUNTED: &str = "/sys/fs/cgroup";

/// The groups of a process, one in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlGroups(Vec<Group>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// The controllers of a hierarchy of version 1; empty: version 2.
    controllers: String,
    path: String,
}

impl ControlGroups {
    /// The groups of a process.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(format!("/proc/{pid}/cgroup"))?))
    }

    /// The groups of the supervisor of a root, if one runs.
    pub fn of_supervisor(root: &Root) -> Option<Self> {
        let pid = lock::holder(&root.supervisor_lock())?.pid;
        Self::of(i32::try_from(pid).ok()?).ok()
    }

    /// Lines of `0::/path` for version 2, or `4:memory:/path` for version 1.
    fn parse(text: &str) -> Self {
        let groups = text.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1).map(str::to_owned);
            Some(Group { controllers: fields.next()?, path: fields.next()? })
        });
        Self(groups.collect())
    }

    /// The group that systemd has made for a login session. systemd may end all processes in this group at
    /// the end of the session.
    pub fn session(&self) -> Option<&str> {
        let is_session =
            |name: &str| name.strip_prefix("session-").is_some_and(|it| it.contains(".scope"));
        let paths = self.0.iter().map(|group| group.path.as_str());
        paths.into_iter().find(|path| path.split('/').any(is_session))
    }

    /// The systemd service that the groups belong to.
    pub fn service(&self) -> Option<&str> {
        self.units().find(|unit| unit.strip_suffix(".service").is_some())
    }

    /// Whether the groups are those of a generation's own scope.
    pub fn are_own_scope(&self) -> bool {
        self.units().any(scope::is_scope)
    }

    /// The longest path.
    pub fn innermost(&self) -> &str {
        let paths = self.0.iter().map(|group| group.path.as_str());
        paths.max_by_key(|path| path.len()).unwrap_or_default()
    }

    /// The names in the paths of the groups, the innermost first.
    fn units(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|group| group.path.rsplit('/'))
    }

    /// The first group that differs from that of `other`, and the other one.
    pub fn difference<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str)> {
        self.0.iter().find_map(|group| {
            let same = |it: &&Group| it.controllers == group.controllers;
            let theirs = other.0.iter().find(same)?;
            (theirs != group).then_some((group.path.as_str(), theirs.path.as_str()))
        })
    }

    /// Opens the files to which a process writes in order to join these groups. `own` are the groups of
    /// the process. Leaves out the groups that the process is in already, and those that it may not join.
    fn doors(&self, own: &Self) -> Vec<File> {
        let others = self.0.iter().filter(|group| !own.0.contains(group));
        others.filter_map(|group| group.door().ok()).collect()
    }
}

impl Group {
    fn door(&self) -> io::Result<File> {
        let mut tried = Err(io::ErrorKind::NotFound.into());
        for hierarchy in self.hierarchies() {
            let dir = Path::new(MOUNTED).join(hierarchy).join(self.path.trim_start_matches('/'));
            tried = OpenOptions::new().write(true).open(dir.join("cgroup.procs"));
            if tried.is_ok() {
                break;
            }
        }
        tried
    }

    /// The usual mount points of the hierarchy, below [`MOUNTED`].
    fn hierarchies(&self) -> Vec<PathBuf> {
        match self.controllers.as_str() {
            "" => vec!["".into(), "unified".into()],
            named => vec![named.strip_prefix("name=").unwrap_or(named).into()],
        }
    }
}

/// Makes a child join the groups of the supervisor before the exec. A child without the rights for that
/// stays in the groups of this process; `check` reports that.
#[allow(unsafe_code)]
pub fn join(launch: &mut tokio::process::Command, supervisor: &ControlGroups) {
    let own = i32::try_from(std::process::id()).map(ControlGroups::of);
    let Ok(Ok(own)) = own else { return };
    let doors = supervisor.doors(&own);
    if doors.is_empty() {
        return;
    }
    let join = move || {
        for door in &doors {
            // "0" is the process that writes.
            let _ = rustix::io::write(door, b"0");
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        launch.pre_exec(join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "2:cpu,cpuacct:/\n1:name=systemd:/user.slice/user-0.slice/session-3.scope\n0::/user.slice\n";

    #[test]
    fn group_of_a_login_session_is_found() {
        let path = "/user.slice/user-0.slice/session-3.scope";
        assert_eq!(ControlGroups::parse(SESSION).session(), Some(path));
        let service = "0::/system.slice/session-manager.service\n";
        assert_eq!(ControlGroups::parse(service).session(), None);
    }

    #[test]
    fn groups_are_compared_by_hierarchy() {
        let one = ControlGroups::parse("1:cpu:/a\n0::/b:c\n");
        assert_eq!(one.difference(&one), None);
        let other = ControlGroups::parse("0::/d\n1:cpu:/a\n");
        assert_eq!(one.difference(&other), Some(("/b:c", "/d")));
        assert_eq!(one.difference(&ControlGroups::parse("garbage\n")), None);
    }
}
