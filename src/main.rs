//! The `pools-manager` command.

use std::process::ExitCode;

use clap::Parser;
use pools_manager::cli::{Cli, finish};
use pools_manager::runtime::command::master;
use pools_manager::{init, log};

fn main() -> color_eyre::Result<ExitCode> {
    log::report_panics()?;
    if let Some(status) = master::run() {
        return Ok(status);
    }
    let cli = Cli::parse();
    if cli.is_serve() {
        if init::is_init() {
            return Ok(init::run()?);
        }
        init::unblock_signals()?;
    }
    Ok(finish(cli.run()))
}
