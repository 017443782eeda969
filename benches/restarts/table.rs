//! The table of the figures.

use std::time::Duration;

use crate::load::Measured;
use crate::machine::ms;

/// One web server and one way to restart what is behind it.
pub(crate) struct Row {
    front: &'static str,
    change: &'static str,
    /// How long the restarts took without visitors.
    pub(crate) idle: Vec<Duration>,
    /// How long they took with visitors.
    pub(crate) restarts: Vec<Duration>,
    pub(crate) steady: Measured,
    /// The requests that were under way during a restart.
    pub(crate) during: Measured,
}

impl Row {
    pub(crate) fn new(front: &'static str, change: &'static str) -> Self {
        let (steady, during) = (Measured::default(), Measured::default());
        Self { front, change, idle: Vec::new(), restarts: Vec::new(), steady, during }
    }
}

/// Prints all rows as a Markdown table, and the first failure of each.
pub(crate) fn show(rows: &[Row]) {
    println!(
        "| | restart, no visitors | restart | p99, steady | p99, restarts | ratio | slowest, steady | slowest, restarts | ratio | requests | failed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let (steady, during) = (latencies(&row.steady), latencies(&row.during));
        let cells = [
            format!("{}, {}", row.front, row.change),
            ms(quantile(&sorted(&row.idle), 50)),
            format!("{} ({})", ms(quantile(&sorted(&row.restarts), 50)), row.restarts.len()),
            ms(quantile(&steady, 99)),
            ms(quantile(&during, 99)),
            ratio(quantile(&during, 99), quantile(&steady, 99)),
            ms(quantile(&steady, 100)),
            ms(quantile(&during, 100)),
            ratio(quantile(&during, 100), quantile(&steady, 100)),
            during.len().to_string(),
            row.during.failures.len().to_string(),
        ];
        println!("| {} |", cells.join(" | "));
    }
    for row in rows {
        for (what, measured) in [("steady", &row.steady), (row.change, &row.during)] {
            if let Some(first) = measured.failures.first() {
                let count = measured.failures.len();
                println!("\n{}, {what}: {count} failed, the first one: {first}", row.front);
            }
        }
    }
}

fn latencies(measured: &Measured) -> Vec<Duration> {
    sorted(&measured.samples.iter().map(|sample| sample.latency).collect::<Vec<_>>())
}

fn sorted(times: &[Duration]) -> Vec<Duration> {
    let mut times = times.to_vec();
    times.sort();
    times
}

/// The time below or at which this many percent of the sorted times are.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let nth = (sorted.len() * percent).div_ceil(100);
    sorted[nth.max(1) - 1]
}

fn ratio(one: Duration, other: Duration) -> String {
    format!("{:.2}", one.as_secs_f64() / other.as_secs_f64())
}
