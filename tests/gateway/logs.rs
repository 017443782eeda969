//! Logs that cannot be written or are not read: no request fails or waits.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use harness::served::Served;
use harness::{Program, Site, wait_for};

const GLOBAL: &str = "etc/pools-manager.toml";

/// A running site with a page that logs more than a pipe holds.
fn site(global: &str) -> Site {
    let site = Served::site("", global);
    site.add_page(
        "complain.php",
        "<?php for ($i = 0; $i < 100; $i++) error_log(str_repeat('x', 1000)); echo 'done';",
    );
    site.add_page("file.txt", "file");
    site.run(&["start"]).succeeds();
    site
}

/// Sends requests that make the gateway log, and checks the responses.
fn visit(served: &Served) {
    for _ in 0..3 {
        let two_hosts = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
        assert_eq!(served.raw(two_hosts).unwrap().status, 400);
        assert_eq!(served.get("/complain.php").text(), "done");
        assert_eq!(served.get("/file.txt").text(), "file");
    }
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn log_that_cannot_be_written_costs_no_request() {
    let (reader, nobody) = io::pipe().unwrap();
    drop(reader);
    for stderr in [Stdio::from(full()), Stdio::from(nobody)] {
        let mut served = Served::serve_with_stderr(site(""), stderr);
        visit(&served);
        served.stop_gateway().status(0);
    }
}

#[test]
fn log_that_is_closed_costs_no_request() {
    let site = site("");
    let mut manager = site.command("/bin/sh");
    manager.args(["-c", "exec \"$@\" 2>&-", "sh"]);
    manager.arg(harness::program_path("pools-manager")).arg("serve");
    let mut served = Served::serve_by(site, Program::start(&mut manager));
    visit(&served);
    served.stop_gateway().succeeds();
}

#[test]
fn log_that_is_not_read_costs_no_request() {
    let (mut reader, stderr) = io::pipe().unwrap();
    let mut served = Served::serve_with_stderr(site(""), stderr);
    visit(&served);
    served.stop_gateway().status(0);
    // The pipe is full of complete lines; the last one may be cut.
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.lines().next().unwrap().contains("WARN request "), "{said}");
    assert!(said.contains("WARN pool \"www\", request "), "{said}");
    assert!(said.contains(", host \"localhost\", path \"/complain.php\": "), "{said}");
}

#[test]
fn access_log_that_cannot_be_written_costs_no_request() {
    let mut served = Served::serve(site("access_log = \"/dev/full\""));
    visit(&served);
    let said = served.stop_gateway();
    let error = "ERROR the access log cannot be written: No space left on device (os error 28)\n";
    assert_eq!(said.status(0).stderr.matches(error).count(), 1, "{said}");
}

