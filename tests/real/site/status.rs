//! What `status` says of a site's pool "www", for tests that look at one thing of it.

use std::path::PathBuf;

use rustix::process::Pid;
use serde_json::Value;

use super::{Site, wait_for};

impl Site {
    /// The document of `status --json`, whatever the exit status.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"]).stdout).unwrap()
    }

    /// Asks until it says such a thing.
    pub(crate) fn status_when(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for("the status", || Some(self.status()).filter(&is_so))
    }

    /// The generation that each replica serves from; 0 is an adopted master.
    pub(crate) fn generations(&self) -> Vec<u64> {
        self.each(|replica| replica["generation"].as_u64().unwrap())
    }

    /// The master of that generation.
    pub(crate) fn masters(&self) -> Vec<Pid> {
        self.each(|replica| {
            let pid = replica["pid"].as_i64().unwrap();
            Pid::from_raw(pid.try_into().unwrap()).unwrap()
        })
    }

    /// The masters of those replicas that run.
    pub(crate) fn masters_that_run(&self) -> Vec<Pid> {
        let pids = self.each(|replica| replica["pid"].as_i64());
        let pids = pids.into_iter().flatten();
        pids.filter_map(|pid| Pid::from_raw(pid.try_into().unwrap())).collect()
    }

    /// The release that each replica serves.
    pub(crate) fn releases(&self) -> Vec<PathBuf> {
        self.each(|replica| replica["current"].as_str().unwrap().into())
    }

    /// Each replica's state in the balancer, in the balancer's own words.
    pub(crate) fn members(&self) -> Vec<String> {
        self.each(|replica| replica["lb"].as_str().unwrap().to_owned())
    }

    fn each<T>(&self, of: impl Fn(&Value) -> T) -> Vec<T> {
        self.status()["pools"][0]["replicas"].as_array().unwrap().iter().map(of).collect()
    }
}
