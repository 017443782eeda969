//! The command line.

mod change;
mod check;
mod history;
mod list;
mod ps_list;
mod releases;
mod scope;
mod serve;
mod side_by_side;
mod signals;
mod status;
mod switch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub use ps_list::PsList;
use rustix::process::{Resource, getrlimit};

use crate::error::{Error, Result};
use crate::log;
use crate::rollout::Wanted;
use crate::root::Root;

/// Restart PHP-FPM pools, and move them to new releases, without losing a request.
#[derive(Debug, Parser)]
#[command(name = "pools-manager", version, max_term_width = 100, subcommand_required = true)]
#[command(
    after_help = "Exit status: 0 done, 1 failed, 2 usage or configuration, 3 the pool is locked, 130 stopped by Ctrl-C."
)]
pub struct Cli {
    /// The directory that holds etc/, pid/ and sockets/ [default: the working directory]
    #[arg(long, value_name = "DIR", global = true, env = "POOLS_MANAGER_ROOT")]
    root: Option<PathBuf>,
    /// Print JSON: one line for each event of what changes a pool, one document else
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start what does not run: all pools, one pool, or one replica
    Start(change::Args),
    /// Stop all pools, one pool, or one replica; requests in flight are finished
    Stop(change::PatientArgs),
    /// Move all pools, one pool, or one replica to the current release, losing no request
    Restart(change::RestartArgs),
    /// Point the symlink at a release, and move the pool to it; back if it bounces
    Switch(switch::SwitchArgs),
    /// Go back to the release before
    Rollback(switch::RollbackArgs),
    /// Put right what a crash has left: in all pools, one pool, or one replica
    Repair(change::PatientArgs),
    /// Show how all pools, one pool, or one replica are
    Status(status::Args),
    /// Verify all that can be verified without changing anything, and say what to do
    Check(check::Args),
    /// List the pools
    List(list::Args),
    /// Show the release directories of a pool, and who uses them
    Releases(releases::Args),
    /// Be the web server and balancer of all pools that have a [gateway], until told to stop
    Serve(serve::Args),
    /// Show the rollouts that have been, the newest last
    History(history::Args),
}

/// How many files a program has to be allowed to open. A restart of two replicas has 25 open at a
/// time (measured), most of them while it asks php-fpm for its configuration.
const OPEN_FILES_MIN: u64 = 64;

/// Runs a program's work to its end, and turns an error into words and an exit status.
pub fn finish(work: impl Future<Output = Result<()>>) -> ExitCode {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = check_open_files().and_then(|()| match runtime() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Error::failed(format!("cannot start: {error}"))),
    });
    let status = done.map_or_else(
        |error| {
            log::say(&format!("error: {error}\n"));
            error.exit.into()
        },
        |()| ExitCode::SUCCESS,
    );
    log::flush();
    status
}

/// With too few, whatever is opened first fails, and says anything but that.
fn check_open_files() -> Result<()> {
    match getrlimit(Resource::Nofile).current {
        Some(files) if files < OPEN_FILES_MIN => Err(Error::config(format!(
            "this process may have {files} files open, and needs {OPEN_FILES_MIN}"
        ))
        .hint("raise the limit, which php-fpm inherits: ulimit -n 1024, or LimitNOFILE= of a systemd unit")),
        _ => Ok(()),
    }
}

impl Cli {
    /// Runs the command.
    pub async fn run(self) -> Result<()> {
        let root = root(self.root)?;
        match self.command {
            Command::Start(args) => args.run(&root, self.json).await,
            Command::Stop(args) => args.stop(&root, self.json).await,
            Command::Restart(args) => args.run(&root, self.json).await,
            Command::Switch(args) => args.run(&root, self.json).await,
            Command::Rollback(args) => args.run(&root, self.json).await,
            Command::Repair(args) => args.repair(&root, self.json).await,
            Command::Status(args) => args.run(&root, self.json).await,
            Command::Check(args) => args.run(&root, self.json).await,
            Command::List(args) => args.run(&root, self.json),
            Command::Releases(args) => args.run(&root, self.json).await,
            Command::Serve(args) => args.run(&root, self.json).await,
            Command::History(args) => args.run(&root, self.json),
        }
    }
}

/// Replicas outlive the working directory, and the kernel knows their sockets
/// by the path that they bound: so the root is absolute and free of symlinks.
fn root(named: Option<PathBuf>) -> Result<Root> {
    let path = named.unwrap_or_else(|| PathBuf::from("."));
    match std::fs::canonicalize(&path) {
        Ok(path) => Ok(Root::new(path)),
        Err(error) => Err(Error::config(format!("the root {}: {error}", path.display()))
            .hint("the root holds etc/, pid/ and sockets/: correct --root or POOLS_MANAGER_ROOT")),
    }
}
