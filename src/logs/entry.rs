//! A record's time, level, pid and text.
//!
//! php-fpm's own format, as php-src's `zlog.c`, `fpm_stdio.c` and `fpm_php_trace.c` write it:
//!
//! ```text
//! [20-Nov-2026 07:28:01] WARNING: [pool www1] child 7 said into stderr: "NOTICE: PHP message: hello"
//! [20-Nov-2026 07:28:01] NOTICE: fpm is running, pid 6
//! [20-Nov-2026 07:28:01.123456] DEBUG: pid 6, fpm_event_loop(), line 419: ready
//! [20-Nov-2026 07:28:01]  [pool www1] pid 7
//! ```

use jiff::Timestamp;
use tracing::Level;

use super::clock::Clock;
use super::record::Record;
use crate::runtime::LogKind;

/// The most bytes between the brackets of a time.
const TIME_MAX: usize = 64;
const SAID: [&[u8]; 2] = [b" said into stderr: \"", b" said into stdout: \""];

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The time; None: the record has none.
    pub time: Option<Timestamp>,
    /// How serious it is.
    pub level: Level,
    /// The kind of the log; for what a child has written, [`LogKind::Output`].
    pub kind: LogKind,
    /// The name of php-fpm's pool in it.
    pub section: Option<String>,
    /// The process that the record is about.
    pub pid: Option<i32>,
    /// Its text, of one or more lines, with any bytes.
    pub text: Vec<u8>,
    /// How many bytes were left out at its end.
    pub left_out: u64,
}

/// Whether more lines may follow that belong to a record.
pub(super) fn may_continue(kind: LogKind, line: &[u8]) -> bool {
    match kind {
        LogKind::Error => said(line).is_some_and(|(_, text)| is_uncaught(text)),
        LogKind::Slow | LogKind::Php => is_dated(line),
        LogKind::Output => true,
    }
}

/// What a line adds to an open record; None: it begins another one.
pub(super) fn continued<'a>(kind: LogKind, open: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    match kind {
        LogKind::Error => {
            let ((who, _), (by, text)) = (said(first_line(open))?, said(line)?);
            let is_over = last_line(open).starts_with(b"  thrown in ");
            (who == by && !is_over && !text.starts_with(b"NOTICE: PHP message: ")).then_some(text)
        }
        // The line between two entries is empty.
        LogKind::Slow => (!line.is_empty() && !is_dated(line)).then_some(line),
        LogKind::Php => (!is_dated(line)).then_some(line),
        LogKind::Output => {
            let is_frame = line.starts_with(b"#") && line.get(1).is_some_and(u8::is_ascii_digit);
            let is_indented = line.starts_with(b" ") || line.starts_with(b"\t");
            (is_frame || is_indented || line == b"Stack trace:").then_some(line)
        }
    }
}

