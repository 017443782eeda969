//! What an operator does, with a gateway of an ordinary user.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use harness::served::Served;
use harness::{needs_root, wait_for};
use rustix::process::Signal;

use super::super::canary;
use super::super::hold::{ask, await_held};
use super::super::service_manager::{await_message, receive};
use super::super::supervisor::{await_release, supervised};
use super::super::upgrade::{Clients, Running, Slow, activated};
use super::child::Child;
use super::{GLOBAL, USER, separate, served};

#[test]
fn reload_applies_changed_settings() {
    needs_root!();
    let served = served("", "");
    served.site.replace(GLOBAL, "threads = 2\n", "threads = 2\nmax_body = \"10\"\n");
    assert!(served.reload().contains("reload done"));
    let long =
        served.raw(b"POST /ping.php HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n12345678901");
    assert_eq!(long.unwrap().status, 413);
    served.site.replace(GLOBAL, "threads = 2\n", "threads = x\n");
    assert!(served.reload().contains("reload failed"));
    served.site.replace(GLOBAL, "threads = x\n", "threads = 2\n");
    served.site.replace(GLOBAL, USER, "www-data");
    let said = served.reload();
    assert!(
        said.contains("[gateway] user") && said.contains("serve --upgrade applies it"),
        "{said}"
    );
    assert_eq!(served.get("/ping.php").status, 200);
}

#[test]
fn commands_reach_the_gateway() {
    needs_root!();
    let served = served("", "");
    served.site.run(&["hold", "www"]).succeeds();
    let mut waiting = ask(&served, "/ping.php");
    await_held(&served, 1);
    served.site.run(&["resume", "www"]).succeeds();
    assert_eq!(waiting.answer().unwrap().status, 200);
    served.site.run(&["maintenance", "on", "www"]).succeeds();
    assert_eq!(served.get("/ping.php").status, 503);
    served.site.run(&["maintenance", "off", "www"]).succeeds();
    assert_eq!(served.get("/ping.php").status, 200);
    // A command that finds changed settings has the gateway read them.
    let pool = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
    served.site.replace(pool, "[gateway]\n", "[gateway]\nindex = [\"release.txt\"]\n");
    served.site.run(&["restart", "www"]).succeeds();
    assert_eq!(served.get("/").text(), "1\n");
    assert!(!served.site.run(&["check"]).stdout.contains("rror"), "check is content");
}

