//! What `serve` tells the service manager (`sd_notify(3)`).

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use harness::served::Served;
use rustix::process::Signal;

use super::supervisor::{await_release, site};

/// Receives until a message contains `part`.
fn await_message(socket: &UnixDatagram, part: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{part}: {error}"));
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if message.contains(part) {
            return message;
        }
    }
}

#[test]
fn service_manager_is_notified_of_start_reload_and_stop() {
    let site = site("", "");
    let path = site.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut served = Served::serve_through(site, "env", &[&variable, "WATCHDOG_USEC=100000"]);
    await_message(&socket, "READY=1");
    await_message(&socket, "WATCHDOG=1");
    await_release(&served, "release1");
    // php-fpm would send messages of its own.
    let environment = fs::read(format!("/proc/{}/environ", served.site.master(1))).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"));
    served.gateway().signal(Signal::HUP);
    let reloading = await_message(&socket, "RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    served.await_log("reload done");
    await_message(&socket, "READY=1");
    served.stop_gateway().status(0);
    await_message(&socket, "STOPPING=1");
}

#[test]
fn service_manager_that_does_not_listen_stops_nothing() {
    let site = site("", "");
    let variable = format!("NOTIFY_SOCKET={}", site.path("nobody.sock").display());
    let served = Served::serve_through(site, "env", &[&variable]);
    served.await_log("cannot notify the service manager");
    await_release(&served, "release1");
}
