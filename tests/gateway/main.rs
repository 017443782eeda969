//! The gateway with real php-fpm: `pools-manager serve` as users run it, over real sockets.
//!
//! Each test has its own [`harness::served::Served`]: a site, and a gateway on its own port. Tests run in
//! parallel. They wait for events, never for a fixed time.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

mod access;
mod answers;
mod breaks;
mod canary;
mod command;
mod compare;
mod compressed_answers;
mod compression;
mod control_groups;
mod crashes;
mod dates;
mod embedded;
mod frozen;
mod health;
mod hold;
mod hold_command;
mod hostile;
mod http2;
mod lengths;
mod limits;
mod log_stream;
mod logs;
mod maintenance;
mod memory;
mod pace;
mod pid_1;
mod pools;
mod privilege;
mod refused;
mod releases;
mod reload;
mod room;
mod rules;
mod safe_defaults;
mod service_manager;
mod signals;
mod skew;
mod slow;
mod start;
mod statics;
mod supervised_pools;
mod supervisor;
mod systemd;
mod tls;
mod tls_memory;
mod upgrade;
mod variables;
