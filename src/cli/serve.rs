//! `serve`

use std::sync::Arc;

use serde_json::json;

use super::scope::Scope;
use crate::config::Global;
use crate::error::Result;
use crate::gateway;
use crate::pool::Pool;
use crate::render::print;
use crate::root::Root;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let global = Global::read(root)?;
        let selected = Scope::All.select_all(root)?;
        let pools: Vec<Arc<Pool>> = selected.into_iter().map(|it| it.pool).collect();
        gateway::serve(root, global, &pools, |addresses| {
            if json {
                print(&format!("{}\n", json!({ "event": "ready", "listen": addresses })));
            } else {
                print(&format!("Serving on {}\n", addresses.join(", ")));
            }
        })
        .await
    }
}
