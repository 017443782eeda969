//! A line of the log: when, how bad, about which pool and request, and what.
//!
//! Text: `2026-11-20T14:39:45.123456Z  WARN pool "www", request 7f-1, host "a.test", path "/x": message`. The
//! later lines of a message begin with four spaces, and no first line does. JSON: one document with
//! `timestamp`, `level`, `message`, and `pool`, `request`, `host` and `path` where they are known.

use std::fmt::{self, Debug, Write as _};
use std::time::SystemTime;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Style;
use super::escape::{escape, json};
use crate::config::LineFormat;

/// The content of a line.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    timestamp: String,
    level: &'static str,
    message: String,
    /// The pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    /// The request id.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// The host name of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// Its path, without the query, which may hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl Line {
    /// A line without a pool and a request.
    pub(super) fn new(level: Level, message: impl Into<String>) -> Self {
        let timestamp = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        Self { timestamp, level: level.as_str(), message: message.into(), ..Self::default() }
    }

    /// The text of the line, with a line feed at its end.
    pub(super) fn shown(&self, style: Style) -> String {
        if style.format == LineFormat::Json {
            return json(self) + "\n";
        }
        let mut text = String::with_capacity(self.message.len() + 64);
        if !style.is_syslog {
            let _ = write!(text, "{} {:>5} ", self.timestamp, self.level);
        }
        text.push_str(&self.about());
        for (number, line) in self.message.split('\n').enumerate() {
            text.push_str(if number == 0 { "" } else { "\n    " });
            escape(line.as_bytes(), &mut text);
        }
        text.push('\n');
        text
    }

    /// `pool "www", request 7f-1: `
    fn about(&self) -> String {
        let Self { pool, request, host, path, .. } = self;
        let quoted = |name: &str, value: &Option<String>| {
            let mut escaped = String::new();
            escape(
                value.as_ref()?.replace('\\', "\\\\").replace('"', "\\\"").as_bytes(),
                &mut escaped,
            );
            Some(format!("{name} \"{escaped}\""))
        };
        let request = request.as_ref().map(|id| {
            let mut text = "request ".to_owned();
            escape(id.as_bytes(), &mut text);
            text
        });
        let parts = [quoted("pool", pool), request, quoted("host", host), quoted("path", path)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { String::new() } else { parts.join(", ") + ": " }
    }

    fn set(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "pool" => self.pool = Some(value),
            "request" => self.request = Some(value),
            "host" => self.host = Some(value),
            "path" => self.path = Some(value),
            other => {
                let _ = write!(self.message, " {other}={value}");
            }
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }
}

/// Formats the events of the program.
pub(super) struct Lines(pub(super) Style);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::new(*event.metadata().level(), "");
        event.record(&mut line);
        writer.write_str(&line.shown(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::escape::is_unsafe;
    use proptest::prelude::*;

    const TEXT: Style = Style { format: LineFormat::Text, is_syslog: false };
    const JSON: Style = Style { format: LineFormat::Json, is_syslog: false };

    fn line(message: &str, path: Option<&str>) -> Line {
        Line {
            timestamp: "2026-11-20T14:39:45.123456Z".to_owned(),
            pool: Some("www".to_owned()),
            request: path.map(|_| "7f-1".to_owned()),
            host: path.map(|_| "a.test".to_owned()),
            path: path.map(str::to_owned),
            ..Line::new(Level::WARN, message)
        }
    }

    #[test]
    fn line_names_the_pool_and_the_request() {
        let full = line("503: the queue is full", Some("/x"));
        let about = "pool \"www\", request 7f-1, host \"a.test\", path \"/x\": ";
        let text = "503: the queue is full\n";
        assert_eq!(full.shown(TEXT), format!("2026-11-20T14:39:45.123456Z  WARN {about}{text}"));
        let syslog = Style { is_syslog: true, ..TEXT };
        assert_eq!(full.shown(syslog), format!("{about}{text}"));
        assert_eq!(
            full.shown(JSON),
            "{\"timestamp\":\"2026-11-20T14:39:45.123456Z\",\"level\":\"WARN\",\
             \"message\":\"503: the queue is full\",\"pool\":\"www\",\"request\":\"7f-1\",\
             \"host\":\"a.test\",\"path\":\"/x\"}\n"
        );
        assert!(line("one\ntwo", None).shown(TEXT).ends_with(" WARN pool \"www\": one\n    two\n"));
        assert!(Line::new(Level::INFO, "up").shown(TEXT).ends_with("Z  INFO up\n"));
    }

    proptest! {
        #[test]
        fn no_value_forges_a_line_or_drives_a_terminal(message: String, path: String) {
            let line = line(&message, Some(&path));
            let text = line.shown(TEXT);
            prop_assert!(text.lines().skip(1).all(|line| line.starts_with("    ")));
            prop_assert!(!text.contains(|it: char| is_unsafe(it) && !"\n\t".contains(it)));
            let document = line.shown(JSON);
            prop_assert_eq!(document.lines().count(), 1);
            let document: serde_json::Value = serde_json::from_str(&document).unwrap();
            prop_assert_eq!(document["path"].as_str(), Some(path.as_str()));
        }
    }
}
