//! Placeholders like `{port}` in the settings of `[command]`.

use std::ops::Range;

use crate::config::{File, nearest};
use crate::error::Result;

/// What is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// The path of the unix socket that the server makes.
    Socket,
    /// The port on which the server listens.
    Port,
    /// The release, as the server sees it.
    Release,
    /// The number of the replica, from 1.
    Replica,
    /// The number of the generation.
    Generation,
    /// The number of the process in its replica, from 1.
    Process,
}

/// All placeholders.
pub const PLACEHOLDERS: [Placeholder; 6] = [
    Placeholder::Socket,
    Placeholder::Port,
    Placeholder::Release,
    Placeholder::Replica,
    Placeholder::Generation,
    Placeholder::Process,
];

impl Placeholder {
    /// With its braces.
    pub fn text(self) -> &'static str {
        match self {
            Self::Socket => "{socket}",
            Self::Port => "{port}",
            Self::Release => "{release}",
            Self::Replica => "{replica}",
            Self::Generation => "{generation}",
            Self::Process => "{process}",
        }
    }
}

/// A piece of a text.
enum Piece<'t> {
    Plain(&'t str),
    /// A word in braces, with them: `{word}`.
    Word(&'t str),
}

/// Splits a text at words of lower-case letters in braces. Other braces are plain text, such as
/// `{}`, `{"a": 1}` and `${HOME}`.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let inside = rest[open + 1..].bytes().take_while(u8::is_ascii_lowercase).count();
        let end = open + 1 + inside;
        let is_word = inside > 0 && rest.as_bytes().get(end) == Some(&b'}');
        let end = if is_word { end + 1 } else { open + 1 };
        if is_word {
            pieces.push(Piece::Plain(&rest[..open]));
            pieces.push(Piece::Word(&rest[open..end]));
        } else {
            pieces.push(Piece::Plain(&rest[..end]));
        }
        rest = &rest[end..];
    }
    pieces.push(Piece::Plain(rest));
    pieces
}

/// Whether a text has a placeholder.
pub fn has(text: &str, what: Placeholder) -> bool {
    pieces(text).iter().any(|piece| matches!(piece, Piece::Word(word) if *word == what.text()))
}

/// Fills in the values that `value` returns. Filled-in text is not searched again.
pub fn fill(text: &str, value: impl Fn(Placeholder) -> Option<String>) -> String {
    let piece = |piece: Piece<'_>| match piece {
        Piece::Plain(plain) => plain.to_owned(),
        Piece::Word(word) => {
            let known = PLACEHOLDERS.into_iter().find(|known| known.text() == word);
            known.and_then(&value).unwrap_or_else(|| word.to_owned())
        }
    };
    pieces(text).into_iter().map(piece).collect()
}

/// Refuses a word in braces that is not one of these placeholders.
pub(super) fn check(
    file: &File<'_>,
    text: &str,
    at: &Range<usize>,
    allowed: &[Placeholder],
) -> Result<()> {
    let known: Vec<&str> = allowed.iter().map(|known| known.text()).collect();
    for piece in pieces(text) {
        if let Piece::Word(word) = piece
            && !known.contains(&word)
        {
            let message = format!("unknown placeholder {word} in {text:?}");
            return Err(file.error(at, &message).hint(nearest(word, &known)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        fill(text, |what| match what {
            Placeholder::Port => Some("81{port}".to_owned()),
            Placeholder::Replica => Some("2".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn only_known_words_in_braces_are_filled_in() {
        assert_eq!(filled("--port={port}"), "--port=81{port}");
        assert_eq!(filled("{replica}{port}{{replica}}"), "281{port}{2}");
        for text in ["", "{", "}{", "{}", "{\"a\": {}}", "{Port}", "{por", "{socket}", "{x}é{"] {
            assert_eq!(filled(text), text);
        }
    }
}
