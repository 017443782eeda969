//! The documents: links lead somewhere, `docs/troubleshooting.md` has all messages and no others, and
//! the tables of configuration keys are those of the source.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod source_messages;
mod vocabulary;

use std::fs;
use std::path::{Path, PathBuf};

use pools_manager::config::keys::{DOCUMENTS, updated};
use pools_manager::{config, pool};

use source_messages::SourceMessage;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The page with an entry for each message.
const MESSAGES: &str = "docs/troubleshooting.md";

#[test]
fn internal_links_lead_to_files_and_headings() {
    let dead: Vec<String> = documents().iter().flat_map(|document| dead_links(document)).collect();
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn messages_in_troubleshooting_are_in_the_source() {
    let source = source(&Path::new(ROOT).join("src"));
    let page = fs::read_to_string(Path::new(ROOT).join(MESSAGES)).unwrap();
    let messages = messages(&page);
    assert!(messages.len() > 500, "{}", messages.len());
    let is_missing = |message: &&String| fragments(message).iter().any(|it| !source.contains(it));
    let missing: Vec<_> = messages.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "not in src/**, so correct {MESSAGES}: {missing:#?}");
}

#[test]
fn messages_in_the_source_are_in_troubleshooting() {
    let found = source_messages::below(&Path::new(ROOT).join("src"), Path::new(ROOT));
    let searched: Vec<_> = found.iter().filter(|message| message.is_searched()).collect();
    assert!(searched.len() > 500, "{}", searched.len());
    let page = fs::read_to_string(Path::new(ROOT).join(MESSAGES)).unwrap();
    let entries = messages(&page);
    let has_entry =
        |message: &SourceMessage| entries.iter().any(|entry| message.is_printed_in(entry));
    let missing = searched.into_iter().filter(|message| !has_entry(message));
    let missing: Vec<String> =
        missing.map(|message| format!("{}: {:?}", message.place, message.text)).collect();
    assert!(missing.is_empty(), "without an entry in {MESSAGES}: {missing:#?}");
}

#[test]
fn named_source_files_exist() {
    let is_missing = |path: &&str| path.starts_with("src/") && !Path::new(ROOT).join(path).exists();
    let missing = |document: PathBuf| {
        let text = fs::read_to_string(&document).unwrap();
        let missing = text.split('`').filter(is_missing);
        let missing = missing.map(|path| format!("{}: {path}", document.display()));
        missing.collect::<Vec<_>>()
    };
    let missing: Vec<String> = documents().into_iter().flat_map(missing).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// After a change of a key: `POOLS_MANAGER_WRITE_DOCS=1 cargo test --test documents keys`
#[test]
fn tables_of_keys_are_those_of_the_source() {
    let all = [("pool", pool::TABLES), ("global", config::GLOBAL_TABLES)];
    let lookup = |file: &str, name: &str| {
        let (_, tables) = all.iter().find(|(of, _)| *of == file)?;
        tables.iter().find(|table| table.name == name).copied()
    };
    let mut text = String::new();
    for document in DOCUMENTS {
        let path = Path::new(ROOT).join(document);
        let before = fs::read_to_string(&path).unwrap();
        let after = updated(&before, lookup).unwrap_or_else(|error| panic!("{document}, {error}"));
        if std::env::var_os("POOLS_MANAGER_WRITE_DOCS").is_some() {
            fs::write(&path, &after).unwrap();
        } else {
            let write = "POOLS_MANAGER_WRITE_DOCS=1 cargo test --test documents keys";
            assert_eq!(before, after, "{document} differs from the source, so run: {write}");
        }
        text += &after;
    }
    for (file, tables) in all {
        for table in tables {
            let mark = format!("<!-- keys: {file} [{}] -->", table.name);
            assert!(text.contains(&mark), "no document has {mark}");
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|it| it == "md"));
    ["README.md", "CHANGELOG.md"]
        .map(|name| Path::new(ROOT).join(name))
        .into_iter()
        .chain(docs)
        .collect()
}

fn dead_links(document: &Path) -> Vec<String> {
    let text = without_code_blocks(&fs::read_to_string(document).unwrap());
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let internal = targets.filter(|target| !target.contains("://"));
    let is_dead = |target: &&str| {
        let (path, heading) = target.split_once('#').unwrap_or((target, ""));
        let file = match path {
            "" => document.to_owned(),
            path => document.parent().unwrap().join(path),
        };
        !file.exists() || !(heading.is_empty() || has_heading(&file, heading))
    };
    internal.filter(is_dead).map(|target| format!("{}: {target}", document.display())).collect()
}

fn has_heading(file: &Path, wanted: &str) -> bool {
    let text = without_code_blocks(&fs::read_to_string(file).unwrap());
    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == wanted)
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

fn without_code_blocks(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The code in the first cells of all tables that have the heading `message`.
fn messages(page: &str) -> Vec<String> {
    let mut in_table = false;
    let mut found = Vec::new();
    for line in page.lines() {
        in_table = line.starts_with("| message |") || (in_table && !line.is_empty());
        let cell = line.strip_prefix("| ").and_then(|rest| rest.split_once(" | "));
        found.extend(cell.into_iter().filter(|_| in_table).flat_map(|(cell, _)| code(cell)));
    }
    found
}

/// The text between backquotes, or between double backquotes if the text itself has single ones.
fn code(cell: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = cell;
    while let Some((_, after)) = rest.split_once('`') {
        let (quote, after) = after.strip_prefix('`').map_or(("`", after), |after| ("``", after));
        let (text, after) = after.split_once(quote).unwrap();
        found.push(text.trim().to_owned());
        rest = after;
    }
    found
}

/// The literal parts of a message, between placeholders like `<pool>`.
fn fragments(message: &str) -> Vec<&str> {
    let parts =
        message.split('<').map(|part| part.split_once('>').map_or(part, |(_, after)| after));
    parts.map(|part| part.trim_matches([' ', '"'])).filter(|part| !part.is_empty()).collect()
}

/// All source below a directory, with string literals as they are printed: without the line breaks
/// of continued ones, and without escaped quotes.
fn source(dir: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &source(&path);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut pieces = text.split("\\\n");
            all += pieces.next().unwrap();
            pieces.for_each(|piece| all += piece.trim_start());
        }
    }
    all.replace("\\\"", "\"")
}
