//! What scripts and php-fpm complain about goes to the gateway's own log.

/// The most of one request's complaints that is shown, in bytes.
const SHOWN: usize = 64 * 1024;

/// The complaints of one request.
#[derive(Debug)]
pub(super) struct Stderr {
    pool: String,
    id: String,
    /// What is there of a line whose end has not come.
    line: String,
    left: usize,
}

impl Stderr {
    /// Of a request to that pool, known by that id.
    pub(super) fn new(pool: &str, id: &str) -> Self {
        Self { pool: pool.to_owned(), id: id.to_owned(), line: String::new(), left: SHOWN }
    }

    /// Takes more of it; lines are shown when they are whole.
    pub(super) fn push(&mut self, said: &[u8]) {
        let said = &said[..said.len().min(self.left)];
        self.left -= said.len();
        self.line.push_str(&String::from_utf8_lossy(said));
        while let Some(end) = self.line.find('\n') {
            let line: String = self.line.drain(..=end).collect();
            self.note(line.trim_end());
        }
    }

    /// Shows a line. What would do something to a terminal is shown as `?`.
    pub(super) fn note(&self, line: &str) {
        let line = line.replace(char::is_control, "?");
        tracing::warn!("pool \"{}\", request {}: {line}", self.pool, self.id);
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.note(&self.line);
        }
    }
}
