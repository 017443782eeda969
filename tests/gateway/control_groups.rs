//! A replica that a command starts is in the control groups of the supervisor.

use std::fs;
use std::path::{Path, PathBuf};

use harness::needs_root;
use harness::served::Served;

use super::supervisor::{await_release, site};

/// A control group that ends with the test.
struct Group(PathBuf);

impl Group {
    /// In the hierarchy of version 2, or in that of a controller of version 1.
    fn new() -> Self {
        let name = format!("pools-manager-test-{}", std::process::id());
        let hierarchies =
            ["", "unified", "pids", "systemd"].map(|it| Path::new("/sys/fs/cgroup").join(it));
        let mut hierarchies = hierarchies.iter().filter(|it| it.join("cgroup.procs").exists());
        let dir =
            hierarchies.find_map(|it| fs::create_dir(it.join(&name)).ok().map(|()| it.join(&name)));
        Self(dir.expect("root may create a control group"))
    }

    fn name(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Processes that are still in it: the kernel moves none by itself.
        let parent = self.0.parent().unwrap().join("cgroup.procs");
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(&parent, pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// Whether all masters are in a group.
fn all_in(served: &Served, group: &Group) -> bool {
    served.site.masters().iter().all(|master| {
        let groups = fs::read_to_string(format!("/proc/{master}/cgroup")).unwrap();
        groups.lines().any(|line| line.ends_with(&format!("/{}", group.name())))
    })
}

#[test]
fn replica_of_a_command_joins_the_control_groups_of_the_supervisor() {
    needs_root!();
    let group = Group::new();
    let script = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", group.0.display());
    let served = Served::serve_through(site("", ""), "sh", &["-c", &script, "sh"]);
    await_release(&served, "release1");
    assert!(all_in(&served, &group));
    served.site.run(&["restart"]).succeeds();
    assert!(all_in(&served, &group));
    let replicas = || {
        let ran = served.site.run(&["check", "--json"]);
        ran.stdout.contains("runs in the control group")
    };
    assert!(!replicas());
    // A replica that was started without the supervisor.
    let master = served.site.master(1);
    fs::write(group.0.parent().unwrap().join("cgroup.procs"), master.to_string()).unwrap();
    assert!(replicas());
}
