//! The companion `ps-list`.

use std::path::PathBuf;

use clap::Parser;

use super::root_lookup::root;
use super::scope::Scope;
use super::status::combine;
use crate::error::Result;
use crate::render::print;
use crate::tree::tree;

/// Show the php-fpm processes of all pools: replica, generation, release, pid and memory.
#[derive(Debug, Parser)]
#[command(name = "ps-list", version, max_term_width = 100)]
pub struct PsList {
    /// The directory that holds etc/, pid/ and sockets/ [default: the nearest one from the working
    /// directory upwards, else /var/lib/pools-manager]
    #[arg(long, value_name = "DIR", env = "POOLS_MANAGER_ROOT")]
    root: Option<PathBuf>,
    /// Print one JSON document, with memory in bytes
    #[arg(long)]
    json: bool,
}

impl PsList {
    /// Whether the output is JSON, errors too.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the trees of all pools that can be read, then fails with the errors of the others.
    pub async fn run(self) -> Result<()> {
        let (mut trees, mut errors) = (Vec::new(), Vec::new());
        for (name, selected) in Scope::All.select_each(&root(self.root)?)? {
            let tree = match selected {
                Ok(selected) => tree(&selected.pool).await,
                Err(error) => Err(error),
            };
            match tree.map_err(|error| error.of_pool(&name)) {
                Ok(tree) => trees.push(tree),
                Err(error) => errors.push(error),
            }
        }
        if self.json {
            print(&format!("{}\n", serde_json::json!({ "pools": trees })));
        } else {
            for tree in trees {
                print(&tree.to_string());
            }
        }
        combine(&errors)
    }
}
