//! `fcgi-request`: sends one request to a FastCGI server such as php-fpm, without a web server.

use std::process::ExitCode;

use clap::Parser;
use pools_manager::cli::FcgiRequest;

fn main() -> ExitCode {
    FcgiRequest::parse().run()
}
