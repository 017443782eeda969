//! The surroundings of a `[command]` pool: a full disk, other accounts, a killed manager.

use std::fs;

use harness::served::Served;
use harness::{Disk, needs_root, wait_for};
use rustix::process::{Signal, kill_process};

use super::site::{
    CommandSite, FILE, PHP_PORT, PYTHON_FD, PYTHON_SOCKET, ServedSite, add_release, masters,
    settings,
};

#[test]
fn full_disk_blocks_no_server() {
    needs_root!();
    let site = CommandSite::new(PYTHON_FD);
    let disk = Disk::on(&site.site, "pid", "size=256k");
    // Prints a line of 8 KiB for each request, and goes on if that fails.
    let code = site.site.read("www/r1/server.py").replace(
        "        length = int(",
        "        try:\n            print('x' * 8192, flush=True)\n        except OSError:\n            pass\n        length = int(",
    );
    site.site.write("www/r1/server.py", &code);
    let served = site.serve();
    for _ in 0..20 {
        assert_eq!(served.get("/").text(), "1");
    }
    disk.fill();
    for _ in 0..100 {
        assert_eq!(served.get("/").text(), "1");
    }
    // Nothing is stopped that could not be started again.
    let ran = served.restart("rolling");
    ran.status(2);
    assert!(ran.stderr.contains("is full"), "{ran}");
    assert_eq!(served.get("/").text(), "1");
    disk.make_room();
    for replica in 1..=2 {
        fs::write(served.site.path(&format!("pid/www.{replica}.g1.log")), "").unwrap();
    }
    served.restart("rolling").succeeds();
    served.is_in_order(1);
}

/// The account of the server owns the directory of its sockets. Root connects to no other account's
/// socket there.
#[test]
fn link_to_the_socket_of_another_account_is_not_followed() {
    needs_root!();
    let lines = "[rollout]\nready_timeout = \"5s\"";
    let served = CommandSite::with(PYTHON_SOCKET, "", lines).serve();
    add_release(&served.site, 2);
    // A server of root, which answers like the server of the release.
    let target = served.site.path("root.sock");
    let mut root = served.site.command("/usr/bin/python3");
    root.current_dir(served.site.path("www/r1")).arg("server.py").arg(&target);
    let mut root = harness::Program::start(&mut root);
    root.await_line("that it is up", |line| line == "the server is up");
    let code = format!(
        "import os, sys, time\nos.symlink('{}', sys.argv[1])\ntime.sleep(1000)\n",
        target.display()
    );
    served.site.write("www/r2/server.py", &code);
    served.site.switch("r2");
    let ran = served.restart("swap");
    ran.status(1);
    assert!(ran.stdout.contains("was not ready after 5s"), "{ran}");
    assert_eq!(served.get("/").text(), "1");
    root.signal(Signal::KILL);
    root.finish().killed_by(Signal::KILL);
    served.is_in_order(1);
}

#[test]
fn ordinary_user_runs_a_pool_under_its_own_account() {
    for run in [PYTHON_FD, PHP_PORT] {
        let site = Served::site("", "");
        site.write(FILE, &settings(run, "", "").replace("user = \"www-data\"\n", ""));
        add_release(&site, 1);
        site.switch("r1");
        let site = site.owned_by_ordinary_user();
        site.run(&["start"]).succeeds();
        let uid = site.uid();
        let served = ServedSite(Served::serve(site));
        assert_eq!(served.get("/").text(), "1");
        served.deploy(2, "swap");
        served.deploy(3, "rolling");
        assert_eq!(served.get("/").text(), "3");
        served.is_in_order(3);
        let all = served.site.processes();
        assert!(all.iter().all(|process| process.uid == uid), "{all:#?}");
    }
}

/// After a kill in the middle, the next command finds what runs, and ends what should not run.
fn killed_manager(run: &str, command: &[&str], is_chosen: impl Fn(&str) -> bool) {
    let served = CommandSite::new(run).serve();
    let places = served.site.places_of(command);
    let mut kills = 0;
    for (n, place) in (1..).zip(&places).filter(|(_, place)| is_chosen(place)) {
        let killed_at = served.site.kill_at(n, command, 0);
        assert!(killed_at.is_some(), "{place}");
        assert_eq!(served.get("/").text(), "1", "{place}");
        served.site.run(&["restart"]).succeeds();
        served.is_in_order(1);
        kills += 1;
    }
    assert!(kills > 0, "{places:?}");
}

