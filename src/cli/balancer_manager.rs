//! The companion `balancer-manager`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::backend::Enabled;
use crate::backend::apache::{Apache, Columns, Snapshot, Worker};
use crate::error::{Error, Result};

const ABOUT: &str = "Show a balancer of Apache's mod_proxy_balancer and drain its workers";
const NOTES: &str = "\
A worker is named by its URL, with or without the path of its socket: fcgi://pool-1 or
unix:/path|fcgi://pool-1.

Exit status: 0 success, 1 failure or refused, 2 error in usage or in Apache's configuration.";

/// The command line of `balancer-manager`.
#[derive(Debug, Parser)]
#[command(name = "balancer-manager", version, about = ABOUT, after_help = NOTES)]
pub struct BalancerManager {
    /// The URL of the page balancer-manager of Apache
    manager_url: String,
    /// The name of the balancer, with or without balancer://
    balancer_name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print all attributes of the balancer and its workers, as JSON
    Show,
    /// Print the workers, one per line, the draining ones first
    ListWorkers {
        /// Print only the URLs
        #[arg(short, long)]
        quiet: bool,
        /// Print only workers with this status
        #[arg(short, long)]
        status: Option<Wanted>,
    },
    /// Stop new requests to a worker (on), or send them again (off)
    SetDrain {
        /// on: drain the worker; off: enable it again
        drain: Switch,
        /// The URL of the worker
        worker_url: String,
    },
    /// Print one value of a worker
    GetStats {
        /// The name of the value, such as Busy, in upper or lower case
        key: String,
        /// The URL of the worker
        worker_url: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    Ok,
    Draining,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl BalancerManager {
    /// Runs the command, prints its error, and returns the exit status.
    pub fn run(self) -> ExitCode {
        match run(self) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("balancer-manager: {error}");
                error.exit.into()
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(args: BalancerManager) -> Result<()> {
    let apache = |members: &[String]| Apache::new(&args.manager_url, &args.balancer_name, members);
    match args.command {
        Command::Show => show(&apache(&[])?.read_page().await?),
        Command::ListWorkers { quiet, status } => {
            list_workers(&apache(&[])?.read().await?, quiet, status)
        }
        Command::SetDrain { drain, worker_url } => set_drain(&apache(&[worker_url])?, drain).await,
        Command::GetStats { key, worker_url } => {
            let snapshot = apache(std::slice::from_ref(&worker_url))?.read_page().await?;
            // read_page() fails if the worker is missing.
            snapshot.worker(&worker_url).map_or(Ok(()), |worker| get_stats(worker, &key))
        }
    }
}

/// Prints `{"NAME": {"Main": {}, "Meta": {"Nonce": ""}, "Workers": [{}]}}` with sorted keys.
fn show(snapshot: &Snapshot) -> Result<()> {
    let shown = json!({ &snapshot.name: {
        "Main": map(&snapshot.attributes),
        "Meta": { "Nonce": snapshot.nonce },
        "Workers": snapshot.workers.iter().map(|worker| map(&worker.columns)).collect::<Vec<_>>(),
    }});
    let mut text = Vec::new();
    let four_spaces = PrettyFormatter::with_indent(b"    ");
    shown
        .serialize(&mut Serializer::with_formatter(&mut text, four_spaces))
        .map_err(|error| Error::failed(error.to_string()))?;
    print(&String::from_utf8_lossy(&text))
}

fn map(columns: &Columns) -> BTreeMap<&str, &str> {
    columns.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn list_workers(snapshot: &Snapshot, quiet: bool, wanted: Option<Wanted>) -> Result<()> {
    let mut workers: Vec<_> = snapshot.workers.iter().collect();
    workers.retain(|worker| match wanted {
        None => true,
        Some(Wanted::Ok) => worker.status.serves(),
        Some(Wanted::Draining) => worker.status.is_draining(),
    });
    workers.sort_by_key(|worker| (!worker.status.is_draining(), &worker.name));
    for worker in workers {
        let line = if quiet { worker.url.clone() } else { line(worker) };
        print(&line)?;
    }
    Ok(())
}

/// `fcgi://pool-1 Status="Init Ok" socket="/path"`
fn line(worker: &Worker) -> String {
    let socket = worker.socket().map(|path| format!(" socket=\"{}\"", path.display()));
    format!("{} Status=\"{}\"{}", worker.url, worker.status, socket.unwrap_or_default())
}

async fn set_drain(apache: &Apache, drain: Switch) -> Result<()> {
    let member = apache.members().await?.remove(0);
    let name = member.name;
    match drain {
        Switch::On if member.serves && !apache.other_serving(0).await? => Err(Error::failed(
            format!("{name} is the last worker that serves, so it is not drained"),
        )
        .hint("enable another worker first")),
        Switch::On => apache.drain(0).await,
        Switch::Off => {
            match apache.enable(0).await? {
                Enabled::Serving => {}
                Enabled::StillInError { retry_seconds } => eprintln!(
                    "{name} no longer drains, but is in error: Apache tries it again within \
                     {retry_seconds} s"
                ),
                Enabled::Held { status } => {
                    eprintln!(
                        "{name} no longer drains, but gets no requests: its status is {status}"
                    );
                }
            }
            Ok(())
        }
    }
}

fn get_stats(worker: &Worker, key: &str) -> Result<()> {
    let found = worker.columns.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    let (_, value) = found.ok_or_else(|| {
        let known: Vec<_> = worker.columns.iter().map(|(name, _)| name.as_str()).collect();
        Error::config(format!("a worker has no {key:?}"))
            .hint(format!("it has: {}", known.join(", ")))
    })?;
    print(value)
}

/// Prints a line. A closed pipe is not an error.
fn print(line: &str) -> Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}
