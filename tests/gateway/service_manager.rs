//! What `serve` tells the service manager (`sd_notify(3)`).

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use harness::served::Served;
use harness::wait_for;
use rustix::process::Signal;

use super::supervisor::{await_release, site};

/// Waits for a message that contains `part`. Messages that were received earlier do not count.
pub(crate) fn await_message(messages: &Receiver<String>, part: &str) -> String {
    loop {
        let message = messages.recv_timeout(Duration::from_secs(60));
        let message = message.unwrap_or_else(|error| panic!("{part}: {error}"));
        if message.contains(part) {
            return message;
        }
    }
}

/// Receives all messages, because a full socket makes its sender wait.
pub(crate) fn receive(socket: UnixDatagram) -> Receiver<String> {
    let (sender, messages) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    messages
}

#[test]
fn service_manager_is_notified_of_start_reload_and_stop() {
    let site = site("", "");
    let path = site.path("notify.sock");
    let socket = receive(UnixDatagram::bind(&path).unwrap());
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

#[test]
fn service_manager_that_does_not_read_blocks_nothing() {
    let site = site("", "");
    let path = site.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut served = Served::serve_through(site, "env", &[&variable, "WATCHDOG_USEC=2000"]);
    await_release(&served, "release1");
    // More than the kernel keeps for a reader, which is 10 to 512.
    let is_full = || {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        sender.send_to(b"x", &path).is_err()
    };
    wait_for("a full socket", || is_full().then_some(()));
    assert!(served.reload().contains("reload done"));
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    served.stop_gateway().status(0);
    drop(socket);
}
