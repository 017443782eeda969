//! Text in lines of a limited width.

use textwrap::{Options, WordSplitter};

/// Breaks between words only: a longer word, which may be a path to copy, stays whole.
pub(crate) fn options<'a>(width: usize) -> Options<'a> {
    Options::new(width).break_words(false).word_splitter(WordSplitter::NoHyphenation)
}

/// Breaks a text between words into lines of at most `width` columns, each after `prefix`. Control
/// characters become `?`.
pub(crate) fn wrapped(text: &str, prefix: &str, width: usize) -> String {
    let text = text.replace(|it: char| it.is_control() && it != '\n', "?");
    let options = options(width).initial_indent(prefix).subsequent_indent(prefix);
    let mut lines = String::new();
    for paragraph in text.lines() {
        let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        let filled =
            if words.is_empty() { prefix.to_owned() } else { textwrap::fill(&words, &options) };
        lines.extend([filled.trim_end(), "\n"]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two  three", "# ", 9), "# one two\n# three\n");
        assert_eq!(wrapped("a much-too-long-word b", "", 5), "a\nmuch-too-long-word\nb\n");
        assert_eq!(wrapped("a\n\nb\x1b", "; ", 80), "; a\n;\n; b?\n");
    }
}
