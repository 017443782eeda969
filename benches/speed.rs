//! How long the commands take, on real php-fpm and real Apache, each beside a
//! peer that is measured in the same run: `cargo bench --bench speed`.
//!
//! The machine may be busy with other things; the ratios say more than the
//! times, and the medians more than the worst.

#![allow(clippy::unwrap_used, reason = "a benchmark ends where it fails")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use harness::{Site, php_fpm, wait_for};
use pools_manager::config::Strategy;
use pools_manager::lock::Lock;
use pools_manager::state::{self, Entry, Outcome, State};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const RUNS: usize = 15;
const POOLS: &str = "etc/php/fpm/redundant-pools";
const MANY: usize = 50;
/// As many rollouts as are remembered.
const HISTORY: usize = 200;

fn main() {
    if std::env::args().any(|arg| arg == "--test") {
        return; // `cargo test --benches` wants to know only that it builds
    }
    let site = Site::new();
    site.run(&["start"]).succeeds();
    restarts(&site);
    memory(&site);
    remembering(&site);
    let status = median(|| ran(&site, &["status"]));
    drop(site);
    let many = many_pools();
    let status_of_many = median(|| ran(&many, &["status"]));
    println!("\nstatus, of one pool of two replicas      {}", ms(status));
    println!("status, of {MANY} pools of two replicas     {}", ms(status_of_many));
}

/// `restart` of two idle replicas, against the bare cost of two masters.
fn restarts(site: &Site) {
    let bare = median(|| two_masters(site));
    let rolling = median(|| ran(site, &["restart"]));
    let swap = median(|| ran(site, &["restart", "--strategy", "swap"]));
    println!("two php-fpm masters, started in a row    {}", ms(bare));
    println!("restart of two idle replicas, rolling    {}  {}", ms(rolling), ratio(rolling, bare));
    println!("restart of two idle replicas, swap       {}  {}", ms(swap), ratio(swap, bare));
    println!("\nwhere a rolling restart spends its time:");
    profile(site);
}

/// From exec until php-fpm says that it is up, twice: what no restart can do without.
fn two_masters(site: &Site) -> Duration {
    let dir = tempfile::tempdir_in(site.root()).unwrap();
    let mut spent = Duration::ZERO;
    for replica in [1, 2] {
        let of = |name: &str| dir.path().join(format!("{replica}.{name}"));
        let conf = format!(
            "include=\"{}\"\n[global]\npid=\"{}\"\nerror_log=/dev/null\n[www{replica}]\nlisten=\"{}\"\n",
            site.path(&format!("{POOLS}/www/{replica}.conf")).display(),
            of("pid").display(),
            of("sock").display(),
        );
        std::fs::write(of("conf"), conf).unwrap();
        let mut command = site.command(php_fpm());
        command.arg("-p").arg(site.root()).arg("--fpm-config").arg(of("conf"));
        let started = Instant::now();
        assert!(command.stderr(Stdio::null()).status().unwrap().success());
        spent += started.elapsed();
    }
    for replica in [1, 2] {
        let pid = std::fs::read_to_string(dir.path().join(format!("{replica}.pid"))).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::QUIT).unwrap();
        let socket = dir.path().join(format!("{replica}.sock"));
        wait_for("the end of a master", || (!socket.exists()).then_some(()));
    }
    spent
}

/// A restart that tells its events.
fn restart(site: &Site) -> Child {
    let mut command = site.command(env!("CARGO_BIN_EXE_pools-manager"));
    command.args(["restart", "--json"]).stdout(Stdio::piped()).spawn().unwrap()
}

/// The time between the events of one restart.
fn profile(site: &Site) {
    let mut child = restart(site);
    let started = Instant::now();
    let mut last = started;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line).unwrap();
        let now = Instant::now();
        let step = match (event["event"].as_str(), event["step"].as_str()) {
            (Some("step_done"), Some(step)) => format!("{step}, replica {}", event["replica"]),
            (Some("stage_started"), _) if last == started => "lock, observe, plan".to_owned(),
            (Some("done"), _) => "monitor_url".to_owned(),
            _ => continue,
        };
        println!("    {step:<28} {}", ms(now - last));
        last = now;
    }
    assert!(child.wait().unwrap().success());
}

/// The most memory that the manager needs while it restarts two replicas.
fn memory(site: &Site) {
    let request = site.hold();
    let mut child = restart(site);
    let mut peak = String::new();
    let mut request = Some(request);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let line_of = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line_of.map_or(peak, |line| line.trim().to_owned());
        if line.contains("\"progress\"")
            && let Some(request) = request.take()
        {
            request.end(1);
        }
    }
    child.wait().unwrap();
    println!("\nresident memory of restart, at most      {peak}");
}

