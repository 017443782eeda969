//! The `pools-manager` command.

use std::process::ExitCode;

use clap::Parser;
use pools_manager::cli::{Cli, finish};

fn main() -> color_eyre::Result<ExitCode> {
    color_eyre::install()?;
    Ok(finish(Cli::parse().run()))
}
