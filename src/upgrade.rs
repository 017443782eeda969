//! The upgrade of `serve`: a new process takes the place of the running one, and no request is affected.
//!
//! The running `serve` starts the program anew, with the same arguments, and passes it its listening
//! sockets over a unix socket, which is the standard input of the new process. Then the two processes
//! exchange messages on this socket:
//!
//! ```text
//!   old                                         new
//!    |  the sockets, Hello ---------------------> |  reads its configuration, observes the pools,
//!    |                                            |  asks itself whether each pool can be served
//!    | <------------------------ Ready or Failed  |
//!    |  ends its supervisor and its control       |
//!    |  server                                    |
//!    |  Go -------------------------------------> |  supervises, observes the pools again, accepts
//!    | <--------------------------------- Serves  |
//!    |  MAINPID= to the service manager           |
//!    |  Main -----------------------------------> |  READY= to the service manager
//!    |  accepts no more, serves what it has       |
//!    | <------------------- Pause(pool), Unpause(pool) |  when the release of a pool changes meanwhile
//!    |  ends                                      |
//! ```
//!
//! Until `Serves`, the old process accepts connections, and can take everything back. It kills the new
//! process and goes on by itself if the new process ends, sends `Failed`, or sends nothing for too long.
//! Both processes have the same listening sockets: a connection waits in the kernel until one of the
//! processes accepts it.
//!
//! If the old process is killed before `Go` or `Main`, the new process goes on by itself. But if a
//! service manager watches over the old process, the service manager starts another process, and the new
//! process ends.

mod channel;
mod message;
mod passing;
mod predecessor;
mod program;
mod successor;

pub use message::FromNew;
pub use predecessor::{ANSWER, Go, Predecessor};
pub use program::Program;
pub use successor::{Passed, Successor};

/// The variable that makes a `serve` a successor: its standard input is the channel.
pub const VARIABLE: &str = "POOLS_MANAGER_UPGRADE";
