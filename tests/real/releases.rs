//! `releases` shows which release directories are in use, for the cleanup of a deploy tool.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use harness::Site;

/// The releases that a cleanup has to keep, sorted.
fn in_use(site: &Site) -> Vec<String> {
    let ran = site.run(&["releases", "www", "--in-use", "-q"]);
    let www = format!("{}/", site.path("www").display());
    let name = |line: &str| line.strip_prefix(&www).unwrap().to_owned();
    let mut names: Vec<String> = ran.succeeds().stdout.lines().map(name).collect();
    names.sort();
    names
}

fn document(site: &Site) -> Value {
    let ran = site.run(&["releases", "www", "--json"]);
    serde_json::from_str(&ran.succeeds().stdout).unwrap()
}

#[test]
fn releases_of_replicas_and_of_the_link_are_in_use() {
    let site = Site::new();
    fs::create_dir(site.path("www/release3")).unwrap();
    let www = site.path("www");
    let shown = www.display();
    assert_eq!(in_use(&site), ["release1"]);
    site.run(&["start"]).succeeds();
    site.run(&["releases", "www"]).prints(&format!(
        "Redundant pool \"www\"...\n  \
         {shown}/release1: current_release_symlink, generation 1 of replica 1, generation 1 of replica 2\n  \
         {shown}/release2: not in use\n  \
         {shown}/release3: not in use\n"
    ));
    site.switch("release2");
    site.run(&["restart", "single", "www", "2"]).succeeds();
    site.switch("release3");
    assert_eq!(in_use(&site), ["release1", "release2", "release3"]);
    let directory = |release: &str, current: bool, generations: Value| {
        let path = www.join(release);
        json!({
            "path": path, "current": current, "deleted": false, "in_use": true,
            "generations": generations,
        })
    };
    let expected = json!({"pool": "www", "releases": [
        directory("release3", true, json!([])),
        directory("release1", false, json!([{"replica": 1, "generation": 1}])),
        directory("release2", false, json!([{"replica": 2, "generation": 2}])),
    ]});
    assert_eq!(document(&site), expected);
    site.run(&["stop"]).succeeds();
    assert_eq!(in_use(&site), ["release3"]);
    site.switch("nowhere");
    assert_eq!(in_use(&site), [""; 0]);
    assert_eq!(document(&site)["releases"].as_array().unwrap().len(), 3);
}

#[test]
fn both_releases_are_in_use_during_a_rollout() {
    for strategy in ["rolling", "swap"] {
        let site = Site::new();
        site.run(&["start"]).succeeds();
        let (manager, warm_up) = site.restart_until_warm_up(strategy);
        site.switch("release1");
        assert_eq!(in_use(&site), ["release1", "release2"]);
        warm_up.open();
        manager.finish().succeeds();
        assert_eq!(in_use(&site), ["release1", "release2"]);
        site.switch("release2");
        assert_eq!(in_use(&site), ["release2"]);
    }
}

#[test]
fn deleted_release_is_in_use_by_its_replicas() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    fs::remove_dir_all(site.path("www/release1")).unwrap();
    site.switch("release2");
    assert_eq!(in_use(&site), ["release1", "release2"]);
    let found = document(&site);
    let deleted = &found["releases"][1];
    assert_eq!((&deleted["deleted"], &deleted["in_use"]), (&json!(true), &json!(true)), "{found}");
}

#[test]
fn release_of_children_without_a_master_is_in_use() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.switch("release2");
    // The second master is only halted, so that the children do not notice at once.
    let masters = site.masters();
    site.kill(&masters[..1]);
    rustix::process::kill_process(masters[1], Signal::STOP).unwrap();
    assert_eq!(in_use(&site), ["release1", "release2"]);
    rustix::process::kill_process(masters[1], Signal::CONT).unwrap();
}

#[test]
fn pool_without_releases_shows_none() {
    let site = Site::prepared();
    site.write("etc/php/fpm/redundant-pools/www/pools-manager.toml", "[php]\n");
    let ran = site.run(&["releases", "www"]);
    let error = "error: the pool \"www\" pins no releases\n";
    assert!(ran.status(2).stdout("").stderr.starts_with(error), "{ran}");
}
