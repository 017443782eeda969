//! Somebody else can write to `pid/` or `sockets/`, or runs programs beside ours: what is ours is
//! made good or refused, what is his is not followed, not written to, and not signalled.

mod links;
mod lock;
mod names;
mod owners;
mod processes;
mod records;
mod state;
