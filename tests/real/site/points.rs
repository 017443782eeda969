//! The manager killed at a place of the test's choice: see `src/crash.rs`.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use super::Site;

impl Site {
    /// Runs `pools-manager` and kills it at the nth place that it comes by. Returns that place;
    /// None: the command has fewer, and came to its end, with this exit status.
    pub(crate) fn kill_at(&self, n: usize, args: &[&str], status: i32) -> Option<String> {
        let at = format!("KILL {n}");
        let ran = self.run_with(args, |manager| {
            manager.env("POOLS_MANAGER_TEST_AT", at);
        });
        let places: Vec<&str> =
            ran.stderr.lines().filter_map(|line| line.strip_prefix("passing: ")).collect();
        if ran.status.signal() == Some(Signal::KILL.as_raw()) {
            assert_eq!(places.len(), n, "{ran}");
            return Some(places[n - 1].to_owned());
        }
        ran.status(status);
        assert!(places.len() < n, "{ran}");
        None
    }

    /// How many steps a command is going to take.
    pub(crate) fn steps_of(&self, args: &[&str]) -> usize {
        let ran = self.run(&[args, &["--dry-run", "--json"]].concat());
        let plan = ran.succeeds().stdout.lines().find(|line| line.contains(r#""event":"plan""#));
        let plan: serde_json::Value = serde_json::from_str(plan.unwrap()).unwrap();
        let stages = plan["stages"].as_array().unwrap().iter();
        stages.map(|stage| stage["steps"].as_array().unwrap().len()).sum()
    }
}
