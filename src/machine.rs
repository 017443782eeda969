//! The memory and the number of processes that are left for new processes, as the kernel and this
//! process's control groups limit them.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, geteuid, getrlimit};

/// A limit, and how much of it is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The limit.
    pub total: u64,
    /// The part that is not in use.
    pub free: u64,
    /// Its name, such as `MemAvailable` or `pids.max of /system.slice`.
    pub name: String,
}

/// The limits for new processes. None: not known, or not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Memory in bytes: the smallest of the machine's and its control groups' limits.
    pub memory: Option<Limit>,
    /// Processes.
    pub processes: Option<Limit>,
}

impl Machine {
    /// Reads the limits. One that cannot be read does not count.
    pub fn read() -> Self {
        let mut machine = Self::read_from(Path::new("/proc"), Path::new("/sys/fs/cgroup"));
        // This limit does not apply to root.
        let most = getrlimit(Resource::Nproc).current.filter(|_| !geteuid().is_root());
        let own = most.map(|total| Limit { total, free: total, name: "ulimit -u".to_owned() });
        machine.processes = smaller(machine.processes, own);
        machine
    }

    fn read_from(proc: &Path, cgroup: &Path) -> Self {
        let mut machine = Self { memory: memory(proc), processes: processes(proc) };
        let groups = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        for line in groups.lines() {
            // `0::/path` of version 2, or `4:memory:/path` of version 1.
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
            let has = |name| controllers.is_empty() || controllers.split(',').any(|it| it == name);
            let (dir, memory) = match controllers {
                "" => (cgroup.to_owned(), ("memory.max", "memory.current")),
                _ => (cgroup.join(controllers), ("memory.limit_in_bytes", "memory.usage_in_bytes")),
            };
            if has("memory") {
                machine.memory = smaller(machine.memory, of_groups(&dir, group, memory));
            }
            if has("pids") {
                let pids = of_groups(&dir, group, ("pids.max", "pids.current"));
                machine.processes = smaller(machine.processes, pids);
            }
        }
        machine
    }
}

/// `MemTotal: 24684084 kB` and so on.
fn memory(proc: &Path) -> Option<Limit> {
    let text = fs::read_to_string(proc.join("meminfo")).ok()?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(Limit {
        total: field("MemTotal")?,
        free: field("MemAvailable")?,
        name: "memory".to_owned(),
    })
}

fn processes(proc: &Path) -> Option<Limit> {
    let read = |name: &str| {
        let text = fs::read_to_string(proc.join("sys/kernel").join(name)).ok()?;
        Some(Limit { name: format!("kernel.{}", name.replace('/', ".")), ..limit(&text)? })
    };
    smaller(read("pid_max"), read("threads-max"))
}

fn limit(text: &str) -> Option<Limit> {
    let total = text.trim().parse().ok()?; // "max" is no limit
    Some(Limit { total, free: total, name: String::new() })
}

/// The smallest limit of a group and of the groups above it; the outermost has none.
fn of_groups(dir: &Path, group: &str, (most, now): (&str, &str)) -> Option<Limit> {
    let groups = Path::new(group.trim_start_matches('/')).ancestors();
    let limits = groups.filter_map(|group| {
        let at = |name| fs::read_to_string(dir.join(group).join(name)).ok();
        let limit = limit(&at(most)?)?;
        let used: u64 = at(now).and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        let used = match most {
            "pids.max" => used,
            _ => used.saturating_sub(at("memory.stat").map_or(0, |text| cached(&text))),
        };
        let name = format!("{most} of {}", PathBuf::from("/").join(group).display());
        Some(Limit { free: limit.total.saturating_sub(used), name, ..limit })
    });
    limits.map(Some).fold(None, smaller)
}

/// How much of a group's memory the kernel can reclaim: cached files. In version 1 the groups below
/// are counted in other lines.
fn cached(memory_stat: &str) -> u64 {
    let sum = |names: [&str; 3]| -> u64 {
        let value = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            names.contains(&name).then(|| value.trim().parse::<u64>().ok())?
        };
        memory_stat.lines().filter_map(value).sum()
    };
    let own = sum(["active_file", "inactive_file", "slab_reclaimable"]);
    own.max(sum(["total_active_file", "total_inactive_file", "slab_reclaimable"]))
}

fn smaller(one: Option<Limit>, other: Option<Limit>) -> Option<Limit> {
    [one, other].into_iter().flatten().min_by_key(|limit| limit.free)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn machine(files: &[(&str, &str)]) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Machine::read_from(&dir.path().join("proc"), &dir.path().join("cgroup"))
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:  1024 kB\n");

    #[test]
    fn limits_of_the_machine_are_read() {
        let pid_max = ("proc/sys/kernel/pid_max", "4194304\n");
        let threads = ("proc/sys/kernel/threads-max", "1000\n");
        let found = machine(&[MEMINFO, pid_max, threads]);
        let memory = Limit { total: 2 * MIB, free: MIB, name: "memory".to_owned() };
        assert_eq!(found.memory, Some(memory));
        assert_eq!(found.processes.unwrap().name, "kernel.threads-max");
        assert_eq!(machine(&[]), Machine::default());
    }

    #[test]
    fn smallest_group_limit_counts() {
        let found = machine(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/php.service\n"),
            ("cgroup/system.slice/php.service/memory.max", "max\n"),
            ("cgroup/system.slice/php.service/pids.max", "100\n"),
            ("cgroup/system.slice/php.service/pids.current", "90\n"),
            ("cgroup/system.slice/memory.max", "900000\n"),
            ("cgroup/system.slice/memory.current", "300000\n"),
            ("cgroup/system.slice/memory.stat", "anon 9\nactive_file 60000\ninactive_file 40000\n"),
        ]);
        let name = "memory.max of /system.slice".to_owned();
        assert_eq!(found.memory, Some(Limit { total: 900_000, free: 700_000, name }));
        let name = "pids.max of /system.slice/php.service".to_owned();
        assert_eq!(found.processes, Some(Limit { total: 100, free: 10, name }));
    }

    #[test]
    fn limits_of_cgroup_version_1_are_read() {
        let found = machine(&[
            MEMINFO,
            ("proc/self/cgroup", "7:pids:/a\n4:memory:/a\n1:name=systemd:/b\n"),
            ("cgroup/memory/a/memory.limit_in_bytes", "9000\n"),
            ("cgroup/memory/a/memory.usage_in_bytes", "1000\n"),
            ("cgroup/memory/a/memory.stat", "active_file 1\ntotal_active_file 500\n"),
            ("cgroup/pids/a/pids.max", "max\n"),
        ]);
        assert_eq!(found.memory.unwrap().free, 8500);
        assert_eq!(found.processes, None);
    }
}
