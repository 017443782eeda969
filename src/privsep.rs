//! Privilege separation: a parent process that is root, and its child. The child runs as an ordinary
//! user, and serves the clients, which are not trusted.
//!
//! The two processes are connected by a socket pair. They exchange frames ([`frame`]): both send
//! requests, and answer those of the other one ([`link`]).
//!
//! At its start, the child reads only one message, which names its account ([`identity`]). Then it gives
//! up all rights, and the system calls that it does not need (`system_calls`). If the account may not
//! open a file, the child asks its parent for it ([`files`]). The parent opens only files that the
//! configuration names. All other messages are defined by the program that uses this module.
//!
//! The parent treats the child as hostile:
//!
//! - It limits the length and the number of the child's requests.
//! - It takes no descriptor from the child.
//! - Most of its waits for the child have a time limit.
//! - It takes no path or command from the child that its own configuration does not name.

pub mod files;
mod frame;
pub mod identity;
pub mod link;
pub(crate) mod system_calls;

pub use identity::Identity;
pub use link::{Asked, Link};

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use frame::Frame;
use link::Limits;

/// The parent of this process. Unset: this process is no child.
static PARENT: OnceLock<Arc<Link>> = OnceLock::new();

/// Makes this process the child of the process at the other end of the link. To be called once.
pub fn become_child(parent: Arc<Link>) {
    let _ = PARENT.set(parent);
}

/// The parent, if this process is a child.
pub fn parent() -> Option<&'static Link> {
    PARENT.get().map(|parent| &**parent)
}

/// Sends the first message to a child, before its link is started.
pub fn introduce(stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    frame::send(stream, &Frame { body: serde_json::to_vec(message)?, fds: Vec::new() })
}

/// The connection of a child to its parent, which is its standard input, and the first message on it. To be
/// called once. Blocks.
pub fn begin<T: DeserializeOwned>(limits: Limits) -> io::Result<(UnixStream, T)> {
    let stream = UnixStream::from(rustix::stdio::stdin().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let Frame { body, .. } = frame::receive(&stream, limits)?;
    Ok((stream, serde_json::from_slice(&body)?))
}
