//! One stream of the logs of all replicas.
//!
//! The servers write their logs to files themselves, as the operator has configured them. The stream only
//! reads the files. So no replica ever waits for the stream, or for a reader of its output.
//!
//! | step | module |
//! |---|---|
//! | which files there are, and which generations write them: from their records | `catalog` |
//! | what changes in their directories: inotify | `watch` |
//! | the new bytes of a file, over renames and truncation | `followed`, `open` |
//! | bytes to records: a line, or a stack trace with all its lines | `records` |
//! | a record to time, level, pid and text | `entry`, `clock` |
//! | the replica and the generation that wrote it | `origin` |
//! | text or JSON, in which no record can forge another one | `format` |
//! | all of these steps in one loop | `stream` |
//!
//! `serve` runs the loop on a thread of its own ([`Gathering`]), `pools-manager logs` in the foreground.

mod catalog;
mod clock;
mod entry;
mod followed;
mod format;
mod gathering;
mod open;
mod origin;
mod record;
mod records;
mod select;
mod stream;
mod wake;
mod watch;

pub use entry::Entry;
pub use format::{json, text};
pub use gathering::Gathering;
pub use origin::Origin;
pub use select::Select;
pub use stream::{Output, Stream};
pub use wake::Wake;
