//! Load from the programs `ping-stress` and `sleep-stress`.

use rustix::process::Signal;
use serde_json::Value;

use super::{Program, Site, program_path, wait_for};

/// Clients that run until [`Load::finish`]: each sends its next request after the response.
pub struct Load(Program);

impl Site {
    /// Two clients with requests of 10 ms: there is always a request in flight, and the processor is
    /// free for other tests. The releases need the sample's `sleep-long.php`.
    pub fn steady_load(&self) -> Load {
        self.sleepers(2, "0.01")
    }

    /// Clients that request a short page without a pause, which takes all of a processor.
    pub fn pings(&self, clients: u32) -> Load {
        self.load("ping-stress", clients, "/ping.php")
    }

    /// Clients that request a page which takes this long.
    pub fn sleepers(&self, clients: u32, seconds: &str) -> Load {
        self.load("sleep-stress", clients, &format!("/sleep-long.php?seconds={seconds}"))
    }

    fn load(&self, program: &str, clients: u32, page: &str) -> Load {
        let mut command = self.command(program_path(program));
        command.args(["--json", "--concurrency", &clients.to_string()]);
        command.args(["--url", &format!("http://127.0.0.1:{}{page}", self.port())]);
        let load = Load(Program::start(&mut command));
        // A request in flight can also be another one, such as a ping of the manager.
        wait_for("the load", || {
            (load.0.catches(Signal::TERM) && self.in_flight() > 0).then_some(())
        });
        load
    }
}

impl Load {
    /// Stops the clients, waits for all responses, and requires that each was good.
    pub fn finish(self) -> Value {
        let summary = self.end();
        assert_eq!(summary["passed"], true, "{summary:#}");
        assert_eq!(summary["failed"], 0, "{summary:#}");
        summary
    }

    /// Stops the clients of a test that cuts requests, and returns how many failed.
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
