//! The description of each configuration key: its type, its default and its meaning.
//!
//! The lists themselves stand beside the structs that parse the keys. `config show`, the comments in
//! the files of `init`, and the tables in `docs/` come from them. Texts are Markdown: [`plain`]
//! removes its marks.

mod document;

use std::fmt;

pub use document::{DOCUMENTS, updated};

/// A table of a configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name, without brackets.
    pub name: &'static str,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [Key],
}

/// A configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// What holds without it.
    pub default: Default,
    /// What it does, in Markdown, without a final full stop.
    pub meaning: &'static str,
}

impl Key {
    /// Describes a key.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        default: Default,
        meaning: &'static str,
    ) -> Self {
        Self { name, kind, default, meaning }
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// `true`, `false`, or one of these strings.
    BoolOr(&'static [&'static str]),
    /// A whole number.
    Number,
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A path; a relative one is relative to the root.
    Path,
    /// A path, or one of these words.
    PathOr(&'static [&'static str]),
    /// A path below this directory.
    Below(&'static str),
    /// The URL of a page.
    Url,
    /// A program and its arguments.
    Command,
    /// A duration, with whether 0 is allowed.
    Time {
        /// Whether it may be 0.
        or_zero: bool,
    },
    /// A number of bytes.
    Size,
    /// A table of its own.
    Table,
}

impl Kind {
    /// A duration of more than 0.
    pub const SOME_TIME: Self = Self::Time { or_zero: false };
    /// A duration.
    pub const TIME: Self = Self::Time { or_zero: true };
}

/// As the documentation names it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            words.join(", ")
        };
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::BoolOr(words) => return write!(f, "true, false, {}", quoted(words)),
            Self::Number => "number",
            Self::Text => "string",
            Self::Texts => "list of strings",
            Self::OneOf(words) => return f.write_str(&quoted(words)),
            Self::Path => "path",
            Self::PathOr(words) => return write!(f, "path, {}", quoted(words)),
            Self::Below(dir) => return write!(f, "path below {dir}"),
            Self::Url => "URL",
            Self::Command => "command",
            Self::Time { or_zero: true } => "time",
            Self::Time { or_zero: false } => "time, more than 0",
            Self::Size => "size",
            Self::Table => "table",
        })
    }
}

/// What holds if a key is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The table is not valid without the key.
    Required,
    /// This value, in the notation of TOML.
    Value(&'static str),
    /// There is no value: this is what it means, in Markdown.
    Unset(&'static str),
    /// A value that depends on other things: on these, in Markdown.
    Derived(&'static str),
}

/// As the documentation names it.
impl fmt::Display for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str("required"),
            Self::Value(value) => write!(f, "`{value}`"),
            Self::Unset(text) => write!(f, "not set: {text}"),
            Self::Derived(text) => f.write_str(text),
        }
    }
}

/// Text without Markdown: `[text](target)` becomes `text`, and backquotes go.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let begin = opening(before).unwrap_or(before.len());
        plain.extend([&before[..begin], before.get(begin + 1..).unwrap_or_default()]);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

/// The position of the bracket that is still open at the end of a text.
fn opening(text: &str) -> Option<usize> {
    let mut closed = 0;
    text.char_indices().rev().find_map(|(at, letter)| {
        match letter {
            ']' => closed += 1,
            '[' if closed == 0 => return Some(at),
            '[' => closed -= 1,
            _ => {}
        }
        None
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    #[test]
    fn markdown_is_removed() {
        let text = "see [the `[php]` table](a.md#php), or `[]`: [two](b) links";
        assert_eq!(plain(text), "see the [php] table, or []: two links");
        assert_eq!(plain("`[]`: none"), "[]: none");
    }

    /// The words that serde would accept in place of `no such key` in this text.
    fn accepted<T: DeserializeOwned>(text: &str) -> Vec<String> {
        let Err(error) = toml::from_str::<T>(text) else { panic!("{text} is accepted") };
        let message = error.message().to_owned();
        assert!(message.starts_with("unknown field `no such key`"), "{text}: {message}");
        let mut words: Vec<String> =
            message.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        words.sort();
        words
    }

    /// Checks that a file of the type `T` accepts exactly the described tables and keys.
    pub(crate) fn are_those_of<T: DeserializeOwned>(tables: &[Table]) {
        let mut names: Vec<_> = tables.iter().map(|table| table.name.to_owned()).collect();
        names.sort();
        assert_eq!(accepted::<T>("\"no such key\" = 1"), names, "the tables");
        for table in tables {
            let mut keys: Vec<_> = table.keys.iter().map(|key| key.name.to_owned()).collect();
            keys.sort();
            let found = accepted::<T>(&format!("[{}]\n\"no such key\" = 1", table.name));
            assert_eq!(found, keys, "[{}]: describe each key beside its struct", table.name);
        }
    }

    /// Checks that each described default is the value that holds without the key, and that each
    /// word of [`Kind::OneOf`] is accepted. `settings` shows what a file means.
    pub(crate) fn defaults_hold<T: DeserializeOwned>(
        tables: &[Table],
        settings: impl Fn(&str) -> String,
    ) {
        for table in tables {
            let required = table.keys.iter().filter(|key| key.default == Default::Required);
            let sample: String = required.map(|key| line(key, sample(key.kind))).collect();
            let sample = format!("[{}]\n{sample}", table.name);
            let meant = |line: &str| without_spans(&settings(&(sample.clone() + line)));
            for key in table.keys {
                if let Default::Value(value) = key.default {
                    let with = meant(&line(key, value));
                    assert_eq!(with, meant(""), "the default of {} in [{}]", key.name, table.name);
                }
                let Kind::OneOf(words) = key.kind else { continue };
                for word in words.iter().filter(|_| key.default != Default::Required) {
                    let text = sample.clone() + &line(key, &format!("\"{word}\""));
                    assert!(toml::from_str::<T>(&text).is_ok(), "{text}");
                }
            }
        }
    }

    fn line(key: &Key, value: &str) -> String {
        format!("{} = {value}\n", key.name)
    }

    fn sample(kind: Kind) -> &'static str {
        match kind {
            Kind::Url => "\"http://localhost/\"",
            Kind::Texts => "[\"one\"]",
            Kind::Command => "[\"server\", \"{port}\"]",
            Kind::OneOf(["fastcgi", ..]) => "\"fastcgi\"",
            _ => "\"text\"",
        }
    }

    fn without_spans(debug: &str) -> String {
        let mut parts = debug.split("span: ");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(part.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.'));
        }
        text
    }
}
