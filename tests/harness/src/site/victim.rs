//! A process that does not belong to a site, and must not get a signal.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::unistd::User;

/// The process blocks all signals that can be blocked, so that the kernel keeps each signal that was sent
/// to it.
pub struct Victim(Child);

impl Victim {
    /// A process of the user who runs the test.
    pub fn new() -> Self {
        Self::start(&mut command())
    }

    /// A process of another user, if the test may start one.
    pub fn of_another_user() -> Self {
        let mut command = command();
        if nix::unistd::geteuid().is_root() {
            let user = User::from_name("nobody").unwrap().unwrap();
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        Self::start(&mut command)
    }

    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Requires that the process runs, and that no signal was sent to it.
    pub fn is_unharmed(&mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "the victim has been killed");
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        for pending in ["SigPnd:", "ShdPnd:"] {
            assert_eq!(field(pending), "0".repeat(16), "a signal was sent to the victim");
        }
        assert!(!field("State:").starts_with('T'), "the victim has been stopped");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command() -> Command {
    let mut command = Command::new("env");
    command.args(["--block-signal", "sleep", "600"]);
    command
}
