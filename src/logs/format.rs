//! Records as text and as JSON.
//!
//! The text of a record comes from scripts and their visitors. So control characters, which could
//! drive a terminal, and everything that could begin another line, are escaped. A second line of a
//! record begins with four spaces, and no first line does.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use tracing::Level;

use super::entry::Entry;
use super::origin::{Origin, short};
use crate::log::escape::{self, escape};
use crate::runtime::LogKind;

/// Formats a record as text, without a line feed at its end. `time`: with its time and level.
/// `between` stands between its lines.
pub fn text(entry: &Entry, origin: &Origin, file: &Path, time: bool, between: &str) -> String {
    let mut line = String::with_capacity(entry.text.len() + 64);
    if time {
        let at = entry.time.unwrap_or_else(Timestamp::now);
        let _ = write!(line, "{at:.0} {:>5} ", entry.level.as_str());
    }
    line.push_str(&who(origin, file));
    if entry.kind != LogKind::Error {
        line.extend([" ", entry.kind.name()]);
    }
    line.push_str(": ");
    let mut lines = entry.text.split(|byte| *byte == b'\n');
    escape(lines.next().unwrap_or_default(), &mut line);
    for more in lines {
        line.push_str(between);
        escape(more, &mut line);
    }
    if entry.left_out > 0 {
        let _ = write!(line, " [{} bytes left out]", entry.left_out);
    }
    line
}

/// `www/1 g7 release2`
fn who(origin: &Origin, file: &Path) -> String {
    let Some(pool) = &origin.pool else { return escaped(file.as_os_str().as_encoded_bytes()) };
    let mut who = escaped(pool.as_bytes());
    if let Some(replica) = origin.replica {
        let _ = write!(who, "/{replica}");
    }
    if let Some(generation) = origin.generation {
        let _ = write!(who, " g{generation}");
    }
    if let Some(release) = &origin.release {
        who.push(' ');
        who.push_str(&escaped(short(release).as_bytes()));
    }
    who
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    escape(bytes, &mut text);
    text
}

#[derive(Serialize)]
struct Document<'a> {
    timestamp: String,
    level: &'static str,
    pool: Option<&'a str>,
    replica: Option<u32>,
    generation: Option<u32>,
    release: Option<String>,
    log: LogKind,
    file: String,
    pid: Option<i32>,
    message: String,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Formats a record as one JSON document. What is not known is null. Bytes that are no UTF-8 become
/// U+FFFD.
pub fn json(entry: &Entry, origin: &Origin, file: &Path) -> String {
    let document = Document {
        timestamp: entry.time.unwrap_or_else(Timestamp::now).to_string(),
        level: level(entry.level),
        pool: origin.pool.as_deref(),
        replica: origin.replica,
        generation: origin.generation.map(u32::from),
        release: origin.release.as_ref().map(|it| it.display().to_string()),
        log: entry.kind,
        file: file.display().to_string(),
        pid: entry.pid,
        message: String::from_utf8_lossy(&entry.text).into_owned(),
        left_out: entry.left_out,
    };
    escape::json(&document)
}

fn level(level: Level) -> &'static str {
    level.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::escape::is_unsafe;
    use crate::step::Number;
    use proptest::prelude::*;

    fn entry(text: &[u8]) -> Entry {
        Entry {
            time: Some(Timestamp::from_second(1_800_000_000).unwrap()),
            level: Level::WARN,
            kind: LogKind::Output,
            section: None,
            pid: Some(7),
            text: text.to_vec(),
            left_out: 0,
        }
    }

    fn origin() -> Origin {
        Origin {
            pool: Some("www".into()),
            replica: Some(1),
            generation: Some(Number::Started(7)),
            release: Some("/srv/release2".into()),
        }
    }

    fn shown(entry: &Entry, origin: &Origin) -> String {
        text(entry, origin, Path::new("/l/log"), true, "\n    ")
    }

    #[test]
    fn origin_is_shown_as_far_as_it_is_known() {
        let entry = entry(b"one\ntwo");
        let line = |origin| shown(&entry, &origin).replace("2027-01-15T08:00:00Z  WARN ", "");
        assert_eq!(line(origin()), "www/1 g7 release2 output: one\n    two");
        let pool = Origin { pool: Some("www".into()), ..Origin::default() };
        assert_eq!(line(pool), "www output: one\n    two");
        assert_eq!(line(Origin::default()), "/l/log output: one\n    two");
    }

    #[test]
    fn nothing_in_a_record_drives_a_terminal() {
        let entry = entry(b"a\x1b[31m\r\x00\xff\xc2\x9b\xe2\x80\xae\tb");
        let text = shown(&entry, &origin());
        assert!(text.ends_with(": a\\x1b[31m\\x0d\\x00\\xff\\u{9b}\\u{202e}\tb"), "{text}");
        let json = json(&entry, &origin(), Path::new("/l/log"));
        assert!(json.contains(r#""message":"a\u001b[31m\r\u0000"#), "{json}");
        assert!(json.contains("\\u009b\\u202e\\tb\""), "{json}");
        let document: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(document["message"], "a\x1b[31m\r\0\u{fffd}\u{9b}\u{202e}\tb");
        assert_eq!((&document["pool"], &document["generation"]), (&"www".into(), &7.into()));
    }

    proptest! {
        #[test]
        fn no_record_forges_another_line(bytes: Vec<u8>) {
            let entry = entry(&bytes);
            let text = shown(&entry, &origin());
            prop_assert!(text.lines().skip(1).all(|line| line.starts_with("    ")));
            prop_assert!(!text.contains(|it: char| is_unsafe(it) && !"\n\t".contains(it)));
            let json = json(&entry, &origin(), Path::new("/l/log"));
            prop_assert!(!json.contains(is_unsafe));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }
}
