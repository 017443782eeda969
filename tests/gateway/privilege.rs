//! `[gateway] user`: an ordinary user talks to clients.

mod child;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use harness::served::Served;
use harness::{Site, needs_root, wait_for};
use rustix::process::Signal;

use super::supervisor::{await_release, site};
use super::upgrade::{Clients, Running, Slow};
use child::Child;

/// The account of the tests: not that of PHP.
const USER: &str = "nobody";
const GLOBAL: &str = "etc/pools-manager.toml";

/// The supervised site, whose gateway is of this user.
fn separate(global: &str) -> Site {
    let site = site("", "");
    site.replace(GLOBAL, "threads = 2\n", &format!("threads = 2\nuser = \"{USER}\"\n{global}\n"));
    site
}

fn served(global: &str) -> Served {
    let served = Served::serve(separate(global));
    await_release(&served, "release1");
    served
}

#[test]
fn who_accepts_connections_is_an_ordinary_user_without_a_way_back() {
    needs_root!();
    let served = served("");
    assert_eq!(served.get("/ping.php").status, 200);
    let child = Child::of(&served);
    let status = child.status();
    let account = nix::unistd::User::from_name(USER).unwrap().unwrap();
    let (uid, gid) = (account.uid, account.gid);
    assert_eq!(status["Uid"], [uid; 4].map(|it| it.to_string()).join(" "));
    assert_eq!(status["Gid"], [gid; 4].map(|it| it.to_string()).join(" "));
    assert_eq!(status["Groups"].trim(), gid.to_string());
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!(status["NoNewPrivs"], "1");
    for thread in child.threads() {
        assert_eq!(
            (&thread["Uid"], &thread["NoNewPrivs"]),
            (&status["Uid"], &status["NoNewPrivs"])
        );
        assert_eq!(thread["CapEff"], "0000000000000000");
    }
    // Only root may look into it: it is not dumpable.
    let of_kernel = fs::metadata(format!("/proc/{}/fd", child.pid())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&of_kernel), 0);
    assert_eq!(child.listening(), [served.port()], "the control socket is not there");
}