fn is_of_generation(place: &str) -> bool {
    ["recorded, not launched", "launched, not up", "ended, its files still there"].contains(&place)
}

#[test]
fn manager_killed_while_it_starts_or_stops_a_server_leaves_nothing() {
    needs_root!();
    killed_manager(PYTHON_SOCKET, &["restart", "--strategy", "swap"], is_of_generation);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn manager_killed_anywhere_in_a_rollout_leaves_nothing() {
    needs_root!();
    for strategy in ["rolling", "swap"] {
        for run in [PYTHON_FD, PHP_PORT] {
            killed_manager(run, &["restart", "--strategy", strategy], |_| true);
        }
    }
}

#[test]
fn supervisor_replaces_a_killed_master_and_follows_the_symlink() {
    needs_root!();
    let site = CommandSite::new(PHP_PORT).site;
    site.write("etc/pools-manager.toml", "[gateway]\nlisten = [\"127.0.0.1:0\"]\n");
    let served = ServedSite(Served::serve(site));
    wait_for("the start", || (masters(&served.site).len() == 2).then_some(()));
    assert_eq!(served.get("/").text(), "1");
    let victim = masters(&served.site)[0].pid;
    kill_process(victim, Signal::KILL).unwrap();
    wait_for("a new master", || {
        let now = masters(&served.site);
        (now.len() == 2 && now.iter().all(|it| it.pid != victim)).then_some(())
    });
    served.site.status_when(|status| status["pools"][0]["ok"] == true);
    served.is_in_order(1);
    add_release(&served.site, 2);
    served.site.switch("r2");
    wait_for("the release", || (served.get("/").text() == "2").then_some(()));
    served.site.status_when(|status| status["pools"][0]["ok"] == true);
}

/// Processes are killed all the time: only the requests of killed processes may fail.
#[test]
fn kills_under_load_cost_only_requests_in_flight() {
    needs_root!();
    let served = CommandSite::new(&format!("{PYTHON_FD}processes = 2\n")).serve();
    let (mut failed, mut good) = (0, 0);
    for round in 0..10 {
        let workers = served.workers();
        kill_process(workers[round % workers.len()].pid, Signal::KILL).unwrap();
        for _ in 0..20 {
            match served.get("/").status {
                200 => good += 1,
                _ => failed += 1,
            }
        }
    }
    println!("{failed} of {} failed", failed + good);
    assert!(failed <= 10, "one for each kill at most: {failed}");
    wait_for("all processes", || (served.workers().len() == 4).then_some(()));
    served.is_in_order(1);
}

#[test]
fn canary_whose_process_crashes_bounces() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    add_release(&served.site, 2);
    let code = served.site.read("www/r2/server.py").replace(
        "server.serve_forever()",
        // A process that is started after the crash stays.
        "import threading\n\
         started = time.time()\n\
         def crash():\n    \
             while not os.path.exists('crash') or os.path.getmtime('crash') < started:\n        \
                 time.sleep(0.005)\n    \
             os._exit(9)\n\
         threading.Thread(target=crash).start()\nserver.serve_forever()",
    );
    served.site.write("www/r2/server.py", &code);
    served.site.switch("r2");
    let mut restart = served.site.spawn(&["restart", "--canary", "60s", "--json"]);
    restart.await_event("watching", |event| event["event"] == "watching");
    served.site.write("www/r2/crash", "");
    let ran = restart.finish();
    ran.status(1);
    assert!(ran.stdout.contains("is not sound: process 1 (pid "), "{ran}");
    assert!(ran.stdout.contains("ended with status 9"), "{ran}");
    assert_eq!(served.get("/").text(), "1");
    served.is_in_order(1);
}

#[test]
fn output_of_the_servers_is_in_the_logs() {
    needs_root!();
    let site = CommandSite::new(PYTHON_FD);
    let code = site.site.read("www/r1/server.py").replace(
        "        length = int(",
        "        print('a line of the server', flush=True)\n        length = int(",
    );
    site.site.write("www/r1/server.py", &code);
    let served = site.serve();
    assert_eq!(served.get("/").text(), "1");
    let line = wait_for("the line of the server", || {
        let printed = served.site.run(&["logs", "www", "--json"]).stdout;
        printed.lines().find(|line| line.contains("a line of the server")).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let place = ["pool", "generation", "log"].map(|key| line[key].to_string());
    assert_eq!(place, ["\"www\"", "1", "\"output\""], "{line}");
    assert!(line["release"].as_str().unwrap().ends_with("/www/r1"), "{line}");
}
