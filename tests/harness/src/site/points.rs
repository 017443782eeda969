//! The manager killed or halted at a place of the test's choice: see `src/failpoint.rs`.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use super::{Program, Ran, Site, wait_for};

impl Site {
    /// Runs `pools-manager` and kills it at the nth failpoint. Returns that failpoint;
    /// None: the command has fewer, and came to its end, with this exit status.
    pub fn kill_at(&self, n: usize, args: &[&str], status: i32) -> Option<String> {
        let ran = self.told(args, &format!("KILL {n}")).finish();
        let mut places = places(&ran);
        if ran.status.signal() == Some(Signal::KILL.as_raw()) {
            assert_eq!(places.len(), n, "{ran}");
            return places.pop();
        }
        ran.status(status);
        assert!(places.len() < n, "{ran}");
        None
    }

    /// Runs `pools-manager`, and returns all its failpoints.
    pub fn places_of(&self, args: &[&str]) -> Vec<String> {
        let ran = self.told(args, "nothing").finish();
        places(ran.status(0))
    }

    /// Runs `pools-manager` until it halts at the nth failpoint.
    pub fn halt_at(&self, n: usize, args: &[&str]) -> Program {
        let manager = self.told(args, &format!("STOP {n}"));
        let is_halted = wait_for("the manager to halt", || match manager.state() {
            'T' => Some(true),
            'Z' => Some(false),
            _ => None,
        });
        if is_halted {
            manager
        } else {
            panic!("it has passed fewer than {n} failpoints\n{}", manager.finish())
        }
    }

    fn told(&self, args: &[&str], what: &str) -> Program {
        Program::start(self.manager(args).env("POOLS_MANAGER_TEST_AT", what))
    }

    /// How many steps a command is going to take.
    pub fn steps_of(&self, args: &[&str]) -> usize {
        let ran = self.run(&[args, &["--dry-run", "--json"]].concat());
        let plan = ran.succeeds().stdout.lines().find(|line| line.contains(r#""event":"plan""#));
        let plan: serde_json::Value = serde_json::from_str(plan.unwrap()).unwrap();
        let stages = plan["stages"].as_array().unwrap().iter();
        stages.map(|stage| stage["steps"].as_array().unwrap().len()).sum()
    }
}

fn places(ran: &Ran) -> Vec<String> {
    let places = ran.stderr.lines().filter_map(|line| line.strip_prefix("passing: "));
    places.map(str::to_owned).collect()
}
