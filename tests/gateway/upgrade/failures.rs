//! Upgrades that fail: the running process serves on, and says why.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use harness::served::Served;
use harness::{Program, wait_for, write_script};
use rustix::process::{Pid, Signal, kill_process};

use super::super::supervisor::{await_release, site};
use super::clients::Clients;
use super::global;
use super::running::{Running, is_alive};

/// A gateway whose program can be replaced.
fn served(line: &str) -> (Served, PathBuf) {
    let site = global(site("", ""), line);
    let program = site.copy_of_program();
    let serve = Program::start(site.command(&program).arg("serve"));
    let served = Served::serve_by(site, serve);
    await_release(&served, "release1");
    (served, program)
}

fn install(program: &PathBuf, script: &str) {
    let new = program.with_extension("new");
    write_script(&new, &format!("#!/bin/sh\n{script}\n"));
    fs::rename(new, program).unwrap();
}

/// The error of an upgrade that fails. It must cost no request, and the same process must serve on.
fn failure(served: &Served) -> String {
    let running = Running::of(served);
    let before = running.pid();
    let clients = Clients::start(served, 2);
    let ran = running.try_upgrade();
    assert_eq!(running.pid(), before);
    let line = served.await_log("upgrade failed, this process serves on: ");
    clients.await_more(20);
    clients.finish();
    running.await_alone();
    // The same process supervises again.
    served.site.kill_replica(1);
    await_release(served, "release1");
    let said = ran.status(1).stderr.clone();
    let why = said.strip_prefix("error: the upgrade failed, the running serve goes on: ").unwrap();
    assert!(line.contains(why.lines().next().unwrap()), "{line} {why}");
    why.to_owned()
}

#[test]
fn program_that_crashes_at_its_start_is_reported_with_its_words() {
    let (served, program) = served("");
    install(&program, "echo 'symbol lookup error: no such symbol' >&2; kill -SEGV $$");
    let why = failure(&served);
    assert!(why.contains("it has ended with signal: 11 (SIGSEGV)"), "{why}");
    assert!(why.contains(": symbol lookup error: no such symbol\n"), "{why}");
}

#[test]
fn program_that_hangs_is_killed() {
    let (served, program) = served("upgrade_timeout = \"300ms\"");
    let mark = served.site.scratch().join("pid");
    install(&program, &format!("echo $$ >{}; exec sleep 1000", mark.display()));
    let why = failure(&served);
    assert!(why.contains("not ready within 300ms (upgrade_timeout)"), "{why}");
    let pid = fs::read_to_string(mark).unwrap().trim().parse().unwrap();
    assert!(!is_alive(pid));
}

#[test]
fn missing_program_is_reported() {
    let (served, program) = served("");
    fs::remove_file(&program).unwrap();
    let why = failure(&served);
    assert!(why.starts_with("there is no program at "), "{why}");
}

#[test]
fn program_that_others_can_change_is_refused() {
    let (served, program) = served("");
    fs::set_permissions(&program, Permissions::from_mode(0o777)).unwrap();
    let why = failure(&served);
    assert!(why.contains("bin/pools-manager") && why.contains("chmod"), "{why}");
}

#[test]
fn wrong_configuration_is_reported_with_its_line() {
    let served = Served::serve(site("", ""));
    await_release(&served, "release1");
    served.site.replace("etc/pools-manager.toml", "threads = 2", "thread = 2");
    let ran = Running::of(&served).try_upgrade();
    assert!(
        ran.status(2).stderr.contains("etc/pools-manager.toml:3: unknown key `thread`"),
        "{ran}"
    );
    // The new process finds the same error.
    served.gateway().signal(Signal::USR2);
    let line = served.await_log("upgrade failed, this process serves on: ");
    assert!(line.contains("etc/pools-manager.toml:3: unknown key `thread`"), "{line}");
    assert_eq!(served.get("/ping.php").status, 200);
}

#[test]
fn address_that_is_taken_is_reported() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let served = Served::serve(site("", ""));
    await_release(&served, "release1");
    let address = other.local_addr().unwrap();
    let listen = format!("[\"127.0.0.1:0\", \"{address}\"]");
    served.site.replace("etc/pools-manager.toml", "[\"127.0.0.1:0\"]", &listen);
    let why = failure(&served);
    assert!(why.contains(&format!("cannot listen on {address}")), "{why}");
}

/// A pool that is served now, and that the new process would not serve.
#[test]
fn pool_that_would_not_be_served_is_reported() {
    let served = Served::serve(site("", ""));
    await_release(&served, "release1");
    let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
    let text = served.site.read(settings);
    served.site.replace(settings, "[gateway]\n", "[gateway]\ndocument_root = \"missing\"\n");
    let ran = Running::of(&served).try_upgrade();
    let said = &ran.status(1).stderr;
    assert!(said.contains("the pool \"www\" is served now"), "{said}");
    served.site.write(settings, &text);
    assert_eq!(served.get("/ping.php").status, 200);
}

/// A gateway with a failpoint: this process, or the one that replaces it, is killed or halted there.
fn served_until(at: &str) -> Served {
    let site = global(site("", ""), "upgrade_timeout = \"500ms\"");
    let served = Served::serve_through(site, "env", &[&format!("POOLS_MANAGER_TEST_AT={at}")]);
    await_release(&served, "release1");
    served
}

