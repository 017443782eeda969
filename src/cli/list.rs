//! `list`

use std::sync::Arc;

use serde_json::json;

use super::scope::Scope;
use super::status::combine;
use crate::error::Result;
use crate::pool::Pool;
use crate::render::{print, table, width};
use crate::root::Root;
use crate::status::TrafficStatus;

const EXAMPLES: &str = "\
Examples:
  pools-manager list -q
      only the names, one in a line
  pools-manager list --json
      one document, for programs";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Print only the names
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    /// Prints all pools that can be read, then fails with the errors of the others.
    pub(super) fn run(self, root: &Root, json: bool) -> Result<()> {
        if self.quiet && !json {
            let names = Scope::All.names(root)?;
            for name in names {
                print(&format!("{name}\n"));
            }
            return Ok(());
        }
        let (mut pools, mut errors) = (Vec::new(), Vec::new());
        for (_, selected) in Scope::All.select_each(root)? {
            match selected {
                Ok(selected) => pools.push(selected.pool),
                Err(error) => errors.push(error),
            }
        }
        if json {
            let pools: Vec<_> = pools.iter().map(|pool| value(pool)).collect();
            print(&format!("{}\n", json!({ "pools": pools })));
        } else if let Some(width) = width::of_stdout() {
            print(&(shown(&pools, width) + &traffic(&pools, width)));
        } else {
            for pool in &pools {
                print(&format!("{}\n", line(pool)));
            }
        }
        combine(&errors)
    }
}

fn value(pool: &Pool) -> serde_json::Value {
    let backend = pool.settings.backend.name();
    let mut value = json!({
        "pool": pool.name,
        "replica_count": pool.replica_count,
        "backend": backend,
        "strategy": pool.settings.strategy(),
    });
    if let Some(settings) = pool.settings.backend.describe().json {
        value[backend] = settings;
    }
    // `status` reports a file that cannot be read.
    let traffic = json!(TrafficStatus::of(pool).unwrap_or_default());
    if let (Some(value), Some(traffic)) = (value.as_object_mut(), traffic.as_object()) {
        value.extend(traffic.clone());
    }
    value
}

/// Which pools are held, or under maintenance.
fn traffic(pools: &[Arc<Pool>], width: usize) -> String {
    let of_pool = |pool: &Arc<Pool>| {
        let status = TrafficStatus::of(pool).unwrap_or_default().to_string();
        let line = |line: &str| width::wrap(&format!("  {}  {line}\n", pool.name), Some(width));
        status.lines().map(line).collect::<String>()
    };
    pools.iter().map(of_pool).collect()
}

/// The pools for a terminal: a table if it fits, else some lines for each pool.
fn shown(pools: &[Arc<Pool>], width: usize) -> String {
    if pools.is_empty() {
        return String::new();
    }
    let rows = || {
        pools.iter().map(|pool| {
            let Pool { name, replica_count, settings, .. } = &**pool;
            let backend = settings.backend.name().to_owned();
            let strategy = settings.strategy().to_string();
            let place = settings.backend.describe().place;
            [name.clone(), replica_count.to_string(), backend, strategy, place]
        })
    };
    let table = table(&["pool", "replicas", "backend", "strategy", "address"], rows());
    if width::fits(&table, width) {
        return table;
    }
    let lines = |[name, replicas, backend, strategy, place]: [String; 5]| {
        let backend = if backend == "none" { "no balancer" } else { &backend };
        let pieces = [format!("{replicas} replicas,"), format!("{backend},"), strategy];
        let place = if place.is_empty() { place } else { format!("    {place}\n") };
        width::fill(&format!("  {name}  "), &pieces, Some(width))
            + &width::wrap(&place, Some(width))
    };
    rows().map(lines).collect()
}

/// The line that the Python proof of concept printed. It printed lists as Python does. Only the settings of
/// `[apache]` keep that notation, because the proof of concept had them too.
fn line(pool: &Pool) -> String {
    let Pool { name, replica_count, .. } = pool;
    let (backend, rest) = (pool.settings.backend.name(), pool.settings.backend.describe().line);
    format!("{name} -> (replica_count=\"{replica_count}\" backend=\"{backend}\"{rest})")
}
