//! What the operator's files say, validated: errors name file and line.

mod file;
mod gateway;
mod global;
mod settings;
mod values;

pub use gateway::{Gateway, KeepAlive};
pub use global::{Front, Global, Listen, LogFormat, Network};
pub use settings::{Apache, OnFailure, Php, Rollout, Settings, Strategy};