fn first_line(record: &[u8]) -> &[u8] {
    record.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

fn last_line(record: &[u8]) -> &[u8] {
    record.rsplit(|byte| *byte == b'\n').next().unwrap_or_default()
}

fn is_uncaught(text: &[u8]) -> bool {
    text.starts_with(b"NOTICE: PHP message: PHP Fatal error:  Uncaught ")
}

/// Whether a line begins with a time. Cheap: does not parse the time.
fn is_dated(line: &[u8]) -> bool {
    let Some((time, _)) = dated(line) else { return false };
    let digits = time.bytes().take_while(u8::is_ascii_digit).count();
    digits == 2 && time.as_bytes().get(2) == Some(&b'-') && time.contains(':')
}

/// `[TIME] REST`
fn dated(line: &[u8]) -> Option<(&str, &[u8])> {
    let inside = line.strip_prefix(b"[")?;
    let end = inside.iter().take(TIME_MAX).position(|byte| *byte == b']')?;
    let rest = inside[end + 1..].strip_prefix(b" ")?;
    Some((str::from_utf8(&inside[..end]).ok()?, rest))
}

/// The part of a line between the time and the text, which names the child; and the text that the child has
/// written.
fn said(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = dated(line)?;
    let (_, message) = leveled(rest)?;
    let message = traced(message).map_or(message, |(_, text)| text);
    let child = sectioned(message).1.strip_prefix(b"child ")?;
    let said = &child[child.iter().take_while(|byte| byte.is_ascii_digit()).count()..];
    let text = SAID.iter().find_map(|words| said.strip_prefix(*words))?;
    let who = &rest[..rest.len() - said.len()];
    let text = text.strip_suffix(b", pipe is closed").unwrap_or(text);
    Some((who, text.strip_suffix(b"\"").unwrap_or(text)))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    // php-fpm's own words stand at the very beginning.
    text[..text.len().min(256)].windows(part.len()).position(|it| it == part)
}

impl Entry {
    pub(super) fn of(record: &Record, kind: LogKind, clock: &Clock) -> Self {
        let Record { bytes, left_out } = record;
        let mut entry = Self {
            time: None,
            level: Level::INFO,
            kind,
            section: None,
            pid: None,
            text: bytes.clone(),
            left_out: *left_out,
        };
        if kind == LogKind::Output {
            return entry;
        }
        let Some((time, rest)) = dated(bytes) else { return entry };
        entry.time = clock.read(time);
        if entry.time.is_none() {
            return entry;
        }
        match kind {
            LogKind::Error => entry.of_php_fpm(bytes, rest),
            LogKind::Slow => entry.of_slow_log(rest),
            LogKind::Php => {
                entry.level = level_of_php(rest).unwrap_or(Level::INFO);
                entry.text = rest.to_vec();
            }
            LogKind::Output => {}
        }
        entry
    }

    fn of_php_fpm(&mut self, record: &[u8], rest: &[u8]) {
        let Some((level, mut said_by)) = leveled(rest) else {
            self.text = rest.to_vec();
            return;
        };
        self.level = level;
        self.text = said_by.to_vec();
        // With `log_level = debug`: "pid 6, function(), line 419: "
        if let Some((pid, text)) = traced(said_by) {
            (self.pid, said_by) = (Some(pid), text);
            self.text = text.to_vec();
        }
        let (section, text) = sectioned(said_by);
        self.section = section;
        let pid = text.strip_prefix(b"child ").or(text.strip_prefix(b"fpm is running, pid "));
        self.pid = pid.and_then(leading_number).or(self.pid);
        if let Some((_, first)) = said(first_line(record)) {
            let more = record.iter().position(|byte| *byte == b'\n').map(|at| &record[at..]);
            self.kind = LogKind::Output;
            self.text = [first, more.unwrap_or_default()].concat();
            let message = self.text.strip_prefix(b"NOTICE: PHP message: ");
            self.level = message.and_then(level_of_php).unwrap_or(Level::INFO);
        }
    }

    /// ` [pool www1] pid 7`, and then lines with the script and its stack.
    fn of_slow_log(&mut self, rest: &[u8]) {
        self.level = Level::WARN;
        let (head, more) = rest.split_at(first_line(rest).len());
        let (section, who) = sectioned(head.trim_ascii_start());
        self.section = section;
        self.pid = who.strip_prefix(b"pid ").and_then(leading_number);
        let more = more.strip_prefix(b"\n").unwrap_or_default();
        self.text = if more.is_empty() { rest } else { more }.to_vec();
    }
}

/// `WARNING: text`
fn leveled(text: &[u8]) -> Option<(Level, &[u8])> {
    let levels: [(&[u8], Level); 5] = [
        (b"NOTICE: ", Level::INFO),
        (b"WARNING: ", Level::WARN),
        (b"ERROR: ", Level::ERROR),
        (b"ALERT: ", Level::ERROR),
        (b"DEBUG: ", Level::DEBUG),
    ];
    levels.iter().find_map(|(word, level)| Some((*level, text.strip_prefix(*word)?)))
}

/// `pid 6, function(), line 419: text`
fn traced(text: &[u8]) -> Option<(i32, &[u8])> {
    let after = text.strip_prefix(b"pid ")?;
    let line = find(after, b", line ")?;
    let colon = find(&after[line..], b": ")?;
    Some((leading_number(after)?, &after[line + colon + 2..]))
}

/// `[pool www1] text`
fn sectioned(text: &[u8]) -> (Option<String>, &[u8]) {
    let Some(after) = text.strip_prefix(b"[pool ") else { return (None, text) };
    let Some(end) = find(after, b"] ") else { return (None, text) };
    (Some(String::from_utf8_lossy(&after[..end]).into_owned()), &after[end + 2..])
}

fn leading_number(text: &[u8]) -> Option<i32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// The level of a message of PHP itself: `PHP Warning:  text`.
fn level_of_php(text: &[u8]) -> Option<Level> {
    let kind = text.strip_prefix(b"PHP ")?;
    let is = |words: &[&[u8]]| words.iter().any(|word| kind.starts_with(word));
    if is(&[b"Fatal error", b"Parse error", b"Recoverable fatal error", b"Core error", b"Compile"])
    {
        Some(Level::ERROR)
    } else if is(&[b"Warning", b"Core warning"]) {
        Some(Level::WARN)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: LogKind, text: &str) -> Entry {
        let record = Record { bytes: text.into(), left_out: 0 };
        Entry::of(&record, kind, &Clock::new())
    }

    fn shown(entry: &Entry) -> (Level, LogKind, Option<&str>, Option<i32>, String) {
        let text = String::from_utf8_lossy(&entry.text).into_owned();
        (entry.level, entry.kind, entry.section.as_deref(), entry.pid, text)
    }

    #[test]
    fn lines_of_php_fpm_are_read() {
        let read = |rest: &str| read(LogKind::Error, &format!("[20-Nov-2026 07:28:01] {rest}"));
        let (error, output) = (LogKind::Error, LogKind::Output);
        let said =
            |text: &str| read(&format!("WARNING: [pool www1] child 7 said into stderr: {text}"));
        let entry = said("\"NOTICE: PHP message: PHP Fatal error:  x\"");
        let text = "NOTICE: PHP message: PHP Fatal error:  x".to_owned();
        assert_eq!(shown(&entry), (Level::ERROR, output, Some("www1"), Some(7), text));
        let entry = said("\"one \" two\", pipe is closed");
        let text = "one \" two".to_owned();
        assert_eq!(shown(&entry), (Level::INFO, output, Some("www1"), Some(7), text));
        let entry = read("NOTICE: fpm is running, pid 6");
        let text = "fpm is running, pid 6".to_owned();
        assert_eq!(shown(&entry), (Level::INFO, error, None, Some(6), text));
        let entry = read("DEBUG: pid 6, fpm_event_loop(), line 419: ready");
        assert_eq!(shown(&entry), (Level::DEBUG, error, None, Some(6), "ready".to_owned()));
        let entry = read("WARNING: [pool www1] child 7 exited on signal 11");
        let text = "[pool www1] child 7 exited on signal 11".to_owned();
        assert_eq!(shown(&entry), (Level::WARN, error, Some("www1"), Some(7), text));
    }

    #[test]
    fn entries_of_the_slow_log_and_of_php_are_read() {
        let text =
            "[20-Nov-2026 07:28:01]  [pool www1] pid 7\nscript_filename = /a\n[0x7f] f() /a:1";
        let entry = read(LogKind::Slow, text);
        let text = "script_filename = /a\n[0x7f] f() /a:1".to_owned();
        assert_eq!(shown(&entry), (Level::WARN, LogKind::Slow, Some("www1"), Some(7), text));
        let entry = read(LogKind::Php, "[20-Nov-2026 07:28:01 UTC] PHP Warning:  x\ny");
        let text = "PHP Warning:  x\ny".to_owned();
        assert_eq!(shown(&entry), (Level::WARN, LogKind::Php, None, None, text));
        assert_eq!(entry.time.unwrap().to_string(), "2026-11-20T07:28:01Z");
    }

    /// A child cannot choose the process that a line is about.
    #[test]
    fn text_of_a_child_is_only_text() {
        let forged = "[20-Nov-2026 07:28:01] WARNING: [pool www1] child 7 said into stderr: \
            \"[20-Nov-2026 07:28:01] ALERT: [pool other] child 8 said into stderr: \"x\"";
        let entry = read(LogKind::Error, forged);
        assert_eq!((entry.pid, entry.section.as_deref()), (Some(7), Some("www1")));
        let slow = "[20-Nov-2026 07:28:01] WARNING: [pool www1] child 7, script '/a' \
            (request: \"GET /child 8 said into stderr: \"x\") executing too slow";
        let entry = read(LogKind::Error, slow);
        assert_eq!((entry.pid, entry.kind), (Some(7), LogKind::Error));
        let raw = read(LogKind::Error, "no time [pool other] child 8 said into stderr: \"x\"");
        assert_eq!((raw.pid, raw.section, raw.time), (None, None, None));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_it(bytes: Vec<u8>, dated: bool) {
            let head: &[u8] = if dated { b"[20-Nov-2026 07:28:01] WARNING: [pool w] child " } else { b"" };
            let record = Record { bytes: [head, &bytes].concat(), left_out: 0 };
            for kind in [LogKind::Error, LogKind::Slow, LogKind::Php, LogKind::Output] {
                Entry::of(&record, kind, &Clock::new());
                continued(kind, &record.bytes, &bytes);
            }
        }
    }
}
