//! Blocks of directives: the files of nginx and Caddy.

use std::collections::HashMap;

/// How many blocks around a directive count. A configuration has five or so.
const MAX_DEPTH: usize = 32;

/// A directive, which may open a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// From 1: where it begins.
    pub(super) line: usize,
    /// Without quotes.
    pub(super) words: Vec<String>,
    /// The directive whose block it is in, by its place in the list.
    pub(super) parent: Option<usize>,
}

/// The directives of a file, in its order.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) all: Vec<Directive>,
    /// The places of the directives in each block; None: those outside of all.
    children: HashMap<Option<usize>, Vec<usize>>,
    open: Vec<usize>,
    words: Vec<String>,
    line: usize,
}

impl Directive {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub(super) fn rest(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

impl Blocks {
    /// The directives in the block of `parent`, with their places.
    pub(super) fn inside(
        &self,
        parent: Option<usize>,
    ) -> impl Iterator<Item = (usize, &Directive)> {
        let places = self.children.get(&parent).into_iter().flatten();
        places.map(|&at| (at, &self.all[at]))
    }

    /// The blocks around a directive, the innermost first, and then the file itself.
    pub(super) fn around(&self, at: usize) -> impl Iterator<Item = Option<usize>> {
        let parent = move |inner: &Option<usize>| inner.map(|at| self.all[at].parent);
        std::iter::successors(Some(self.all[at].parent), parent).take(MAX_DEPTH)
    }

    fn word(&mut self, line: usize, word: String) {
        if self.words.is_empty() {
            self.line = line;
        }
        self.words.push(word);
    }

    fn end(&mut self) -> Option<usize> {
        if self.words.is_empty() {
            return None;
        }
        let (words, parent) = (std::mem::take(&mut self.words), self.open.last().copied());
        let at = self.all.len();
        self.all.push(Directive { line: self.line, words, parent });
        self.children.entry(parent).or_default().push(at);
        Some(at)
    }

    /// A block without words before it is one too: the global options of Caddy.
    fn open(&mut self, line: usize) {
        if self.words.is_empty() {
            self.word(line, String::new());
        }
        let at = self.end();
        self.open.extend(at);
    }

    fn close(&mut self) {
        self.end();
        self.open.pop();
    }
}

/// Reads nginx: a directive ends with `;` or its block.
pub(super) fn nginx(text: &str) -> Blocks {
    let mut blocks = Blocks::default();
    let mut reader = Reader::new(text);
    while let Some((line, letter)) = reader.next() {
        match letter {
            ';' => drop(blocks.end()),
            '{' => blocks.open(line),
            '}' => blocks.close(),
            '#' => reader.skip_line(),
            '"' | '\'' => {
                let word = reader.until(letter, true);
                blocks.word(line, word);
            }
            letter if letter.is_whitespace() => {}
            letter => {
                let word = reader.nginx_word(letter);
                blocks.word(line, word);
            }
        }
    }
    blocks.end();
    blocks
}

/// Reads a Caddyfile: a directive ends with its line, or with `{` at the end of the line.
pub(super) fn caddy(text: &str) -> Blocks {
    let mut blocks = Blocks::default();
    let mut reader = Reader::new(text);
    while let Some((line, letter)) = reader.next() {
        match letter {
            '\n' => drop(blocks.end()),
            '#' => reader.skip_line(),
            '"' | '`' => {
                let word = reader.until(letter, letter == '"');
                blocks.word(line, word);
            }
            // A line break that does not count.
            '\\' if reader.skip_if('\n') => {}
            letter if letter.is_whitespace() => {}
            letter => match reader.rest_of_word(letter).as_str() {
                "{" => blocks.open(line),
                "}" => blocks.close(),
                word => match word.strip_prefix("<<").filter(|mark| !mark.is_empty()) {
                    Some(mark) => {
                        let text = reader.heredoc(mark);
                        blocks.word(line, text);
                    }
                    None => blocks.word(line, word.to_owned()),
                },
            },
        }
    }
    blocks.end();
    blocks
}

/// The letters of a text, with their lines.
struct Reader<'a> {
    letters: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { letters: text.chars().peekable(), line: 1 }
    }