/// A FIFO without a reader is an error at the start. A reader that stops costs only log lines.
#[test]
fn access_log_that_is_not_read_costs_no_request() {
    let site = site("access_log = \"pid/access.fifo\"");
    let fifo = site.path("pid/access.fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let ran = site.run(&["serve"]);
    assert!(ran.status(2).stderr.contains("cannot write the access log"), "{ran}");
    let _reader = File::options().read(true).write(true).open(&fifo).unwrap();
    let mut served = Served::serve(site);
    let agent = format!("User-Agent: {}\r\n", "x".repeat(20_000));
    for _ in 0..20 {
        assert_eq!(served.get_with("/file.txt", &agent).status, 200);
    }
    served.stop_gateway().succeeds();
}

/// The ready line and the access log, with a full pipe and with a closed one.
#[test]
fn standard_output_that_cannot_be_written_costs_no_request() {
    let site = site("access_log = \"-\"");
    site.replace(GLOBAL, "127.0.0.1:0", "unix:sockets/gateway.sock");
    let path = site.path("sockets/gateway.sock");
    let (_reader, pipe) = io::pipe().unwrap();
    let mut filler = pipe.try_clone().unwrap();
    rustix::fs::fcntl_setfl(&filler, rustix::fs::OFlags::NONBLOCK).unwrap();
    while filler.write(&[b'\n'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&filler, rustix::fs::OFlags::empty()).unwrap();
    drop(filler);
    for stdout in [OwnedFd::from(pipe), OwnedFd::from(full())] {
        let command = &mut site.manager(&["serve"]);
        let gateway = Program::start_with(command, stdout.into(), Stdio::piped());
        for _ in 0..3 {
            let mut stream = wait_for("the gateway", || UnixStream::connect(&path).ok());
            stream.write_all(b"GET /file.txt HTTP/1.0\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.ends_with("\r\n\r\nfile"), "{text}");
        }
        gateway.signal(Signal::TERM);
        gateway.finish().status(0);
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn log_is_json_with_the_option_json() {
    let site = site("");
    let mut gateway = site.spawn(&["serve", "--json"]);
    let ready = gateway.await_line("that it serves", |line| line.contains("\"ready\""));
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let address = ready["listen"][0].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").unwrap();
    let line: serde_json::Value = serde_json::from_str(&gateway.await_complaint()).unwrap();
    gateway.signal(Signal::TERM);
    gateway.finish().status(0);
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "400: more than one Host header");
    assert_eq!((&line["path"], &line["pool"]), (&"/".into(), &serde_json::Value::Null));
    assert!(line["request"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
}

/// In text and in JSON, with what a client and a script can put into the line.
#[test]
fn line_about_a_request_names_its_pool_host_and_path() {
    for json in [false, true] {
        let site = site("");
        site.add_page("odd.php", "<?php error_log(\"one\\x1b[2J\\u{202e}\\xff\"); echo 'done';");
        if json {
            let global = format!("{}[log]\nformat = \"json\"\n", site.read(GLOBAL));
            site.write(GLOBAL, &global);
        }
        let mut served = Served::serve(site);
        let target = b"GET /odd.php/\"\xff?secret=1 HTTP/1.1\r\nHost: LocalHost:1\r\n\r\n";
        let answer = served.raw(target).unwrap();
        let id = answer.header("x-request-id").unwrap();
        let line = served.await_log("one");
        if json {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            assert_eq!((text("pool").as_str(), text("request").as_str()), ("www", id));
            assert_eq!(
                (text("host").as_str(), text("path").as_str()),
                ("localhost", "/odd.php/\"\u{fffd}")
            );
            assert_eq!(text("level"), "WARN");
            assert!(text("message").contains("one\x1b[2J\u{202e}"), "{line}");
        } else {
            let about = format!(
                " WARN pool \"www\", request {id}, host \"localhost\", path \"/odd.php/\\\"\u{fffd}\": "
            );
            assert!(line.contains(&about), "{line}");
            assert!(line.contains("one\\x1b[2J\\u{202e}"), "{line}");
        }
        assert!(!line.contains(['\x1b', '\u{202e}']) && !line.contains("secret"), "{line}");
        served.stop_gateway().status(0);
    }
}

/// However `serve` ends, a program that reads one of its outputs as JSON gets no line of text.
#[test]
fn no_line_of_a_json_log_is_text() {
    let site = site("access_log = \"-\"\nshutdown_timeout = \"0s\"");
    let global = format!("{}[log]\nformat = \"json\"\n", site.read(GLOBAL));
    site.write(GLOBAL, &global);
    site.add_page("slow.php", "<?php echo 'begun'; flush(); sleep(60);");
    let mut gateway = site.spawn(&["serve"]);
    let ready = gateway.await_line("that it serves", |line| line.contains("\"ready\""));
    let address: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let address =
        address["listen"][0].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /file.txt HTTP/1.0\r\n\r\n").unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    // A second serve cannot have the control socket.
    let second = site.run(&["serve"]);
    let refused: serde_json::Value = serde_json::from_str(&second.status(2).stderr).unwrap();
    assert_eq!(refused["level"], "ERROR");
    assert!(refused["message"].as_str().unwrap().contains("runs on this root: stop it first"));
    // The end cuts this connection, which is an error.
    let mut held = TcpStream::connect(&address).unwrap();
    held.write_all(b"GET /slow.php HTTP/1.0\r\n\r\n").unwrap();
    wait_for("the request", || (site.in_flight() > 0).then_some(()));
    gateway.signal(Signal::HUP);
    gateway.signal(Signal::TERM);
    let ran = gateway.finish();
    ran.status(1);
    assert!(ran.stderr.contains("were cut"), "{ran}");
    let lines: Vec<&str> = ran.stdout.lines().chain(ran.stderr.lines()).collect();
    assert!(lines.iter().any(|line| line.contains("\"GET /file.txt HTTP/1.0\"")), "{ran}");
    for line in lines {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(document.is_object(), "{line}");
    }
}
