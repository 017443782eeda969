//! The tables of keys in `docs/`.
//!
//! A table stands between the lines `<!-- keys: FILE [TABLE] -->` and `<!-- end of keys -->`, where
//! FILE is `pool` or `global`.

use std::fmt::Write;

use super::{Key, Table};

/// The documents that have tables of keys.
pub const DOCUMENTS: [&str; 4] =
    ["docs/configuration.md", "docs/gateway.md", "docs/logs.md", "docs/command-pools.md"];

const END: &str = "<!-- end of keys -->";

/// A document with its tables of keys written anew. `lookup` finds the table for `pool` or `global`
/// and a name. An error names the line of a table that does not exist, or does not end.
pub fn updated(
    document: &str,
    lookup: impl Fn(&str, &str) -> Option<Table>,
) -> Result<String, String> {
    let mut text = String::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let _ = writeln!(text, "{line}");
        let Some(of) = line.strip_prefix("<!-- keys: ") else { continue };
        let wrong = |what: &str| format!("line {}: {what}: {line}", number + 1);
        let name = of.trim_end_matches("-->").trim();
        let (file, name) = name.split_once(' ').ok_or_else(|| wrong("no table is named"))?;
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let table = lookup(file, name).ok_or_else(|| wrong("there is no such table"))?;
        if !lines.any(|(_, line)| line == END) {
            return Err(wrong("the table does not end"));
        }
        let _ = writeln!(text, "{}{END}", markdown(table.keys));
    }
    Ok(text)
}

/// Keys as a table in Markdown, with empty lines around it.
fn markdown(keys: &[Key]) -> String {
    let mut text = "\n| key | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for Key { name, kind, default, meaning } in keys {
        let row = format!("| `{name}` | {kind} | {default} | {} |", meaning.replace('|', "\\|"));
        let _ = writeln!(text, "{row}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Default, Kind};
    use super::*;

    const KEYS: &[Key] =
        &[Key::new("queue", Kind::Number, Default::Value("8"), "how many may `a|b`")];

    fn lookup(file: &str, name: &str) -> Option<Table> {
        (file == "pool" && name == "gateway").then_some(Table { name: "gateway", keys: KEYS })
    }

    #[test]
    fn tables_are_written_anew_and_the_rest_stays() {
        let document = "# A\n<!-- keys: pool [gateway] -->\nold\n<!-- end of keys -->\nb\n";
        let expected = "# A\n<!-- keys: pool [gateway] -->\n\n| key | type | default | meaning |\n|---|---|---|---|\n\
                        | `queue` | number | `8` | how many may `a\\|b` |\n\n<!-- end of keys -->\nb\n";
        assert_eq!(updated(document, lookup).unwrap(), expected);
        assert_eq!(updated(expected, lookup).unwrap(), expected);
    }

    #[test]
    fn unknown_and_open_tables_are_errors() {
        for document in
            ["<!-- keys: pool [x] -->\n<!-- end of keys -->", "<!-- keys: pool [gateway] -->\n"]
        {
            assert!(updated(document, lookup).is_err(), "{document}");
        }
    }
}
