//! The site's own Apache: a child process of the test, in the foreground.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, Site, installed, wait_for};

/// Apache's control process.
pub(super) struct Apache {
    child: Child,
    port: u16,
}

impl Apache {
    /// Starts Apache and waits until it responds. None: another process has taken the port.
    pub(super) fn start(site: &Site, port: u16) -> Option<Self> {
        let said = site.path("pid/apache2-start.log");
        let mut command = site.command(installed::apache());
        command
            .arg("-f")
            .arg(site.path("etc/apache2/apache2.conf"))
            .args(["-C", &format!("Define POOLS_MANAGER_LISTEN 127.0.0.1:{port}")])
            .args(["-D", "FOREGROUND", "-k", "start"])
            .env("POOLS_MANAGER_ROOT", site.root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap());
        let mut apache = Self { child: command.spawn().unwrap(), port };
        // Apache writes its pid file when it listens. Before that, a response comes from another process.
        let pid_file = site.path("pid/apache2.pid");
        let is_up = wait_for("Apache", || {
            if apache.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            (pid_file.exists() && answers(port)).then_some(true)
        });
        if is_up {
            return Some(apache);
        }
        let said = std::fs::read_to_string(said).unwrap();
        assert!(said.contains("Address already in use"), "Apache did not start:\n{said}");
        None
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Site {
    /// Ends Apache, and gives the port that it had.
    pub fn stop_apache(&mut self) -> u16 {
        self.apache.take().unwrap().port
    }

    /// Starts Apache again on its old port. Another process can have this port for a moment.
    pub fn start_apache(&mut self, port: u16) {
        let apache = wait_for("the port of Apache", || Apache::start(self, port));
        self.apache = Some(apache);
    }

    /// Makes Apache read its configuration again and replace its processes. This loses the changes of its
    /// balancer members.
    pub fn reload_apache(&self) {
        let started = || self.read("pid/apache2-error.log").matches("resuming normal").count();
        let before = started();
        kill_process(Pid::from_child(&self.apache.as_ref().unwrap().child), Signal::USR1).unwrap();
        wait_for("the reload of Apache", || (started() > before).then_some(()));
    }
}

impl Drop for Apache {
    /// Sends TERM, not KILL: then Apache also removes the shared memory that it has got from the kernel.
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        if self.child.try_wait().unwrap().is_none() {
            kill_process(pid, Signal::TERM).unwrap();
            wait_for("the end of Apache", || self.child.try_wait().unwrap());
        }
    }
}

fn answers(port: u16) -> bool {
    Client::to(port).ask("GET", "/release.txt", "", "").is_ok()
}

/// A free port of the loopback interface.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
