//! `snippet`

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::scope::Scope;
use crate::error::{Error, Result};
use crate::pool;
use crate::render::print;
use crate::root::Root;
use crate::snippet::{Found, Include, Kind, Listen, Trap, Wanted, diff, recognize, snippet};

/// The largest configuration that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  pools-manager snippet nginx www --listen 80
      print what nginx needs
  pools-manager snippet --diff /etc/nginx/sites-enabled/www
      print the settings in this file that would lose requests";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The web server. Optional with --diff: snippet recognizes the web server by the words of the file
    #[arg(value_enum, required_unless_present = "diff")]
    kind: Option<Kind>,
    /// The name of the pool. Optional with --diff: without a name, the file may belong to any pool
    #[arg(required_unless_present = "diff")]
    pool: Option<String>,
    /// The port, or the address and the port, on which the web server listens [default: the port of
    /// `monitor_url`, or 80]
    #[arg(long, value_name = "[ADDRESS:]PORT", conflicts_with = "diff")]
    listen: Option<Listen>,
    /// Print no configuration, but the settings of FILE that would lose requests, with their lines
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
}

impl Args {
    /// Prints a configuration; or the traps in a file, and fails if there are any.
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        match (self.diff, self.kind, self.pool) {
            (Some(file), kind, pool) => compare(root, &file, kind, pool, json),
            (None, Some(kind), Some(pool)) => {
                let pool = pool::load(root, &pool)?;
                let text = snippet(kind, &pool, self.listen).await?;
                print(&if json { format!("{}\n", json!({ "snippet": text })) } else { text });
                Ok(())
            }
            // clap requires both.
            _ => Err(Error::config("name the web server and the pool")),
        }
    }
}

fn compare(
    root: &Root,
    file: &Path,
    kind: Option<Kind>,
    pool: Option<String>,
    json: bool,
) -> Result<()> {
    let shown = file.display();
    let text = read(file)?;
    let kind = kind.or_else(|| recognize(&text)).ok_or_else(|| {
        Error::config(format!("{shown} does not show which web server it is for"))
            .hint(format!("name the web server: pools-manager snippet nginx --diff {shown}"))
    })?;
    let found = diff(kind, &text, &wanted(root, pool)?);
    if json {
        print(&format!("{}\n", json!({ "file": file, "found": found })));
    } else {
        print(&lines(file, &found));
    }
    match found.traps.len() {
        0 => Ok(()),
        1 => Err(Error::failed(format!("1 setting of {shown} would lose requests"))),
        many => Err(Error::failed(format!("{many} settings of {shown} would lose requests"))),
    }
}

/// What the pools need of the file.
fn wanted(root: &Root, pool: Option<String>) -> Result<Wanted> {
    let scope = pool.map_or(Scope::All, |pool| Scope::Single { pool, replica: None });
    let mut current_dirs = Vec::new();
    for (_, selected) in scope.select_each(root)? {
        // A mistake in the settings of a pool is no mistake in this file.
        let Ok(selected) = selected else { continue };
        current_dirs.extend(selected.pool.settings.current_dir().map(Path::to_owned));
    }
    Ok(Wanted { root: root.path().to_owned(), current_dirs })
}

fn read(file: &Path) -> Result<String> {
    let error = |what: String| {
        Error::config(format!("cannot read {}: {what}", file.display()))
            .hint("name a configuration file of a web server")
    };
    let metadata = fs::metadata(file).map_err(|it| error(it.to_string()))?;
    if !metadata.is_file() {
        return Err(error("it is not a file".to_owned()));
    }
    if metadata.len() > MAX_FILE {
        return Err(error("it is larger than 1 MiB".to_owned()));
    }
    let bytes = fs::read(file).map_err(|it| error(it.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn lines(file: &Path, found: &Found) -> String {
    let file = file.display();
    let mut text = String::new();
    for Trap { line, message, help } in &found.traps {
        let _ = writeln!(text, "{file}:{line}: {}\n  help: {}", one_line(message), one_line(help));
    }
    for Include { line, file: included } in &found.includes {
        let _ =
            writeln!(text, "{file}:{line}: includes {}, which was not read", one_line(included));
    }
    if text.is_empty() {
        let _ = writeln!(text, "{file}: nothing would lose requests");
    }
    text
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}
