//! The gateway on real php-fpm: `pools-manager serve` as its users run it, asked over real sockets.
//!
//! Each test owns a [`served::Served`]: a site of its own and a
//! gateway on a port of its own. They run in parallel, and wait for events, never for a time.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

mod answers;
mod breaks;
mod compare;
mod compression;
mod crashes;
mod dates;
mod frozen;
mod hostile;
mod lengths;
mod logs;
mod memory;
mod pace;
mod pools;
mod releases;
mod reload;
mod room;
mod rules;
mod served;
mod signals;
mod slow;
mod start;
mod statics;
mod variables;