    fn next(&mut self) -> Option<(usize, char)> {
        let letter = self.letters.next()?;
        let line = self.line;
        self.line += usize::from(letter == '\n');
        Some((line, letter))
    }

    /// Up to the end of the line, which is left.
    fn skip_line(&mut self) {
        while self.letters.next_if(|it| *it != '\n').is_some() {}
    }

    fn skip_if(&mut self, letter: char) -> bool {
        let is_it = self.letters.peek() == Some(&letter);
        if is_it {
            self.next();
        }
        is_it
    }

    /// The text up to a quote.
    fn until(&mut self, quote: char, has_escapes: bool) -> String {
        let mut text = String::new();
        while let Some((_, letter)) = self.next() {
            match letter {
                letter if letter == quote => break,
                '\\' if has_escapes => {
                    let escaped = self.letters.next_if(|next| *next == quote || *next == '\\');
                    text.push(escaped.unwrap_or('\\'));
                }
                letter => text.push(letter),
            }
        }
        text
    }

    fn rest_of_word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some(letter) = self.letters.next_if(|it| !it.is_whitespace()) {
            word.push(letter);
        }
        word
    }

    /// A word may contain `${name}`.
    fn nginx_word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        if first == '\\' {
            word.extend(self.letters.next_if(|it| *it != '\n'));
        }
        while let Some(&letter) = self.letters.peek() {
            let opens = letter == '{' && word.ends_with('$');
            if letter.is_whitespace() || letter == ';' || (letter == '{' && !opens) {
                break;
            }
            self.next();
            word.push(letter);
            if opens {
                while let Some(letter) = self.letters.next_if(|it| !matches!(it, '}' | '\n' | ';'))
                {
                    word.push(letter);
                }
                if self.skip_if('}') {
                    word.push('}');
                }
            } else if letter == '}' {
                break;
            } else if letter == '\\' {
                word.extend(self.letters.next_if(|it| *it != '\n'));
            }
        }
        word
    }

    /// Up to a line that is the mark alone.
    fn heredoc(&mut self, mark: &str) -> String {
        let mut text = String::new();
        self.skip_line();
        while self.next().is_some() {
            let mut line = String::new();
            while let Some(letter) = self.letters.next_if(|it| *it != '\n') {
                line.push(letter);
            }
            if line.trim() == mark {
                break;
            }
            text += &line;
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(blocks: &Blocks) -> Vec<String> {
        let one = |it: &Directive| {
            let parent = it.parent.map_or(String::new(), |at| blocks.all[at].name().to_owned());
            format!("{} {parent}>{}", it.line, it.words.join("|"))
        };
        blocks.all.iter().map(one).collect()
    }

    #[test]
    fn blocks_of_nginx_are_nested() {
        let text =
            "a b; # c;\nd {\n  e \"f; {\" 'g\n';\n  h ${i}x\n  \\;j;\n  k ~ ^/l\\.m$ { n; }\n}\no";
        assert_eq!(
            told(&nginx(text)),
            [
                "1 >a|b",
                "2 >d",
                "3 d>e|f; {|g\n",
                "5 d>h|${i}x|\\;j",
                "7 d>k|~|^/l\\.m$",
                "7 k>n",
                "9 >o"
            ]
        );
    }

    #[test]
    fn blocks_of_caddy_are_nested() {
        let text = "{\n  admin off\n}\nhttp://:80, a {\n  b {c} \"d # {\" # e\n  f `g` \\\n    h\n  i <<X\n  j {\n  X\n  k {\n    l\n  }\n}\n";
        assert_eq!(
            told(&caddy(text)),
            [
                "1 >",
                "2 >admin|off",
                "4 >http://:80,|a",
                "5 http://:80,>b|{c}|d # {",
                "6 http://:80,>f|g|h",
                "8 http://:80,>i|  j {\n",
                "11 http://:80,>k",
                "12 k>l"
            ]
        );
    }
}
