//! `ps-list`: the php-fpm processes of all pools as a tree.

use std::process::ExitCode;

use pools_manager::cli::{self, PsList, finish};
use pools_manager::log;

fn main() -> color_eyre::Result<ExitCode> {
    log::report_panics()?;
    let args = match cli::parse::<PsList>() {
        Ok(args) => args,
        Err(status) => return Ok(status),
    };
    let json = args.is_json();
    Ok(finish(args.run(), json))
}
