//! Load, put on by the companions as their users run them.

use rustix::process::Signal;
use serde_json::Value;

use super::{Program, Site, program_path, wait_for};

/// Requests without end: each client sends the next one when it has its answer.
pub struct Load(Program);

impl Site {
    /// As many clients that ask for a short page.
    pub fn pings(&self, clients: u32) -> Load {
        self.load("ping-stress", clients, "/ping.php")
    }

    /// As many clients that ask for a page which takes so long.
    pub fn sleepers(&self, clients: u32, seconds: &str) -> Load {
        self.load("sleep-stress", clients, &format!("/sleep-long.php?seconds={seconds}"))
    }

    fn load(&self, program: &str, clients: u32, page: &str) -> Load {
        let mut command = self.command(program_path(program));
        command.args(["--json", "--concurrency", &clients.to_string()]);
        command.args(["--url", &format!("http://127.0.0.1:{}{page}", self.port())]);
        let load = Load(Program::start(&mut command));
        // A request in flight may also be somebody else's, such as a ping of the manager.
        wait_for("the load", || {
            (load.0.catches(Signal::TERM) && self.in_flight() > 0).then_some(())
        });
        load
    }
}

impl Load {
    /// Sends nothing more, and waits for all answers: each must have been a good one.
    pub fn finish(self) -> Value {
        let summary = self.end();
        assert_eq!(summary["passed"], true, "{summary:#}");
        assert_eq!(summary["failed"], 0, "{summary:#}");
        summary
    }

    /// The same, where the test itself has cut some requests: how many were not answered well.
    pub fn failed(self) -> u64 {
        let summary = self.end();
        println!("{} of {} requests failed", summary["failed"], summary["requests"]);
        summary["failed"].as_u64().unwrap()
    }

    fn end(self) -> Value {
        self.0.signal(Signal::TERM);
        let ran = self.0.finish();
        let summary: Value = serde_json::from_str(&ran.stderr("").stdout).unwrap();
        assert_eq!(summary["unfinished"], 0, "{summary:#}");
        summary
    }
}