/// What a rollout pays for its lock and for a history that is full, against writing as many bytes
/// so that they survive a crash.
fn remembering(site: &Site) {
    let dir = tempfile::tempdir_in(site.root()).unwrap();
    let (lock, state) = (dir.path().join("www.lock"), dir.path().join("www.state.json"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let take = || runtime.block_on(Lock::take(&lock, "www", false, |_| ())).unwrap();
    let held = take();
    // As a rollout does: when it begins, and when it has ended.
    let begun = Entry { result: Outcome::Unfinished, ..entry() };
    let remember = || {
        state::change(&held, &state, |state| state.add(begun.clone())).unwrap();
        let end = |state: &mut State| {
            state.take_back(&begun);
            state.add(entry());
        };
        state::change(&held, &state, end).unwrap();
    };
    (0..HISTORY).for_each(|_| remember());
    let bytes = std::fs::read(&state).unwrap();
    // In turns: how long a disk takes to have it changes from moment to moment.
    let pair = |_| (timed(|| write_durably(&dir.path().join("bare"), &bytes)), timed(remember));
    let (bare, remembered) = (0..RUNS).map(pair).unzip();
    let (bare, remembered) = (middle(bare), middle(remembered));
    let read = median(|| timed(|| assert_eq!(State::read(&state).unwrap().history.len(), HISTORY)));
    drop(held);
    let locked = median(|| timed(|| drop(take())));
    println!("\n{:>3} KiB, written durably                 {}", bytes.len() / 1024, ms(bare));
    println!("{HISTORY} rollouts: read                       {}", ms(read));
    println!(
        "{HISTORY} rollouts: one more, begun and ended  {}  {}",
        ms(remembered),
        ratio(remembered, bare)
    );
    println!("the lock, taken and given back           {}", ms(locked));
}

fn entry() -> Entry {
    Entry {
        when: "2026-01-02T03:04:05Z".to_owned(),
        who: "alice".to_owned(),
        command: "switch www release2".to_owned(),
        from: Some("/srv/site/www/release1".into()),
        to: Some("/srv/site/www/release2".into()),
        replicas: vec![1, 2],
        strategy: Strategy::Rolling,
        ms: 131,
        result: Outcome::Failed("warm-up of generation 7 of replica 1: status 500".to_owned()),
        canary: false,
        rollback: false,
    }
}

/// A new file, fsynced, renamed into place, and its directory fsynced.
fn write_durably(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    std::fs::rename(&fresh, path).unwrap();
    File::open(path.parent().unwrap()).unwrap().sync_all().unwrap();
}

/// The sample pool fifty times over, behind one Apache.
fn many_pools() -> Site {
    let site = Site::prepared();
    let mut balancers = String::new();
    for n in 1..MANY {
        let pool = format!("pool{n:02}");
        for replica in [1, 2] {
            let text = site.read(&format!("{POOLS}/www/{replica}.conf"));
            let text = text.replace("www", &pool);
            site.write(&format!("{POOLS}/{pool}/{replica}.conf"), &text);
        }
        symlink("../php-fpm.conf", site.path(&format!("{POOLS}/{pool}/php-fpm.conf"))).unwrap();
        let conf = site.read(&format!("{POOLS}/www/pool.conf"));
        let conf = conf.replace("start_servers = 2", "start_servers = 1");
        site.write(&format!("{POOLS}/{pool}/pool.conf"), &conf);
        let settings = site.read(&format!("{POOLS}/www/pools-manager.toml"));
        let settings =
            settings.replace("phpfpmlb", &pool).replace("//pool-", &format!("//{pool}-"));
        site.write(&format!("{POOLS}/{pool}/pools-manager.toml"), &settings);
        balancers += &balancer(&pool);
    }
    let conf = "etc/apache2/sites-enabled/82-php-fpm.conf";
    site.replace(conf, "</VirtualHost>", &format!("{balancers}</VirtualHost>"));
    let site = site.serve();
    site.run(&["start"]).succeeds();
    site
}

fn balancer(pool: &str) -> String {
    let member = |n: u32| {
        format!(
            "BalancerMember \"unix:${{POOLS_MANAGER_ROOT}}/sockets/php-fpm-{pool}{n}.sock|fcgi://{pool}-{n}\" retry=0\n"
        )
    };
    format!(
        "<Proxy \"balancer://{pool}\">\n{}{}ProxySet lbmethod=bybusyness\n</Proxy>\nProxyPass \"/{pool}/\" \"balancer://{pool}/\"\n",
        member(1),
        member(2)
    )
}

/// How long a command takes that succeeds.
fn ran(site: &Site, args: &[&str]) -> Duration {
    let started = Instant::now();
    site.run(args).succeeds();
    started.elapsed()
}

fn timed(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}

fn median(run: impl Fn() -> Duration) -> Duration {
    middle((0..RUNS).map(|_| run()).collect())
}

fn middle(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:>7.1} ms", time.as_secs_f64() * 1000.0)
}

fn ratio(time: Duration, peer: Duration) -> String {
    format!("{:.1} times that", time.as_secs_f64() / peer.as_secs_f64())
}
