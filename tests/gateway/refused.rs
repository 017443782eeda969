//! What `serve` refuses, `check` refuses in the same words.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use harness::served::{Served, UNSUPERVISED};
use harness::{Site, needs_root, wait_for};
use serde_json::Value;

use super::start::this_process;

const GLOBAL: &str = "etc/pools-manager.toml";
const POOL: &str = "etc/php/fpm/redundant-pools/www";

#[test]
fn check_refuses_what_serve_refuses() {
    let site = Served::site("", "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    // The global file, and the error of `serve` with its help.
    let row = |global: &str, message: &str, help: &str| {
        let shown = |text: &str| text.replace("GLOBAL", GLOBAL);
        site.write(GLOBAL, &shown(global));
        refuses(&site, &shown(&format!("error: {message}\n  help: {help}\n")));
    };
    let gateway = |lines: &str| format!("[gateway]\n{lines}\n{UNSUPERVISED}");
    let any = "listen = [\"127.0.0.1:0\"]";
    let beside = |lines: &str| format!("{}{lines}\n", gateway(any));
    let no_file = "No such file or directory (os error 2)";
    let correct = "correct listen in ROOT/GLOBAL";
    row("[gateway]\nlsten = []\n", "ROOT/GLOBAL:2: unknown key `lsten`", "did you mean `listen`?");
    row(
        &gateway(""),
        "the gateway is not told where to listen",
        "write into ROOT/GLOBAL: [gateway] and below it listen = [\"127.0.0.1:8080\"]",
    );
    row(
        &gateway(&format!("listen = [\"{taken}\"]")),
        &format!("cannot listen on {taken}: Address already in use (os error 98)"),
        &format!("{} uses it: stop that program, or change listen in ROOT/GLOBAL", this_process()),
    );
    row(
        &gateway("listen = [\"192.0.2.1:80\"]"),
        "cannot listen on 192.0.2.1:80: Cannot assign requested address (os error 99)",
        correct,
    );
    row(
        &gateway("listen = [\"unix:GLOBAL\"]"),
        "cannot listen on unix:ROOT/GLOBAL: File exists (os error 17)",
        correct,
    );
    row(
        &gateway("listen = [\"unix:none/a.sock\"]"),
        &format!("cannot listen on unix:ROOT/none/a.sock: {no_file}"),
        "its directory has to be there, and writable for you; or change listen in ROOT/GLOBAL",
    );
    let log = "correct access_log in ROOT/GLOBAL";
    row(
        &gateway(&format!("{any}\naccess_log = \"none/a.log\"")),
        &format!("cannot write the access log ROOT/none/a.log: {no_file}"),
        log,
    );
    row(
        &gateway(&format!("{any}\naccess_log = \"pid\"")),
        "cannot write the access log ROOT/pid: Is a directory (os error 21)",
        log,
    );
    row(
        &beside("[log]\noutput = \"none/serve.log\""),
        &format!("cannot log to ROOT/none/serve.log: {no_file}"),
        "its directory must exist, and only root and you may write to it: see [log] output",
    );
    row(
        &beside("[log]\noutput = \"syslog\"\nsyslog_socket = \"none\""),
        &format!("cannot log to ROOT/none: {no_file}"),
        "no syslog or journald receives there: start it, or change [log] output or syslog_socket",
    );
    row(
        &beside("[control]\nsocket = \"none/c.sock\""),
        &format!("cannot listen on ROOT/none/c.sock: {no_file}"),
        "its directory must exist and be writable: see [control] socket",
    );
}

#[test]
fn check_refuses_a_gateway_without_a_pool() {
    let site = Served::site("", "");
    let settings = format!("{POOL}/pools-manager.toml");
    let text = site.read(&settings);
    site.write(&settings, &text.replace("[gateway]", ""));
    refuses(
        &site,
        "error: no pool has a [gateway], so there is nothing to serve\n  \
         help: add [gateway] to the pools-manager.toml of a pool; it needs no keys\n",
    );
    site.write(&settings, &text.replace("[gateway]", "[gateway]\nindx = []"));
    let known = site.run(&["serve"]);
    refuses(&site, &site.shown(&known.status(2).stderr));
}

/// A supervisor has something to do without a gateway.
#[test]
fn serve_without_a_pool_of_the_gateway_supervises() {
    let site = Served::site("", "");
    site.replace(&format!("{POOL}/pools-manager.toml"), "[gateway]", "");
    site.replace(GLOBAL, UNSUPERVISED, "");
    let mut serve = site.spawn(&["serve"]);
    serve.await_line("that it supervises", |line| line.trim_end() == "Supervising all pools");
    wait_for("the replicas", || (site.php_fpm().len() > 2).then_some(()));
    serve.signal(rustix::process::Signal::TERM);
    serve.finish().status(0);
    assert!(serve_topic(&site).is_empty());
}

#[test]
fn check_refuses_a_port_that_needs_a_privilege() {
    needs_root!();
    let limit = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if limit.is_ok_and(|limit| limit.trim() == "0") {
        return; // as in containers
    }
    let site = Served::site("", "").owned_by_ordinary_user();
    site.replace(GLOBAL, "127.0.0.1:0", "127.0.0.1:81");
    refuses(
        &site,
        &format!(
            "error: cannot listen on 127.0.0.1:81: Permission denied (os error 13)\n  \
             help: a port below 1024 needs root or CAP_NET_BIND_SERVICE; or change listen in ROOT/{GLOBAL}\n"
        ),
    );
}

/// `serve` fails with this error, and `check` reports the same error.
fn refuses(site: &Site, stderr: &str) {
    let ran = site.unchanged_by(|| site.run(&["serve"]));
    assert_eq!(site.shown(&ran.status(2).stderr), stderr);
    site.check_refuses(stderr);
}

/// The findings of `check` about `serve`: level and message.
fn serve_topic(site: &Site) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&site.run(&["check", "--json"]).stdout).unwrap();
    of_topic(site, &document, "serve")
}

