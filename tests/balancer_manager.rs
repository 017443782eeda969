//! The program `balancer-manager` and the Apache driver, against a real Apache.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::wire::{Apache, Fpm, Ran, root};
use pools_manager::backend::apache::{Apache as Driver, Snapshot};
use pools_manager::backend::{Backend, Enabled};
use pools_manager::error::Exit;

const ONE: &str = "fcgi://pool-1";
const TWO: &str = "fcgi://pool-2";

/// An Apache with several balancers. Their members need not run.
fn site(root: &std::path::Path) -> Apache {
    fs::write(root.join("page.txt"), "pong").unwrap();
    let config = "
        <Proxy balancer://lb>
          BalancerMember unix:ROOT/1.sock|fcgi://pool-1
          BalancerMember unix:ROOT/2.sock|fcgi://pool-2 retry=7
          ProxySet lbmethod=bybusyness
        </Proxy>
        <Proxy balancer://sticky>
          BalancerMember fcgi://127.0.0.1:9/a route=a
          BalancerMember fcgi://127.0.0.1:9/b route=b
          ProxySet lbmethod=bybusyness stickysession=ID
        </Proxy>
        <Proxy balancer://forced>
          BalancerMember fcgi://127.0.0.1:9/c route=c
          ProxySet lbmethod=bybusyness stickysession=ID nofailover=On
        </Proxy>
        <Proxy balancer://readonly>
          BalancerMember fcgi://127.0.0.1:9/d
          BalancerMember fcgi://127.0.0.1:9/e
          ProxySet lbmethod=bybusyness nonce=None
        </Proxy>
        <Proxy balancer://held>
          BalancerMember fcgi://127.0.0.1:9/f status=+S
          BalancerMember fcgi://127.0.0.1:9/g status=+H
          ProxySet lbmethod=bybusyness
        </Proxy>
        <Location /balancer-manager>
          SetHandler balancer-manager
          Require local
        </Location>
        <Location /forbidden>
          Require all denied
        </Location>
        Redirect /moved /login
        Redirect 500 /broken
        RewriteEngine on
        RewriteRule ^/ping$ balancer://lb/ping [P,L]";
    Apache::start(root, &config.replace("ROOT", &root.display().to_string()))
}

fn run(apache: &Apache, args: &[&str]) -> Ran {
    run_at(&apache.url("/balancer-manager"), args)
}

fn run_at(url: &str, args: &[&str]) -> Ran {
    let program = env!("CARGO_BIN_EXE_balancer-manager");
    Command::new(program).arg(url).args(args).output().unwrap().into()
}

fn driver(apache: &Apache, balancer: &str, members: &[&str]) -> Driver {
    let members: Vec<_> = members.iter().map(ToString::to_string).collect();
    Driver::new(&apache.url("/balancer-manager"), balancer, &members).unwrap()
}

/// Runs a future to its end.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The status and the body of a page.
async fn get(url: String) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn status(snapshot: &Snapshot, url: &str) -> String {
    snapshot.worker(url).unwrap().status.to_string()
}

#[test]
fn show_prints_the_attributes_of_balancer_and_workers() {
    let root = root();
    let apache = site(root.path());
    let shown: serde_json::Value =
        serde_json::from_str(&run(&apache, &["lb", "show"]).success()).unwrap();
    assert_eq!(shown.as_object().unwrap().len(), 1);
    let shown = &shown["lb"];
    assert_eq!(shown["Main"]["Method"], "bybusyness");
    let workers = shown["Workers"].as_array().unwrap();
    assert_eq!(workers[0]["Status"], "Init Ok");
    let whole = format!("unix:{}/1.sock|fcgi://pool-1", root.path().display());
    assert_eq!(workers[0]["Worker URL"], whole);
    assert_eq!(shown["Meta"]["Nonce"].as_str().unwrap().len(), 36);
    assert_eq!(workers[1].as_object().unwrap().len(), 11);
    let text = run(&apache, &["lb", "show"]).success();
    let begins = "{\n    \"lb\": {\n        \"Main\": {\n            \"Active\": \"Yes\",\n";
    assert!(text.starts_with(begins), "{text}");
}

