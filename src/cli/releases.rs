//! `releases`

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use serde_json::json;

use crate::error::Result;
use crate::pool;
use crate::releases::{Directory, Releases, releases};
use crate::render::{print, width};
use crate::root::Root;

const EXAMPLES: &str = "\
Examples:
  pools-manager releases www
  pools-manager releases www --in-use -q
      the paths that a cleanup must keep";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The name of the pool
    pool: String,
    /// Show only releases that are in use: a cleanup must not delete these
    #[arg(long)]
    in_use: bool,
    /// Print only the paths, one per line
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let pool = Arc::new(pool::load(root, &self.pool)?);
        let mut found = releases(&pool).await?;
        found.releases.retain(|directory| directory.in_use || !self.in_use);
        if json {
            print(&format!("{}\n", json!(found)));
        } else if self.quiet {
            print_paths(&found);
        } else {
            print(&format!("Redundant pool \"{}\"...\n", found.pool));
            found.releases.iter().for_each(|directory| print(&line(directory)));
        }
        Ok(())
    }
}

/// Prints paths byte for byte, since they need not be UTF-8.
fn print_paths(found: &Releases) {
    let lines = found.releases.iter().flat_map(|it| [it.path.as_os_str().as_bytes(), b"\n"]);
    let _ = std::io::stdout().write_all(&lines.collect::<Vec<_>>().concat());
}

fn line(directory: &Directory) -> String {
    let deleted = if directory.deleted { " (deleted)" } else { "" };
    let head = format!("  {}{deleted}: ", directory.path.display());
    let named = directory.current.then(|| "current_release_symlink".to_owned());
    let generations = directory.generations.iter().map(ToString::to_string);
    let users: Vec<String> = named.into_iter().chain(generations).collect();
    let users = if users.is_empty() { vec!["not in use".to_owned()] } else { users };
    let last = users.len() - 1;
    let comma = |(place, user)| if place < last { format!("{user},") } else { user };
    let pieces: Vec<String> = users.into_iter().enumerate().map(comma).collect();
    width::fill(&head, &pieces, width::of_stdout())
}