fn of_topic(site: &Site, of: &Value, name: &str) -> Vec<(String, String)> {
    let topic = of["topics"].as_array().unwrap().iter().find(|it| it["topic"] == name).unwrap();
    let text = |it: &Value| site.shown(it.as_str().unwrap());
    let findings = topic["findings"].as_array().unwrap().iter();
    findings.map(|it| (text(&it["level"]), text(&it["message"]))).collect()
}

#[test]
fn check_finds_a_host_of_two_pools_and_a_missing_temp_dir() {
    let site = Served::site("hosts = [\"a.test\", \"b.test\"]", "temp_dir = \"none\"");
    let settings = site.read(&format!("{POOL}/pools-manager.toml")).replace("a.test", "c.test");
    site.write("etc/php/fpm/redundant-pools/shop/pools-manager.toml", &settings);
    site.write("etc/php/fpm/redundant-pools/shop/1.conf", "");
    let conflict = "the pools \"shop\" and \"www\" all configure b.test: its requests get 503";
    let temp = "cannot create files in ROOT/none (temp_dir): No such file or directory (os error 2): large uploads get 503";
    let expected = [("error", conflict), ("warning", temp)];
    assert_eq!(serve_topic(&site), expected.map(|(level, it)| (level.to_owned(), it.to_owned())));
    site.run(&["check", "single", "www"]).status(2);
}

#[test]
fn check_finds_settings_that_serve_has_not_read() {
    for supervisor in [UNSUPERVISED, ""] {
        let site = Served::site("", "");
        site.replace(GLOBAL, UNSUPERVISED, supervisor);
        site.run(&["start"]).succeeds();
        let served = Served::serve(site);
        let site = &served.site;
        let settings = format!("{POOL}/pools-manager.toml");
        let pid = served.gateway().pid().as_raw_nonzero();
        let of_pool = |topic: &str| {
            let document = site.run(&["check", "--json"]).stdout;
            let document: Value = serde_json::from_str(&document).unwrap();
            of_topic(site, &document["pools"][0], topic)
        };
        let warning = |text: String| ("warning".to_owned(), text);
        let unread = |file: &str| {
            warning(format!("ROOT/{file} has changed since serve (pid {pid}) has read it"))
        };
        wait_for("nothing new", || {
            (serve_topic(site).is_empty() && of_pool("configuration").is_empty()).then_some(())
        });
        assert!(of_pool("balancer").is_empty());
        let (pool, global) = (site.read(&settings), site.read(GLOBAL));
        site.write(
            &settings,
            &pool.replace("[gateway]", "[rollout]\ndrain_timeout = \"9s\"\n[gateway]"),
        );
        let other =
            "the gateway serves the pool by other settings than its pools-manager.toml has now";
        assert_eq!(of_pool("balancer"), [warning(other.to_owned())]);
        if supervisor.is_empty() {
            assert_eq!(of_pool("configuration"), [unread(&settings)]);
        }
        site.write(GLOBAL, &global.replace("threads = 2", "threads = 1\nmin_rate = \"2KiB\""));
        let key =
            format!("[gateway] threads in ROOT/{GLOBAL} has changed since the start of serve");
        assert_eq!(serve_topic(site), [unread(GLOBAL), warning(key.clone())]);
        served.reload();
        wait_for("the settings", || {
            let is_read = of_pool("configuration").is_empty() && of_pool("balancer").is_empty();
            (is_read && serve_topic(site) == [warning(key.clone())]).then_some(())
        });
    }
}

/// As after an upgrade of the program, before `serve` is restarted.
#[test]
fn check_tries_no_address_of_a_gateway_that_does_not_tell_its_own() {
    let site = Served::site("", "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    site.replace(GLOBAL, "127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    let socket = UnixListener::bind(site.path("sockets/pools-manager.sock")).unwrap();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            BufReader::new(&stream).read_line(&mut String::new()).unwrap();
            stream.write_all(b"{\"failed\":\"the request is malformed\"}\n").unwrap();
        }
    });
    assert_eq!(serve_topic(&site), []);
}

/// A supervisor without a gateway has no control socket.
#[test]
fn check_finds_settings_that_the_supervisor_has_not_read() {
    let site = Served::site("", "");
    let settings = format!("{POOL}/pools-manager.toml");
    site.replace(&settings, "[gateway]", "");
    site.replace(GLOBAL, UNSUPERVISED, "");
    let mut serve = site.spawn(&["serve"]);
    serve.await_line("that it supervises", |line| line.trim_end() == "Supervising all pools");
    wait_for("nothing new", || serve_topic(&site).is_empty().then_some(()));
    fs::set_permissions(site.path(GLOBAL), Permissions::from_mode(0o640)).unwrap();
    let pid = serve.pid().as_raw_nonzero();
    let unread = format!("ROOT/{GLOBAL} has changed since serve (pid {pid}) has read it");
    assert_eq!(serve_topic(&site), [("warning".to_owned(), unread)]);
    serve.signal(rustix::process::Signal::HUP);
    wait_for("the settings", || serve_topic(&site).is_empty().then_some(()));
    serve.signal(rustix::process::Signal::TERM);
    serve.finish().status(0);
}
