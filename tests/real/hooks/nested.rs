//! A hook that runs pools-manager itself.

use super::set;
use harness::Site;

const CALLS: &str = "
export PATH=$1/bin:$PATH
pools-manager status -q > said.status 2>&1; echo $? >> said.status
pools-manager history > said.history 2>&1; echo $? >> said.history
pools-manager restart > said.restart 2>&1; echo $? >> said.restart
pools-manager stop --root $1 > said.stop 2>&1; echo $? >> said.stop
";

#[test]
fn hook_can_read_its_pool_but_not_change_it() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.copy_of_program();
    set(&site, &[("before_rollout", CALLS)], "");
    let mut manager = site.spawn(&["restart", "--json"]);
    manager.await_event("the hook", |event| event["event"] == "hook_started");
    let pid = manager.pid().as_raw_nonzero();
    manager.finish().succeeds();
    assert!(
        site.read("said.status").ends_with("replica 2 [OK]\n0\n"),
        "{}",
        site.read("said.status")
    );
    assert!(site.read("said.history").ends_with("No rollout is on record\n0\n"));
    for command in ["restart", "stop"] {
        let said = site.read(&format!("said.{command}"));
        let locked = format!(
            "Redundant pool \"www\"...\n\
             error: the pool \"www\" is locked by pid {pid}, \"restart --json\", since "
        );
        assert!(said.starts_with(&locked), "{said}");
        let help = "\n  help: a hook cannot change its own pool: the rollout that holds the lock waits for the hook\n3\n";
        assert!(said.ends_with(help), "{said}");
    }
    site.is_in_order_on("release1");
}
