//! Output for programs: one JSON document, or one JSON event per line.

use serde_json::{Value, json};

use harness::Site;

#[test]
fn list_prints_one_json_document() {
    let site = Site::new();
    let expected = json!({"pools": [{
        "pool": "www",
        "replica_count": 2,
        "backend": "apache",
        "apache": {
            "manager_url": format!("http://localhost:{}/balancer-manager", site.port()),
            "balancer_name": "phpfpmlb",
            "member_urls": ["fcgi://pool-1", "fcgi://pool-2"],
        },
        "strategy": "rolling",
    }]});
    for command in [&["list", "--json"][..], &["--json", "list"], &["list", "-q", "--json"]] {
        let ran = site.run(command);
        assert_eq!(document(&ran.succeeds().stdout), expected);
    }
}

#[test]
fn status_prints_one_json_document() {
    let site = Site::new();
    site.run(&["start", "single", "www", "1"]).succeeds();
    let ran = site.run(&["status", "--json"]);
    let error = json!({
        "event": "error", "pool": "www", "exit": 1, "help": null,
        "message": "pool \"www\": not well: replica 2",
    });
    assert_eq!(without_time(&ran.status(1).stderr), [error]);
    let mut found = document(&ran.stdout);
    let replica = found["pools"][0]["replicas"][0].as_object_mut().unwrap();
    assert!(replica.remove("pid").unwrap().as_i64() > Some(1));
    let expected = json!({"pools": [{
        "pool": "www",
        "ok": false,
        "replicas": [
            {
                "replica": 1,
                "ok": true,
                "state": "ok",
                "lb": "Init Ok",
                "ping_php": "pong",
                "current": site.path("www/release1"),
                "generation": 1,
                "running": 1,
                "stopped": false,
            },
            {
                "replica": 2,
                "ok": false,
                "state": "error",
                "help": "not started: run pools-manager start www",
                "lb": "Init Ok",
                "ping_php": "not running",
                "current": "",
                "generation": null,
                "pid": null,
                "running": 0,
                "stopped": false,
            },
        ],
        "problems": [],
    }]});
    assert_eq!(found, expected);
    site.run(&["start"]).succeeds();
    assert_eq!(
        document(&site.run(&["status", "--json"]).succeeds().stdout)["pools"][0]["ok"],
        true
    );
}

#[test]
fn restart_prints_one_json_event_per_line() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let ran = site.run(&["restart", "--json"]);
    let mut events = events(&ran.succeeds().stdout);
    assert!(events.iter().all(|event| is_time(&event["time"])), "{events:?}");
    events.iter_mut().for_each(remove_time);
    let mut done = events.pop().unwrap();
    assert!(done.as_object_mut().unwrap().remove("ms").unwrap().is_u64());
    assert_eq!(done, json!({"event": "done", "pool": "www", "ok": true}));
    assert_eq!(events.remove(0), json!({"event": "pool", "pool": "www"}));

    let done = events.iter().filter(|event| event["event"] == "stage_done");
    let stages: Vec<_> =
        done.map(|event| (event["stage"].clone(), event["replica"].clone())).collect();
    let of = |replica: u32| {
        let names = ["deactivating", "stopping", "starting", "activating"];
        names.map(|name| (json!(name), json!(replica)))
    };
    assert_eq!(stages, [of(1), of(2)].concat());
    assert!(events.iter().all(|event| event["pool"] == "www"), "{events:?}");
    // Each stage, and each step in it, is done before the next one begins.
    let mut begun = Vec::new();
    for event in &events {
        match event["event"].as_str().unwrap().split_once('_') {
            Some((kind, "started")) => begun.push(kind),
            Some((kind, "done")) => assert_eq!(begun.pop(), Some(kind)),
            _ => assert_eq!(event["event"], "progress"),
        }
    }
    assert!(begun.is_empty());
}

#[test]
fn failure_is_a_json_event() {
    let site = Site::new();
    site.add_rollout("warm_up = [\"/no-such-page.php\", \"/bad.php\"]");
    site.add_page("bad.php", "<?php http_response_code(503);");
    let ran = site.run(&["start", "--json"]);
    let events = events(&ran.status(1).stdout);
    let failed = events.iter().find(|event| event["event"] == "stage_failed").unwrap();
    assert_eq!((&failed["stage"], &failed["replica"]), (&json!("starting"), &json!(1)));
    let release = site.path("www/release1");
    let reason = format!(
        "warm-up of generation 1 of replica 1 on {}: /bad.php: status 503",
        release.display()
    );
    assert_eq!(failed["reason"], reason);
    assert_eq!(events.last().unwrap()["ok"], false);
}

