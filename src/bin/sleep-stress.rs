//! The `sleep-stress` command: slow requests, one after the other, and what became of them.

use std::process::ExitCode;

use pools_manager::stress::{Page, main as stress};

fn main() -> color_eyre::Result<ExitCode> {
    color_eyre::install()?;
    Ok(stress(Page::Sleep))
}
