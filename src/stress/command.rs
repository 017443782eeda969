//! The command line of `ping-stress` and `sleep-stress`, which differ in their page only.

use std::io::{self, Write};
use std::num::{NonZeroU16, NonZeroU64};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};
use tokio::runtime;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::options::Options;
use super::page::Page;
use super::print::Printer;
use super::summary::Summary;
use super::{Answer, Stop, run};
use crate::error::{Error, Exit, Result};

/// Both programs' flags: the name, the description and the default URL come from the page.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// The page to ask for
    #[arg(long, value_name = "URL")]
    url: String,
    /// How many clients ask at the same time
    #[arg(long, value_name = "N", default_value = "1")]
    concurrency: NonZeroU16,
    /// For how long to ask, like 10s or 2m [default: until stopped]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    duration: Option<Duration>,
    /// How many times to ask in all [default: until stopped]
    #[arg(long, value_name = "N")]
    requests: Option<NonZeroU64>,
    /// How long one answer may take
    #[arg(long, value_name = "TIME", value_parser = some_time, default_value = "30s")]
    timeout: Duration,
    /// Fail if an older release answers once a newer one was seen
    #[arg(long)]
    monotonic: bool,
    /// Show no dots
    #[arg(short, long)]
    quiet: bool,
    /// Show nothing but the summary, as one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the program for `page`: `ping-stress` or `sleep-stress`.
pub fn main(page: Page) -> ExitCode {
    let flags = Flags::of(page);
    match put_load_on(page, &flags) {
        Ok(summary) if summary.passed => ExitCode::SUCCESS,
        Ok(_) => Exit::Failed.into(),
        Err(error) => {
            eprintln!("error: {error}");
            error.exit.into()
        }
    }
}

impl Flags {
    /// The flags of this process. Exits if they are wrong, or if help is asked for.
    fn of(page: Page) -> Self {
        let (name, about) = match page {
            Page::Ping => ("ping-stress", "Pings a pool without end, and tells what got lost"),
            Page::Sleep => {
                ("sleep-stress", "Keeps slow requests under way, and tells what got lost")
            }
        };
        let command = Self::command()
            .name(name)
            .about(about)
            .mut_arg("url", |url| url.required(false).default_value(page.default_url()));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

fn some_time(text: &str) -> std::result::Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be more than nothing".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// Puts the load on and prints the summary. One thread is all that the load may take of a machine.
fn put_load_on(page: Page, flags: &Flags) -> Result<Summary> {
    let mut options = Options::new(page, &flags.url)?;
    options.concurrency = flags.concurrency;
    options.duration = flags.duration;
    options.requests = flags.requests;
    options.timeout = flags.timeout;
    options.monotonic = flags.monotonic;

    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::failed(format!("cannot start: {error}")))?;
    let summary = runtime.block_on(run_and_print(&options, page, flags));
    // A name's resolution that was given up must not hold the exit back.
    runtime.shutdown_background();
    summary
}

async fn run_and_print(options: &Options, page: Page, flags: &Flags) -> Result<Summary> {
    let (stop, stopped) = watch::channel(Stop::Not);
    let signals = Signals::new()
        .map_err(|error| Error::failed(format!("cannot listen to signals: {error}")))?;
    tokio::spawn(signals.stop(stop.clone()));

    let silent = flags.json;
    let mut printer = Printer::new(io::stdout(), page, !flags.quiet);
    let on_answer = move |answer: &Answer| {
        if !silent && printer.show(answer).is_err() {
            // Nobody reads any more. The summary will fail as well, and say so.
            raise(&stop, Stop::Finish);
        }
    };
    let summary = run(options, stopped, on_answer).await?;
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

    /// The first signal ends the run in order, the second one at once.
    async fn stop(mut self, stop: watch::Sender<Stop>) {
        for order in [Stop::Finish, Stop::Abandon] {
            select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            raise(&stop, order);
        }
    }
}

/// Gives an order, unless a stronger one was given.
fn raise(stop: &watch::Sender<Stop>, order: Stop) {
    stop.send_modify(|now| *now = order.max(*now));
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
