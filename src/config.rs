//! What the operator's files say, validated: errors name file and line.

mod file;
#[cfg(test)]
mod fuzz;
mod gateway;
mod global;
mod hooks;
mod salvage;
mod settings;
mod values;

pub use gateway::{Gateway, KeepAlive, Redirect};
pub use global::{Front, Global, Listen, LogFormat};
pub use hooks::{Hook, Hooks};
pub use salvage::{EVERY_HOST, salvaged_hosts};
pub use settings::{Apache, OnFailure, Php, Rollout, Settings, Strategy};
