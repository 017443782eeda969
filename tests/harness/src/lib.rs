//! What the tests and benchmarks of pools-manager share: sites with real servers, the programs of
//! the package, and the check for root.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "tests read the code itself")]
#![allow(
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    reason = "a site starts servers"
)]

pub mod chromium;
mod executable;
mod privilege;
mod program_path;
pub mod served;
mod site;
mod wait;
pub mod wire;

pub use executable::{copy_program, write_script};
pub use privilege::runs_as_root;
pub use program_path::{package_dir, program_path};
pub use site::*;
pub use wait::{think, wait_for};
