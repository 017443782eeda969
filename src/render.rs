//! Shows events: as the classic lines, with live progress on a terminal, or
//! as JSON lines.

mod classic;
mod json;
mod live;
mod table;

use std::io::{IsTerminal, Write};

use crate::event::Report;
use classic::Classic;
use json::JsonLines;
use live::Live;
pub use table::table;

/// Writes to standard output. A reader that has gone away must not stop a
/// rollout, nor make any command fail.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// The renderer for this standard output.
pub fn for_stdout(json: bool) -> Box<dyn Report> {
    let stdout = std::io::stdout();
    if json {
        Box::new(JsonLines(stdout))
    } else if stdout.is_terminal() {
        Box::new(Live::default())
    } else {
        Box::new(Classic::new(stdout))
    }
}
