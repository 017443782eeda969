//! What the operator's files say, validated: errors name file and line.

mod file;
#[cfg(test)]
mod fuzz;
mod hooks;
mod settings;
mod values;

pub use hooks::{Hook, Hooks};
pub use settings::{Apache, OnFailure, Php, Rollout, Settings, Strategy};
