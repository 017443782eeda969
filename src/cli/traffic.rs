//! What `hold`, `resume` and `maintenance` have in common: they store what the operator wants, and tell
//! the gateway.

use serde_json::json;

use crate::config::Global;
use crate::control::{self, Request, Response};
use crate::error::{Error, Result};
use crate::pool::{self, Pool};
use crate::render::{print, print_note};
use crate::root::Root;
use crate::status::TrafficStatus;
use crate::traffic::{self, Traffic};
use crate::trust;

/// A pool behind the gateway, for one of these commands.
pub(super) struct Target {
    pub(super) pool: Pool,
    json: bool,
}

impl Target {
    /// Reads the pool. Error: it has no `[gateway]`, or others can write to the files that decide.
    pub(super) fn read(root: &Root, name: &str, json: bool) -> Result<Self> {
        let pool = pool::load(root, name)?;
        let backend = &pool.settings.backend;
        if backend.gateway().is_none() {
            let balancer = match backend.name() {
                "none" => "a web server that connects by path".to_owned(),
                other => format!("[{other}]"),
            };
            return Err(Error::config(format!(
                "the pool \"{name}\" is behind {balancer}, and only the gateway can hold its requests or answer them with a maintenance page"
            ))
            .hint("give it a [gateway], or configure this in your web server"));
        }
        trust::require(trust::of_root(&pool.root).into_iter().chain(trust::of_pool(&pool)))?;
        Ok(Self { pool, json })
    }

    /// Stores what the operator wants, and returns when it is in force. If no gateway runs, says so.
    pub(super) async fn change(&self, change: impl FnOnce(&mut Traffic)) -> Result<()> {
        let pool = &self.pool;
        let socket = Global::read(&pool.root)?.control;
        traffic::change(pool, change).await?;
        let stored = "it is stored, and in force after the next start or reload of the gateway";
        match control::send(&socket, &Request::Traffic(pool.name.clone())).await {
            Ok(Some(Response::Done)) => Ok(()),
            Ok(None) => {
                print_note(
                    "no gateway runs: what you want is in force from its start on",
                    self.json,
                );
                Ok(())
            }
            Ok(Some(Response::Failed(why))) => {
                Err(Error::failed(format!("the gateway: {why}")).hint(stored))
            }
            Ok(Some(_)) => {
                Err(Error::failed("the gateway gives a response that is not expected").hint(stored))
            }
            Err(error) => Err(error),
        }
        .map_err(|error| error.of_pool(&pool.name))
    }

    /// Prints the state that the command leaves. `usual`: the line if neither hold nor maintenance is in force.
    pub(super) fn show(&self, usual: &str) -> Result<()> {
        let status = TrafficStatus::of(&self.pool)?;
        if self.json {
            let mut document = json!({ "pool": self.pool.name, "hold": null, "maintenance": null });
            if let (Some(all), Some(now)) = (document.as_object_mut(), json!(status).as_object()) {
                all.extend(now.clone());
            }
            print(&format!("{document}\n"));
            return Ok(());
        }
        let lines = match status.to_string() {
            none if none.is_empty() => usual.to_owned(),
            lines => lines,
        };
        print(&format!("Redundant pool \"{}\"...\n", self.pool.name));
        lines.lines().for_each(|line| print(&format!("  {line}\n")));
        Ok(())
    }

    pub(super) fn note(&self, note: &str) {
        print_note(note, self.json);
    }
}
