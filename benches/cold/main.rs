//! What a rollout costs the visitors of a site whose code has to be compiled anew: each master has
//! an opcache of its own, which is empty at first. `cargo bench --bench cold [-- SECONDS]`.
//!
//! An application of 500 classes gets 500 requests a second, from Apache and two replicas and from
//! the gateway and two replicas, while its release changes every second. Each way to go about it
//! takes its turn for some seconds, and then again, so that whatever else the machine does falls on
//! all of them.

#![allow(clippy::unwrap_used, reason = "a benchmark ends where it fails")]

mod application;
mod load;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/open_loop.rs"]
mod open_loop;

use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use harness::served::Served;
use harness::{Client, Site, php_fpm};
use load::Answers;
use machine::{load_average, ms};

const SECONDS: u64 = 10;
const ROUNDS: usize = 2;
const EVERY: Duration = Duration::from_secs(1);
const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// How the code gets compiled.
#[derive(Clone, Copy)]
enum Compiled {
    WarmUp,
    ByVisitors,
    Preloaded,
}

/// Who asks php-fpm for the visitors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Front {
    Apache,
    Gateway,
}

/// A site, and where it is asked.
struct Asked<'a> {
    site: &'a Site,
    client: Client,
    settings: String,
    good: [String; 2],
}

impl<'a> Asked<'a> {
    fn new(site: &'a Site, client: Client) -> Self {
        let settings = site.read(SETTINGS);
        let good = first_requests(site, client);
        Self { site, client, settings, good }
    }
}

struct Mode {
    front: Front,
    name: &'static str,
    /// None: no rollouts.
    strategy: Option<&'static str>,
    compiled: Compiled,
    answers: Mutex<Answers>,
    rollouts: Vec<Duration>,
}

fn main() {
    if std::env::args().any(|arg| arg == "--test") {
        return; // `cargo test --benches` wants to know only that it builds
    }
    let seconds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(SECONDS);
    let site = Site::new();
    application::write(&site);
    site.run(&["start"]).succeeds();
    machine::show(&[(&php_fpm(), "-v"), (Path::new("/usr/sbin/apache2"), "-v")]);
    let behind_gateway = Served::site("", "");
    application::write(&behind_gateway);
    behind_gateway.run(&["start"]).succeeds();
    let served = Served::serve(behind_gateway);
    let apache = Asked::new(&site, site.client());
    let gateway = Asked::new(&served.site, Client::to(served.port()));
    let mut modes = modes();
    for _ in 0..ROUNDS {
        for mode in &mut modes {
            let asked = match mode.front {
                Front::Apache => &apache,
                Front::Gateway => &gateway,
            };
            mode.set_up(asked);
            mode.run(asked, Duration::from_secs(seconds));
        }
    }
    println!("\n{} seconds each, load average {}\n", seconds * ROUNDS as u64, load_average());
    show(&modes);
}

fn modes() -> Vec<Mode> {
    let mode = |front, name, strategy, compiled| {
        let (answers, rollouts) = (Mutex::new(Answers::new()), Vec::new());
        Mode { front, name, strategy, compiled, answers, rollouts }
    };
    let (rolling, swap) = (Some("rolling"), Some("swap"));
    vec![
        mode(Front::Apache, "Apache, no rollouts", None, Compiled::WarmUp),
        mode(Front::Apache, "rolling, warm_up", rolling, Compiled::WarmUp),
        mode(Front::Apache, "rolling, opcache.preload", rolling, Compiled::Preloaded),
        mode(Front::Apache, "rolling, neither", rolling, Compiled::ByVisitors),
        mode(Front::Apache, "swap, warm_up", swap, Compiled::WarmUp),
        mode(Front::Apache, "swap, opcache.preload", swap, Compiled::Preloaded),
        mode(Front::Apache, "swap, neither", swap, Compiled::ByVisitors),
        mode(Front::Gateway, "gateway, no rollouts", None, Compiled::WarmUp),
        mode(Front::Gateway, "rolling, warm_up", rolling, Compiled::WarmUp),
        mode(Front::Gateway, "swap, warm_up", swap, Compiled::WarmUp),
        mode(Front::Gateway, "swap, opcache.preload", swap, Compiled::Preloaded),
        mode(Front::Gateway, "swap, neither", swap, Compiled::ByVisitors),
    ]
}

