//! Other users who can write to `pid/` or `sockets/`, and other programs on the machine. The manager
//! repairs or refuses its own files. It does not follow or write to the files of others, and sends no
//! signal to their processes.

mod links;
mod lock;
mod names;
pub(crate) mod owners;
mod processes;
mod records;
mod state;
