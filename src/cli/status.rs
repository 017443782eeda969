//! `status`

use tokio::task::JoinSet;

use super::scope::{SCOPE, SCOPE_HEADING, Scope};
use crate::error::{Error, Result};
use crate::render::print;
use crate::root::Root;
use crate::state::CrashLoop;
use crate::status::{PoolStatus, ReplicaStatus, status};

#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = SCOPE, subcommand_help_heading = SCOPE_HEADING)]
pub(super) struct Args {
    #[command(subcommand)]
    scope: Option<Scope>,
    /// Print only OK or Error for each replica
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl Args {
    /// Prints the state of all pools, then fails with the problems that were found.
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let found = query(self.scope.unwrap_or(Scope::All), root).await?;
        if json {
            show_json(&found);
        } else {
            for (pool, status) in &found {
                show(pool, status, self.quiet);
            }
        }
        let verdicts = found.into_iter().map(|(_, status)| status.and_then(|it| it.verdict()));
        combine(&verdicts.filter_map(Result::err).collect::<Vec<_>>())
    }
}

type Found = Vec<(String, Result<PoolStatus>)>;

async fn query(scope: Scope, root: &Root) -> Result<Found> {
    let names = scope.names(root)?;
    let mut tasks = JoinSet::new();
    for (place, name) in names.into_iter().enumerate() {
        let (scope, root) = (scope.clone(), root.clone());
        tasks.spawn(async move {
            let found = match scope.select(&root, &name) {
                Ok(selected) => status(&selected.pool, &selected.replicas).await,
                Err(error) => Err(error),
            };
            (place, name, found)
        });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(place, ..)| *place);
    Ok(all.into_iter().map(|(_, name, found)| (name, found)).collect())
}

/// Combines several errors into one, with the highest exit status.
pub(super) fn combine(errors: &[Error]) -> Result<()> {
    let Some(exit) = errors.iter().map(|error| error.exit).max_by_key(|exit| *exit as u8) else {
        return Ok(());
    };
    let messages: Vec<String> = errors.iter().map(Error::to_string).collect();
    Err(Error { exit, message: messages.join("\n"), hint: None })
}

fn show(pool: &str, found: &Result<PoolStatus>, quiet: bool) {
    print(&format!("Redundant pool \"{pool}\"...\n"));
    if let Ok(status) = found {
        for replica in &status.replicas {
            print(&format!("{}\n", line(replica, quiet)));
        }
        if !status.unseen.is_empty() {
            print(&format!("  Not visible to this account: {}\n", status.unseen.join("; ")));
        }
        if let Some(CrashLoop { when, starts }) = &status.crash_loop {
            print(&format!(
                "  The replicas do not stay up: the supervisor has started them {starts} times in short order, \
                 last at {when}. Its log says why.\n"
            ));
        }
    }
}

fn line(status: &ReplicaStatus, quiet: bool) -> String {
    let ReplicaStatus { replica, ok, lb, ping_php, current, .. } = status;
    let word = if *ok { "OK" } else { "Error" };
    let short = format!("  Status for replica {replica} [{word}]");
    if quiet {
        return short;
    }
    format!("{short}  (LB=\"{lb}\", ping_php=\"{ping_php}\", current=\"{current}\")")
}

fn show_json(found: &Found) {
    let pools: Vec<serde_json::Value> = found
        .iter()
        .map(|(pool, found)| match found {
            Ok(status) => serde_json::json!(status),
            Err(error) => serde_json::json!({
                "pool": pool, "ok": false, "replicas": [], "problems": [error.to_string()]
            }),
        })
        .collect();
    print(&format!("{}\n", serde_json::json!({ "pools": pools })));
}
