//! `logs`: the logs of all replicas, merged and followed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use harness::{Program, Site, needs_root};

const LOGS: [&str; 2] = ["pid/php-fpm-www1.log", "pid/php-fpm-www2.log"];

/// A running site without a balancer.
fn site() -> Site {
    let site = Site::prepared();
    let settings =
        "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n";
    site.write("etc/php/fpm/redundant-pools/www/pools-manager.toml", settings);
    site.run(&["start"]).succeeds();
    site
}

fn append(site: &Site, file: &str, text: &str) {
    let mut file = File::options().append(true).create(true).open(site.path(file)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A line as php-fpm writes it, in the future: after all that is there.
fn line(second: u32, text: &str) -> String {
    format!("[20-Nov-2036 07:28:{second:02}] WARNING: [pool www] {text}\n")
}

fn documents(site: &Site, args: &[&str]) -> Vec<Value> {
    let ran = site.run(&[&["logs", "--json"], args].concat());
    ran.succeeds().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn logs_of_all_replicas_are_merged_by_time() {
    let site = site();
    let line = |second, text: &str| line(second, text).replace("[pool www] ", "");
    append(&site, LOGS[1], &line(1, "one"));
    append(&site, LOGS[0], &line(2, "two"));
    append(&site, LOGS[1], &line(3, "three"));
    let shown = |documents: Vec<Value>| {
        let text = |it: &Value| format!("{} {}", it["replica"], it["message"].as_str().unwrap());
        documents.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(shown(documents(&site, &["-n", "3"])), ["2 one", "1 two", "2 three"]);
    assert_eq!(
        shown(documents(&site, &["www", "--replica", "2", "-n", "2"])),
        ["2 one", "2 three"]
    );
    let last = &documents(&site, &["www", "-n", "1"])[0];
    assert_eq!(
        (&last["pool"], &last["generation"], &last["level"]),
        (&"www".into(), &1.into(), &"WARN".into())
    );
    assert_eq!(last["release"], site.path("www/release1").display().to_string());
    // These lines are about the start, before any request.
    let all = documents(&site, &["www", "--replica", "1", "-n", "1000"]);
    let is_start = |it: &Value| it["message"].as_str().unwrap().starts_with("fpm is running, pid ");
    // As an ordinary user, php-fpm first logs that it ignores `user` and `group`.
    assert!(all.iter().take(3).any(is_start), "{all:#?}");
    let time = last["timestamp"].as_str().unwrap();
    let text = format!("{time}  WARN www/2 g1 release1: three\n");
    site.run(&["logs", "-n", "1"]).prints(&text);
    // Also when nothing runs.
    site.run(&["stop"]).succeeds();
    assert_eq!(shown(documents(&site, &["-n", "4"])).pop().unwrap(), "2 three");
}

#[test]
fn wrong_arguments_are_refused() {
    let site = site();
    let ran = site.run(&["logs", "nothing"]);
    assert!(ran.status(2).stderr.contains("there is no pool \"nothing\""), "{ran}");
    let ran = site.run(&["logs", "www", "--replica", "3"]);
    assert!(ran.status(2).stderr.contains("the pool \"www\" has no replica 3"), "{ran}");
    site.run(&["logs", "--replica", "1"]).status(2);
}

#[test]
fn log_that_may_not_be_read_is_named_and_the_others_are_shown() {
    needs_root!();
    let site = site();
    append(&site, LOGS[1], &line(1, "one").replace("www]", "www2]"));
    Command::new("chmod").args(["644", LOGS[1]]).current_dir(site.root()).status().unwrap();
    let program = site.copy_of_program();
    let mut command = Command::new(program);
    command.args(["logs", "-n", "1"]).current_dir(site.root()).uid(65534).gid(65534);
    let ran = Program::start(&mut command).finish();
    let log = site.path(LOGS[0]).display().to_string();
    let warning = format!("the log {log} cannot be read: Permission denied (os error 13)\n");
    assert!(ran.status(1).stderr.contains(&warning), "{ran}");
    assert!(ran.stdout.ends_with("[pool www2] one\n"), "{ran}");
}

/// A follower that has printed the last entry, and so follows.
fn follower(site: &Site, command: &mut Command) -> Program {
    append(site, LOGS[0], &plain("begun"));
    let mut follower = Program::start(command);
    awaited(&mut follower, "begun");
    follower
}

fn awaited(follower: &mut Program, text: &str) {
    follower.await_line(text, |line| line.trim_end().ends_with(&format!(": {text}")));
}

fn plain(text: &str) -> String {
    line(1, text).replace("[pool www] ", "")
}

/// As logrotate does it, with and without `copytruncate`.
#[test]
fn following_survives_rotation() {
    let site = site();
    let mut follower = follower(&site, &mut site.manager(&["logs", "-f", "-n", "1"]));
    let log = |text: &str| append(&site, LOGS[0], &plain(text));
    for round in 0..3 {
        fs::rename(site.path(LOGS[0]), site.path("pid/rotated")).unwrap();
        append(&site, "pid/rotated", &plain(&format!("old {round}")));
        awaited(&mut follower, &format!("old {round}"));
        log(&format!("new {round}"));
        awaited(&mut follower, &format!("new {round}"));
        append(&site, "pid/rotated", &plain(&format!("late {round}")));
        awaited(&mut follower, &format!("late {round}"));
    }
    fs::remove_file(site.path(LOGS[0])).unwrap();
    log("created");
    awaited(&mut follower, "created");
    File::options().write(true).open(site.path(LOGS[0])).unwrap().set_len(0).unwrap();
    log("cut");
    awaited(&mut follower, "cut");
    // The masters open their logs again.
    for master in site.masters() {
        rustix::process::kill_process(master, Signal::USR1).unwrap();
    }
    follower.await_line("the master's own line", |line| line.contains("error log file re-opened"));
    follower.signal(Signal::TERM);
    let ran = follower.finish();
    ran.killed_by(Signal::TERM);
    let texts =
        ["old", "new", "late", "created", "cut"].map(|text| ran.stdout.matches(text).count());
    assert_eq!(texts, [3, 3, 3, 1, 1], "{ran}");
}

#[test]
fn follower_without_a_reader_ends() {
    let site = site();
    append(&site, LOGS[0], &plain("begun"));
    let mut shell = site.command("/bin/bash");
    let manager = harness::program_path("pools-manager");
    let pipe = format!("{} logs -f -n 1 | head -n 1; echo ${{PIPESTATUS[0]}}", manager.display());
    let ran = Program::start(shell.args(["-c", &pipe])).finish();
    assert!(ran.succeeds().stdout.ends_with(": begun\n0\n"), "{ran}");
}

#[test]
fn fifo_in_place_of_a_log_does_not_block_other_logs() {
    let site = site();
    let mut follower = follower(&site, &mut site.manager(&["logs", "-f", "-n", "1"]));
    fs::rename(site.path(LOGS[0]), site.path("pid/rotated")).unwrap();
    nix::unistd::mkfifo(&site.path(LOGS[0]), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let complaint = follower.await_complaint();
    assert!(complaint.contains("cannot be read: it is no regular file"), "{complaint}");
    append(&site, LOGS[1], &plain("goes on"));
    awaited(&mut follower, "goes on");
    fs::remove_file(site.path(LOGS[0])).unwrap();
    append(&site, LOGS[0], &plain("again").replace(":28:01", ":28:02"));
    awaited(&mut follower, "again");
    let ran = site.run(&["logs", "-n", "1"]);
    assert!(ran.succeeds().stdout.ends_with(": again\n"), "{ran}");
}

/// A rollout changes the generation and the release of the lines.
#[test]
fn new_generation_is_followed() {
    let site = site();
    let mut follower = follower(&site, &mut site.manager(&["logs", "-f", "-n", "1"]));
    site.switch("release2");
    site.run(&["restart"]).succeeds();
    for replica in 1..=2 {
        let start = format!(" INFO www/{replica} g2 release2: ready to handle connections");
        follower.await_line("its start", |line| line.trim_end().ends_with(&start));
    }
}
