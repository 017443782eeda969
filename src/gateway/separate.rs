//! A gateway in a child process that runs as an ordinary user ([`privsep`](crate::privsep)).
//!
//! The parent binds the sockets, keeps them open, and serves the control socket. The child has copies of the
//! listening sockets for clients. It accepts and serves the connections. If the child ends, the parent starts
//! another child. Meanwhile new connections wait in the sockets. If the parent ends, the child accepts no more
//! connections, completes the requests that it has, and ends too.
//!
//! ```text
//!   parent                                      child
//!    |  its account ----------------------------> |  gives up all rights
//!    |  the sockets, Start ---------------------> |  reads its configuration
//!    | <------------------ Open(file), Observe(pool) |  what only root may read
//!    | <--------------------- answer: it can serve |
//!    |  Open -----------------------------------> |  accepts
//!    |  Control, Reload, Ping, ... -------------> |
//! ```

mod child;
mod files;
mod keeper;
mod message;
mod parent;
mod process;
mod requests;

pub use child::run as run_child;
pub(super) use message::{Outcome, ToParent};
pub use parent::SeparateGateway;
