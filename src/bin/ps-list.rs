//! The `ps-list` command: the php-fpm processes of all pools as a tree.

use std::process::ExitCode;

use clap::Parser;
use pools_manager::cli::{PsList, finish};

fn main() -> color_eyre::Result<ExitCode> {
    color_eyre::install()?;
    Ok(finish(PsList::parse().run()))
}
