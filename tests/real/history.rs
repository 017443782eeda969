//! The history of rollouts, and its file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use harness::{Ran, Site};

const STATE: &str = "pid/www.state.json";

/// The entries of pool "www", as programs read them.
fn history(site: &Site) -> Vec<Value> {
    let ran = site.run(&["history", "--json"]);
    let mut document: Value = serde_json::from_str(&ran.succeeds().stdout).unwrap();
    document["pools"][0]["history"].take().as_array().unwrap().clone()
}

/// How each rollout ended.
fn results(site: &Site) -> Vec<String> {
    history(site).iter().map(|entry| entry["result"].as_str().unwrap().to_owned()).collect()
}

/// Files that were set aside.
fn set_aside(site: &Site) -> Vec<PathBuf> {
    let names = fs::read_dir(site.path("pid")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.display().to_string().contains("/www.state.json.bad-")).collect()
}

fn has_warned(ran: &Ran, what: &str) {
    let warned = |line: &str| line.starts_with("  Warning: ") && line.contains(what);
    assert!(ran.succeeds().stdout.lines().any(warned), "{ran}");
}

#[test]
fn history_has_each_rollout() {
    let site = Site::new();
    site.run(&["history"]).prints("Redundant pool \"www\"...\n  No rollout is on record\n");
    site.run(&["start"]).succeeds();
    site.switch("release2");
    site.run(&["restart", "--dry-run"]).succeeds();
    assert!(history(&site).is_empty());
    site.run(&["restart"]).succeeds();
    site.add_rollout(r#"warm_up = ["/broken.php"]"#);
    site.write("www/release1/broken.php", "<?php this is no PHP;");
    site.switch("release1");
    site.run(&["restart", "--strategy", "swap"]).status(1);

    let [done, bounced] = <[Value; 2]>::try_from(history(&site)).unwrap();
    let (release1, release2) = (site.path("www/release1"), site.path("www/release2"));
    let same = |entry: &Value, key: &str, expected: Value| assert_eq!(entry[key], expected);
    same(&done, "from", json!(release1));
    same(&done, "to", json!(release2));
    same(&done, "strategy", json!("rolling"));
    same(&done, "command", json!("restart"));
    same(&done, "result", json!("done"));
    assert!(done["when"].as_str().unwrap().ends_with('Z') && done["ms"].as_u64() > Some(0));
    same(&bounced, "from", json!(release2));
    same(&bounced, "to", json!(release1));
    same(&bounced, "strategy", json!("swap"));
    let why = bounced["result"].as_str().unwrap();
    let begins = "failed: warm-up of generation 3 of replica 1 on ";
    assert!(why.starts_with(begins) && !why.contains('\n'), "{why}");

    let ran = site.run(&["history", "www"]);
    let lines: Vec<&str> = ran.succeeds().stdout.lines().collect();
    assert!(lines[1].starts_with("  WHEN ") && lines[1].ends_with("  RESULT"), "{ran}");
    assert!(lines[2].contains("  restart  ") && lines[2].ends_with(" ms  done"), "{ran}");
    assert!(lines[3].contains("  restart --strategy swap  "), "{ran}");
    assert!(lines[3].contains(&format!("  {begins}")), "{ran}");
    assert_eq!(lines.len(), 4, "{ran}");
    let none =
        "error: there is no pool \"wwww\"\n  help: did you mean \"www\"? the pools are: www\n";
    site.run(&["history", "wwww"]).status(2).stderr(none);
}

#[test]
fn history_names_the_user_behind_sudo() {
    let site = Site::prepared().owned_by_ordinary_user().serve();
    site.run(&["start"]).succeeds();
    site.run(&["restart"]).succeeds();
    let command = |user| site.spawn_as(user, &["restart"]).finish();
    command("alice").succeeds();
    let who: Vec<Value> = history(&site).iter().map(|entry| entry["who"].clone()).collect();
    let user = nix::unistd::User::from_uid(site.uid().into()).unwrap().unwrap().name;
    assert_eq!(who, [json!(user), json!("alice")]);
}

#[test]
fn history_marks_an_interrupted_rollout() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.restart_is_interrupted();
    assert_eq!(results(&site), ["interrupted"]);
}

#[test]
fn invalid_state_file_is_moved_aside() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.run(&["restart"]).succeeds();
    let whole = site.read(STATE);
    site.write(STATE, &whole[..whole.len() / 2]);
    let ran = site.run(&["history"]);
    let what = format!("error: pool \"www\": {} is no state file: ", site.path(STATE).display());
    assert!(ran.status(1).stderr.starts_with(&what), "{ran}");
    has_warned(&site.run(&["restart"]), "is no state file (");
    let [aside] = <[PathBuf; 1]>::try_from(set_aside(&site)).unwrap();
    assert_eq!(fs::read_to_string(&aside).unwrap(), whole[..whole.len() / 2]);
    assert_eq!(results(&site), ["done"]);
    fs::remove_file(aside).unwrap();
    site.is_in_order_on("release1");
}

#[test]
fn symlink_in_place_of_the_state_file_is_not_followed() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.run(&["restart"]).succeeds();
    fs::rename(site.path(STATE), site.path("elsewhere")).unwrap();
    let text = site.read("elsewhere");
    symlink("../elsewhere", site.path(STATE)).unwrap();
    site.run(&["history"]).status(1);
    has_warned(&site.run(&["restart"]), "is no state file (it is not a regular file)");
    assert_eq!(site.read("elsewhere"), text);
    assert_eq!(results(&site), ["done"]);
    let [aside] = <[PathBuf; 1]>::try_from(set_aside(&site)).unwrap();
    assert!(aside.is_symlink());
}

#[test]
fn state_file_of_a_newer_version_is_not_changed() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let newer = "{\"version\": 99, \"history\": {}}\n";
    site.write(STATE, newer);
    has_warned(&site.run(&["restart"]), "no history is written: ");
    assert_eq!(site.read(STATE), newer);
    site.run(&["history"]).status(1).stdout("");
    assert!(set_aside(&site).is_empty());
    site.is_in_order_on("release1");
}

#[test]
fn unwritable_history_does_not_fail_a_rollout() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site.run(&["restart"]).succeeds();
    fs::create_dir(site.path("pid/www.state.json.new")).unwrap();
    site.switch("release2");
    has_warned(&site.run(&["restart"]), "no history is written: ");
    fs::remove_dir(site.path("pid/www.state.json.new")).unwrap();
    assert_eq!(results(&site), ["done"]);
    site.is_in_order_on("release2");
    fs::remove_dir_all(site.path("pid")).unwrap();
    site.run(&["history"]).prints("Redundant pool \"www\"...\n  No rollout is on record\n");
    site.run(&["restart"]).status(2);
}

#[test]
fn history_has_both_of_two_simultaneous_rollouts() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let both = [site.spawn(&["restart"]), site.spawn(&["restart"])];
    for manager in both {
        manager.finish().succeeds();
    }
    assert_eq!(results(&site), ["done", "done"]);
}
