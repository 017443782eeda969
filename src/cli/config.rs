//! `config`

use clap::Subcommand;
use serde_json::json;

use super::status::combine;
use crate::error::{Error, Result};
use crate::in_effect::{self, InEffect};
use crate::pool;
use crate::render::print;
use crate::root::Root;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print every key with its value in effect, and where the value comes from
    ///
    /// The output is valid TOML. The source of each value stands in a comment: the file and the line,
    /// "default", or "derived" with what the value follows from. Paths are absolute, and passwords in URLs are masked.
    /// The values are those of the files as they are now: a running `serve` may have read them earlier.
    Show {
        /// Only this pool. Without it: etc/pools-manager.toml, then each pool
        pool: Option<String>,
        /// Only etc/pools-manager.toml: the settings that all pools share
        #[arg(long, conflicts_with = "pool")]
        global: bool,
    },
}

/// The settings in effect of the files that could be read, and the errors of the others.
#[derive(Default)]
struct Shown {
    global: Option<InEffect>,
    pools: Vec<(String, InEffect)>,
    errors: Vec<Error>,
}

impl Args {
    /// Prints the settings of all files that can be read, then fails with the errors of the others.
    pub(super) fn run(self, root: &Root, json: bool) -> Result<()> {
        let Command::Show { pool, global } = self.command;
        let shown = match pool {
            Some(pool) => of_pools(root, vec![pool], Shown::default()),
            None if global => of_all_pools(root),
            None => {
                let shown = of_all_pools(root);
                match pool::names(root) {
                    Ok(names) => of_pools(root, names, shown),
                    Err(error) => with_error(shown, error),
                }
            }
        };
        if json {
            let pools = shown.pools.iter().map(|(pool, it)| json!({ "pool": pool, "config": it }));
            let pools: Vec<_> = pools.collect();
            print(&format!("{}\n", json!({ "global": shown.global, "pools": pools })));
        } else {
            let all = shown.global.iter().chain(shown.pools.iter().map(|(_, it)| it));
            let all: Vec<String> = all.map(ToString::to_string).collect();
            print(&all.join("\n\n"));
        }
        combine(&shown.errors)
    }
}

fn of_all_pools(root: &Root) -> Shown {
    match in_effect::of_all_pools(root) {
        Ok(global) => Shown { global: Some(global), ..Shown::default() },
        Err(error) => with_error(Shown::default(), error),
    }
}

fn of_pools(root: &Root, names: Vec<String>, mut shown: Shown) -> Shown {
    for name in names {
        match pool::load(root, &name).and_then(|pool| in_effect::of_pool(&pool)) {
            Ok(found) => shown.pools.push((name, found)),
            Err(error) => shown.errors.push(error),
        }
    }
    shown
}

fn with_error(mut shown: Shown, error: Error) -> Shown {
    shown.errors.push(error);
    shown
}