/// Only root may read the record of a canary, and the kernel's lock on this record.
#[test]
fn canary_by_share_gets_visitors_and_ends_with_its_command() {
    needs_root!();
    let served = served("", "");
    canary::write(&served.site, "");
    let manager = canary::watching(&served.site, "50%", canary::LONG);
    let (mut new, mut old) = canary::one_of_each(served.port());
    assert_eq!((&*new.release(), &*old.release()), ("2", "1"));
    let status = served.site.status();
    assert!(status["pools"][0]["canary"]["figures"]["new"]["requests"].as_u64() > Some(1));
    let mode = fs::metadata(served.site.path("pid/www.canary.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    manager.signal(Signal::KILL);
    manager.finish().killed_by(Signal::KILL);
    wait_for("the end of the canary", || (new.release() == "1").then_some(()));
}

#[test]
fn rollouts_under_load_lose_nothing() {
    needs_root!();
    for strategy in ["rolling", "swap"] {
        let served = served(&format!("[rollout]\nstrategy = \"{strategy}\""), "");
        let clients = Clients::start(&served, 4);
        for release in ["release2", "release1", "release2"] {
            served.site.run(&["switch", "www", release]).succeeds();
            let text = served.get("/release.txt").text();
            assert_eq!(format!("release{}", text.trim()), release);
            clients.await_more(20);
        }
        clients.finish();
    }
}

#[test]
fn upgrades_under_load_refuse_cut_and_double_nothing() {
    needs_root!();
    let served = served("", "shutdown_timeout = \"60s\"");
    let running = Running::of(&served);
    let clients = Clients::start(&served, 4);
    let slow = Slow::start(&served, 2);
    for round in 0..3 {
        let before = running.pid();
        if round == 1 {
            running.signal(Signal::USR2);
            wait_for("the upgrade", || (running.asked()? != before).then_some(()));
        } else {
            running.upgrade();
        }
        assert_ne!(running.pid(), before);
        let child = Child::of_parent(running.pid());
        assert_ne!(child.status()["Uid"].split(' ').next(), Some("0"));
        clients.await_more(20);
    }
    // A release that changes while two processes serve: see `overlap` of the upgrade.
    served.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(served.get("/release.txt").text(), "2\n");
    slow.finish();
    clients.finish();
    running.await_alone();
}

#[test]
fn upgrade_moves_the_gateway_to_the_user_and_back() {
    needs_root!();
    let served = supervised("");
    let running = Running::of(&served);
    let clients = Clients::start(&served, 2);
    served.site.replace(GLOBAL, "threads = 2\n", "threads = 2\nuser = \"nobody\"\n");
    running.upgrade();
    let child = Child::of_parent(running.pid());
    clients.await_more(20);
    served.site.replace(GLOBAL, "user = \"nobody\"\n", "user = \"no-such-user\"\n");
    let ran = running.try_upgrade();
    ran.status(1);
    assert!(ran.stderr.contains("there is no user \"no-such-user\""), "{ran}");
    clients.await_more(20);
    served.site.replace(GLOBAL, "user = \"no-such-user\"\n", "");
    running.upgrade();
    clients.await_more(20);
    clients.finish();
    child.await_end();
    running.await_alone();
}

#[test]
fn service_manager_is_notified_and_a_halted_gateway_is_replaced() {
    needs_root!();
    let site = separate("", "");
    let path = site.path("notify.sock");
    let socket = receive(UnixDatagram::bind(&path).unwrap());
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut served = Served::serve_through(site, "env", &[&variable, "WATCHDOG_USEC=3000000"]);
    await_message(&socket, "READY=1");
    await_message(&socket, "WATCHDOG=1");
    await_release(&served, "release1");
    served.gateway().signal(Signal::HUP);
    await_message(&socket, "RELOADING=1");
    await_message(&socket, "READY=1");
    let child = Child::of(&served);
    child.signal(Signal::STOP);
    served.await_log("does not answer: it is killed");
    child.await_end();
    assert_eq!(served.get("/ping.php").status, 200);
    while socket.try_recv().is_ok() {}
    await_message(&socket, "WATCHDOG=1");
    served.stop_gateway().status(0);
    await_message(&socket, "STOPPING=1");
}

#[test]
fn stop_lets_requests_end() {
    needs_root!();
    let mut served = served("", "");
    served.page("slow.php", "<?php usleep(500000); echo 'slow';");
    let mut connection = served.connect();
    connection.send("GET /slow.php HTTP/1.1\r\nHost: a\r\n\r\n");
    served.await_in_flight(1);
    let child = Child::of(&served);
    // A service manager may signal all processes.
    child.signal(Signal::TERM);
    child.signal(Signal::INT);
    let ran = served.stop_gateway();
    ran.status(0);
    assert_eq!(connection.answer().unwrap().text(), "slow");
    assert!(child.has_ended());
    assert!(!served.site.path("sockets/pools-manager.sock").exists());
}

#[test]
fn second_signal_ends_the_gateway_too() {
    needs_root!();
    let mut served = served("", "");
    served.page("slow.php", "<?php sleep(30);");
    let mut connection = served.connect();
    connection.send("GET /slow.php HTTP/1.1\r\nHost: a\r\n\r\n");
    served.await_in_flight(1);
    let child = Child::of(&served);
    served.gateway().signal(Signal::TERM);
    wait_for("closed sockets", || {
        (!served.site.path("sockets/pools-manager.sock").exists()).then_some(())
    });
    served.gateway().signal(Signal::TERM);
    served.finish_gateway().status(143);
    child.await_end();
    assert!(connection.answer().is_err());
}

/// The child also serves the sockets of the service manager, also after an upgrade. After the end of `serve`,
/// connections wait in these sockets.
#[test]
fn socket_of_the_service_manager_is_served_by_the_gateway_process() {
    needs_root!();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let site = separate("", "");
    site.replace(GLOBAL, "127.0.0.1:0", &format!("127.0.0.1:{port}"));
    let mut served = activated(site, &listener);
    await_release(&served, "release1");
    assert_eq!((served.port(), served.get("/ping.php").status), (port, 200));
    let child = Child::of(&served);
    assert_eq!(child.listening(), [port]);
    let environment = std::fs::read(format!("/proc/{}/environ", child.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("LISTEN_FDS"));
    {
        let running = Running::of(&served);
        running.upgrade();
        assert_eq!(Child::of_parent(running.pid()).listening(), [port]);
        assert_eq!(served.get("/ping.php").status, 200);
    }
    served.finish_gateway().status(0);
    // Nothing serves any more, and the connection waits.
    served.connect().send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
}
