//! The messages in the source: the string literals that become errors, warnings and findings.

use std::fs;
use std::path::Path;

use crate::vocabulary::{ANY, FUNCTIONS, INTERNAL, MAKERS, MESSAGES, OTHERS, TYPES};

/// A message, or a part of one.
pub(crate) struct SourceMessage {
    /// The file and the line.
    pub(crate) place: String,
    /// As in the source, with `{placeholders}`.
    pub(crate) text: String,
}

impl SourceMessage {
    /// The parts between the placeholders, which are printed as they are.
    pub(crate) fn parts(&self) -> Vec<&str> {
        let mut parts = Vec::new();
        let mut rest = self.text.as_str();
        while let Some((part, after)) = rest.split_once(['{', '\n']) {
            let is_line = rest[part.len()..].starts_with('\n');
            parts.push(part);
            rest = if is_line { after } else { after.split_once('}').map_or("", |(_, it)| it) };
        }
        parts.push(rest);
        let parts = parts.into_iter().map(|part| part.trim_matches([' ', '"']));
        parts.filter(|part| part.contains(char::is_alphanumeric)).collect()
    }

    /// Whether an operator can see the message, and the message has words to search for.
    pub(crate) fn is_searched(&self) -> bool {
        self.words() > 1 && !INTERNAL.iter().any(|(text, _)| self.text.starts_with(text))
    }

    /// Whether an entry contains all these parts, in the same order.
    pub(crate) fn is_printed_in(&self, entry: &str) -> bool {
        let mut rest = Some(entry);
        for part in self.parts() {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
        }
        rest.is_some()
    }

    fn words(&self) -> usize {
        let is_word = |word: &&str| word.chars().filter(|it| it.is_alphabetic()).count() > 1;
        self.parts().iter().map(|part| part.split_whitespace().filter(is_word).count()).sum()
    }
}

/// The messages of all files below a directory, without tests.
pub(crate) fn below(dir: &Path, root: &Path) -> Vec<SourceMessage> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            all.extend(below(&path, root));
        } else if path.extension().is_some_and(|it| it == "rs") && !is_test(&path) {
            let source = fs::read_to_string(&path).unwrap();
            let shown = path.strip_prefix(root).unwrap().display().to_string();
            all.extend(of_source(&source, &shown));
        }
    }
    all
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests" || stem == "fuzz")
}

/// The messages of a source file.
pub(crate) fn of_source(source: &str, file: &str) -> Vec<SourceMessage> {
    let mut scanner = Scanner { source, at: 0, levels: vec![Level::default()], found: Vec::new() };
    scanner.run();
    let message = |(at, text)| {
        let line = source[..at].matches('\n').count() + 1;
        SourceMessage { place: format!("{file}:{line}"), text }
    };
    scanner.found.into_iter().map(message).collect()
}

/// What a bracket encloses.
#[derive(Default)]
struct Level {
    /// Where the bracket is.
    open: usize,
    /// The name that is called, if the bracket belongs to a call: `Error::config`, `.hint`, `format!`.
    callee: String,
    /// The number of the present argument.
    argument: usize,
    /// Where the present argument begins.
    argument_start: usize,
    /// Where the present statement begins.
    statement_start: usize,
    /// Whether the bracket is in a test.
    is_test: bool,
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    levels: Vec<Level>,
    found: Vec<(usize, String)>,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(next) = self.rest().chars().next() {
            let after = self.at + next.len_utf8();
            match next {
                '/' if self.rest().starts_with("//") => self.comment(),
                'r' if self.is_raw() => self.raw(),
                '"' => self.literal(),
                '\'' => self.skip_character(),
                '(' | '[' | '{' => {
                    self.open();
                    self.at = after;
                }
                ')' | ']' | '}' => {
                    self.levels.pop();
                    self.at = after;
                    let level = self.levels.last_mut().unwrap();
                    if next == '}' && !is_continued(&self.source[after..]) {
                        level.statement_start = after;
                    }
                }
                ',' | ';' => {
                    let level = self.levels.last_mut().unwrap();
                    level.argument += 1;
                    level.argument_start = after;
                    level.statement_start = after;
                    self.at = after;
                }
                _ => self.at = after,
            }
        }
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    /// A comment ahead of a statement is no part of it.
    fn comment(&mut self) {
        let end = self.at + self.rest().find('\n').unwrap_or(self.rest().len());
        let level = self.levels.last_mut().unwrap();
        for start in [&mut level.statement_start, &mut level.argument_start] {
            if self.source[*start..self.at].trim().is_empty() {
                *start = end;
            }
        }
        self.at = end;
    }

