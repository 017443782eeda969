//! Errors and notes on standard error: text, or one JSON document for each.

use std::time::SystemTime;

use serde_json::json;

use super::colour::Tone;
use super::width;
use crate::error::Error;
use crate::log;

/// Prints an error. As JSON, each error of several pools has its own line.
pub fn print_error(error: &Error, json: bool) {
    log::say(&if json { documents(error) } else { text(error) });
}

/// Prints a note about the command itself.
pub fn print_note(note: &str, json: bool) {
    let document = || json!({ "time": now(), "event": "note", "message": note });
    log::say(&if json { format!("{}\n", document()) } else { format!("{note}\n") });
}

fn documents(error: &Error) -> String {
    let all = if error.parts.is_empty() { std::slice::from_ref(error) } else { &error.parts[..] };
    let document = |error: &Error| {
        let Error { exit, message, hint, pool, .. } = error;
        let mut document = json!({
            "time": now(), "event": "error", "message": message, "help": hint, "exit": *exit as u8,
        });
        if let Some(pool) = pool {
            document["pool"] = json!(pool);
        }
        format!("{document}\n")
    };
    all.iter().map(document).collect()
}

/// The text of an error. For the log of `serve`, without colours and not wrapped.
fn text(error: &Error) -> String {
    let text = format!("error: {error}\n");
    if log::style().is_some() {
        return text;
    }
    let text = width::wrap(&text, width::of_stderr());
    let lines = text.split_inclusive('\n').map(|line| match line.strip_prefix("error:") {
        Some(rest) => format!("{}{rest}", Tone::Bad.on_stderr("error:")),
        None => match line.strip_prefix("  help:") {
            Some(rest) => format!("  {}{rest}", Tone::Strong.on_stderr("help:")),
            None => line.to_owned(),
        },
    });
    lines.collect()
}

/// The time of an event, as RFC 3339 in UTC with milliseconds.
pub(super) fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_a_document() {
        let one = Error::config("no \"x\"").hint("write y").of_pool("www");
        let other = Error::failed("down").of_pool("api");
        let both = Error { parts: vec![one, other], ..Error::failed("both") };
        let read = |text: &str| -> Vec<serde_json::Value> {
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            lines
                .map(|mut it: serde_json::Value| {
                    assert!(it["time"].take().as_str().unwrap().ends_with('Z'));
                    it.as_object_mut().unwrap().remove("time");
                    it
                })
                .collect()
        };
        let expected = [
            json!({"event": "error", "message": "no \"x\"", "help": "write y", "exit": 2, "pool": "www"}),
            json!({"event": "error", "message": "down", "help": null, "exit": 1, "pool": "api"}),
        ];
        assert_eq!(read(&documents(&both)), expected);
        let alone = json!({"event": "error", "message": "off", "help": null, "exit": 1});
        assert_eq!(read(&documents(&Error::failed("off"))), [alone]);
    }
}
