//! The command line of `ping-stress` and `sleep-stress`. They differ only in the page.

use std::io::{self, Write};
use std::num::{NonZeroU16, NonZeroU64};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser};
use tokio::runtime;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::options::Options;
use super::page::Page;
use super::print::Printer;
use super::summary::Summary;
use super::{Sample, Stop, run};
use crate::duration;
use crate::error::{Error, Exit, Result};

/// The options of both programs. The name, the description and the default URL depend on the page.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 all responses were good, 1 a request failed, 2 wrong usage."
)]
struct Flags {
    /// The page to request
    #[arg(long, value_name = "URL")]
    url: String,
    /// The number of clients, each with one request at a time
    #[arg(long, value_name = "N", default_value = "1")]
    concurrency: NonZeroU16,
    /// How long to send requests: 10s, 2m [default: until stopped by a signal]
    #[arg(long, value_name = "TIME", value_parser = duration::some_option)]
    duration: Option<Duration>,
    /// How many requests to send in all [default: until stopped by a signal]
    #[arg(long, value_name = "N")]
    requests: Option<NonZeroU64>,
    /// How long one response may take
    #[arg(long, value_name = "TIME", value_parser = duration::some_option, default_value = "30s")]
    timeout: Duration,
    /// Fail if an older release responds after a newer one did
    #[arg(long)]
    monotonic: bool,
    /// Print no dots
    #[arg(short, long)]
    quiet: bool,
    /// Print only the summary, as one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the program for `page`: `ping-stress` or `sleep-stress`.
pub fn main(page: Page) -> ExitCode {
    let flags = Flags::of(page);
    match generate_load(page, &flags) {
        Ok(summary) if summary.passed => ExitCode::SUCCESS,
        Ok(_) => Exit::Failed.into(),
        Err(error) => {
            eprintln!("error: {error}");
            error.exit.into()
        }
    }
}

impl Flags {
    /// Parses the command line. Exits if it is wrong, or asks for help.
    fn of(page: Page) -> Self {
        let matches = command_line(page).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The command line of the program for `page`.
pub fn command_line(page: Page) -> Command {
    let (name, about) = match page {
        Page::Ping => {
            ("ping-stress", "Send short requests to a pool and report which of them failed")
        }
        Page::Sleep => (
            "sleep-stress",
            "Keep slow requests in flight at a pool and report which of them failed",
        ),
    };
    let url = |url: Arg| url.required(false).default_value(page.default_url());
    Flags::command().name(name).about(about).mut_arg("url", url)
}

/// Generates load and prints the summary. It uses one thread, to leave the other cores to the servers.
fn generate_load(page: Page, flags: &Flags) -> Result<Summary> {
    let mut options = Options::new(page, &flags.url)?;
    options.concurrency = flags.concurrency;
    options.duration = flags.duration;
    options.requests = flags.requests;
    options.timeout = flags.timeout;
    options.monotonic = flags.monotonic;

    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed(format!("cannot start: {error}")))?;
    let summary = runtime.block_on(run_and_print(&options, page, flags));
    // The resolution of a host name may still block a thread; the exit does not wait for it.
    runtime.shutdown_background();
    summary
}

async fn run_and_print(options: &Options, page: Page, flags: &Flags) -> Result<Summary> {
    let (stop, stopped) = watch::channel(Stop::No);
    let signals = Signals::new()
        .map_err(|error| Error::failed(format!("cannot listen for signals: {error}")))?;
    tokio::spawn(signals.stop(stop.clone()));

    let silent = flags.json;
    let mut printer = Printer::new(io::stdout(), page, !flags.quiet);
    let on_sample = move |sample: &Sample| {
        if !silent && printer.show(sample).is_err() {
            // The pipe is closed. Printing the summary fails too, and reports the error.
            raise(&stop, Stop::Finish);
        }
    };
    let summary = run(options, stopped, on_sample).await?;
    print(&summary, flags).map_err(|error| {
        Error::failed(format!("cannot write the summary to standard output: {error}"))
    })?;
    Ok(summary)
}

/// The signals that end a run.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The first signal lets requests in flight finish; the second one cancels them.
    async fn stop(mut self, stop: watch::Sender<Stop>) {
        for level in [Stop::Finish, Stop::Cancel] {
            select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            raise(&stop, level);
        }
    }
}

/// Raises `stop` to `level`, and never lowers it.
fn raise(stop: &watch::Sender<Stop>, level: Stop) {
    stop.send_modify(|now| *now = level.max(*now));
}

fn print(summary: &Summary, flags: &Flags) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if flags.json {
        serde_json::to_writer(&mut out, summary)?;
        writeln!(out)?;
    } else {
        write!(out, "{summary}")?;
    }
    out.flush()
}
