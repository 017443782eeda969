//! The whole thing, on real servers: php-fpm, Apache, the sample configuration as it stands in the
//! repository, and `pools-manager` as its users run it.
//!
//! Each test owns a [`harness::Site`]: a temporary root with its own servers, on its own port. They
//! run in parallel. Nothing waits for a fixed time: what is waited for is polled every few
//! milliseconds, with a deadline that only a hang reaches.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

mod adoption;
mod bad_input;
mod bad_release;
mod balancer;
mod canary;
mod check;
mod crash;
mod early_answer;
mod history;
mod hooks;
mod hostile;
mod interrupt;
mod json;
mod limits;
mod lock;
mod monitor;
mod original;
mod php_fpm_dies;
mod pools;
mod probe;
mod releases;
mod repair;
mod restarts;
mod rollback;
mod session;
mod soak;
mod stop;
mod switch;
mod symlinks;
mod twice;
mod warm_up;
mod world;
