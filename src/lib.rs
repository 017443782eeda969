//! pools-manager: restarts PHP-FPM pools, and moves them to new releases, without losing a request.
//!
//! `docs/architecture.md` explains how it works. This is the map of the modules, from the top down:
//! a module uses only modules below it. A good place to start reading is [`rollout::run`].
//!
//! | module | purpose |
//! |---|---|
//! | [`cli`] | the command line: one file for each command |
//! | [`render`] | prints events: the classic lines, live progress, JSON lines |
//! | [`status`], [`check`], [`releases`], [`tree`] | the contents of `status`, `check`, `releases` and `ps-list` |
//! | [`new_pool`] | the contents of `init`: writes a pool |
//! | [`snippet`] | configurations of web servers for a pool |
//! | [`in_effect`] | the contents of `config show`: each key, its value, and where that comes from |
//! | [`rollout`] | observe, plan, execute: everything that changes a pool |
//! | [`gateway`] | the embedded web server and balancer |
//! | [`upgrade`] | how a new `serve` takes the place of the running one |
//! | [`inherited`] | listening sockets of another process: the service manager, or the previous `serve` |
//! | [`runtime`] | the servers that replicas run: generations, their start, probes and stop; php-fpm, and the servers of `[command]` |
//! | [`fastcgi`] | the FastCGI client: ping, status, warm-up |
//! | [`hook`] | runs the operator's hooks |
//! | [`release`], [`socket`], [`process`], [`control_group`], [`machine`] | state that the kernel keeps: mounts, sockets, processes, control groups, limits |
//! | [`event`], [`step`] | what the engine reports: events and the steps in them |
//! | [`state`] | what is stored of a pool: stopped replicas, and the history of rollouts |
//! | [`traffic`] | what the operator wants done with a pool's requests: hold, maintenance |
//! | [`canary`] | a canary that gets a share of the visitors: its record, its figures, the decision |
//! | [`control`] | the protocol between commands and a running gateway |
//! | [`lock`], [`cancel`] | the pool's lock; cancellation |
//! | [`privsep`] | a process of root, and its child that is an ordinary user and talks to strangers |
//! | [`trust`] | checks that only the user and root can change the files that a command uses |
//! | [`pool`], [`root`] | a pool, its settings and the paths of its files |
//! | [`supervise`] | the supervisor of `serve`: starts replicas again, follows the symlinks, reloads |
//! | [`backend`] | the web server or balancer in front of a pool: one driver for each kind, with its settings and checks |
//! | [`finding`] | the findings of `check` |
//! | [`config`] | the operator's files: parsed values, and errors with the line |
//! | [`mod@file`] | safe access to files in directories that other users may write |
//! | [`http`] | requests to the operator's own web server |
//! | [`logs`] | the logs of all replicas in one stream |
//! | [`init`] | `serve` as pid 1 of a container |
//! | [`log`] | the log of `serve` |
//! | [`service_manager`] | tells systemd what `serve` does, and has it make a scope for each generation |
//! | `wrapped` | text in lines of a limited width |
//! | [`duration`] | the one format of durations |
//! | [`error`] | errors, with exit status and help |
//! | `failpoint` | named places where a test can kill or halt the manager |
//! | [`stress`] | the load companions `ping-stress` and `sleep-stress` |

mod account;
pub mod backend;
pub mod canary;
pub mod cancel;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod control_group;
pub mod duration;
pub mod error;
pub mod event;
mod failpoint;
pub mod fastcgi;
pub mod file;
pub mod finding;
#[cfg(test)]
mod fuzz;
pub mod gateway;
pub mod hook;
pub mod http;
pub mod in_effect;
pub mod inherited;
pub mod init;
pub mod lock;
pub mod log;
pub mod logs;
pub mod machine;
pub mod new_pool;
mod path;
pub mod pool;
pub mod privsep;
pub mod process;
pub mod release;
pub mod releases;
pub mod render;
pub mod rollout;
pub mod root;
pub mod runtime;
pub mod service_manager;
pub mod snippet;
pub mod socket;
pub mod state;
pub mod status;
pub mod step;
pub mod stress;
pub mod supervise;
pub mod traffic;
pub mod tree;
pub mod trust;
pub mod upgrade;
mod wrapped;
