//! The contents of `config show`: each key of a file, its value in effect, and where that comes from.

mod derived;
mod text;

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Value;

use crate::config::keys::{Default, Key, Kind, Table, plain};
use crate::config::{File, GLOBAL_TABLES, Global, Written};
use crate::error::Result;
use crate::http;
use crate::pool::{Pool, TABLES};
use crate::root::Root;

/// A file, and all keys that hold for it.
#[derive(Debug, Serialize)]
pub struct InEffect {
    /// The file.
    pub file: PathBuf,
    /// Whether it exists.
    pub exists: bool,
    /// The keys, in the order of the documentation.
    pub settings: Vec<Setting>,
    /// The tables that do not apply.
    pub unused: Vec<&'static str>,
}

/// A key, and what holds for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// The name of its table.
    pub table: &'static str,
    /// Its name.
    pub key: &'static str,
    /// Its value; None: there is none.
    pub value: Option<Value>,
    /// Where the value comes from.
    #[serde(flatten)]
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "source", rename_all = "lowercase")]
pub enum Source {
    /// The file.
    File {
        /// The line of the key, from 1.
        line: usize,
    },
    /// The default.
    Default,
    /// It follows from other things.
    Derived {
        /// From what.
        why: String,
    },
    /// There is no value.
    Unset {
        /// What that means.
        why: String,
    },
}

/// A derived value, and what it follows from.
type Derived = (Option<Value>, String);

/// The settings that all pools share. An error: the file is broken.
pub fn of_all_pools(root: &Root) -> Result<InEffect> {
    let global = Global::read(root)?;
    let exists = global.path.exists();
    let written = if exists { File::read(&global.path)?.written()? } else { Written::default() };
    let settings = GLOBAL_TABLES.iter().flat_map(|table| {
        let derive = |key: &Key| derived::of_all_pools(&global, table.name, key.name);
        settings(root, table, &written, derive)
    });
    Ok(InEffect { settings: settings.collect(), file: global.path, exists, unused: Vec::new() })
}

/// The settings of a pool, which has been read.
pub fn of_pool(pool: &Pool) -> Result<InEffect> {
    let file = pool.settings_file();
    let written = File::read(&file)?.written()?;
    let (mut all, mut unused) = (Vec::new(), Vec::new());
    for table in TABLES {
        if is_choice(table.name) && !written.has(table.name) {
            unused.push(table.name);
            continue;
        }
        let derive = |key: &Key| derived::of_pool(pool, table.name, key.name);
        all.extend(settings(&pool.root, table, &written, derive));
    }
    Ok(InEffect { settings: all, file, exists: true, unused })
}

/// Whether a table has an effect only if the file has it.
fn is_choice(table: &str) -> bool {
    ["php", "command", "apache", "haproxy", "gateway"].contains(&table)
}

fn settings(
    root: &Root,
    table: &Table,
    written: &Written,
    derive: impl Fn(&Key) -> Option<Derived>,
) -> Vec<Setting> {
    let setting = |key: &Key| {
        let (value, source) = match (written.get(table.name, key.name), key.default) {
            (Some(place), _) if !is_automatic(table, key, &place.value) => {
                (Some(place.value.clone()), Source::File { line: place.line })
            }
            (_, Default::Derived(why)) => {
                let (value, why) = derive(key).unwrap_or_else(|| (None, plain(why)));
                (value, Source::Derived { why })
            }
            (_, Default::Value(text)) => (literal(text), Source::Default),
            (_, Default::Unset(why)) => (None, Source::Unset { why: plain(why) }),
            // Not reached: a file without a required key is an error.
            (_, Default::Required) => (None, Source::Unset { why: "it is required".to_owned() }),
        };
        let value = value.map(|value| shown(root, key.kind, value));
        Setting { table: table.name, key: key.name, value, source }
    };
    table.keys.iter().map(setting).collect()
}

/// Whether a value in the file only means that the value is derived.
fn is_automatic(table: &Table, key: &Key, value: &Value) -> bool {
    match (table.name, key.name) {
        ("gateway", "threads") => value.as_integer() == Some(0),
        ("php", "php_fpm_cmd") => value.as_array().is_some_and(Vec::is_empty),
        _ => false,
    }
}

fn literal(text: &str) -> Option<Value> {
    toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?.remove("value")
}

/// A value as it is used: paths are absolute. Passwords are masked.
fn shown(root: &Root, kind: Kind, value: Value) -> Value {
    let Value::String(text) = value else { return value };
    let is_word = |words: &[&str]| words.contains(&text.as_str());
    Value::String(match kind {
        Kind::Url => http::shown(&text),
        Kind::PathOr(words) if is_word(words) => text,
        Kind::Path | Kind::PathOr(_) if !text.is_empty() => {
            root.resolve(Path::new(&text)).display().to_string()
        }
        _ => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn described_defaults_are_valid_toml() {
        for table in TABLES.iter().chain(GLOBAL_TABLES) {
            for key in table.keys {
                if let Default::Value(text) = key.default {
                    assert!(literal(text).is_some(), "{} = {text}", key.name);
                }
            }
        }
    }

    #[test]
    fn paths_are_absolute_and_passwords_masked() {
        let root = Root::new("/srv".into());
        let shown = |kind, text: &str| shown(&root, kind, text.into()).as_str().unwrap().to_owned();
        assert_eq!(shown(Kind::Path, "www/current"), "/srv/www/current");
        assert_eq!(shown(Kind::Path, "/a"), "/a");
        assert_eq!(shown(Kind::Path, ""), "");
        assert_eq!(shown(Kind::PathOr(&["-"]), "-"), "-");
        assert_eq!(shown(Kind::PathOr(&["-"]), "pid/x"), "/srv/pid/x");
        assert_eq!(shown(Kind::Url, "http://a:b@c/"), "http://***@c/");
    }
}
