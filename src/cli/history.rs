//! `history`

use std::path::Path;

use serde_json::json;

use super::scope::Scope;
use super::status::combine;
use crate::error::{Error, Result};
use crate::pool;
use crate::render::{print, table};
use crate::root::Root;
use crate::state::{Entry, Outcome, State};

const EXAMPLES: &str = "\
Examples:
  pools-manager history www            the rollouts of the pool www
  pools-manager history www --json     one document, with paths and milliseconds";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Show only this pool
    pool: Option<String>,
}

impl Args {
    /// Prints the history of all pools that can be read, then fails with the errors of the others.
    pub(super) fn run(self, root: &Root, json: bool) -> Result<()> {
        let names = self.pool.map_or_else(|| Scope::All.names(root), |pool| Ok(vec![pool]))?;
        let mut errors = Vec::new();
        let mut pools = Vec::new();
        for name in names {
            match read(root, &name) {
                Ok(history) if json => pools.push(json!({ "pool": name, "history": history })),
                Ok(history) => show(&name, &history),
                Err(error) => errors.push(error),
            }
        }
        if json {
            print(&format!("{}\n", json!({ "pools": pools })));
        }
        combine(&errors)
    }
}

fn read(root: &Root, name: &str) -> Result<Vec<Entry>> {
    let path = pool::load(root, name)?.state_file();
    let state = State::read(&path).map_err(|trouble| trouble.into_error(&path));
    state
        .map(|state| state.history)
        .map_err(|error: Error| error.within(format!("pool \"{name}\"")))
}

fn show(pool: &str, history: &[Entry]) {
    print(&format!("Redundant pool \"{pool}\"...\n"));
    if history.is_empty() {
        print("  No rollout is on record\n");
        return;
    }
    print(&table(
        &["when", "who", "command", "from", "to", "took", "result"],
        history.iter().map(row),
    ));
}

fn row(entry: &Entry) -> [String; 7] {
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_deref().map_or("-".to_owned(), |path: &Path| path.display().to_string())
    };
    let took = match entry.result {
        Outcome::Unfinished => "-".to_owned(),
        _ => format!("{} ms", entry.ms),
    };
    let Entry { when, who, command, from, to, result, .. } = entry;
    [when.clone(), who.clone(), command.clone(), path(from), path(to), took, result.to_string()]
}