impl Mode {
    /// Has both replicas run with its settings.
    fn set_up(&self, Asked { site, settings, .. }: &Asked<'_>) {
        let text = match self.compiled {
            Compiled::WarmUp => format!("{settings}\n[rollout]\nwarm_up = [\"/index.php\"]\n"),
            Compiled::ByVisitors => settings.clone(),
            Compiled::Preloaded => {
                let (php_fpm, preload) = (php_fpm(), site.path("www/current/preload.php"));
                // In N.conf it would come too late: php-fpm preloads before it reads that.
                let command = format!(
                    "[php]\nphp_fpm_cmd = [\"{}\", \"-p\", \"%CURRENT_DIR%\", \"-d\", \
                     \"opcache.preload={}\", \"-d\", \"opcache.preload_user=www-data\"]\n",
                    php_fpm.display(),
                    preload.display()
                );
                settings.replacen("[php]\n", &command, 1)
            }
        };
        site.write(SETTINGS, &text);
        site.run(&["restart"]).succeeds();
    }

    fn run(&mut self, asked: &Asked<'_>, lasts: Duration) {
        let Asked { site, client, good, .. } = asked;
        // Whatever was asked before is none of its business: nobody is cold when it begins.
        load::put_on(*client, EVERY, good, &Mutex::new(Answers::new()));
        let answers = &self.answers;
        thread::scope(|scope| {
            let load = scope.spawn(|| load::put_on(*client, lasts, good, answers));
            let Some(strategy) = self.strategy else { return };
            let started = Instant::now();
            for turn in 1.. {
                thread::sleep((started + EVERY * turn).saturating_duration_since(Instant::now()));
                if load.is_finished() {
                    return;
                }
                let release = if site.read("www/current.release/release.txt").trim() == "1" {
                    "release2"
                } else {
                    "release1"
                };
                let began = Instant::now();
                site.run(&["switch", "www", release, "--strategy", strategy]).succeeds();
                self.rollouts.push(began.elapsed());
            }
        });
    }
}

/// What both releases answer, and how long they take at first and then.
fn first_requests(site: &Site, client: Client) -> [String; 2] {
    ["release1", "release2"].map(|release| {
        site.run(&["switch", "www", release]).succeeds();
        site.run(&["restart"]).succeeds();
        let timed = || {
            let began = Instant::now();
            let answer = client.get("/index.php");
            assert_eq!(answer.status, 200, "{answer:?}");
            (began.elapsed(), answer.body)
        };
        let (cold, body) = timed();
        let mut warm: Vec<Duration> = (0..99).map(|_| timed().0).collect();
        warm.sort();
        println!("{release}: the first request {}, then {}", ms(cold), ms(warm[49]));
        body
    })
}

fn show(modes: &[Mode]) {
    let quantile = |mode: &Mode, q| mode.answers.lock().unwrap().latency.value_at_quantile(q);
    println!(
        "{:<26} {:>10} {:>10} {:>10} {:>10} {:>8} {:>9} {:>10}",
        "", "p50", "p99", "to steady", "max", "failed", "rollouts", "median"
    );
    for mode in modes {
        let time = |q| ms(Duration::from_micros(quantile(mode, q)));
        let steady = modes.iter().find(|other| other.front == mode.front);
        let steady = steady.map(|steady| quantile(steady, 0.99)).unwrap();
        let ratio = f64::from(u32::try_from(quantile(mode, 0.99)).unwrap())
            / f64::from(u32::try_from(steady).unwrap());
        let mut rollouts = mode.rollouts.clone();
        rollouts.sort();
        println!(
            "{:<26} {:>10} {:>10} {ratio:>10.2} {:>10} {:>8} {:>9} {:>10}",
            mode.name,
            time(0.5),
            time(0.99),
            time(1.0),
            mode.answers.lock().unwrap().failed,
            rollouts.len(),
            rollouts.get(rollouts.len() / 2).map(|median| ms(*median)).unwrap_or_default(),
        );
    }
    for mode in modes {
        if let Some(failure) = &mode.answers.lock().unwrap().first_failure {
            println!("{}: the first failure was {failure}", mode.name);
        }
    }
}
