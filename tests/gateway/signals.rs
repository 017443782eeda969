//! Signals, and limits of the process: they end neither the gateway nor a request.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

use harness::served::{Connection, Served};
use harness::wait_for;

/// Starts a script that runs until a file with the extension "end" exists.
fn hold(served: &Served) -> (Connection, PathBuf) {
    served.page("hold.php", include_str!("../real/pages/hold.php"));
    let mark = served.site.scratch().join("mark");
    let mut held = served.connect();
    held.send(&format!("GET /hold.php?mark={} HTTP/1.1\r\nHost: a\r\n\r\n", mark.display()));
    wait_for("the script", || fs::read(mark.with_extension("begun")).ok());
    (held, mark)
}

#[test]
fn unused_signals_are_logged_and_cost_no_request() {
    let served = Served::new();
    let (mut held, mark) = hold(&served);
    let signals = [
        (Signal::USR1, "SIGUSR1"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::PROF, "SIGPROF"),
        (Signal::IO, "SIGIO"),
        (Signal::POWER, "SIGPWR"),
        (Signal::STKFLT, "SIGSTKFLT"),
        (Signal::XCPU, "SIGXCPU"),
    ];
    for (signal, name) in signals {
        served.gateway().signal(signal);
        served.await_log(&format!("WARN {name} is ignored"));
    }
    for signal in [Signal::PIPE, Signal::WINCH, Signal::URG, Signal::CHILD, Signal::CONT] {
        served.gateway().signal(signal);
    }
    fs::write(mark.with_extension("end"), "").unwrap();
    assert_eq!(held.answer().unwrap().status, 200);
    assert_eq!(served.get("/ping.php").status, 200);
}

#[test]
fn quit_ends_the_gateway_after_its_requests() {
    let mut served = Served::new();
    let (mut held, mark) = hold(&served);
    served.gateway().signal(Signal::QUIT);
    wait_for("that nobody listens", || {
        std::net::TcpStream::connect(("127.0.0.1", served.port())).err().map(drop)
    });
    fs::write(mark.with_extension("end"), "").unwrap();
    assert_eq!(held.answer().unwrap().status, 200);
    served.finish_gateway().succeeds();
}

/// `ulimit -f`: the write fails, and SIGXFSZ does not end the gateway.
#[test]
fn access_log_at_the_file_size_limit_costs_no_request() {
    let served = Served::with("", "access_log = \"pid/access.log\"");
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit { current: Some(0), maximum };
    prlimit(Some(served.gateway().pid()), Resource::Fsize, limit).unwrap();
    assert_eq!(served.get("/ping.php").status, 200);
    served.await_log("ERROR the access log cannot be written: File too large");
    assert_eq!(served.get("/ping.php").status, 200);
    let limit = Rlimit { current: maximum, maximum };
    prlimit(Some(served.gateway().pid()), Resource::Fsize, limit).unwrap();
    assert_eq!(served.get("/ping.php").status, 200);
    served.await_log("WARN the access log lost ");
}

/// Without a free descriptor the accept loops log an error and pause.
#[test]
fn gateway_without_descriptors_accepts_again_when_some_are_free() {
    let served = Served::new();
    let pid = served.gateway().pid();
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current: Option<u64>| {
        prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum }).unwrap();
    };
    let fds = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap();
    let highest = fds.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse::<u64>().unwrap());
    let highest = highest.max().unwrap();
    limit(Some(3));
    assert!(highest > 3);
    let mut web = served.connect();
    web.send("GET /ping.php HTTP/1.1\r\nHost: a\r\n\r\n");
    let error = "cannot accept connections: Too many open files (os error 24)";
    let line = served.await_log(error);
    assert!(line.contains(&format!("ERROR 127.0.0.1:{} ", served.port())), "{line}");
    let mut control = UnixStream::connect(served.site.path("sockets/pools-manager.sock")).unwrap();
    control.write_all(b"{\"show\":\"www\"}\n").unwrap();
    let line = served.await_log(error);
    assert!(line.contains("ERROR the control socket "), "{line}");
    wait_for("that it sleeps", || (served.gateway().state() == 'S').then_some(()));
    limit(maximum);
    assert_eq!(web.answer().unwrap().status, 200);
    let mut answer = String::new();
    BufReader::new(control).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("{\"shown\":"), "{answer}");
}
