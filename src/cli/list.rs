//! `list`

use serde_json::json;

use super::scope::Scope;
use super::status::combine;
use crate::config::Apache;
use crate::error::Result;
use crate::http;
use crate::pool::Pool;
use crate::render::print;
use crate::root::Root;

#[derive(Debug, clap::Args)]
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
    json!({
        "pool": pool.name,
        "replica_count": pool.replica_count,
        "backend": backend(pool),
        "apache": pool.settings.apache.as_ref().map(without_password),
        "strategy": pool.settings.strategy(),
    })
}

fn without_password(apache: &Apache) -> Apache {
    let mut apache = apache.clone();
    apache.manager_url = http::shown(&apache.manager_url);
    apache
}

fn backend(pool: &Pool) -> &'static str {
    match &pool.settings {
        settings if settings.gateway.is_some() => "gateway",
        settings if settings.apache.is_some() => "apache",
        _ => "none",
    }
}

/// The line that the Python proof of concept printed, with its format of lists.
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
