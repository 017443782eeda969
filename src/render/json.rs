//! One JSON document a line, for each event.

use std::io::Write;

use crate::event::{Event, Report};

pub(super) struct JsonLines<W>(pub(super) W);

impl<W: Write> Report for JsonLines<W> {
    fn event(&mut self, event: &Event) {
        let line = serde_json::to_string(event).unwrap_or_default();
        // A reader that has gone away must not stop a rollout.
        let _ = writeln!(self.0, "{line}").and_then(|()| self.0.flush());
    }
}
