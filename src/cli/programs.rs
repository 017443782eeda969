//! The command lines of all programs.

use clap::{Command, CommandFactory};

use super::{BalancerManager, Cli, FcgiRequest, PsList};
use crate::stress::{self, Page};

/// The command line of each program of the package, for its man pages and completions.
pub fn programs() -> Vec<Command> {
    vec![
        Cli::command(),
        PsList::command(),
        FcgiRequest::command(),
        BalancerManager::command(),
        stress::command_line(Page::Ping),
        stress::command_line(Page::Sleep),
    ]
}
