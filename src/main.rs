//! The `pools-manager` command.

use std::process::ExitCode;

use pools_manager::cli::{self, Cli, finish};
use pools_manager::runtime::command::master;
use pools_manager::{gateway, init, log};

fn main() -> color_eyre::Result<ExitCode> {
    log::report_panics()?;
    if let Some(status) = master::run() {
        return Ok(status);
    }
    if let Some(status) = gateway::run_child() {
        return Ok(status);
    }
    let cli = match cli::parse::<Cli>() {
        Ok(cli) => cli,
        Err(status) => return Ok(status),
    };
    if cli.is_serve() {
        if init::is_init() {
            return Ok(init::run()?);
        }
        init::unblock_signals()?;
    }
    let json = cli.is_json();
    Ok(finish(cli.run(), json))
}
