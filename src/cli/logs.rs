//! `logs`

use std::io::{self, IsTerminal, StdoutLock, Write};
use std::os::fd::AsFd;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::logs::{self, Entry, Origin, Output, Select, Stream, Wake};
use crate::pool;
use crate::render::print_note;
use crate::root::Root;

const EXAMPLES: &str = "\
Examples:
  pools-manager logs
      the last 20 entries of all pools
  pools-manager logs www -n 100 -f
      the last 100 entries of the pool www, and then each new one";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The name of the pool [default: all pools]
    pool: Option<String>,
    /// Then print each new entry, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How many of the last entries to print
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Only this replica
    #[arg(long, value_name = "N", requires = "pool")]
    replica: Option<u32>,
}

impl Args {
    /// Prints the last entries of the logs, then fails if a log could not be read.
    pub(super) fn run(self, root: &Root, json: bool) -> Result<()> {
        self.check(root)?;
        let select = Select { pool: self.pool, replica: self.replica };
        let stdout = io::stdout();
        let mut printer = Printer::new(stdout.lock(), json);
        let mut stream = Stream::new(root, select, &mut printer)?;
        if stream.is_empty() && !self.follow && !printer.has_failed {
            print_note("no logs are known: nothing has run yet", json);
        }
        stream.last(self.lines, &mut printer);
        if self.follow {
            let wake = Wake::new()?;
            stream.follow(&wake, Some(stdout.as_fd()), &mut printer);
        }
        if printer.has_failed && !printer.is_over() {
            return Err(Error::failed("not all logs could be read"));
        }
        Ok(())
    }

    fn check(&self, root: &Root) -> Result<()> {
        let Some(name) = &self.pool else { return Ok(()) };
        let pool = pool::load(root, name)?;
        match self.replica {
            Some(replica) if !pool.replicas().any(|it| it == replica) => {
                let message = format!("the pool \"{name}\" has no replica {replica}");
                let hint = format!("its replicas are 1 to {}", pool.replica_count);
                Err(Error::config(message).hint(hint))
            }
            _ => Ok(()),
        }
    }
}

/// Prints records to standard output.
struct Printer<'a> {
    stdout: io::BufWriter<StdoutLock<'a>>,
    json: bool,
    /// For a terminal: short local times, and the date on a line of its own.
    zone: Option<TimeZone>,
    /// The date that was printed last.
    day: Option<Date>,
    /// Standard output is closed, or cannot be written.
    is_closed: bool,
    /// A log could not be read.
    has_failed: bool,
}

impl<'a> Printer<'a> {
    fn new(stdout: StdoutLock<'a>, json: bool) -> Self {
        let zone = stdout.is_terminal().then(TimeZone::system);
        let stdout = io::BufWriter::new(stdout);
        Self { stdout, json, zone, day: None, is_closed: false, has_failed: false }
    }
}

impl Output for Printer<'_> {
    fn put(&mut self, entry: &Entry, origin: &Origin, file: &Path) {
        let between = "\n    ";
        let line = match &self.zone {
            _ if self.json => logs::json(entry, origin, file),
            None => logs::text(entry, origin, file, true, between),
            Some(zone) => {
                let at = zone.to_datetime(entry.time.unwrap_or_else(Timestamp::now));
                let line = logs::text(entry, origin, file, false, between);
                let day = self.day.replace(at.date());
                let heading = if day == Some(at.date()) { "" } else { &format!("{}\n", at.date()) };
                format!("{heading}{} {:>5} {line}", at.strftime("%H:%M:%S"), entry.level.as_str())
            }
        };
        self.is_closed |= writeln!(self.stdout, "{line}").is_err();
    }

    fn flush(&mut self) {
        self.is_closed |= self.stdout.flush().is_err();
    }

    fn problem(&mut self, problem: &str) {
        self.flush();
        self.has_failed = true;
        print_note(&format!("warning: {problem}"), self.json);
    }

    fn is_over(&self) -> bool {
        self.is_closed
    }
}
