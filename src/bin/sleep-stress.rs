//! `sleep-stress`: load of slow requests, and a summary of what failed.

use std::process::ExitCode;

use pools_manager::log;
use pools_manager::stress::{Page, main as stress};

fn main() -> color_eyre::Result<ExitCode> {
    log::report_panics()?;
    Ok(stress(Page::Sleep))
}
