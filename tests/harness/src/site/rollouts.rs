//! Beginnings of rollouts that several tests share.

use rustix::process::Signal;

use super::{Gate, Program, Site};

impl Site {
    /// Goes to the second release by rolling, and back by swap.
    pub fn goes_both_ways(&self) {
        for (strategy, release) in [("rolling", "release2"), ("swap", "release1")] {
            self.switch(release);
            self.run(&["restart", "--strategy", strategy]).succeeds();
            self.is_in_order_on(release);
        }
    }

    /// Starts a `restart` on the second release. Returns when the warm-up request of its first new generation
    /// waits at the gate.
    pub fn restart_until_warm_up(&self, strategy: &str) -> (Program, Gate) {
        let warm_up = self.hold_warm_up();
        self.switch("release2");
        let manager = self.spawn(&["restart", "--strategy", strategy]);
        warm_up.reached();
        (manager, warm_up)
    }

    /// Sends INT while a `restart` waits for a request.
    pub fn restart_is_interrupted(&self) {
        let request = self.hold();
        let mut manager = self.spawn(&["restart", "--json"]);
        manager.await_event("that it waits", |event| event["event"] == "progress");
        manager.signal(Signal::INT);
        manager.finish().status(130);
        request.end(1);
    }
}
