//! `balancer-manager`: shows an Apache balancer, and drains its workers.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use pools_manager::backend::Enabled;
use pools_manager::backend::apache::{Apache, Columns, Snapshot, Worker};
use pools_manager::error::{Error, Result};
use serde::Serialize;
use serde_json::json;
use serde_json::ser::{PrettyFormatter, Serializer};

const ABOUT: &str = "Shows a balancer of Apache's mod_proxy_balancer, and drains its workers";
const NOTES: &str = "\
A worker is named by its URL, alone (fcgi://pool-1) or whole (unix:/path|fcgi://pool-1).

Exit status: 0 done, 1 failed or refused, 2 usage, or Apache is not set up for this.";

#[derive(Parser)]
#[command(version, about = ABOUT, after_help = NOTES)]
struct Args {
    /// The URL of Apache's page balancer-manager
    manager_url: String,
    /// The balancer's name, with or without balancer://.
    balancer_name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints all that Apache tells about the balancer, as JSON.
    Show,
    /// Prints the workers, one a line, the draining ones first.
    ListWorkers {
        /// Prints only their URLs.
        #[arg(short, long)]
        quiet: bool,
        /// Only those with this status.
        #[arg(short, long)]
        status: Option<Wanted>,
    },
    /// Stops new requests to a worker, or lets it have them again.
    SetDrain {
        /// Whether it drains.
        drain: Switch,
        /// The worker.
        worker_url: String,
    },
    /// Prints one value of a worker.
    GetStats {
        /// The value's name, such as Busy, in any case.
        key: String,
        /// The worker.
        worker_url: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Wanted {
    Ok,
    Draining,
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("balancer-manager: {error}");
            error.exit.into()
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(args: Args) -> Result<()> {
    let apache = |members: &[String]| Apache::new(&args.manager_url, &args.balancer_name, members);
    match args.command {
        Command::Show => show(&apache(&[])?.read_page().await?),
        Command::ListWorkers { quiet, status } => {
            list_workers(&apache(&[])?.read().await?, quiet, status)
        }
        Command::SetDrain { drain, worker_url } => set_drain(&apache(&[worker_url])?, drain).await,
        Command::GetStats { key, worker_url } => {
            let snapshot = apache(std::slice::from_ref(&worker_url))?.read_page().await?;
            // The read has made sure that the worker is there.
            snapshot.worker(&worker_url).map_or(Ok(()), |worker| get_stats(worker, &key))
        }
    }
}

/// Prints `{"NAME": {"Main": {}, "Meta": {"Nonce": ""}, "Workers": [{}]}}`, with sorted keys.
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
        Switch::On if member.serves && !apache.other_serving(0).await? => {
            Err(Error::failed(format!("{name} is the last worker that serves: it is not drained"))
                .hint("enable another worker first"))
        }
        Switch::On => apache.drain(0).await,
        Switch::Off => {
            match apache.enable(0).await? {
                Enabled::Serving => {}
                Enabled::StillInError { retry_seconds } => eprintln!(
                    "{name} no longer drains, but is in error: Apache tries it again within \
                     {retry_seconds} s"
                ),
                Enabled::Held { status } => {
                    eprintln!("{name} no longer drains, but is held back otherwise: {status}");
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

/// Prints a line; that nobody reads it is not an error.
fn print(line: &str) -> Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}
