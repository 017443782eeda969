//! Servers that the operator names in `[command]`: any program that speaks FastCGI or HTTP.
//!
//! A generation has a *master*: a process of this program (`pools-manager replica-master`), which
//! outlives the command that starts it. It makes the generation's private socket, starts the
//! processes of the server in the generation's mount namespace, starts them again when they end, and
//! ends them on a signal. So a generation looks the same to the engine whatever its server does: the
//! kernel counts its connections under one path, and one process stands for it.
//!
//! The server gets the private socket itself, as descriptor 0 or 3. Or the server makes its own
//! socket, or listens on a port; then the master passes the connections on to it
//! ([`master::relay`]). For all other modules there is no difference.

mod check;
mod launch;
pub mod master;
mod order;
mod page;
mod program;
mod resolved;
mod server;
mod stop;

pub(super) use check::inspect;
pub(super) use launch::start;
pub(super) use page::{front_page, has_page, request_page};
pub use program::Program;
pub use resolved::Resolved;
pub use server::Server;
pub(super) use stop::stop;
