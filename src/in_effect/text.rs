//! The text of `config show`: a file in the notation of TOML, with sources in comments.

use std::fmt;

use super::{InEffect, Setting, Source};
use crate::wrapped::wrapped;

/// The width that is kept where the values allow it.
const WIDTH: usize = 80;
/// The column of the comments, unless a line is longer.
const COLUMN: usize = 36;

impl fmt::Display for InEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing =
            if self.exists { "" } else { " does not exist: all keys have their defaults" };
        f.write_str(&wrapped(&format!("{}{missing}", self.file.display()), "# ", WIDTH))?;
        let name = self.file.file_name().unwrap_or_default().display().to_string();
        let mut table = "";
        for setting in &self.settings {
            if setting.table != table {
                table = setting.table;
                write!(f, "\n[{table}]\n")?;
            }
            f.write_str(&lines(setting, &name))?;
        }
        if !self.unused.is_empty() {
            let unused: Vec<String> = self.unused.iter().map(|it| format!("[{it}]")).collect();
            write!(f, "\n# not used: {}\n", unused.join(", "))?;
        }
        Ok(())
    }
}

/// The line of a key with its source. If that is too long, the source follows on lines of its own.
fn lines(setting: &Setting, file: &str) -> String {
    let Setting { key, value, source, .. } = setting;
    let set = match value {
        Some(value) => format!("{key} = {value}"),
        None => format!("# {key}"),
    };
    let source = match source {
        Source::File { line } => format!("{file}:{line}"),
        Source::Default => "default".to_owned(),
        Source::Derived { why } => format!("derived: {why}"),
        Source::Unset { why } => format!("not set: {why}"),
    };
    let line = format!("{set:COLUMN$}  # {source}\n");
    if line.chars().count() <= WIDTH + 1 {
        return line;
    }
    format!("{set}\n{}", wrapped(&source, "    # ", WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Option<&str>, source: Source) -> String {
        let value = value.map(toml::Value::from);
        lines(&Setting { table: "t", key: "key", value, source }, "f.toml")
    }

    #[test]
    fn source_stands_behind_the_value_if_it_fits() {
        let line = text(Some("v"), Source::File { line: 7 });
        assert_eq!(line, format!("{:36}  # f.toml:7\n", "key = \"v\""));
        let line = text(None, Source::Unset { why: "no limit".to_owned() });
        assert_eq!(line, format!("{:36}  # not set: no limit\n", "# key"));
    }

    #[test]
    fn long_source_follows_in_lines_of_80_columns() {
        let text = text(Some("v"), Source::Derived { why: "many words ".repeat(12) });
        assert!(text.starts_with("key = \"v\"\n    # derived: many words"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
