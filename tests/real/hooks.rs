//! The operator's programs that a rollout calls.

mod after;
mod before;
mod nested;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use harness::{Ran, Site, wait_for};

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// A site that serves release 1, and calls these scripts.
fn site(hooks: &[(&str, &str)]) -> Site {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    set(&site, hooks, "");
    site
}

/// Adds the section `[hooks]`, and a script for each.
fn set(site: &Site, hooks: &[(&str, &str)], more: &str) {
    let mut lines = vec![site.read(SETTINGS), "[hooks]".to_owned(), more.to_owned()];
    for (hook, script) in hooks {
        site.write(&format!("hooks/{hook}"), script);
        lines.push(format!("{hook} = [\"hooks/shell\", \"hooks/{hook}\", \"%CURRENT_DIR%\"]"));
    }
    // Named by a path from the root.
    if !site.path("hooks/shell").exists() {
        symlink("/bin/sh", site.path("hooks/shell")).unwrap();
    }
    site.write(SETTINGS, &lines.join("\n"));
}

/// Writes its environment, its working directory, and the target of the link.
const NOTE: &str = "
env | grep ^POOLS_MANAGER_ | sort > note.$POOLS_MANAGER_HOOK
echo \"$1 $(pwd) $(readlink www/current.release)\" >> note.$POOLS_MANAGER_HOOK
";

/// Waits for a file `end`, after it has made a file `begun`.
const WAIT: &str = "touch begun; until [ -e end ]; do sleep 0.01; done; touch ended";

const ALL_NOTE: [(&str, &str); 3] =
    [("before_rollout", NOTE), ("after_rollout", NOTE), ("on_failure", NOTE)];

/// What a hook has noted, without the time that the rollout took.
fn noted(site: &Site, hook: &str) -> String {
    let text = site.shown(&site.read(&format!("note.{hook}")));
    let is_time = |line: &&str| {
        let ms = line.strip_prefix("POOLS_MANAGER_MS=");
        ms.is_some_and(|ms| ms.parse::<u64>().unwrap() > 0)
    };
    let lines: Vec<&str> = text.lines().filter(|line| !is_time(line)).collect();
    lines.join("\n") + "\n"
}

fn notes(site: &Site) -> Vec<String> {
    let names = fs::read_dir(site.root()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("note.")).collect();
    names.sort();
    for name in &names {
        fs::remove_file(site.path(name)).unwrap();
    }
    names
}

fn link(site: &Site) -> PathBuf {
    fs::read_link(site.path("www/current.release")).unwrap()
}

fn await_file(site: &Site, name: &str) {
    wait_for(name, || site.path(name).exists().then_some(()));
}

fn events(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn hooks_run_before_and_after_with_the_rollout_in_their_environment() {
    let site = site(&ALL_NOTE);
    let ran = site.spawn_as("alice", &["switch", "www", "release2"]).finish();
    let lines: Vec<&str> = ran.succeeds().stdout.lines().collect();
    assert_eq!(lines[1], "  Running the hook before_rollout  [OK]", "{ran}");
    assert!(lines[2].ends_with("/www/current.release leads to release2"), "{ran}");
    assert_eq!(lines.last(), Some(&"  Running the hook after_rollout  [OK]"), "{ran}");
    let facts = |hook: &str, reason: &str, link: &str| {
        format!(
            "POOLS_MANAGER_COMMAND=switch\n\
             POOLS_MANAGER_FROM=ROOT/www/release1\n\
             POOLS_MANAGER_HOOK={hook}\n\
             POOLS_MANAGER_POOL=www\n\
             {reason}\
             POOLS_MANAGER_REPLICAS=1 2\n\
             POOLS_MANAGER_ROOT=ROOT\n\
             POOLS_MANAGER_STRATEGY=rolling\n\
             POOLS_MANAGER_TO=ROOT/www/release2\n\
             POOLS_MANAGER_USER=alice\n\
             ROOT ROOT {link}\n"
        )
    };
    let result = |text: String, result: &str| {
        text.replace(
            "POOLS_MANAGER_ROOT",
            &format!("POOLS_MANAGER_RESULT={result}\nPOOLS_MANAGER_ROOT"),
        )
    };
    assert_eq!(noted(&site, "before_rollout"), facts("before_rollout", "", "release1"));
    let after = result(facts("after_rollout", "", "release2"), "done");
    assert_eq!(noted(&site, "after_rollout"), after);
    assert_eq!(notes(&site), ["note.after_rollout", "note.before_rollout"]);
}

#[test]
fn commands_that_are_no_rollout_call_no_hook() {
    let site = site(&ALL_NOTE);
    site.run(&["stop", "single", "www", "2"]).succeeds();
    site.run(&["start"]).succeeds();
    site.run(&["switch", "www", "release1"]).prints("Redundant pool \"www\"...\n  Nothing to do\n");
    site.run(&["restart", "--no-such-option"]).status(2);
    let ran = site.run(&["switch", "www", "release2", "--dry-run"]);
    let lines: Vec<&str> = ran.succeeds().stdout.lines().collect();
    assert_eq!(lines[1], "  Running the hook before_rollout", "{ran}");
    assert_eq!(lines.last(), Some(&"  Running the hook after_rollout"), "{ran}");
    site.run(&["stop"]).succeeds();
    assert!(notes(&site).is_empty());
    // A restart of what does not run is a rollout too.
    site.run(&["restart"]).succeeds();
    assert_eq!(notes(&site), ["note.after_rollout", "note.before_rollout"]);
}

#[test]
fn refused_rollout_calls_no_hook() {
    let site = site(&ALL_NOTE);
    site.run(&["switch", "www", "nowhere"]).status(2);
    site.replace("etc/php/fpm/redundant-pools/www/pool.conf", "pm = dynamic", "pm = elastic");
    site.run(&["restart"]).status(2);
    assert!(notes(&site).is_empty());
}

#[test]
fn json_output_has_events_for_hooks() {
    let site = site(&[("before_rollout", "exit 0"), ("after_rollout", "echo no; exit 7")]);
    let ran = site.run(&["restart", "--json", "--dry-run"]);
    let planned: Vec<Value> = events(&ran)
        .into_iter()
        .filter(|event| event["event"] == "hook_planned")
        .map(|event| event["hook"].clone())
        .collect();
    assert_eq!(planned, ["before_rollout", "after_rollout"]);
    let ran = site.run(&["restart", "--json"]);
    let mut told = events(&ran);
    told.retain(|event| event["event"].as_str().unwrap().starts_with("hook_"));
    for event in &mut told {
        assert!(event.as_object_mut().unwrap().remove("time").is_some());
        let ms = event.as_object_mut().unwrap().remove("ms");
        assert_eq!(ms.is_some_and(|ms| ms.is_u64()), event["event"] == "hook_done");
    }
    let (before, after) = ("before_rollout", "after_rollout");
    let failure = "ended with exit status: 7";
    assert_eq!(
        told,
        [
            json!({"event": "hook_started", "hook": before, "pool": "www"}),
            json!({"event": "hook_done", "hook": before, "status": 0, "failure": null, "pool": "www"}),
            json!({"event": "hook_started", "hook": after, "pool": "www"}),
            json!({"event": "hook_done", "hook": after, "status": 7, "failure": failure, "pool": "www"}),
        ]
    );
    let warning =
        "the hook after_rollout ended with exit status: 7\n  the end of its output:\n    no";
    let is_it = |event: &Value| event["event"] == "warning" && event["text"] == warning;
    assert!(events(&ran).iter().any(is_it), "{ran}");
}
