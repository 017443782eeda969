//! PHP-FPM: one master for each generation of a replica.
//!
//! A generation runs the operator's `php_fpm_cmd` with a generated file. The file includes the
//! replica's `N.conf`, and overrides only these settings: the private socket, the pid file,
//! `daemonize`, the paths of the ping and status pages, and the time that a stop gives to requests,
//! if the operator gives none. php-fpm itself resolves the operator's files (`-tt`); nothing here
//! parses its ini format.

mod capacity;
mod check;
mod command;
pub(crate) mod conf;
mod directives;
mod error_log;
mod installed;
mod launch;
mod log;
mod logs;
mod messages;
mod page;
mod resolved;
mod server;
mod start_check;
mod stop;
mod unopened_logs;
mod uploads;

pub use capacity::Demand;
pub(super) use check::inspect;
pub use command::{Command, installed as installed_programs};
pub use directives::{Section, directives, directives_of_file};
pub(super) use error_log::error_log;
use installed::Installed;
pub(super) use launch::start;
pub use log::Log;
pub(super) use log::crash;
pub(super) use page::{front_page, front_script, has_script, host, request_page};
pub use resolved::Resolved;
pub use server::Server;
pub(super) use stop::stop;
pub use uploads::Uploads;
