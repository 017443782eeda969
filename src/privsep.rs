//! Privilege separation: a process of root, and a child of it that is an ordinary user and talks to
//! strangers.
//!
//! The two talk over a socket pair, by frames ([`frame`]): requests and answers of both sides ([`link`]).
//! The child gives up all rights before it reads anything but its identity ([`identity`]), and system calls
//! that it does not need (`system_calls`). What it may not
//! open then, it asks its parent for ([`files`]): the parent opens what the configuration names, and
//! nothing else. What the two say beyond that is the matter of their program.
//!
//! The child counts as hostile. So the parent bounds the length and the number of its requests, takes no
//! descriptor from it, never waits for it without a limit, and takes no path or command from it that its own
//! configuration does not name.

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

/// The parent of this process. Unset: it is no child.
static PARENT: OnceLock<Arc<Link>> = OnceLock::new();

/// Makes this process the child of the one at the other end. To be called once.
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
