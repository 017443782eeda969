//! Bytes to records: a line, or a message of several lines.

use std::mem;
use std::time::{Duration, Instant};

use super::entry;
use super::record::Record;
use crate::runtime::LogKind;

/// How long a record may wait for its next line.
const QUIET: Duration = Duration::from_millis(200);
/// How long a line may wait for its end.
const UNENDED: Duration = Duration::from_secs(5);

/// The records of one file.
#[derive(Debug)]
pub(super) struct Records {
    kind: LogKind,
    /// A line without its end.
    line: Record,
    /// A record that may have more lines.
    open: Option<Record>,
    /// When the last line of `open` came; without `open`, when the first byte of `line` came.
    since: Option<Instant>,
}

impl Records {
    pub(super) fn new(kind: LogKind) -> Self {
        Self { kind, line: Record::default(), open: None, since: None }
    }

    /// Adds bytes, and returns the complete records by `emit`.
    pub(super) fn push(&mut self, mut bytes: &[u8], now: Instant, emit: &mut impl FnMut(Record)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.add(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = mem::take(&mut self.line);
            self.end_line(line, emit);
            self.since = self.open.is_some().then_some(now);
        }
        if !bytes.is_empty() {
            self.line.add(bytes);
            self.since.get_or_insert(now);
        }
    }

    fn end_line(&mut self, mut line: Record, emit: &mut impl FnMut(Record)) {
        if line.left_out == 0 && line.bytes.last() == Some(&b'\r') {
            line.bytes.pop();
        }
        if let Some(open) = &mut self.open {
            if let Some(more) = entry::continued(self.kind, &open.bytes, &line.bytes) {
                open.add(b"\n");
                open.add(more);
                open.left_out += line.left_out;
                return;
            }
            emit(mem::take(open));
            self.open = None;
        }
        if line.bytes.is_empty() {
            return;
        }
        if entry::may_continue(self.kind, &line.bytes) {
            self.open = Some(line);
        } else {
            emit(line);
        }
    }

    /// Returns the record that has waited long enough.
    pub(super) fn tick(&mut self, now: Instant, emit: &mut impl FnMut(Record)) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            if self.open.is_some() {
                self.end_record(emit);
                self.since = (!self.line.bytes.is_empty()).then_some(now);
            } else {
                self.end(emit);
            }
        }
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.since? + if self.open.is_some() { QUIET } else { UNENDED })
    }

    /// Ends the record whose lines are complete.
    pub(super) fn end_record(&mut self, emit: &mut impl FnMut(Record)) {
        if let Some(open) = self.open.take() {
            emit(open);
        }
    }

    /// Ends what there is, also a line without its end.
    pub(super) fn end(&mut self, emit: &mut impl FnMut(Record)) {
        let line = mem::take(&mut self.line);
        if !line.bytes.is_empty() {
            self.end_line(line, emit);
        }
        self.end_record(emit);
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::record::RECORD_MAX;
    use proptest::prelude::*;

    const AT: &str = "[20-Nov-2026 07:28:01]";

    fn records(kind: LogKind, text: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut records = Records::new(kind);
        let mut emit = |it: Record| all.push(String::from_utf8(it.bytes).unwrap());
        records.push(text.as_bytes(), Instant::now(), &mut emit);
        records.end(&mut emit);
        all
    }

    #[test]
    fn entries_of_a_slow_log_are_whole() {
        let one =
            format!("{AT}  [pool www1] pid 7\nscript_filename = /a.php\n[0x00007f] f() /a.php:1");
        let two = format!("{AT}  [pool www1] pid 8\nscript_filename = /b.php");
        assert_eq!(records(LogKind::Slow, &format!("\n{one}\n\n{two}\n")), [one, two]);
    }

    #[test]
    fn stack_traces_are_whole() {
        let line = |pid: u32, said: &str| {
            format!("{AT} WARNING: [pool www1] child {pid} said into stderr: \"{said}\"")
        };
        let first = line(7, "NOTICE: PHP message: PHP Fatal error:  Uncaught Exception: two");
        let rest =
            ["lines in /a.php:5", "Stack trace:", "#0 {main}", "  thrown in /a.php on line 5"];
        let other = line(7, "another message");
        let lines = rest.map(|said| line(7, said)).join("\n");
        let whole = format!("{first}\n{}", rest.join("\n"));
        let found = records(LogKind::Error, &format!("{first}\n{lines}\n{other}\n"));
        assert_eq!(found, [whole, other.clone()]);
        // Another child's line ends it.
        let others = line(8, "Stack trace:");
        let found = records(LogKind::Error, &format!("{first}\n{others}\n"));
        assert_eq!(found, [first, others]);
        let php = format!("{AT} PHP Fatal error:  Uncaught Exception\nStack trace:\n#0 {{main}}");
        assert_eq!(records(LogKind::Php, &format!("{php}\n{php}\n")), [php.clone(), php]);
    }

    #[test]
    fn long_record_is_cut_and_counted() {
        let mut all = Vec::new();
        let mut records = Records::new(LogKind::Output);
        for _ in 0..16 {
            records.push(&vec![b'x'; RECORD_MAX], Instant::now(), &mut |it| all.push(it));
        }
        records.push(b"\nnext\n", Instant::now(), &mut |it| all.push(it));
        records.end(&mut |it| all.push(it));
        assert_eq!(all[0].left_out, 15 * RECORD_MAX as u64);
        assert_eq!((all[0].bytes.len(), &*all[1].bytes), (RECORD_MAX, &b"next"[..]));
    }

    #[test]
    fn what_waits_has_a_deadline() {
        let mut records = Records::new(LogKind::Php);
        let (now, mut all) = (Instant::now(), Vec::new());
        records.push(format!("{AT} whole\nhalf").as_bytes(), now, &mut |it| all.push(it));
        assert!(all.is_empty());
        records.tick(now + QUIET, &mut |it| all.push(it));
        assert_eq!(all.len(), 1);
        records.tick(now + QUIET + UNENDED, &mut |it| all.push(it));
        assert_eq!(all[1].bytes, b"half");
        assert_eq!(records.deadline(), None);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_however_it_is_read(text: Vec<u8>, parts in 1..9_usize) {
            for kind in [LogKind::Error, LogKind::Slow, LogKind::Php, LogKind::Output] {
                let read = |parts: usize| {
                    let (mut records, mut all) = (Records::new(kind), Vec::new());
                    for part in text.chunks(parts) {
                        records.push(part, Instant::now(), &mut |it| all.push(it));
                    }
                    records.end(&mut |it| all.push(it));
                    all
                };
                let (whole, split) = (read(usize::MAX), read(parts));
                prop_assert_eq!(&whole, &split);
                let count = |bytes: &[u8]| bytes.iter().filter(|it| !b"\r\n".contains(it)).count();
                let kept: usize = whole.iter().map(|it| count(&it.bytes)).sum();
                prop_assert_eq!(kept, count(&text));
            }
        }
    }
}
