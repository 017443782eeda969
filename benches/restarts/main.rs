//! What restarts cost the visitors of a site, behind each balancer and with each strategy, beside
//! what php-fpm's own reload costs them: `cargo bench --bench restarts [-- SECONDS]`.
//!
//! Visitors request a short page at fixed times, and four others a page that takes two seconds, so
//! that no restart finds php-fpm idle. Each web server takes its turn: without restarts for some
//! seconds, then with one restart after the other, each to the other release. And once more, so that
//! whatever else the machine does falls on all of them.

#![allow(clippy::unwrap_used, reason = "a benchmark ends where it fails")]

#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/open_loop.rs"]
mod open_loop;

mod front;
mod load;
mod reload;
mod table;

use std::thread;
use std::time::{Duration, Instant};

use front::Front;
use load::{Measured, Slow};
use machine::load_average;
use table::Row;

/// No restart begins later than this in its turn.
const SECONDS: u64 = 5;
const ROUNDS: usize = 2;
/// Between two restarts. Two reloads close together can end php-fpm (its bug 74083).
const PAUSE: Duration = Duration::from_millis(500);
/// Restarts without visitors.
const IDLE: usize = 5;

fn main() {
    if std::env::args().any(|arg| arg == "--test") {
        return; // `cargo test --benches` wants to know only that it builds
    }
    let seconds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(SECONDS);
    front::show_machine();
    let mut rows = Vec::new();
    for start in front::ALL {
        let front = start();
        eprintln!("{}", front.name);
        rows.extend(measure(&front, Duration::from_secs(seconds)));
    }
    println!(
        "{ROUNDS} turns of {seconds} s each, {} requests/s, {} clients with requests of {} s; load average {}\n",
        open_loop::PER_SECOND,
        load::SLOW_CLIENTS,
        load::SLOW_SECONDS,
        load_average()
    );
    table::show(&rows);
}

/// Measures one web server: a row for each way to restart what is behind it.
fn measure(front: &Front, lasts: Duration) -> Vec<Row> {
    let mut rows: Vec<Row> = front
        .changes
        .iter()
        .map(|change| {
            let mut row = Row::new(front.name, change.name);
            row.idle = (0..IDLE).map(|_| front.change(change)).collect();
            row
        })
        .collect();
    // The children have compiled their pages when it begins.
    load::put_on(front.client, |due| due >= Duration::from_secs(1), &mut Measured::default());
    let slow = Slow::begin(front.client);
    for _ in 0..ROUNDS {
        let mut steady = Measured::default();
        load::put_on(front.client, |due| due >= lasts, &mut steady);
        steady.failures.extend(slow.failures());
        for (row, change) in rows.iter_mut().zip(&front.changes) {
            row.steady.add(&steady);
            let during = &mut row.during;
            let mut measured = Measured::default();
            let restarts = load::put_on_while(front.client, &mut measured, |started| {
                let mut restarts = Vec::new();
                while started.elapsed() < lasts {
                    thread::sleep(PAUSE);
                    let began = started.elapsed();
                    front.change(change);
                    restarts.push((began, started.elapsed()));
                }
                restarts
            });
            measured.failures.extend(slow.failures());
            during.add_within(measured, &restarts);
            row.restarts.extend(restarts.iter().map(|(began, ended)| ended.saturating_sub(*began)));
        }
    }
    let failures = slow.finish();
    for row in &mut rows {
        row.during.failures.extend(failures.clone());
    }
    rows
}

impl Front {
    /// Restarts once; how long that took.
    fn change(&self, change: &front::Change) -> Duration {
        let began = Instant::now();
        (change.run)(&self.behind);
        began.elapsed()
    }
}
