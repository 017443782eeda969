//! The listening sockets: those of the service manager, and those that the configuration adds or removes.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use harness::served::Served;
use harness::{Program, Site, wait_for};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;

use super::super::supervisor::{await_release, site};
use super::running::{Running, is_alive};

const GLOBAL: &str = "etc/pools-manager.toml";

/// `serve` with a socket of the service manager.
pub(crate) fn activated(site: Site, listener: &TcpListener) -> Served {
    // systemd passes it as descriptor 3, and LISTEN_PID is known only after the fork.
    let serve = site.manager(&["serve"]);
    let script = "fd=$1; shift; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&\"$fd\"";
    fcntl_setfd(listener, FdFlags::empty()).unwrap();
    let fd = listener.as_raw_fd().to_string();
    let mut command = site.command("bash");
    command.args(["-c", script, "bash", &fd]).arg(serve.get_program()).args(serve.get_args());
    let program = Program::start(&mut command);
    fcntl_setfd(listener, FdFlags::CLOEXEC).unwrap();
    Served::serve_by(site, program)
}

fn listens(served: &Served, listen: &str) {
    let text = served.site.read(GLOBAL);
    let text: String = text
        .lines()
        .map(|line| match line.strip_prefix("listen = ") {
            Some(_) => format!("listen = {listen}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    served.site.write(GLOBAL, &text);
}

fn answers(path: &std::path::Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(path) else { return false };
    stream.write_all(b"GET /ping.php HTTP/1.0\r\n\r\n").unwrap();
    std::io::read_to_string(stream).is_ok_and(|text| text.contains("pong1"))
}

#[test]
fn addresses_of_the_new_configuration_are_bound_and_others_closed() {
    let served = Served::serve(site("", ""));
    await_release(&served, "release1");
    let running = Running::of(&served);
    let [one, two] = ["sockets/one.sock", "sockets/two.sock"].map(|it| served.site.path(it));
    listens(&served, "[\"127.0.0.1:0\", \"unix:sockets/one.sock\"]");
    running.upgrade();
    running.await_alone();
    assert!(answers(&one) && served.get("/ping.php").status == 200);
    listens(&served, "[\"127.0.0.1:0\", \"unix:sockets/one.sock\", \"unix:sockets/two.sock\"]");
    running.upgrade();
    running.await_alone();
    assert!(answers(&one) && answers(&two));
    listens(&served, "[\"unix:sockets/two.sock\"]");
    running.upgrade();
    running.await_alone();
    assert!(answers(&two) && !one.exists());
    assert!(TcpStream::connect(("127.0.0.1", served.port())).is_err());
    let pid = running.pid();
    running.signal(Signal::TERM);
    wait_for("the end", || (!is_alive(pid)).then_some(()));
    assert!(!two.exists() && !served.site.path("sockets/pools-manager.sock").exists());
}

/// The service manager keeps a copy of the socket, so connections wait while nothing serves.
#[test]
fn socket_of_the_service_manager_is_used_kept_and_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let site = site("", "");
    site.replace(GLOBAL, "127.0.0.1:0", &format!("127.0.0.1:{port}"));
    site.run(&["start"]).succeeds();
    let mut served = activated(site, &listener);
    assert_eq!(served.port(), port);
    await_release(&served, "release1");
    // php-fpm must not have the socket.
    for pid in served.site.masters() {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let sockets = fds.filter(|it| {
            fs::read_link(it.path()).is_ok_and(|it| it.to_string_lossy().starts_with("socket:"))
        });
        assert!(sockets.count() <= 4, "{pid}");
    }
    {
        let running = Running::of(&served);
        running.upgrade();
        running.await_alone();
        assert_eq!(served.get("/ping.php").text(), "pong1\n");
        let pid = running.pid();
        running.signal(Signal::TERM);
        wait_for("the end", || (!is_alive(pid)).then_some(()));
    }
    served.finish_gateway().status(0);
    let waiting = served.connect();
    drop(waiting);
}
