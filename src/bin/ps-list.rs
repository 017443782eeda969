//! `ps-list`: the php-fpm processes of all pools as a tree.

use std::process::ExitCode;

use clap::Parser;
use pools_manager::cli::{PsList, finish};
use pools_manager::log;

fn main() -> color_eyre::Result<ExitCode> {
    log::report_panics()?;
    Ok(finish(PsList::parse().run()))
}
