//! pools-manager on real servers: php-fpm, Apache, and the sample configuration of the repository.
//!
//! Each test has its own [`harness::Site`]: a temporary root with its own servers and port. Tests run
//! in parallel. They poll for events with a deadline, and never wait for a fixed time.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

mod adoption;
mod bad_input;
mod bad_release;
mod balancer;
mod canary;
mod check;
mod config_show;
mod crash;
mod early_answer;
mod executable;
mod haproxy;
mod history;
mod hooks;
mod hostile;
mod init;
mod interrupt;
mod isolation;
mod json;
mod limits;
mod lock;
mod logs;
mod monitor;
mod original;
mod php_fpm_dies;
mod pools;
mod probe;
mod releases;
mod repair;
mod restarts;
mod rollback;
mod root;
mod session;
mod soak;
mod stop;
mod switch;
mod symlinks;
mod terminal;
mod twice;
mod warm_up;
mod web_servers;
mod world;
