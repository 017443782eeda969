//! The PHP-FPM runtime: one master for each generation of a replica.
//!
//! A generation runs the operator's `php_fpm_cmd` with a generated file that
//! includes the replica's `N.conf` and overrides only what makes it a
//! generation: its private socket, its pid file, and a stop that lets
//! requests finish. What the operator's files say is asked of php-fpm itself
//! (`-tt`); nothing here parses its ini format.

mod capacity;
mod command;
mod complaints;
mod generation;
mod installed;
mod launch;
mod log;
mod lost;
mod pin;
mod resolved;
mod running;
mod settle;
mod stop;

pub use capacity::Demand;
pub use command::Command;
pub use generation::{Generation, discover, remove_record};
pub use installed::Installed;
pub use launch::start;
pub use log::Log;
pub use lost::{lost, write_again};
pub use resolved::{Children, Resolved};
pub use running::{Running, look};
pub use settle::settle;
pub use stop::{discard, stop};
