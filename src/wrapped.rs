//! Text in lines of a limited width.

/// Breaks a text between words into lines of at most `width` columns, each after `prefix`. A longer
/// word gets a line of its own. Control characters become `?`.
pub(crate) fn wrapped(text: &str, prefix: &str, width: usize) -> String {
    let text = text.replace(|it: char| it.is_control() && it != '\n', "?");
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = String::from(prefix);
        for word in paragraph.split_whitespace() {
            let is_empty = line.len() == prefix.len();
            if !is_empty && line.chars().count() + 1 + word.chars().count() > width {
                lines.extend([line.as_str(), "\n"]);
                line = String::from(prefix);
            } else if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.extend([line.trim_end(), "\n"]);
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
