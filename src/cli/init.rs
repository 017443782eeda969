//! `init`

mod choose;
mod questions;

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use super::check::shown;
use super::root_lookup::is_of_package;
use crate::check::{PoolChecked, check_pool, check_root};
use crate::error::{Error, Result};
use crate::finding::{Level, Topic};
use crate::lock;
use crate::new_pool::{Choices, Created, Framework, WebServer, create};
use crate::pool;
use crate::render::print;
use crate::root::Root;
use crate::service_manager::scope::is_booted;
use crate::wrapped::wrapped;
use choose::{Chosen, choose, parse_host};
use questions::Questions;

/// The columns of the output.
const WIDTH: usize = 80;

/// Starts the service of the Debian package now and at boot.
const UNIT: &str = "systemctl enable --now pools-manager";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of the pool [default: www]
    pool: Option<String>,
    /// Take pm, user, group, listen.*, env, the values for PHP and so on from the file of a php-fpm pool
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The directory with the code of the site. init points the symlink at it, and finds the framework in it
    #[arg(long, value_name = "DIR")]
    release: Option<PathBuf>,
    /// The web server in front of the pool [default: the only one that runs, or the only one that is
    /// installed, or the gateway]
    #[arg(long, value_enum)]
    web_server: Option<WebServer>,
    /// php-fpm: its version, like 8.2, or its path [default: the newest that is installed]
    #[arg(long, value_name = "VERSION|PATH")]
    php: Option<String>,
    /// The framework [default: as the release shows, or plain]
    #[arg(long, value_enum)]
    framework: Option<Framework>,
    /// The document root of the gateway, below the release [default: as the release shows]
    #[arg(long, value_name = "DIR")]
    document_root: Option<String>,
    /// A host of the pool in the gateway; can be repeated [default: all hosts]
    #[arg(long, value_name = "NAME", value_parser = parse_host)]
    host: Vec<String>,
    /// The address of the gateway, if etc/pools-manager.toml does not exist [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The account that runs PHP, if root starts php-fpm [default: that of --from; or the first that exists
    /// of www-data, apache, nginx and http]
    #[arg(long)]
    user: Option<String>,
    /// The group of this account [default: that of --from; or the primary group of the account]
    #[arg(long)]
    group: Option<String>,
    /// The number of replicas
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    replicas: u32,
    /// The directory of the symlink current.release and of the mount point current [default: www, or POOL
    /// if another pool has www. For a release in APP/releases: APP/current and APP/pinned/current]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Ask nothing, and take the defaults. Without a terminal, init never asks
    #[arg(short, long)]
    yes: bool,
}

impl Args {
    /// Creates the pool, checks it, and prints what to do next.
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        let questions = Questions::new(self.yes || json);
        let Chosen { choices, notes } = choose(&self, root, questions).await?;
        if !json {
            print(&before(root, &choices, &notes));
        }
        if questions.is_asking() && !questions.confirm("Create this pool?")? {
            return Err(Error::config("not created, as you wish").hint("nothing was changed"));
        }
        let created = create(root, &choices).await?;
        let (of_root, of_pool) = check(root, &choices.pool).await?;
        let next = next(root, &choices, &created);
        if json {
            let changed = choices.old.as_ref().map(|old| &old.changed);
            print(&format!(
                "{}\n",
                json!({
                    "pool": choices.pool, "created": created.paths, "notes": notes, "changed": changed,
                    "next": next.iter().map(|(command, _)| command).collect::<Vec<_>>(),
                    "check": { "root": of_root, "pool": of_pool },
                })
            ));
        } else {
            let paths: String =
                created.paths.iter().fold(String::new(), |text, path| text + &created_line(path));
            print(&format!("Created:\n{paths}"));
            print(&shown(&format!("Root \"{}\"", root.path().display()), &of_root.topics, false));
            print(&shown(&format!("Redundant pool \"{}\"", choices.pool), &of_pool.topics, false));
            print(&format!("Next:\n{}", next_lines(&next)));
        }
        verdict(&choices, of_root.ok, &of_pool)
    }
}

