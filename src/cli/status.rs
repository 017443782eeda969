//! `status`

use tokio::task::JoinSet;

use super::scope::{Scope, Words};
use crate::config::Global;
use crate::control::Gateway;
use crate::error::{Error, Result};
use crate::release::Shown;
use crate::render::colour::bracketed;
use crate::render::{print, width};
use crate::root::Root;
use crate::state::CrashLoop;
use crate::status::{PoolStatus, ReplicaStatus, status};

const EXAMPLES: &str = "\
Examples:
  pools-manager status
      all pools
  pools-manager status www 2
      replica 2 of the pool www
  pools-manager status --json
      one document, for programs

Exit status: 0 all replicas are well, or you have stopped them; else 1.

`single POOL [N]` means the same as `POOL [N]`; a pool with the name all or single needs this form.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    words: Words,
    /// Print only OK, Stopped or Error for each replica
    #[arg(short, long)]
    quiet: bool,
    /// Show releases by path on a terminal too, not by name
    #[arg(long)]
    paths: bool,
}

impl Args {
    /// Prints the state of all pools, then fails with the problems that were found.
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let found = query(self.words.scope()?, root).await?;
        let gateway = separate_gateway(root).await;
        if json {
            show_json(&found, gateway.as_ref());
        } else {
            for (pool, status) in &found {
                print(&shown(pool, status, self.quiet, self.paths, width::of_stdout()));
            }
            if let Some((pid, user)) = gateway.filter(|_| !self.quiet) {
                print(&format!("Gateway: pid {pid}, the user {user} talks to clients\n"));
            }
        }
        let verdicts = found.into_iter().map(|(_, status)| status.and_then(|it| it.verdict()));
        combine(&verdicts.filter_map(Result::err).collect::<Vec<_>>())
    }
}

/// The process of the gateway, and the account of its child that talks to clients. None: no gateway runs, or
/// it has no such child, or the user of this command may not ask the gateway.
async fn separate_gateway(root: &Root) -> Option<(u32, String)> {
    let global = Global::read(root).ok().filter(|global| global.listens().is_ok())?;
    let gateway = Gateway::ask(&global.control).await;
    let settings = gateway.settings()?;
    Some((settings.pid, settings.user.clone()?))
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
            let found = found.map_err(|error| error.of_pool(&name));
            (place, name, found)
        });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(place, ..)| *place);
    Ok(all.into_iter().map(|(_, name, found)| (name, found)).collect())
}

/// Combines several errors into one, with the highest exit status.
pub(super) fn combine(errors: &[Error]) -> Result<()> {
    let exit = errors.iter().map(|error| error.exit).max_by_key(|exit| *exit as u8);
    match (errors, exit) {
        ([], _) | (_, None) => Ok(()),
        ([one], _) => Err(one.clone()),
        (several, Some(exit)) => {
            let messages: Vec<String> = several.iter().map(Error::to_string).collect();
            Err(Error { parts: several.to_vec(), ..Error::new(exit, messages.join("\n")) })
        }
    }
}

/// The lines of one pool. Without a `width`, they are those of the original tool, with paths.
fn shown(
    pool: &str,
    found: &Result<PoolStatus>,
    quiet: bool,
    paths: bool,
    width: Option<usize>,
) -> String {
    let mut text = format!("Redundant pool \"{pool}\"...\n");
    let Ok(status) = found else { return text };
    let running = status.replicas.iter().filter_map(|it| it.release.as_deref());
    let releases = Shown::of(running, paths || width.is_none());
    for replica in &status.replicas {
        text += &line(replica, quiet, releases, width);
    }
    for line in status.traffic.to_string().lines() {
        text += &width::wrap(&format!("  {line}\n"), width);
    }
    if let Some(canary) = &status.canary {
        text += &width::wrap(&format!("  {canary}\n"), width);
    }
    if !status.unseen.is_empty() {
        let unseen = format!("  Not visible to this account: {}\n", status.unseen.join("; "));
        text += &width::wrap(&unseen, width);
    }
    if let Some(CrashLoop { when, starts }) = &status.crash_loop {
        let loops = format!(
            "  The replicas do not stay up: the supervisor has started them {starts} times in short order, \
             last at {when}. Its log says why.\n"
        );
        text += &width::wrap(&loops, width);
    }
    text
}

fn line(status: &ReplicaStatus, quiet: bool, releases: Shown, width: Option<usize>) -> String {
    let ReplicaStatus { replica, state, lb, ping_php, current, release, help, .. } = status;
    let head = format!("  Status for replica {replica} {}", bracketed(&state.to_string()));
    if quiet {
        return head + "\n";
    }
    let current = release.as_deref().map_or_else(|| current.clone(), |it| releases.show(it));
    let pieces = [
        format!("(LB=\"{lb}\","),
        format!("ping_php=\"{ping_php}\","),
        format!("current=\"{current}\")"),
    ];
    let help = help.iter().map(|help| width::wrap(&format!("    {help}\n"), width));
    width::fill(&(head + "  "), &pieces, width) + &help.collect::<String>()
}

fn show_json(found: &Found, gateway: Option<&(u32, String)>) {
    let pools: Vec<serde_json::Value> = found
        .iter()
        .map(|(pool, found)| match found {
            Ok(status) => serde_json::json!(status),
            Err(error) => serde_json::json!({
                "pool": pool, "ok": false, "replicas": [], "problems": [error.to_string()]
            }),
        })
        .collect();
    let mut document = serde_json::json!({ "pools": pools });
    if let Some((pid, user)) = gateway {
        document["gateway"] = serde_json::json!({ "pid": pid, "user": user });
    }
    print(&format!("{document}\n"));
}
