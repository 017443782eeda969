//! `check`

use std::fmt::Write;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::scope::PoolWords;
use crate::check::{self, PoolChecked, RootChecked};
use crate::error::{Error, Result};
use crate::finding::{Checked, Finding, Level};
use crate::pool;
use crate::render::colour::bracketed;
use crate::render::{print, width};
use crate::root::Root;

const EXAMPLES: &str = "\
Examples:
  pools-manager check
      all pools
  pools-manager check www -q
      only what is wrong with the pool www

`single POOL` means the same as `POOL`; a pool with the name all or single needs this form.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    words: PoolWords,
    /// Print only warnings and errors
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    /// Prints the findings of all pools, then fails if one of them is an error.
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let names = self.words.scope()?.names(root)?;
        let (of_root, mut pools) =
            tokio::join!(check::check_root(root, &names), check_all(names.clone(), root));
        check::compare(&mut pools);
        if json {
            print(&format!("{}\n", document(&of_root, &pools, self.quiet)));
        } else {
            let title = format!("Root \"{}\"", of_root.root.display());
            let print_fitting = |text: String| print(&width::wrap(&text, width::of_stdout()));
            print_fitting(shown(&title, &of_root.topics, self.quiet));
            for PoolChecked { pool, topics, .. } in &pools {
                print_fitting(shown(&format!("Redundant pool \"{pool}\""), topics, self.quiet));
            }
        }
        verdict(&of_root, &pools)
    }
}

/// Checks pools side by side. Not more php-fpm processes run at a time than there are processors.
async fn check_all(names: Vec<String>, root: &Root) -> Vec<PoolChecked> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let turns = Arc::new(Semaphore::new(processors));
    let mut tasks = JoinSet::new();
    for (place, name) in names.into_iter().enumerate() {
        let (root, turns) = (root.clone(), Arc::clone(&turns));
        tasks.spawn(async move {
            let checked = match pool::load(&root, &name) {
                Ok(pool) => check::check_pool(&Arc::new(pool), &turns).await,
                Err(error) => check::broken_pool(&name, error),
            };
            (place, checked)
        });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, checked)| checked).collect()
}

/// The text of some topics; empty if `quiet` is set and all topics are OK.
pub(super) fn shown(title: &str, topics: &[Checked], quiet: bool) -> String {
    let wanted = topics.iter().filter(|it| !quiet || it.level > Level::Ok);
    let lines: String = wanted.map(|checked| lines(checked, quiet)).collect();
    if quiet && lines.is_empty() { lines } else { format!("{title}...\n{lines}") }
}

fn lines(checked: &Checked, quiet: bool) -> String {
    let Checked { topic, level, notes, findings } = checked;
    let mut text = format!("  {topic}  {}", bracketed(&level.to_string()));
    if !quiet && !notes.is_empty() {
        let _ = write!(text, "  ({})", notes.join(", "));
    }
    text.push('\n');
    for Finding { level, message, help } in findings {
        // The line above shows the worst level of the topic.
        let word = if level == &checked.level { "" } else { "warning: " };
        let help = help.iter().map(|help| format!("help: {help}"));
        for line in format!("{word}{message}").lines().map(str::to_owned).chain(help) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn document(root: &RootChecked, pools: &[PoolChecked], quiet: bool) -> serde_json::Value {
    let mut document = serde_json::json!({
        "ok": root.ok && pools.iter().all(|pool| pool.ok),
        "root": root.root,
        "topics": root.topics,
        "pools": pools,
    });
    if quiet {
        keep_findings(&mut document);
        for pool in document["pools"].as_array_mut().into_iter().flatten() {
            keep_findings(pool);
        }
    }
    document
}

fn keep_findings(of: &mut serde_json::Value) {
    if let Some(topics) = of["topics"].as_array_mut() {
        topics.retain(|topic| topic["level"] != "ok");
    }
}

fn verdict(root: &RootChecked, pools: &[PoolChecked]) -> Result<()> {
    let of_root = (!root.ok).then(|| told("the root", &root.topics));
    let bad = pools.iter().filter(|pool| !pool.ok);
    let of_pools = bad.map(|pool| told(&format!("pool \"{}\"", pool.pool), &pool.topics));
    let messages: Vec<String> = of_root.into_iter().chain(of_pools).collect();
    if messages.is_empty() { Ok(()) } else { Err(Error::config(messages.join("\n"))) }
}

fn told(what: &str, topics: &[Checked]) -> String {
    let bad = topics.iter().filter(|checked| checked.level == Level::Error);
    let bad: Vec<String> = bad.map(|checked| checked.topic.to_string()).collect();
    format!("{what} is not in order: {}", bad.join(", "))
}
