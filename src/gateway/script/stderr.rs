//! The FastCGI stderr stream of a script: its lines go to the gateway's log.

use std::mem;

use crate::gateway::request_label::RequestLabel;

/// The most that is logged for one request, in bytes.
const LOGGED_MAX: usize = 64 * 1024;

/// The stderr stream of one request.
#[derive(Debug)]
pub(super) struct ScriptStderr<'a> {
    label: RequestLabel<'a>,
    /// The part of a line whose end has not arrived.
    line: String,
    left: usize,
}

impl<'a> ScriptStderr<'a> {
    /// The stream of a request.
    pub(super) fn new(label: RequestLabel<'a>) -> Self {
        Self { label, line: String::new(), left: LOGGED_MAX }
    }

    /// The same stream, for a task.
    pub(super) fn into_owned(mut self) -> ScriptStderr<'static> {
        ScriptStderr {
            label: mem::take(&mut self.label).into_owned(),
            line: mem::take(&mut self.line),
            left: self.left,
        }
    }

    /// Adds data, and logs the lines that are complete.
    pub(super) fn push(&mut self, data: &[u8]) {
        let data = &data[..data.len().min(self.left)];
        self.left -= data.len();
        self.line.push_str(&String::from_utf8_lossy(data));
        while let Some(end) = self.line.find('\n') {
            let line: String = self.line.drain(..=end).collect();
            self.log(line.trim_end());
        }
    }

    /// Logs a line.
    pub(super) fn log(&self, line: &str) {
        self.label.warn(format_args!("{line}"));
    }
}

impl Drop for ScriptStderr<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.log(&self.line);
        }
    }
}