    /// Passes a character like `'"'`, and the quote of a lifetime.
    fn skip_character(&mut self) {
        let mut rest = self.rest()[1..].char_indices();
        let first = rest.next().map(|(_, it)| it);
        let (end, second) = rest.next().unwrap_or((0, ' '));
        self.at += match (first, second) {
            (Some('\\'), _) => 3 + self.rest()[3..].find('\'').unwrap_or(0),
            (_, '\'') => end + 2,
            _ => 1,
        };
    }

    fn is_raw(&self) -> bool {
        let before = self.source[..self.at].chars().next_back();
        let after = self.rest()[1..].trim_start_matches('#');
        after.starts_with('"') && before.is_none_or(|it| !it.is_alphanumeric() || it == 'b')
    }

    /// Raw strings are templates of files, but they may hold quotes.
    fn raw(&mut self) {
        let hashes = self.rest()[1..].chars().take_while(|it| *it == '#').count();
        let begin = self.at + hashes + 2;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = self.source[begin..].find(&end).unwrap();
        let text = self.source[begin..begin + length].to_owned();
        self.add(&text);
        self.at = begin + length + end.len();
    }

    fn literal(&mut self) {
        let mut text = String::new();
        let mut chars = self.rest()[1..].char_indices();
        let mut length = 0;
        while let Some((index, next)) = chars.next() {
            length = index + 2;
            match next {
                '"' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, '\n')) => {
                        let is_space = |it: &(usize, char)| it.1.is_whitespace();
                        while chars.clone().next().as_ref().is_some_and(is_space) {
                            chars.next();
                        }
                    }
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                other => text.push(other),
            }
        }
        self.add(&text);
        self.at += length;
    }

    fn add(&mut self, text: &str) {
        let text = text.replace("{{", "").replace("}}", "");
        if !self.levels.iter().any(|level| level.is_test) && self.is_message(&text) {
            self.found.push((self.at, text));
        }
    }

    fn open(&mut self) {
        let (open, outer) = (self.at, self.levels.last().unwrap());
        let is_block = self.rest().starts_with('{');
        let callee = if is_block { String::new() } else { callee(self.source[..open].trim_end()) };
        let header = &self.source[outer.statement_start..open];
        let is_test = header.contains("#[cfg(test)]");
        let start = open + 1;
        let (argument_start, statement_start) = (start, start);
        let level = Level { open, callee, argument: 0, argument_start, statement_start, is_test };
        self.levels.push(level);
    }

    /// Whether the literal at this position is a message. The innermost bracket that says so decides.
    fn is_message(&self, text: &str) -> bool {
        let mut inner = self.at;
        for (index, level) in self.levels.iter().enumerate().rev() {
            let argument = self.source[level.argument_start..inner].trim_start();
            if argument.starts_with("hint:") || argument.starts_with("help:") {
                return false;
            }
            let statement = self.source[level.statement_start..inner].trim_start();
            if let Some(is_message) = of_variable(statement, text) {
                return is_message;
            }
            let callee = level.callee.as_str();
            let method = callee.rfind('.').map_or(callee, |dot| &callee[dot..]);
            let is_it = |(maker, _): &&(&str, usize)| *maker == callee || *maker == method;
            if let Some((_, argument)) = MAKERS.iter().find(is_it) {
                return *argument == ANY || *argument == level.argument;
            }
            if OTHERS.contains(&callee) || OTHERS.contains(&method) {
                return false;
            }
            if self.source[level.open..].starts_with('{') && index > 0 {
                let outer = &self.levels[index - 1];
                let header = &self.source[outer.statement_start..level.open];
                if let Some(name) = name_after(header, "fn ")
                    && name != "fmt"
                {
                    return FUNCTIONS.contains(&name);
                }
                if header.trim_start().starts_with("impl") {
                    return name_after(header, "Display for ")
                        .is_some_and(|it| TYPES.contains(&it));
                }
            }
            inner = level.open;
        }
        false
    }
}

