//! The `pools-manager` command.

use std::process::ExitCode;

use clap::Parser;
use pools_manager::cli::{Cli, finish};
use pools_manager::log;

fn main() -> color_eyre::Result<ExitCode> {
    log::report_panics()?;
    Ok(finish(Cli::parse().run()))
}