#[test]
fn get_stats_ignores_the_case_of_the_name() {
    let root = root();
    let apache = site(root.path());
    assert_eq!(run(&apache, &["lb", "get-stats", "status", TWO]).success(), "Init Ok\n");
    assert_eq!(run(&apache, &["lb", "get-stats", "BUSY", TWO]).success(), "0\n");
    let error = run(&apache, &["lb", "get-stats", "nothing", TWO]).failure(2);
    assert!(error.contains("Worker URL, Route, RouteRedir"), "{error}");
    let error = run(&apache, &["lb", "get-stats", "Busy", "fcgi://pool-3"]).failure(2);
    assert!(error.contains("|fcgi://pool-1, unix:"), "{error}");
}

#[test]
fn a_worker_is_drained_and_enabled_again() {
    let root = root();
    let apache = site(root.path());
    let list = |args: &[&str]| run(&apache, &[&["lb", "list-workers"], args].concat()).success();
    run(&apache, &["lb", "set-drain", "on", TWO]).success();
    let line = |pool: u32, status: &str| {
        let socket = root.path().join(format!("{pool}.sock"));
        let socket = socket.display();
        format!("fcgi://pool-{pool} Status=\"{status}\" socket=\"{socket}\"\n")
    };
    assert_eq!(list(&[]), line(2, "Init Drn Ok") + &line(1, "Init Ok"));
    assert_eq!(list(&["-q"]), "fcgi://pool-2\nfcgi://pool-1\n");
    assert_eq!(list(&["-q", "-s", "ok"]), "fcgi://pool-1\n");
    assert_eq!(list(&["-q", "-s", "draining"]), "fcgi://pool-2\n");
    // To drain it twice is no error.
    run(&apache, &["lb", "set-drain", "on", TWO]).success();

    let error = run(&apache, &["lb", "set-drain", "on", ONE]).failure(1);
    assert!(error.contains("fcgi://pool-1 is the last worker that serves"), "{error}");
    let whole = format!("unix:{}/2.sock|fcgi://pool-2", root.path().display());
    run(&apache, &["balancer://lb", "set-drain", "off", &whole]).success();
    assert_eq!(list(&["-s", "ok"]), line(1, "Init Ok") + &line(2, "Init Ok"));
}

#[test]
fn an_error_names_the_cause_and_how_to_solve_it() {
    let root = root();
    let apache = site(root.path());
    let says = |path: &str, balancer: &str, expected: &str| {
        let error = run_at(&apache.url(path), &[balancer, "set-drain", "on", ONE]).failure(2);
        assert!(error.contains(expected), "{path}: {error}");
        assert!(error.contains("\n  help: "), "{path}: {error}");
    };
    says("/nothing", "lb", "answers 404");
    says("/forbidden", "lb", "answers 403");
    says("/moved", "lb", "redirects to \"http://");
    says("/broken", "lb", "answers 500");
    says("/page.txt", "lb", "is not balancer-manager");
    says("/balancer-manager", "other", "has no balancer \"other\"");
    says("/balancer-manager", "other", "lb, sticky, forced, readonly, held");
    says("/balancer-manager", "sticky", "has no member \"fcgi://pool-1\"");

    let member = "fcgi://127.0.0.1:9/d";
    let error = run(&apache, &["readonly", "set-drain", "on", member]).failure(2);
    assert!(error.contains("\"readonly\" is read-only"), "{error}");
    let forced = driver(&apache, "forced", &["fcgi://127.0.0.1:9/c"]);
    let error = block_on(forced.drain(0)).unwrap_err();
    assert!(error.exit == Exit::Config && error.message.contains("nofailover=On"));

    let error = run_at("ftp://x/", &["lb", "show"]).failure(2);
    assert!(error.contains("\"ftp://x/\" is not the URL of a page"), "{error}");
    let url = apache.url("/balancer-manager");
    drop(apache);
    let error = run_at(&url, &["lb", "show"]).failure(2);
    assert!(error.contains("cannot connect to http://127.0.0.1:"), "{error}");
}

#[test]
fn a_drain_moves_sticky_sessions_to_other_members() {
    let root = root();
    let apache = site(root.path());
    let driver = driver(&apache, "sticky", &["fcgi://127.0.0.1:9/a"]);
    block_on(async {
        driver.drain(0).await.unwrap();
        assert_eq!(status(&driver.read().await.unwrap(), "fcgi://127.0.0.1:9/a"), "Init Drn Dis");
        assert_eq!(driver.enable(0).await.unwrap(), Enabled::Serving);
        assert_eq!(status(&driver.read().await.unwrap(), "fcgi://127.0.0.1:9/a"), "Init Ok");
    });
}

