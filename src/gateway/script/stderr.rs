//! The FastCGI stderr stream of a script: its lines go to the gateway's log.

use std::borrow::Cow;
use std::mem;

/// The most that is logged for one request, in bytes.
const LOGGED_MAX: usize = 64 * 1024;

/// The stderr stream of one request.
#[derive(Debug)]
pub(super) struct ScriptStderr<'a> {
    pool: Cow<'a, str>,
    id: Cow<'a, str>,
    /// The part of a line whose end has not arrived.
    line: String,
    left: usize,
}

impl<'a> ScriptStderr<'a> {
    /// The stream of the request with this id, to this pool.
    pub(super) fn new(pool: &'a str, id: &'a str) -> Self {
        Self { pool: pool.into(), id: id.into(), line: String::new(), left: LOGGED_MAX }
    }

    /// The same stream, for a task.
    pub(super) fn into_owned(mut self) -> ScriptStderr<'static> {
        ScriptStderr {
            pool: mem::take(&mut self.pool).into_owned().into(),
            id: mem::take(&mut self.id).into_owned().into(),
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

    /// Logs a line, with `?` for each control character.
    pub(super) fn log(&self, line: &str) {
        let line = line.replace(char::is_control, "?");
        tracing::warn!("pool \"{}\", request {}: {line}", self.pool, self.id);
    }
}

impl Drop for ScriptStderr<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.log(&self.line);
        }
    }
}
