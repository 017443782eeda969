//! The operator's files, parsed and validated: errors name file and line.

mod file;
mod gateway;
mod global;
mod hooks;
pub mod keys;
mod limits;
mod log;
mod rollout;
mod salvage;
mod systemd;
pub(crate) mod values;
mod watch;
mod written;

pub use file::File;
pub(crate) use file::nearest;
pub(crate) use gateway::KEYS as GATEWAY_KEYS;
pub use gateway::{
    Access, Compress, DocumentRoot, ErrorPage, ErrorStatus, Gateway, KeepAlive, Prefix, Rate,
    Redirect, USUAL_ROOTS, is_code, is_private, is_suspicious,
};
pub(crate) use gateway::{is_compressible, is_host};
pub use global::{
    Certificate, Front, Global, Listen, LogFormat, Supervisor, TABLES as GLOBAL_TABLES, TlsVersion,
};
pub(crate) use hooks::KEYS as HOOKS_KEYS;
pub use hooks::{Hook, Hooks};
pub(crate) use limits::KEYS as LIMITS_KEYS;
pub use limits::Limits;
pub use log::{LineFormat, Log, LogOutput};
pub(crate) use rollout::KEYS as ROLLOUT_KEYS;
pub use rollout::{OnFailure, Rollout, Strategy};
pub use salvage::{EVERY_HOST, salvaged_hosts};
pub(crate) use systemd::KEYS as SYSTEMD_KEYS;
pub use systemd::Systemd;
pub(crate) use watch::KEYS as WATCH_KEYS;
pub use watch::Watch;
pub use written::{Place, Written};
