//! `list`

use serde_json::json;

use super::scope::Scope;
use super::status::combine;
use crate::error::Result;
use crate::pool::Pool;
use crate::render::print;
use crate::root::Root;

const EXAMPLES: &str = "\
Examples:
  pools-manager list -q        only the names, one in a line
  pools-manager list --json    one document, for programs";

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
    value
}

/// The line that the Python proof of concept printed, with its format of lists.
fn line(pool: &Pool) -> String {
    let Pool { name, replica_count, .. } = pool;
    let (backend, rest) = (pool.settings.backend.name(), pool.settings.backend.describe().line);
    format!("{name} -> (replica_count=\"{replica_count}\" backend=\"{backend}\"{rest})")
}
