//! Shows events as the classic lines, with live progress on a terminal, or as JSON lines.

mod classic;
pub mod colour;
mod json;
mod live;
mod problem;
mod side_by_side;
mod table;
pub mod width;

use std::io::{IsTerminal, Write};

use classic::Classic;
use live::Live;
pub use problem::{print_error, print_note};
pub use side_by_side::{OnePool, SideBySide};
pub use table::table;

/// Writes to standard output. Errors are ignored: a closed pipe must not stop a rollout, nor make a
/// command fail.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// The renderer for standard output, for any number of pools.
pub fn for_stdout(json: bool) -> SideBySide {
    let stdout = std::io::stdout();
    if json {
        SideBySide::json()
    } else if stdout.is_terminal() {
        SideBySide::lines(Box::new(Live::default()))
    } else {
        SideBySide::lines(Box::new(Classic::new(stdout)))
    }
}
