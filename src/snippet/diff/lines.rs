//! Lines of words: the files of Apache and HAProxy.

/// A line that is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1: where it begins.
    pub(super) number: usize,
    /// Without quotes; at least one.
    pub(super) words: Vec<String>,
}

impl Line {
    pub(super) fn first(&self) -> &str {
        &self.words[0]
    }

    pub(super) fn rest(&self) -> &[String] {
        &self.words[1..]
    }

    /// Whether the words after the first begin like this.
    pub(super) fn continues(&self, words: &[&str]) -> bool {
        let rest = self.rest();
        rest.len() >= words.len() && rest.iter().zip(words).all(|(word, wanted)| word == wanted)
    }

    /// The word after this one.
    pub(super) fn after(&self, word: &str) -> Option<&str> {
        let at = self.words.iter().position(|it| it == word)?;
        self.words.get(at + 1).map(String::as_str)
    }
}

/// The lines of Apache: a `#` at the beginning makes a comment, a backslash at the end continues a
/// line.
pub(super) fn apache(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut whole = String::new();
    let mut begin = 1;
    for (number, line) in (1..).zip(text.lines()) {
        if whole.is_empty() {
            begin = number;
        }
        if let Some(begun) = line.strip_suffix('\\') {
            whole += begun;
            whole.push(' ');
            continue;
        }
        whole += line;
        let line = std::mem::take(&mut whole);
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let line = line.strip_suffix('>').filter(|_| line.starts_with('<')).unwrap_or(line);
            push(&mut lines, begin, words(line, false));
        }
    }
    lines
}

/// The lines of HAProxy: a `#` outside of quotes begins a comment.
pub(super) fn haproxy(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        push(&mut lines, number, words(line, true));
    }
    lines
}

fn push(lines: &mut Vec<Line>, number: usize, words: Vec<String>) {
    if !words.is_empty() {
        lines.push(Line { number, words });
    }
}

/// Words between blanks. Quotes of both kinds group, a backslash escapes a blank, a quote, `#`, or
/// itself, and is kept before other characters.
fn words(line: &str, has_comments: bool) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quote != Some('\'') => {
                let escaped = letters.next_if(|next| "\\\"'# ".contains(*next));
                word.get_or_insert_default().push(escaped.unwrap_or('\\'));
            }
            letter if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            '#' if quote.is_none() && has_comments => break,
            letter if quote.is_none() && letter.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| format!("{} {}", line.number, line.words.join("|"))).collect()
    }

    #[test]
    fn quotes_and_comments_are_understood() {
        let text = "a \"b c\" 'd # e' # f\n\n  # g\nh\\ i j\\#k \\.l\n";
        assert_eq!(told(&haproxy(text)), ["1 a|b c|d # e", "4 h i|j#k|\\.l"]);
        let text = "a b \\\n  c # d\n# e \\\n f\n<G \"h\">\n";
        assert_eq!(told(&apache(text)), ["1 a|b|c|#|d", "5 <G|h"]);
    }
}
