//! pools-manager: restarts PHP-FPM pools, and moves them to new releases, without losing a request.
//!
//! `docs/architecture.md` explains how pools-manager works. This is the map of the modules, from the top
//! down: a module uses only modules below it. The only exception is [`trust`], which takes paths from
//! [`pool`] and [`runtime`]. A good place to start reading is [`rollout::run`].
//!
//! | module | purpose |
//! |---|---|
//! | [`cli`] | the command line: one file for each command |
//! | [`render`] | prints events: the classic lines, live progress, JSON lines |
//! | [`status`], [`check`], [`releases`], [`tree`] | the contents of `status`, `check`, `releases` and `ps-list` |
//! | [`new_pool`] | the contents of `init`: writes a pool |
//! | [`snippet`] | configurations of web servers for a pool |
//! | [`in_effect`] | the contents of `config show`: each key, its value, and the source of the value |
//! | [`stress`] | the load generators `ping-stress` and `sleep-stress` |
//! | [`supervise`] | the supervisor of `serve`: starts replicas again, follows the symlinks, renews replicas that exceed a limit, reads settings again |
//! | [`gateway`] | the embedded web server and balancer |
//! | [`rollout`] | observe, plan, execute: everything that changes a pool |
//! | [`event`] | the events that work on a pool reports |
//! | [`state`] | what is stored of a pool: stopped replicas, the history of rollouts, a crash loop |
//! | [`traffic`] | hold and maintenance: what the operator has ordered for the requests of a pool |
//! | [`logs`] | the logs of all replicas in one stream |
//! | [`runtime`] | the servers that replicas run: generations, their start, probes and stop; php-fpm, and the servers of `[command]` |
//! | [`upgrade`] | how a new `serve` takes the place of the running one |
//! | [`inherited`] | listening sockets of another process: the service manager, or the previous `serve` |
//! | [`log`] | the log of `serve` |
//! | [`pool`] | a pool, its settings and the paths of its files |
//! | [`backend`] | the web server or balancer in front of a pool: one driver for each kind, with its settings and checks |
//! | [`finding`] | the findings of `check` |
//! | [`trust`] | checks that only the user and root can change the files that a command uses |
//! | [`fastcgi`] | the FastCGI client: ping, status, warm-up |
//! | [`hook`] | runs the operator's hooks |
//! | [`control_group`] | the control groups of a process |
//! | [`lock`] | the pool's lock |
//! | [`release`], [`socket`] | state that the kernel keeps: mounts and sockets |
//! | [`process`], [`machine`] | state that the kernel keeps: processes, memory and limits |
//! | [`control`] | the protocol between commands and a running gateway |
//! | [`service_manager`] | tells systemd what `serve` does, and has systemd make a scope for each generation |
//! | [`privsep`] | a parent process that is root, and its child: an ordinary user that serves the clients |
//! | [`config`] | the operator's files: parsed values, and errors with the line |
//! | [`canary`] | a canary that gets a share of the visitors: its record, its figures, the decision |
//! | [`step`] | the steps of a plan, and the stages that a renderer shows |
//! | [`root`] | the root, and the paths of its directories |
//! | `account` | the account that runs PHP, and the paths to which it has no access |
//! | `path` | the names in a path, and the directories of programs |
//! | [`mod@file`] | safe access to files in directories that other users may write |
//! | [`http`] | requests to the operator's own web server |
//! | [`cancel`] | cancellation |
//! | [`init`] | `serve` as pid 1 of a container |
//! | `wrapped` | text in lines of a limited width |
//! | [`duration`] | the one format of durations |
//! | [`error`] | errors, with exit status and help |
//! | `failpoint` | named places where a test can kill or halt the manager |

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
