//! `history`

use std::path::{Path, PathBuf};

use serde_json::json;

use super::scope::Scope;
use super::status::combine;
use crate::error::{Error, Result};
use crate::pool;
use crate::release::Shown;
use crate::render::{print, table, width};
use crate::root::Root;
use crate::state::{Entry, Outcome, State};

const EXAMPLES: &str = "\
Examples:
  pools-manager history www
      the rollouts of the pool www
  pools-manager history www --json
      one document, with paths and milliseconds";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Show only this pool
    pool: Option<String>,
    /// Show releases by path on a terminal too, not by name
    #[arg(long)]
    paths: bool,
}

impl Args {
    /// Prints the history of all pools that can be read, then fails with the errors of the others.
    pub(super) fn run(self, root: &Root, json: bool) -> Result<()> {
        let names = self.pool.map_or_else(|| Scope::All.names(root), |pool| Ok(vec![pool]))?;
        let mut errors = Vec::new();
        let mut pools = Vec::new();
        for name in names {
            match read(root, &name) {
                Ok(history) if json => pools.push(json!({ "pool": name, "history": history })),
                Ok(history) => print(&shown(&name, &history, self.paths, width::of_stdout())),
                Err(error) => errors.push(error.of_pool(&name)),
            }
        }
        if json {
            print(&format!("{}\n", json!({ "pools": pools })));
        }
        combine(&errors)
    }
}

fn read(root: &Root, name: &str) -> Result<Vec<Entry>> {
    let path = pool::load(root, name)?.state_file();
    let state = State::read(&path).map_err(|trouble| trouble.into_error(&path));
    state
        .map(|state| state.history)
        .map_err(|error: Error| error.within(format!("pool \"{name}\"")))
}

/// The lines of one pool. Without a `width`: a table, with paths. With one: a table if it fits, else
/// some lines for each rollout.
fn shown(pool: &str, history: &[Entry], paths: bool, width: Option<usize>) -> String {
    let head = format!("Redundant pool \"{pool}\"...\n");
    if history.is_empty() {
        return head + "  No rollout is on record\n";
    }
    let all = history.iter().flat_map(|entry| [&entry.from, &entry.to]).flatten();
    let releases = Shown::of(all.map(PathBuf::as_path), paths || width.is_none());
    let rows = history.iter().map(|entry| row(entry, releases));
    let table = table(&["when", "who", "command", "from", "to", "took", "result"], rows);
    match width {
        Some(width) if !width::fits(&table, width) => {
            head + &history.iter().map(|entry| lines(entry, releases, width)).collect::<String>()
        }
        _ => head + &table,
    }
}

fn row(entry: &Entry, releases: Shown) -> [String; 7] {
    let Entry { when, who, command, from, to, result, .. } = entry;
    let release = |path: &Option<PathBuf>| release(path.as_deref(), releases);
    let took = match result {
        Outcome::Unfinished => "-".to_owned(),
        _ => format!("{} ms", entry.ms),
    };
    let (from, to) = (release(from), release(to));
    [when.clone(), who.clone(), command.clone(), from, to, took, result.to_string()]
}

fn release(path: Option<&Path>, releases: Shown) -> String {
    path.map_or_else(|| "-".to_owned(), |path| releases.show(path))
}

fn lines(entry: &Entry, releases: Shown, width: usize) -> String {
    let Entry { when, who, command, from, to, result, ms, .. } = entry;
    let took = match result {
        Outcome::Unfinished => "unfinished".to_owned(),
        Outcome::Failed(why) => format!("failed after {ms} ms: {why}"),
        result => format!("{result} in {ms} ms"),
    };
    let release = |path: &Option<PathBuf>| release(path.as_deref(), releases);
    let moved = format!("{} -> {}", release(from), release(to));
    let plain = |text: &str| text.replace(char::is_control, "?");
    let first = width::fill(&format!("  {when}  {}: ", plain(who)), &[plain(command)], Some(width));
    let rest = format!("    {}\n    {}\n", plain(&moved), plain(&took));
    first + &width::wrap(&rest, Some(width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Strategy;

    #[test]
    fn history_fits_the_terminal() {
        let release = |name: &str| Some(Path::new("/srv/site/www/releases").join(name));
        let why = "warm-up of generation 3 of replica 1 on /srv/site/www/releases/2026-11-22-153000-abcdef1: /x.php: status 500";
        let entry = |command: &str, result| Entry {
            when: "2026-11-22T15:30:00Z".to_owned(),
            who: "alice".to_owned(),
            command: command.to_owned(),
            from: release("2026-11-21-153000-abcdef0"),
            to: release("2026-11-22-153000-abcdef1"),
            replicas: vec![1, 2],
            strategy: Strategy::Rolling,
            ms: 131,
            result,
            canary: false,
            rollback: false,
        };
        let history = [
            entry("switch www 2026-11-22-153000-abcdef1 --canary 30s", Outcome::Done),
            entry("restart", Outcome::Failed(why.to_owned())),
            entry("restart", Outcome::Unfinished),
        ];
        let path = "/srv/site/www/releases/2026-11-22-153000-abcdef1:";
        for width in [60, 80, 120] {
            let text = shown("www", &history, false, Some(width));
            let is_long = |line: &&str| line.chars().count() > width && !line.contains(path);
            assert_eq!(text.lines().find(is_long), None, "{width}\n{text}");
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                words(&text).contains(why) && text.contains("2026-11-21-153000-abcdef0"),
                "{text}"
            );
        }
        let whole = shown("www", &history, false, None);
        assert!(
            whole.lines().count() == 5 && whole.contains("  /srv/site/www/releases/2026-11-21"),
            "{whole}"
        );
        let short = [Entry { from: None, to: None, ..entry("restart", Outcome::Done) }];
        let table = "  WHEN                  WHO    COMMAND  FROM  TO  TOOK    RESULT\n";
        assert!(shown("www", &short, false, Some(80)).contains(table));
    }
}