#[test]
fn new_process_that_is_killed_before_it_accepts_costs_nothing() {
    for at in ["started", "told"] {
        let served = served_until(&format!("KILL upgrade, new: {at}"));
        let why = failure(&served);
        assert!(why.contains("it has ended with signal: 9 (SIGKILL)"), "{at}: {why}");
    }
}

#[test]
fn new_process_that_is_halted_is_killed() {
    for at in ["started", "told"] {
        let served = served_until(&format!("STOP upgrade, new: {at}"));
        let why = failure(&served);
        assert!(why.contains("within 500ms (upgrade_timeout)"), "{at}: {why}");
    }
}

/// The connections that the killed process has accepted are cut, and no others.
#[test]
fn old_process_goes_on_if_the_new_one_is_killed_when_it_accepts() {
    let served = served_until("KILL upgrade, new: open");
    let running = Running::of(&served);
    let before = running.pid();
    assert!(running.try_upgrade().status(1).stderr.contains("SIGKILL"));
    assert_eq!(running.pid(), before);
    assert_eq!(served.get("/ping.php").status, 200);
    served.site.kill_replica(1);
    await_release(&served, "release1");
}

/// The old process is killed at each stage of the upgrade.
#[test]
fn new_process_serves_if_the_old_one_is_killed() {
    for at in ["launched", "ready", "rested", "served"] {
        let mut served = served_until(&format!("KILL upgrade, old: {at}"));
        // The old process answers the command.
        let command = served.site.spawn(&["serve", "--upgrade"]);
        let running = Running::of(&served);
        let old = served.gateway().pid().as_raw_nonzero().get();
        wait_for("the new process", || running.asked().is_some_and(|pid| pid != old).then_some(()));
        assert_eq!(served.get("/ping.php").status, 200, "{at}");
        command.finish().status(1);
        served.site.kill_replica(1);
        await_release(&served, "release1");
        drop(running);
        served.finish_gateway().killed_by(Signal::KILL);
        assert!(!served.site.path("sockets/pools-manager.sock").exists());
    }
}

/// The service manager starts another process, which needs the sockets.
#[test]
fn new_process_ends_if_the_old_one_is_killed_under_a_service_manager() {
    for at in ["rested", "served"] {
        let site = site("", "");
        let notify = std::os::unix::net::UnixDatagram::bind(site.path("notify.sock")).unwrap();
        let variables = [
            format!("NOTIFY_SOCKET={}", site.path("notify.sock").display()),
            format!("POOLS_MANAGER_TEST_AT=KILL upgrade, old: {at}"),
        ];
        let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
        let mut served = Served::serve_through(site, "env", &variables);
        await_release(&served, "release1");
        served.gateway().signal(Signal::USR2);
        let ran = served.finish_gateway();
        assert!(ran.stderr.contains("the service manager knew this one"), "{ran}");
        ran.killed_by(Signal::KILL);
        served.start_gateway();
        assert_eq!(served.get("/ping.php").status, 200);
        drop(notify);
    }
}

#[test]
fn serve_without_a_gateway_is_upgraded_too() {
    let site = site("", "");
    let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
    site.replace(settings, "[gateway]\n", "");
    site.write("etc/pools-manager.toml", "");
    let mut serve = site.spawn(&["serve"]);
    let is_ready = |line: &str| line == "Supervising all pools";
    serve.await_line("that it is up", is_ready);
    serve.signal(Signal::USR2);
    serve.await_line("that the new one is up", is_ready);
    wait_for("the end of the old one", || serve.has_ended().then_some(()));
    let new = super::running::all(&site);
    assert_eq!(new.len(), 1, "{new:?}");
    wait_for("both replicas", || site.run(&["status"]).has_succeeded().then_some(()));
    site.kill_replica(1);
    wait_for("both replicas", || site.run(&["status"]).has_succeeded().then_some(()));
    let said = site.run(&["serve", "--upgrade"]);
    assert!(said.status(1).stderr.contains("no gateway runs at "), "{said}");
    kill_process(Pid::from_raw(new[0]).unwrap(), Signal::TERM).unwrap();
    serve.finish().status(0);
}

#[test]
fn term_during_an_upgrade_stops_both() {
    let (mut served, program) = served("");
    install(&program, "exec sleep 1000");
    let command = served.site.spawn(&["serve", "--upgrade"]);
    served.await_log("upgrade: starting ");
    served.stop_gateway().status(0);
    assert!(command.finish().status(1).stderr.contains("stopped by SIGTERM"));
}

#[test]
fn second_request_during_an_upgrade_is_refused_and_signals_are_kept() {
    let (served, program) = served("upgrade_timeout = \"2s\"");
    install(&program, "exec sleep 1000");
    let first = served.site.spawn(&["serve", "--upgrade"]);
    served.await_log("upgrade: starting ");
    let second = Running::of(&served).try_upgrade();
    assert!(second.status(1).stderr.contains("an upgrade is under way already"));
    served.gateway().signal(Signal::USR2);
    served.await_log("an upgrade is under way already");
    served.gateway().signal(Signal::HUP);
    first.finish().status(1);
    served.await_log("upgrade failed");
    served.await_log("reload done");
}
