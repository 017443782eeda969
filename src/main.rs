//! The `pools-manager` command.

use std::process::ExitCode;

use clap::Parser;
use pools_manager::cli::{Cli, finish};
use pools_manager::log;
use pools_manager::runtime::command::master;

fn main() -> color_eyre::Result<ExitCode> {
    log::report_panics()?;
    if let Some(status) = master::run() {
        return Ok(status);
    }
    Ok(finish(Cli::parse().run()))
}