/// Whether the text after a block belongs to the same statement as the block.
fn is_continued(after: &str) -> bool {
    let after = after.trim_start();
    after.starts_with("else") || after.starts_with(['.', '?', '+'])
}

/// The function, method or macro whose bracket follows.
fn callee(before: &str) -> String {
    let is_name = |it: char| it.is_alphanumeric() || matches!(it, '_' | ':' | '.' | '!');
    let start = before
        .rfind(|it| !is_name(it))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let name = before[start..].trim_start_matches(':');
    // The last two names of a path.
    let paths: Vec<_> = name.split("::").collect();
    match paths.as_slice() {
        [.., module, last] if name != "tracing::warn!" => format!("{module}::{last}"),
        _ => name.to_owned(),
    }
}

/// Whether the statement assigns a message. None: it assigns nothing that decides this.
fn of_variable(statement: &str, text: &str) -> Option<bool> {
    if statement.contains(".message = ") {
        return Some(true);
    }
    let (is_const, rest) = match statement.strip_prefix("let ") {
        Some(rest) => (false, rest.strip_prefix("mut ").unwrap_or(rest)),
        None => (true, &statement[statement.find("const ")?..]),
    };
    let name = name_after(rest, if is_const { "const " } else { "" })?;
    // A text of several lines is the text of a file.
    let is_file = name == "text" && text.contains('\n');
    if MESSAGES.contains(&name) && !is_file {
        return Some(true);
    }
    (is_const || matches!(name, "help" | "hint")).then_some(false)
}

fn name_after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let after = &text[text.find(word)? + word.len()..];
    let end = after.find(|it: char| !(it.is_alphanumeric() || it == '_')).unwrap_or(after.len());
    Some(&after[..end]).filter(|name| !name.is_empty())
}

#[test]
fn messages_are_told_from_help_output_and_tests() {
    let source = r##"
        /// Returns Error::config("a comment").
        fn check(text: &str) -> Result<()> {
            let why = if text.is_empty() { "it is empty" } else { r#"it is "raw" text"# };
            let hint = format!("see {why}");
            print("all is well");
            text.find('"').ok_or_else(|| Error::config(format!("{text} has \
                no quote")).hint("add a quote"))
        }
        #[error("cannot talk to {address}: {source}")]
        Talk { address: Address },
        #[cfg(test)]
        mod tests {
            fn fails() -> Error { Error::config("only in a test") }
        }
    "##;
    let found = of_source(source, "file.rs");
    let found: Vec<(&str, &str)> =
        found.iter().map(|it| (it.place.as_str(), it.text.as_str())).collect();
    let wanted = [
        ("file.rs:4", "it is empty"),
        ("file.rs:4", "it is \"raw\" text"),
        ("file.rs:7", "{text} has no quote"),
        ("file.rs:10", "cannot talk to {address}: {source}"),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn literal_parts_stand_in_an_entry_in_their_order() {
    let message = |text: &str| SourceMessage { place: String::new(), text: text.to_owned() };
    let locked = message("the pool \"{pool}\" is locked by {holder}");
    assert_eq!(locked.parts(), ["the pool", "is locked by"]);
    assert!(locked.is_printed_in("the pool \"<pool>\" is locked by <holder>"));
    assert!(!locked.is_printed_in("is locked by the pool <pool>"));
    assert!(locked.is_searched());
    assert!(!message("{path}: {error}").is_searched());
}
