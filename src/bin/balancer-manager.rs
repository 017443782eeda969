//! `balancer-manager`: shows a balancer of Apache and drains its workers.

use std::process::ExitCode;

use clap::Parser;
use pools_manager::cli::BalancerManager;

fn main() -> ExitCode {
    BalancerManager::parse().run()
}
