//! Parts of `status --json` for the pool "www".

use std::path::PathBuf;

use rustix::process::Pid;
use serde_json::Value;

use super::{Site, wait_for};

/// The output of one `status --json`.
pub struct Status {
    pub document: Value,
}

impl Site {
    /// The document of `status --json`, whatever the exit status.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"]).stdout).unwrap()
    }

    /// Repeats `status` until `is_so` accepts it.
    pub fn status_when(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for("the status", || Some(self.status()).filter(&is_so))
    }

    /// Runs `status` once, for a test that needs several parts of the output.
    pub fn look(&self) -> Status {
        Status { document: self.status() }
    }

    /// The generation that each replica serves from; 0 is an adopted master.
    pub fn generations(&self) -> Vec<u64> {
        self.look().generations()
    }

    /// The masters of these generations.
    pub fn masters(&self) -> Vec<Pid> {
        self.look().masters()
    }

    /// The master of one replica; others may not run.
    pub fn master(&self, replica: usize) -> Pid {
        pid(&self.status()["pools"][0]["replicas"][replica - 1]).unwrap()
    }

    /// The release that each replica serves.
    pub fn releases(&self) -> Vec<PathBuf> {
        self.look().releases()
    }

    /// Each replica's state in the balancer, in the balancer's own words.
    pub fn members(&self) -> Vec<String> {
        self.look().each(|replica| replica["lb"].as_str().unwrap().to_owned())
    }
}

impl Status {
    pub fn generations(&self) -> Vec<u64> {
        self.each(|replica| replica["generation"].as_u64().unwrap())
    }

    pub fn masters(&self) -> Vec<Pid> {
        self.each(|replica| pid(replica).unwrap())
    }

    /// The replicas that serve, and their masters.
    pub fn running(&self) -> Vec<(u64, Pid)> {
        let serving = self.each(|it| Some((it["replica"].as_u64().unwrap(), pid(it)?)));
        serving.into_iter().flatten().collect()
    }

    pub fn releases(&self) -> Vec<PathBuf> {
        self.each(|replica| replica["current"].as_str().unwrap().into())
    }

    fn each<T>(&self, of: impl Fn(&Value) -> T) -> Vec<T> {
        self.document["pools"][0]["replicas"].as_array().unwrap().iter().map(of).collect()
    }
}

fn pid(replica: &Value) -> Option<Pid> {
    Pid::from_raw(replica["pid"].as_i64()?.try_into().ok()?)
}