#[test]
fn dry_run_prints_the_plan_and_changes_nothing() {
    let site = Site::new();
    let stopped = (site.files(), site.members());
    let ran = site.run(&["start", "single", "www", "2", "--dry-run"]);
    ran.prints(
        "Redundant pool \"www\"...\n  \
         Starting replica 2\n    \
         start generation 1 of replica 2\n    \
         await that generation 1 of replica 2 is ready\n    \
         warm up generation 1 of replica 2\n    \
         publish generation 1 of replica 2\n",
    );
    site.run(&["stop", "--dry-run"]).prints("Redundant pool \"www\"...\n  Nothing to do\n");
    assert_eq!((site.files(), site.members()), stopped);

    site.run(&["start"]).succeeds();
    let running = (site.files(), site.members(), site.masters());
    for strategy in ["rolling", "swap"] {
        let ran = site.run(&["restart", "--strategy", strategy, "--dry-run", "--json"]);
        let events = events(&ran.succeeds().stdout);
        let names: Vec<&str> = events.iter().map(|it| it["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["pool", "plan", "done"]);
        assert!(!events[1]["stages"].as_array().unwrap().is_empty());
        site.run(&["restart", "--strategy", strategy, "--dry-run"]).succeeds();
    }
    site.run(&["stop", "--dry-run"]).succeeds();
    assert_eq!((site.files(), site.members(), site.masters()), running);
    site.run(&["restart"]).succeeds();
    assert_eq!(site.generations(), [2, 2]);
}

fn document(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1);
    serde_json::from_str(text).unwrap()
}

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn remove_time(event: &mut Value) {
    event.as_object_mut().unwrap().remove("time");
}

/// Checks the times of JSON lines, and returns the lines without their times.
fn without_time(text: &str) -> Vec<Value> {
    let mut events = events(text);
    assert!(events.iter().all(|event| is_time(&event["time"])), "{events:?}");
    events.iter_mut().for_each(remove_time);
    events
}

/// `2026-01-02T03:04:05.678Z`
fn is_time(value: &Value) -> bool {
    let digits = |it: char| if it.is_ascii_digit() { '0' } else { it };
    let shape: String = value.as_str().unwrap_or_default().chars().map(digits).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

#[test]
fn errors_are_json_documents_on_standard_error() {
    let site = Site::new();
    let document = |args: &[&str], exit: u8| {
        let ran = site.run(args);
        let mut all = without_time(&ran.status(i32::from(exit)).stderr);
        let error = all.pop().unwrap();
        assert_eq!((&error["event"], &error["exit"]), (&json!("error"), &json!(exit)), "{ran}");
        assert!(all.is_empty(), "{ran}");
        error
    };
    let unknown = document(&["restart", "wwww", "--json"], 2);
    assert_eq!(unknown["message"], "there is no pool \"wwww\"");
    assert_eq!(unknown["pool"], "wwww");
    assert_eq!(unknown["help"], "did you mean \"www\"? the pools are: www");
    // clap's errors too, wherever the option stands.
    for args in [&["--json", "restart", "--tiemout", "3"][..], &["restart", "--tiemout", "--json"]]
    {
        let usage = document(args, 2);
        assert_eq!(usage["message"], "unexpected argument '--tiemout' found");
        assert!(
            usage["help"].as_str().unwrap().contains("Usage: pools-manager restart"),
            "{usage}"
        );
    }
    assert_eq!(document(&["stat", "--json"], 2)["message"], "unrecognized subcommand 'stat'");
    document(&["--json"], 2);
    document(&["--root", "/nonexistent", "list", "--json"], 2);
    assert_eq!(document(&["rollback", "www", "--json"], 2)["pool"], "www");
    // Help is no error.
    let help = site.run(&["restart", "--help", "--json"]);
    assert!(help.succeeds().stdout.contains("Usage: "), "{help}");
}

#[test]
fn each_pool_has_its_own_error() {
    let site = Site::new();
    for pool in ["api", "web"] {
        site.write(
            &format!("etc/php/fpm/redundant-pools/{pool}/pools-manager.toml"),
            "[nonsense]\n",
        );
    }
    for command in ["status", "list", "history", "start"] {
        let ran = site.run(&[command, "--json"]);
        let errors = without_time(&ran.stderr);
        let pools: Vec<&str> = errors.iter().map(|it| it["pool"].as_str().unwrap()).collect();
        let of_www = if command == "status" { &["api", "web", "www"][..] } else { &["api", "web"] };
        assert_eq!(pools, of_www, "{ran}");
        assert!(
            errors[0]["message"].as_str().unwrap().contains("/api/pools-manager.toml:1: "),
            "{ran}"
        );
    }
    site.run(&["stop", "www"]).succeeds();
}
