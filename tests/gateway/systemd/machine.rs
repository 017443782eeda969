//! A systemd that is pid 1 of its own namespaces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use harness::{Program, Ran, Site, wait_for};

/// The arguments are the control group, the root of the site, and the directory of the programs. The
/// booted machine can write only to the last two of this machine's file systems: at boot, systemd removes
/// old files.
const BOOT: &str = r#"
    set -eu
    echo $$ >"$1/cgroup.procs"
    exec unshare --cgroup sh -euc '
        mount -n --make-rprivate /
        mount -n --bind "$1" /mnt
        mount -n --bind "$2" /media
        mount -n -o remount,bind,ro /
        mount -n -t tmpfs -o mode=1777 tmpfs /tmp
        mkdir -p "$1" "$2"
        mount -n --move /mnt "$1"
        mount -n --move /media "$2"
        mount -n -t proc proc /proc
        mount -n -t cgroup2 cgroup2 /sys/fs/cgroup
        for dir in /run /dev /var /etc/systemd/system; do
            mount -n -t tmpfs -o mode=755 tmpfs "$dir"
        done
        mkdir /dev/pts /dev/shm /var/lib /var/log /var/tmp
        ln -s /run /var/run
        mknod -m 666 /dev/null c 1 3
        mknod -m 666 /dev/zero c 1 5
        mknod -m 666 /dev/random c 1 8
        mknod -m 666 /dev/urandom c 1 9
        for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service; do
            ln -s /dev/null "/etc/systemd/system/$unit"
        done
        exec env -i container=test PATH="$PATH" \
            /lib/systemd/systemd --unit=basic.target --show-status=no --log-target=null
    ' sh "$2" "$3"
"#;

/// The machine ends with the test.
pub(super) struct Machine {
    /// The parent of systemd.
    unshare: Child,
    systemd: u32,
    group: PathBuf,
}

impl Machine {
    /// Boots a machine for a site.
    pub(super) fn boot(site: &Site) -> Self {
        static BOOTED: AtomicU32 = AtomicU32::new(0);
        let number = BOOTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("pools-manager-machine-{}-{number}", std::process::id());
        let hierarchies = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let is_version_2 = |dir: &&&Path| dir.join("cgroup.controllers").exists();
        let hierarchy = hierarchies.iter().find(is_version_2).expect("control groups, version 2");
        let group = hierarchy.join(name);
        fs::create_dir(&group).unwrap();
        let program = site.manager(&[]);
        let programs = Path::new(program.get_program()).parent().unwrap();
        let mut unshare = Command::new("unshare")
            .args(["--fork", "--pid", "--mount", "--ipc", "--uts", "--kill-child"])
            .args(["sh", "-c", BOOT, "sh"])
            .args([&group, site.root(), programs])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let systemd = wait_for("the first process", || {
            assert!(unshare.try_wait().unwrap().is_none(), "it has ended");
            fs::read_to_string(&children).unwrap().trim().parse().ok()
        });
        let machine = Self { unshare, systemd, group };
        wait_for("systemd", || {
            let state = machine.inside("systemctl").arg("is-system-running").output().unwrap();
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded"].contains(&state.as_str()).then_some(())
        });
        machine
    }

    /// Waits until the machine has been shut down.
    pub(super) fn await_end(&mut self) {
        wait_for("the end of systemd", || self.unshare.try_wait().unwrap());
    }

    /// The words that make a command run in the machine.
    fn door(&self) -> Vec<String> {
        let args =
            ["-t", &self.systemd.to_string(), "-m", "-p", "-C", "-i", "-u", "--wdns=/", "--"];
        args.map(str::to_owned).to_vec()
    }

    pub(super) fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.door()).arg(program).stdin(Stdio::null());
        command
    }

    /// The output of a command that succeeds.
    pub(super) fn output(&self, program: &str, args: &[&str]) -> String {
        let ran = self.inside(program).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{program} {args:?}: {said}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Runs `pools-manager` in the machine, after the words `before`, as the user who owns the site.
    pub(super) fn run_after(&self, before: &[&str], site: &Site, args: &[&str]) -> Ran {
        let root = site.root().to_str().unwrap();
        let manager = site.manager(&["--root", root]);
        let owner = fs::metadata(root).unwrap();
        let mut command = Command::new("nsenter");
        command.args(["-S", &owner.uid().to_string(), "-G", &owner.gid().to_string()]);
        command.args(self.door()).args(before).arg(manager.get_program()).args(manager.get_args());
        let set = manager.get_envs().filter_map(|(name, value)| Some((name, value?)));
        Program::start(command.envs(set).args(args)).finish()
    }

    pub(super) fn run(&self, site: &Site, args: &[&str]) -> Ran {
        self.run_after(&[], site, args)
    }

    /// The units of systemd that are the scopes of generations, sorted.
    pub(super) fn scopes(&self) -> Vec<String> {
        let list = ["list-units", "--plain", "--no-legend", "pools-manager-*.scope"];
        let units = self.output("systemctl", &list);
        units.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The kernel then ends all processes of the namespace.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        wait_for("the end of the control groups", || remove(&self.group).ok());
    }
}

/// Removes a control group and the groups below it.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let path = entry?.path();
        if path.is_dir() {
            remove(&path)?;
        }
    }
    fs::remove_dir(group)
}
