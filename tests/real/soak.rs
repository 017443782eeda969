//! Many rollouts: after two hundred of them, there are no more files, processes and descriptors than
//! after ten.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::Pid;

use harness::Site;

const FIRST: usize = 10;
const ALL: usize = 200;

/// How much more memory a master may have by chance, in bytes.
const MARGIN: u64 = 1 << 20;

#[test]
#[ignore = "a soak: bin/test --all"]
fn two_hundred_rollouts_leave_no_files_and_processes() {
    let site = Site::new();
    // A number of children that does not depend on the load.
    site.replace("etc/php/fpm/redundant-pools/www/pool.conf", "pm = dynamic", "pm = static");
    site.run(&["start"]).succeeds();
    let loads = [site.pings(1), site.sleepers(1, "0.02")];
    roll_out(&site, 1..=FIRST);
    let first = Left::of(&site);
    roll_out(&site, FIRST + 1..=ALL);
    let last = Left::of(&site);
    for load in loads {
        load.finish();
    }
    println!(
        "memory of the masters: {:?} after {FIRST}, {:?} after {ALL}",
        first.memory, last.memory
    );
    assert_eq!(last.all, first.all);
    for (last, first) in last.memory.iter().zip(&first.memory) {
        assert!(
            *last <= first + MARGIN,
            "{last} bytes after {ALL} rollouts, {first} after {FIRST}"
        );
    }
    logs_tell_of(&site, ALL + 1);
    site.is_in_order_on("release1");
    // Apache's own processes are left out: what they keep is not ours.
    site.apache_saw_no_error();
}

/// Both strategies, to both releases.
fn roll_out(site: &Site, numbers: impl Iterator<Item = usize>) {
    for n in numbers {
        site.switch(format!("release{}", 1 + n % 2));
        let strategy = if n / 2 % 2 == 0 { "rolling" } else { "swap" };
        site.run(&["restart", "--strategy", strategy]).succeeds();
    }
}

#[derive(Debug)]
struct Left {
    /// The number of things of each kind.
    all: BTreeMap<String, usize>,
    /// The memory of each master, in bytes.
    memory: Vec<u64>,
}

impl Left {
    fn of(site: &Site) -> Self {
        let mut all = BTreeMap::new();
        let mut add = |thing: String, n| *all.entry(without_generation(&thing)).or_default() += n;
        files_below(site.root(), &mut |path| add(format!("file {}", path.display()), 1));
        add("mounts of the host".to_owned(), mounts(site, "self"));
        for process in site.processes() {
            if process.title.contains("apache2") || process.title.contains("-stress") {
                continue;
            }
            let pid = process.pid.as_raw_nonzero().to_string();
            add(format!("process {}", process.title), 1);
            if process.title.contains("master") {
                // A child has the connection that it serves as well.
                let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
                add(format!("files that are open in {}", process.title), fds);
            }
            add(format!("mounts that are seen by {}", process.title), mounts(site, &pid));
        }
        Self { all, memory: site.masters().into_iter().map(memory).collect() }
    }
}

/// The number of mounts that concern the site.
fn mounts(site: &Site, pid: &str) -> usize {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = site.root().display().to_string();
    mounts.lines().filter(|line| line.contains(&root)).count()
}

fn memory(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

fn files_below(dir: &Path, found: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        found(&entry.path());
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), found);
        }
    }
}

/// `www.1.g7.conf` is `www.1.g.conf`.
fn without_generation(text: &str) -> String {
    let (first, rest) = text.split_once(".g").unwrap_or((text, ""));
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.is_empty() { first.to_owned() } else { format!("{first}.g{rest}") }
}

/// Each generation logs that it begins and ends, in a few lines, and nothing else.
fn logs_tell_of(site: &Site, generations: usize) {
    for replica in 1..=2 {
        let log = site.read(&format!("pid/php-fpm-www{replica}.log"));
        assert_eq!(log.matches("NOTICE: fpm is running").count(), generations);
        assert!(log.lines().all(|line| line.contains("] NOTICE: ")), "{log}");
        assert!(log.lines().count() <= 6 * generations, "{log}");
    }
    let state: serde_json::Value = serde_json::from_str(&site.read("pid/www.state.json")).unwrap();
    assert_eq!(state["history"].as_array().unwrap().len(), ALL);
}
