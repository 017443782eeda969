//! Escapes what could drive a terminal, or look like another line.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// Bytes that are no UTF-8 become `\xff`, control characters `\x1b` or `\u{202e}`. Tabs stay.
pub fn escape(bytes: &[u8], into: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\t' => into.push(letter),
                _ if !is_unsafe(letter) => into.push(letter),
                '\0'..='\x7f' => {
                    let _ = write!(into, "\\x{:02x}", u32::from(letter));
                }
                _ => {
                    let _ = write!(into, "\\u{{{:x}}}", u32::from(letter));
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(into, "\\x{byte:02x}");
        }
    }
}

/// Control characters, line separators, and those that change the direction of text.
pub fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A document in one line.
pub fn json(document: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Escaping);
    // Writing into memory does not fail.
    let _ = document.serialize(&mut serializer);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Escapes what `serde_json` leaves, but a terminal acts on.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let mut rest = text;
        while let Some((at, letter)) = rest.char_indices().find(|(_, letter)| is_unsafe(*letter)) {
            CompactFormatter.write_string_fragment(to, &rest[..at])?;
            write!(to, "\\u{:04x}", u32::from(letter))?;
            rest = &rest[at + letter.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(to, rest)
    }
}
