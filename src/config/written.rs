//! The keys that a file has: their values, and their lines.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::file::File;
use crate::error::Result;

/// The keys that a file has, by table and name.
#[derive(Debug, Default)]
pub struct Written(BTreeMap<String, BTreeMap<String, Place>>);

/// A value, and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The value.
    pub value: toml::Value,
    /// The line of its key, from 1.
    pub line: usize,
}

impl Written {
    /// Whether the file has a table.
    pub fn has(&self, table: &str) -> bool {
        self.0.contains_key(table)
    }

    /// The value of a key; None: the file does not have it.
    pub fn get(&self, table: &str, key: &str) -> Option<&Place> {
        self.0.get(table)?.get(key)
    }
}

impl File<'_> {
    /// The keys of this file. An error: it is not TOML.
    pub fn written(&self) -> Result<Written> {
        let mut values: toml::Table = self.parse()?;
        let Ok(tables) = DeTable::parse(self.text()) else { return Ok(Written::default()) };
        let mut written = Written::default();
        for (name, table) in tables.get_ref() {
            let (Some(table), name) = (table.get_ref().as_table(), name.get_ref()) else {
                continue;
            };
            let Some(values) = values.get_mut(&**name).and_then(toml::Value::as_table_mut) else {
                continue;
            };
            let keys = table.keys().filter_map(|key| {
                let value = values.remove(&**key.get_ref())?;
                Some((key.get_ref().to_string(), Place { value, line: self.line(&key.span()) }))
            });
            written.0.insert(name.to_string(), keys.collect());
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn keys_have_their_lines() {
        let text = "a.x = 1\n[b]\n\n# y = 2\ny = [\n  2,\n]\nz = 3\n[b.t]\nq = 1\n[c]\n";
        let written = File::of(Path::new("/f"), text.into()).unwrap().written().unwrap();
        let line = |table, key| written.get(table, key).map(|place| place.line);
        assert_eq!([line("a", "x"), line("b", "y"), line("b", "z")], [Some(1), Some(5), Some(8)]);
        assert_eq!(line("b", "t"), Some(9));
        assert_eq!(written.get("b", "y").unwrap().value.to_string(), "[2]");
        assert_eq!(line("b", "x"), None);
        assert!(written.has("c") && !written.has("d"));
    }
}
