//! `[gateway] user`: an ordinary user talks to clients.

mod child;
mod crashes;
mod files;
mod operations;
mod refused;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use harness::served::Served;
use harness::{Site, needs_root, wait_for};

use super::supervisor::{await_release, site};
use child::Child;

/// The account of the tests: not that of PHP.
const USER: &str = "nobody";
const GLOBAL: &str = "etc/pools-manager.toml";

/// A supervised site whose gateway runs as [`USER`].
fn separate(pool: &str, global: &str) -> Site {
    let site = site(pool, "");
    site.replace(GLOBAL, "threads = 2\n", &format!("threads = 2\nuser = \"{USER}\"\n{global}\n"));
    site
}

fn served(pool: &str, global: &str) -> Served {
    let served = Served::serve(separate(pool, global));
    await_release(&served, "release1");
    served
}

#[test]
fn process_that_accepts_connections_cannot_become_root() {
    needs_root!();
    let served = served("", "");
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
    // 2: a filter of system calls.
    assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("1", "2"));
    for thread in child.threads() {
        assert_eq!((&thread["Uid"], &thread["Groups"]), (&status["Uid"], &status["Groups"]));
        assert_eq!((&*thread["CapEff"], &*thread["NoNewPrivs"]), ("0000000000000000", "1"));
        assert_eq!(thread["Seccomp"], "2");
    }
    // The child is not dumpable: only root may trace it and look at its descriptors.
    assert_eq!(fs::metadata(format!("/proc/{}/fd", child.pid())).unwrap().uid(), 0);
    assert_eq!(child.listening(), [served.port()], "and not on the control socket");
    let parent = served.gateway().pid().as_raw_nonzero().get();
    let said = served.site.run(&["check"]).stdout;
    assert!(said.contains(&format!("pid {parent}, the user {USER} talks to clients")), "{said}");
    let status: serde_json::Value =
        serde_json::from_str(&served.site.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["gateway"], serde_json::json!({ "pid": parent, "user": USER }));
}

#[test]
fn supplementary_groups_are_those_of_the_account_and_group_replaces_its_own() {
    needs_root!();
    let served = Served::serve(separate("", "group = \"www-data\""));
    let group = nix::unistd::Group::from_name("www-data").unwrap().unwrap().gid.to_string();
    let status = Child::of(&served).status();
    assert_eq!(status["Gid"], [&*group; 4].join(" "));
    assert!(status["Groups"].split(' ').any(|it| it == group), "{}", status["Groups"]);
}

/// PHP may have the same account, though it should not.
#[test]
fn other_processes_of_the_account_cannot_read_the_gateway_process() {
    needs_root!();
    let served = served("", "");
    let pid = Child::of(&served).pid();
    let account = nix::unistd::User::from_name(USER).unwrap().unwrap();
    let fails = |program: &str, args: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(args).uid(account.uid.as_raw()).gid(account.gid.as_raw());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("denied"), "{program} {args:?}: {said}");
    };
    for file in ["environ", "maps", "fd/0", "task"] {
        let path = format!("/proc/{pid}/{file}");
        match file {
            "task" => fails("ls", &[&format!("{path}/{pid}/fd")]),
            _ => fails("cat", &[&path]),
        }
    }
    // The control socket is root's.
    let control = fs::metadata(served.site.path("sockets/pools-manager.sock")).unwrap();
    assert_eq!((control.uid(), control.mode() & 0o777), (0, 0o600));
}

/// If a file cannot be read any more, its previous settings stay.
#[test]
fn configuration_that_becomes_unreadable_changes_nothing() {
    needs_root!();
    let served = served("", "");
    let pool = served.site.path("etc/php/fpm/redundant-pools/www");
    for path in [pool.join("pools-manager.toml"), pool, served.site.path("etc")] {
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let said = served.reload();
        assert!(said.contains("Permission denied"), "{said}");
        assert_eq!(served.get("/ping.php").status, 200);
        fs::set_permissions(&path, before).unwrap();
    }
    assert!(served.reload().contains("reload done"));
}

#[test]
fn pool_whose_settings_are_broken_is_served_by_those_of_before() {
    needs_root!();
    let served = served("", "");
    let masters = served.site.masters();
    let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
    let before = served.site.read(settings);
    served.site.write(settings, "x\n");
    // The supervisor starts the replicas again, on other sockets.
    for master in masters {
        rustix::process::kill_process(master, rustix::process::Signal::QUIT).unwrap();
    }
    let name = |number| served.site.path(&format!("sockets/php-fpm-www{number}.g2.sock"));
    wait_for("new generations", || (name(1).exists() && name(2).exists()).then_some(()));
    wait_for("a request that is served", || (served.get("/ping.php").status == 200).then_some(()));
    served.site.write(settings, &before);
    wait_for("other masters", || served.site.run(&["status"]).has_succeeded().then_some(()));
    assert_eq!(served.get("/ping.php").status, 200);
}