#[test]
fn the_status_that_the_operator_set_is_kept() {
    let root = root();
    let apache = site(root.path());
    let members = ["fcgi://127.0.0.1:9/f", "fcgi://127.0.0.1:9/g"];
    let driver = driver(&apache, "held", &members);
    block_on(async {
        for index in [0, 1] {
            driver.drain(index).await.unwrap();
        }
        let held = Enabled::Held { status: "Init Stop".to_owned() };
        assert_eq!(driver.enable(0).await.unwrap(), held);
        assert_eq!(driver.enable(1).await.unwrap(), Enabled::Serving);
        assert_eq!(status(&driver.read().await.unwrap(), members[1]), "Init Stby Ok");
    });
    let said = run(&apache, &["held", "set-drain", "off", members[0]]);
    assert!(said.stderr.contains("gets no requests: its status is Init Stop"), "{}", said.stderr);
    said.success();
}

#[test]
fn a_drain_is_repeated_after_a_restart_of_apache() {
    let root = root();
    let mut apache = site(root.path());
    let balancer = Backend::Apache(driver(&apache, "lb", &[ONE, TWO]));
    let draining = || {
        let members = block_on(balancer.members()).unwrap();
        members.iter().map(|member| member.draining).collect::<Vec<_>>()
    };
    block_on(balancer.drain(0)).unwrap();
    assert_eq!(draining(), [true, false]);
    apache.restart();
    assert_eq!(draining(), [false, false]);
    block_on(balancer.drain(0)).unwrap();
    assert_eq!(draining(), [true, false]);
}

#[test]
fn a_member_leaves_its_error_state_after_one_good_request() {
    let root = root();
    let apache = site(root.path());
    let lb = driver(&apache, "lb", &[ONE, TWO]);
    let probed = lb.clone().with_probe(&apache.url("/ping")).unwrap();
    block_on(async {
        assert!(lb.other_serving(0).await.unwrap());
        // A request that no member can serve puts both members into error.
        assert_eq!(get(apache.url("/ping")).await.0, 503);
        let members = Backend::Apache(lb.clone()).members().await.unwrap();
        assert!(members.iter().all(|member| member.in_error && !member.serves));
        assert!(!lb.other_serving(0).await.unwrap());

        let _fpm = Fpm::start(root.path(), "2.sock");
        let begin = Instant::now();
        let still = Enabled::StillInError { retry_seconds: 7 };
        assert_eq!(lb.enable(1).await.unwrap(), still, "no request passed");
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(status(&lb.read().await.unwrap(), TWO), "Init Err");

        assert_eq!(probed.enable(1).await.unwrap(), Enabled::Serving);
        assert_eq!(status(&lb.read().await.unwrap(), TWO), "Init Ok");
        assert_eq!(get(apache.url("/ping")).await, (200, "pong".to_owned()));
    });
    let said = run(&apache, &["lb", "set-drain", "off", ONE]);
    assert!(said.stderr.contains("Apache tries it again within 60 s"), "{}", said.stderr);
    said.success();
}

#[test]
fn an_apache_that_ignores_parameters_can_be_read_but_not_changed() {
    let root = root();
    let config = "
        UseCanonicalName On
        <Proxy balancer://lb>
          BalancerMember fcgi://127.0.0.1:9/a
          BalancerMember fcgi://127.0.0.1:9/b
          ProxySet lbmethod=bybusyness
        </Proxy>
        <Location /balancer-manager>
          SetHandler balancer-manager
        </Location>";
    let apache = Apache::start(root.path(), config);
    // Apache's ServerName is localhost, and the request is for 127.0.0.1. So Apache sends HTML, not XML.
    let list = run(&apache, &["lb", "list-workers", "-q"]).success();
    assert_eq!(list, "fcgi://127.0.0.1:9/a\nfcgi://127.0.0.1:9/b\n");
    let error = run(&apache, &["lb", "set-drain", "on", "fcgi://127.0.0.1:9/a"]).failure(1);
    assert!(error.contains("ignored a change of \"fcgi://127.0.0.1:9/a\" (Drn=true)"), "{error}");
    assert!(error.contains("ServerName"), "{error}");
}
