//! `serve`

use serde_json::json;

use crate::error::Result;
use crate::gateway;
use crate::log;
use crate::render::print;
use crate::root::Root;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        log::start(json)?;
        gateway::serve(root, |addresses| {
            let ready = if json {
                format!("{}\n", json!({ "event": "ready", "listen": addresses }))
            } else {
                format!("Serving on {}\n", addresses.join(", "))
            };
            // Standard output may be a pipe that nobody reads: it is for information only.
            let _ = std::thread::Builder::new().spawn(move || print(&ready));
        })
        .await
    }
}
