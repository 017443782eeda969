//! The process that talks to clients, as the kernel shows it.

use std::collections::BTreeMap;
use std::fs;

use harness::served::Served;
use harness::wait_for;
use rustix::process::{Pid, Signal, kill_process};

/// What `/proc/PID/status` says.
type Status = BTreeMap<String, String>;

pub(super) struct Child(i32);

impl Child {
    /// The child of the process that serves.
    pub(super) fn of(served: &Served) -> Self {
        Self::of_parent(served.gateway().pid().as_raw_nonzero().get())
    }

    pub(super) fn of_parent(parent: i32) -> Self {
        Self(wait_for("a gateway process", || {
            let file = format!("/proc/{parent}/task/{parent}/children");
            let children = fs::read_to_string(file).unwrap_or_default();
            let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            pids.find(|pid: &i32| {
                let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                words.ends_with(b"\0gateway-process\0")
            })
        }))
    }

    pub(super) fn pid(&self) -> i32 {
        self.0
    }

    pub(super) fn status(&self) -> Status {
        status(&format!("/proc/{}/status", self.0))
    }

    pub(super) fn threads(&self) -> Vec<Status> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().flatten();
        tasks.map(|task| status(task.path().join("status").to_str().unwrap())).collect()
    }

    /// The TCP ports on which it listens. Panics if it has a listening unix socket.
    pub(super) fn listening(&self) -> Vec<u16> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().flatten();
        let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        let inodes: Vec<String> = targets
            .filter_map(|it| {
                Some(it.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
            })
            .collect();
        let unix = fs::read_to_string("/proc/net/unix").unwrap();
        for line in unix.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // __SO_ACCEPTCON
            let listens = fields[3] == "00010000";
            assert!(!listens || !inodes.contains(&fields[6].to_owned()), "{line}");
        }
        let tcp = fs::read_to_string("/proc/net/tcp").unwrap();
        let lines = tcp.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let own = lines.filter(|it| it[3] == "0A" && inodes.contains(&it[9].to_owned()));
        let port =
            |it: Vec<&str>| u16::from_str_radix(it[1].split_once(':').unwrap().1, 16).unwrap();
        own.map(port).collect()
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.0).unwrap(), signal).unwrap();
    }

    pub(super) fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('Z'))
    }

    pub(super) fn await_end(&self) {
        wait_for("the end of the gateway process", || self.has_ended().then_some(()));
    }
}

fn status(file: &str) -> Status {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    lines.map(|(name, value)| (name.to_owned(), words(value))).collect()
}
