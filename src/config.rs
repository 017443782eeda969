//! The operator's files, parsed and validated: errors name file and line.

mod file;
mod gateway;
mod global;
mod hooks;
mod limits;
mod log;
mod rollout;
mod salvage;
mod systemd;
pub(crate) mod values;
mod watch;

pub use file::File;
pub(crate) use file::nearest;
pub use gateway::{Gateway, KeepAlive, Redirect};
pub use global::{Front, Global, Listen, LogFormat, Supervisor};
pub use hooks::{Hook, Hooks};
pub use limits::Limits;
pub use log::{LineFormat, Log, LogOutput};
pub use rollout::{OnFailure, Rollout, Strategy};
pub use salvage::{EVERY_HOST, salvaged_hosts};
pub use systemd::Systemd;
pub use watch::Watch;