/// What will be created, and what differs from the existing pool.
fn before(root: &Root, choices: &Choices, notes: &[String]) -> String {
    let mut text = format!("The pool \"{}\" in {}:\n", choices.pool, root.path().display());
    for note in notes {
        let _ = writeln!(text, "  {note}");
    }
    if let Some(old) = &choices.old {
        let _ = writeln!(text, "From [{}] in {}, but for:", old.name, old.file.display());
        for changed in &old.changed {
            let line = format!("{} = {}: {}", changed.directive, changed.value, changed.why);
            text.push_str(&wrapped(&line, "  ", WIDTH));
        }
    }
    text
}

fn created_line(path: &Path) -> String {
    let link = std::fs::read_link(path).map(|to| format!(" -> {}", to.display()));
    let slash = if path.is_dir() && link.is_err() { "/" } else { "" };
    format!("  {}{slash}{}\n", path.display(), link.unwrap_or_default())
}

async fn check(root: &Root, name: &str) -> Result<(crate::check::RootChecked, PoolChecked)> {
    let pool = Arc::new(pool::load(root, name)?);
    let of_root = check_root(root, std::slice::from_ref(&pool.name)).await;
    Ok((of_root, check_pool(&pool, &Semaphore::new(1)).await))
}

/// Commands, each with what it is for.
fn next(root: &Root, choices: &Choices, created: &Created) -> Vec<(String, String)> {
    let pool = &choices.pool;
    let layout = &choices.layout;
    let symlink = layout.symlink.display();
    let mut next = Vec::new();
    let mut step = |command: String, what: &str| next.push((command, what.to_owned()));
    if choices.release.is_none() {
        step(format!("ln -s RELEASE {symlink}"), "the directory with the code of the site");
    }
    if created.needs_listen {
        let file = root.path().join("etc/pools-manager.toml");
        step(
            format!("editor {}", file.display()),
            "it exists, and names no address: add listen = [\"127.0.0.1:8080\"] below [gateway]",
        );
    }
    let serve = lock::holder(&root.supervisor_lock());
    let is_unit = is_of_package(root) && is_booted();
    match serve {
        Some(_) if is_unit => step("systemctl reload pools-manager".to_owned(), "starts the pool"),
        Some(serve) => step(format!("kill -HUP {}", serve.pid), "serve starts the pool"),
        None if is_unit => step(UNIT.to_owned(), "starts all pools, also at boot"),
        None if choices.web_server == WebServer::Gateway => {
            step("pools-manager serve".to_owned(), "starts replicas and web server");
        }
        None => step("pools-manager start".to_owned(), "starts the replicas"),
    }
    if choices.web_server != WebServer::Gateway {
        let server = choices.web_server.name();
        step(format!("pools-manager snippet {server} {pool}"), "prints what to configure there");
    }
    step(format!("pools-manager switch {pool} RELEASE"), "deploys another release");
    step(format!("pools-manager rollback {pool}"), "goes back");
    step(format!("pools-manager config show {pool}"), "prints all settings");
    next
}

fn next_lines(next: &[(String, String)]) -> String {
    let line = |(command, what): &(String, String)| {
        let line = format!("  {command:34}  # {what}\n");
        if line.chars().count() <= WIDTH + 1 {
            return line;
        }
        format!("{}  {command}\n", wrapped(what, "  # ", WIDTH))
    };
    next.iter().map(line).collect()
}

/// An error if the check has found one. Without a release, the check of the release fails.
fn verdict(choices: &Choices, root_is_ok: bool, of_pool: &PoolChecked) -> Result<()> {
    let is_expected = |topic| topic == Topic::Release && choices.release.is_none();
    let mut bad =
        of_pool.topics.iter().filter(|it| it.level == Level::Error && !is_expected(it.topic));
    if root_is_ok && bad.next().is_none() {
        return Ok(());
    }
    Err(Error::failed(format!("the pool \"{}\" was created, and is not in order", choices.pool))
        .hint("see the errors above; pools-manager check looks again"))
}
