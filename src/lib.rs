//! pools-manager: restarts PHP-FPM pools, and moves them to new releases, without losing a request.
//!
//! `docs/architecture.md` tells how it works. This is the map of the source, from the top down; a
//! module uses those below it, never those above. To read it, begin with [`rollout::run`].
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | the command line: one file for each command |
//! | [`render`] | shows events: the classic lines, live progress, JSON lines |
//! | [`status`], [`check`], [`releases`], [`tree`] | what `status`, `check`, `releases` and `ps-list` show |
//! | [`rollout`] | observe, plan, execute: everything that changes a pool |
//! | [`gateway`] | the embedded web server and balancer |
//! | [`runtime`] | what kind of server a replica is: generations, their start, probes, stop; php-fpm |
//! | [`fastcgi`] | one request at a time: ping, status, warm-up |
//! | [`hook`] | the operator's own programs, which a rollout calls |
//! | [`release`], [`socket`], [`process`], [`machine`] | what the kernel knows: mounts, sockets, pidfds, limits |
//! | [`event`], [`step`] | what the engine says, and the words it says it in; it does not print |
//! | [`state`] | what is remembered of a pool: the history of its rollouts |
//! | [`control`] | what commands and a running gateway say to each other |
//! | [`lock`], [`cancel`] | one command at a time on a pool; how work is cancelled |
//! | [`trust`] | whether what a command relies on can be changed by its user and root alone |
//! | [`pool`], [`root`] | a pool and its settings, and where its files are |
//! | [`supervise`] | keeps all pools as they should be: respawn, watch, reload |
//! | [`backend`] | what requests come through: one driver for each kind, with its table, its commands and its checks |
//! | [`finding`] | what a check finds |
//! | [`config`] | the operator's files: parsed values, and errors that name a line |
//! | [`mod@file`] | files that somebody else may have put something in the place of |
//! | [`http`] | requests to the operator's own web server |
//! | [`log`] | the log of a program that serves |
//! | [`error`] | what can go wrong, with exit status and advice |
//! | `crash` | where a test can kill the manager |
//! | [`stress`] | the load companions `ping-stress` and `sleep-stress` |

mod account;
pub mod backend;
pub mod cancel;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
mod crash;
pub mod error;
pub mod event;
pub mod fastcgi;
pub mod file;
pub mod finding;
#[cfg(test)]
mod fuzz;
pub mod gateway;
pub mod hook;
pub mod http;
pub mod lock;
pub mod log;
pub mod machine;
pub mod pool;
pub mod process;
pub mod release;
pub mod releases;
pub mod render;
pub mod rollout;
pub mod root;
pub mod runtime;
pub mod socket;
pub mod state;
pub mod status;
pub mod step;
pub mod stress;
pub mod supervise;
pub mod tree;
pub mod trust;
