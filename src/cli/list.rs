//! `list`

use serde_json::json;

use super::scope::{Scope, Selected};
use crate::config::Apache;
use crate::error::Result;
use crate::http;
use crate::pool::Pool;
use crate::render::print;
use crate::root::Root;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show only the names
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(super) fn run(self, root: &Root, json: bool) -> Result<()> {
        if self.quiet && !json {
            let names = Scope::All.names(root)?;
            for name in names {
                print(&format!("{name}\n"));
            }
            return Ok(());
        }
        let pools = Scope::All.select_all(root)?;
        if json {
            let pools: Vec<_> = pools.iter().map(|selected| value(&selected.pool)).collect();
            print(&format!("{}\n", json!({ "pools": pools })));
        } else {
            for Selected { pool, .. } in &pools {
                print(&format!("{}\n", line(pool)));
            }
        }
        Ok(())
    }
}

fn value(pool: &Pool) -> serde_json::Value {
    json!({
        "pool": pool.name,
        "replica_count": pool.replica_count,
        "backend": backend(pool),
        "apache": pool.settings.apache.as_ref().map(without_password),
        "strategy": pool.settings.strategy(),
    })
}

fn without_password(apache: &Apache) -> Apache {
    let mut shown = apache.clone();
    shown.manager_url = http::shown(&apache.manager_url);
    shown
}

fn backend(pool: &Pool) -> &'static str {
    match &pool.settings {
        settings if settings.gateway.is_some() => "gateway",
        settings if settings.apache.is_some() => "apache",
        _ => "none",
    }
}

/// The original's line; a list is written as Python would.
fn line(pool: &Pool) -> String {
    let Pool { name, replica_count, .. } = pool;
    let balancer = pool.settings.apache.as_ref().map(|apache| {
        let members: Vec<String> =
            apache.member_urls().iter().map(|url| format!("'{url}'")).collect();
        format!(
            " balancer_name=\"{}\" manager_url=\"{}\" member_urls=\"[{}]\"",
            apache.balancer_name,
            http::shown(&apache.manager_url),
            members.join(", ")
        )
    });
    let (backend, balancer) = (backend(pool), balancer.unwrap_or_default());
    format!("{name} -> (replica_count=\"{replica_count}\" backend=\"{backend}\"{balancer})")
}
