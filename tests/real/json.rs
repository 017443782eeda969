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
    ran.status(1).stderr("error: pool \"www\": not well: replica 2\n");
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
