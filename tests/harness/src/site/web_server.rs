//! Another web server than Apache, in front of a site: a child process of the test.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::apache::free_port;
use super::{Program, Site, layout, wait_for};

/// The command that runs a web server on a port.
type Run = dyn Fn(&Site, u16) -> Command + Send + Sync;

/// A web server, and what starts it.
pub(super) struct WebServer {
    port: u16,
    program: Program,
    command: Box<Run>,
    /// Processes that were replaced by a reload, and may still serve.
    old: Vec<Program>,
}

impl Site {
    /// Starts a web server in place of Apache, and puts its port where the sample says 82. `command`
    /// gets a free port of 127.0.0.1, and runs the server in the foreground.
    pub fn serve_by(
        mut self,
        command: impl Fn(&Self, u16) -> Command + Send + Sync + 'static,
    ) -> Self {
        let command = Box::new(command);
        let (program, port) = loop {
            let port = free_port();
            if let Some(program) = start(&self, command(&self, port), port) {
                break (program, port);
            }
        };
        layout::set_port(self.root(), port);
        self.web_server = Some(WebServer { port, program, command, old: Vec::new() });
        self
    }

    pub(super) fn web_server(&self) -> &WebServer {
        self.web_server.as_ref().unwrap()
    }

    /// The process of the web server.
    pub fn web_server_pid(&self) -> Pid {
        self.web_server().program.pid()
    }

    /// Starts the web server's command again beside the running process, with more arguments: the
    /// new process takes over.
    pub fn replace_web_server(&mut self, args: &[&str]) {
        let mut server = self.web_server.take().unwrap();
        let program = wait_for("the new web server", || {
            let mut command = (server.command)(self, server.port);
            command.args(args);
            start(self, command, server.port)
        });
        server.old.push(std::mem::replace(&mut server.program, program));
        self.web_server = Some(server);
    }

    /// Ends the web server, and waits until it has ended.
    pub fn stop_web_server(&mut self) {
        let server = self.web_server.take().unwrap();
        kill_process(server.program.pid(), Signal::TERM).unwrap();
        wait_for("the end of the web server", || server.program.has_ended().then_some(()));
    }
}

impl WebServer {
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        for program in self.old.iter().chain([&self.program]) {
            let _ = kill_process(program.pid(), Signal::TERM);
        }
        // The site kills what does not end.
    }
}

/// None: another process has taken the port.
fn start(site: &Site, mut command: Command, port: u16) -> Option<Program> {
    let program = Program::start(command.current_dir(site.root()));
    let is_up = wait_for("the web server", || {
        if program.has_ended() {
            return Some(false);
        }
        listens(program.pid(), port).then_some(true)
    });
    if is_up {
        return Some(program);
    }
    let said = program.finish().to_string();
    let is_taken = ["already in use", "cannot bind", "Cannot bind"];
    assert!(is_taken.iter().any(|it| said.contains(it)), "the web server did not start:\n{said}");
    None
}

/// Whether a process listens on a port of IPv4, as the kernel knows.
fn listens(pid: Pid, port: u16) -> bool {
    // The kernel takes milliseconds for the table, and this is called until the process listens.
    if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        return false;
    }
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let wanted = format!(":{port:04X}");
    let mut inodes = table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = cells.get(1)?.ends_with(&wanted) && *cells.get(3)? == "0A";
        is_it.then(|| format!("socket:[{}]", cells[9]))
    });
    inodes.any(|inode| has_open(pid, &inode))
}

fn has_open(pid: Pid, target: &str) -> bool {
    let dir = PathBuf::from(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .any(|fd| fs::read_link(fd).is_ok_and(|found| found == Path::new(target)))
}
