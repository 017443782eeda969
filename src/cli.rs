//! The command line.

mod balancer_manager;
mod canary;
mod change;
mod check;
mod config;
mod fcgi_request;
mod history;
mod hold;
mod init;
mod list;
mod logs;
mod maintenance;
mod programs;
mod ps_list;
mod releases;
mod root_lookup;
mod scope;
mod serve;
mod side_by_side;
mod signals;
mod snippet;
mod status;
mod switch;
mod traffic;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

pub use balancer_manager::BalancerManager;
use clap::{Parser, Subcommand};
pub use fcgi_request::FcgiRequest;
pub use programs::programs;
pub use ps_list::PsList;
use root_lookup::{root, root_of_new_pool};
use rustix::process::{Resource, getrlimit};
pub use usage::parse;

use crate::error::{Error, Result};
use crate::log;
use crate::render::colour::When;
use crate::render::print_error;
use crate::rollout::Wanted;

/// The heading of the options that all commands have.
const GENERAL: &str = "General options";

const NOTES: &str = "\
Examples:
  pools-manager status
      is all well?
  pools-manager restart www
      restart the replicas of the pool www, one after the other
  pools-manager switch www release2
      deploy: move the symlink, and restart the pool on it
  pools-manager rollback www
      go back to the previous release
  pools-manager help restart
      the options of a command

Exit status: 0 success, 1 failure, 2 error in usage or configuration, 3 the pool is locked, 130 \
stopped by Ctrl-C.";

/// Restart PHP-FPM pools and switch them to new releases without a failed request
#[derive(Debug, Parser)]
#[command(name = "pools-manager", version, max_term_width = 100, subcommand_required = true)]
#[command(after_help = NOTES)]
pub struct Cli {
    /// The directory that holds etc/, pid/ and sockets/ [default: the nearest one from the working
    /// directory upwards, else /var/lib/pools-manager]
    #[arg(long, value_name = "DIR", global = true, env = "POOLS_MANAGER_ROOT", help_heading = GENERAL)]
    root: Option<PathBuf>,
    /// Print JSON: one document, or one line for each event if the command changes pools
    #[arg(long, global = true, help_heading = GENERAL)]
    json: bool,
    /// When to use colours: auto, always or never. auto: on a terminal, unless `NO_COLOR` is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    #[arg(hide_default_value = true, hide_possible_values = true, help_heading = GENERAL)]
    color: When,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a pool: ask for its settings, or take them from the options
    Init(init::Args),
    /// Show the state of each replica
    Status(status::Args),
    /// List the pools
    List(list::Args),
    /// Look for problems without changing anything, and print how to solve them
    Check(check::Args),
    /// Show the settings in effect
    Config(config::Args),
    /// Start the replicas that do not run
    Start(change::Args),
    /// Stop replicas; requests in flight can finish first
    #[command(after_help = change::STOP_EXAMPLES)]
    Stop(change::DrainArgs),
    /// Restart replicas on the release that the symlink names now
    Restart(change::RestartArgs),
    /// Point the symlink at a release and restart the pool on it; go back if that fails
    Switch(switch::SwitchArgs),
    /// Switch to the previous release
    Rollback(switch::RollbackArgs),
    /// Show the release directories of a pool, and which of them are in use
    Releases(releases::Args),
    /// Show past rollouts, the newest last
    History(history::Args),
    /// Repair what a crash left behind; replicas that you stopped stay stopped
    #[command(after_help = change::REPAIR_EXAMPLES)]
    Repair(change::DrainArgs),
    /// Let the requests of a pool wait, for example during a migration. Only with the gateway
    Hold(hold::HoldArgs),
    /// End a hold: the requests that wait go on
    Resume(hold::ResumeArgs),
    /// Answer the requests of a pool with a maintenance page. Only with the gateway
    Maintenance(maintenance::Args),
    /// Print the logs of all replicas, merged by time
    Logs(logs::Args),
    /// Run in the foreground: keep all replicas running, follow the symlinks, and be the gateway of all
    /// pools that have a [gateway]
    Serve(serve::Args),
    /// Print the configuration of a web server for a pool, or the settings of an existing configuration that
    /// would lose requests
    Snippet(snippet::Args),
}

impl Command {
    /// Whether the command may create a root.
    fn makes_root(&self) -> bool {
        matches!(self, Self::Init(_))
    }
}

/// The smallest limit of open files with which a command works. A restart of two replicas has up to
/// 25 files open (measured), most of them while php-fpm prints its configuration.
const OPEN_FILES_MIN: u64 = 64;

/// Runs the future to its end, prints its error, and returns the exit status.
pub fn finish(work: impl Future<Output = Result<()>>, json: bool) -> ExitCode {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = check_open_files().and_then(|()| match runtime() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Error::failed(format!("cannot start: {error}"))),
    });
    let status = done.map_or_else(
        |error| {
            print_error(&error, json);
            error.exit.into()
        },
        |()| ExitCode::SUCCESS,
    );
    log::flush();
    status
}

/// Without this check, some later open(2) fails with a message that does not name the cause.
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
    /// Whether the command is `serve`.
    pub fn is_serve(&self) -> bool {
        matches!(self.command, Command::Serve(_))
    }

    /// Whether the output is JSON, errors too.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Runs the command.
    pub async fn run(self) -> Result<()> {
        let find = if self.command.makes_root() { root_of_new_pool } else { root };
        let root = find(self.root)?;
        match self.command {
            Command::Init(args) => args.run(&root, self.json).await,
            Command::Start(args) => args.run(&root, self.json).await,
            Command::Stop(args) => args.stop(&root, self.json).await,
            Command::Restart(args) => args.run(&root, self.json).await,
            Command::Switch(args) => args.run(&root, self.json).await,
            Command::Rollback(args) => args.run(&root, self.json).await,
            Command::Repair(args) => args.repair(&root, self.json).await,
            Command::Status(args) => args.run(&root, self.json).await,
            Command::Check(args) => args.run(&root, self.json).await,
            Command::Config(args) => args.run(&root, self.json),
            Command::List(args) => args.run(&root, self.json),
            Command::Releases(args) => args.run(&root, self.json).await,
            Command::Serve(args) => args.run(&root, self.json).await,
            Command::History(args) => args.run(&root, self.json),
            Command::Hold(args) => args.run(&root, self.json).await,
            Command::Resume(args) => args.run(&root, self.json).await,
            Command::Maintenance(args) => args.run(&root, self.json).await,
            Command::Logs(args) => args.run(&root, self.json),
            Command::Snippet(args) => args.run(&root, self.json).await,
        }
    }
}
