//! The process that serves a site now. The child of the test is only the first such process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use harness::served::Served;
use harness::{Ran, Site, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// Ends the last process with the test.
pub(crate) struct Running<'a> {
    site: &'a Site,
    first: i32,
}

impl<'a> Running<'a> {
    pub(crate) fn of(served: &'a Served) -> Self {
        let first = served.gateway().pid().as_raw_nonzero().get();
        Self { site: &served.site, first }
    }

    /// The process that answers commands.
    pub(crate) fn pid(&self) -> i32 {
        self.asked().expect("a gateway")
    }

    /// None: no process answers.
    pub(crate) fn asked(&self) -> Option<i32> {
        let socket = self.site.path("sockets/pools-manager.sock");
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.write_all(b"\"settings\"\n").ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        let shown: serde_json::Value = serde_json::from_str(&line).ok()?;
        i32::try_from(shown["settings"]["pid"].as_i64()?).ok()
    }

    /// Upgrades by the command.
    pub(crate) fn upgrade(&self) {
        let ran = self.try_upgrade();
        let pid = self.pid();
        assert_eq!(ran.succeeds().stdout, format!("Upgraded: pid {pid} serves now\n"));
    }

    pub(crate) fn try_upgrade(&self) -> Ran {
        self.site.run(&["serve", "--upgrade"])
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// All processes of `serve` on this site that have not ended.
    pub(crate) fn all(&self) -> Vec<i32> {
        all(self.site)
    }

    /// Waits until the processes that were replaced have ended.
    pub(crate) fn await_alone(&self) {
        wait_for("the end of the replaced processes", || {
            let others: Vec<i32> = self.all();
            (others.len() == 1).then_some(())
        });
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(pid) = self.asked().filter(|pid| *pid != self.first) else { return };
        self.signal(Signal::TERM);
        wait_for("the end of the last serve", || (!is_alive(pid)).then_some(()));
    }
}

/// All processes of `serve` on a site that have not ended.
pub(crate) fn all(site: &Site) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let is_it = |pid: &i32| {
        let proc = format!("/proc/{pid}");
        let words = fs::read(format!("{proc}/cmdline")).unwrap_or_default();
        let is_here = fs::read_link(format!("{proc}/cwd")).is_ok_and(|it| it == site.root());
        words.ends_with(b"\0serve\0") && is_here
    };
    pids.filter(is_it).collect()
}

/// Whether the process has not ended.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}
