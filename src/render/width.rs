//! Text in the width of the terminal. Output that does not go to a terminal has no width: each line
//! stays whole, for programs that read it.

use std::io;

use terminal_size::{Width, terminal_size_of};
use textwrap::core::display_width;

use crate::wrapped::options;

/// A narrower terminal is treated as if it had this width.
const NARROWEST: usize = 40;

/// The width of the terminal on standard output; None: it is no terminal, or one of unknown width.
pub fn of_stdout() -> Option<usize> {
    terminal_size_of(io::stdout()).map(|(Width(columns), _)| usize::from(columns).max(NARROWEST))
}

/// The width of the terminal on standard error.
pub fn of_stderr() -> Option<usize> {
    terminal_size_of(io::stderr()).map(|(Width(columns), _)| usize::from(columns).max(NARROWEST))
}

/// Whether the longest line fits.
pub fn fits(text: &str, width: usize) -> bool {
    text.lines().all(|line| display_width(line) <= width)
}

/// Wraps each line between words. The continuation is indented by two columns more than the line. A word
/// that is too long stays whole: it may be a path to copy.
pub fn wrap(text: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| !fits(text, *width)) else { return text.to_owned() };
    let wrapped = |line: &str| {
        let words = line.trim_start_matches(' ');
        let indent = " ".repeat(line.len() - words.len());
        let deeper = format!("{indent}  ");
        textwrap::fill(words, options(width).initial_indent(&indent).subsequent_indent(&deeper))
            + "\n"
    };
    let mut all: String = text.lines().map(wrapped).collect();
    if !text.ends_with('\n') {
        all.pop();
    }
    all
}

/// A head, which ends with a gap, and pieces in one line, if it fits. Else the pieces follow below the
/// head, as many in a line as fit, indented by four columns.
pub fn fill(head: &str, pieces: &[String], width: Option<usize>) -> String {
    let whole = format!("{head}{}", pieces.join(" "));
    let Some(width) = width.filter(|width| display_width(&whole) > *width) else {
        return whole + "\n";
    };
    let mut lines = vec![head.trim_end().to_owned()];
    let mut line = String::new();
    for piece in pieces {
        if !line.is_empty() && 4 + display_width(&line) + 1 + display_width(piece) > width {
            lines.push(format!("    {}", std::mem::take(&mut line)));
        }
        let gap = if line.is_empty() { "" } else { " " };
        line = format!("{line}{gap}{piece}");
    }
    lines.push(format!("    {line}"));
    wrap(&(lines.join("\n") + "\n"), Some(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words() {
        let text =
            "  Warning: the path /a/very/long/path/that/stays/whole-even-so is long\nshort\n";
        assert_eq!(wrap(text, None), text);
        assert_eq!(wrap(text, Some(80)), text);
        assert_eq!(
            wrap(text, Some(30)),
            "  Warning: the path\n    /a/very/long/path/that/stays/whole-even-so\n    is long\nshort\n"
        );
        assert_eq!(wrap("", Some(40)), "");
    }

    #[test]
    fn pieces_stay_whole() {
        let pieces =
            ["(LB=\"Init Ok\",", "ping_php=\"pong\",", "current=\"release1\")"].map(str::to_owned);
        let head = "  Status for replica 1 [OK]  ";
        let below = head.trim_end();
        let all = r#"(LB="Init Ok", ping_php="pong", current="release1")"#;
        assert_eq!(fill(head, &pieces, None), format!("{head}{all}\n"));
        assert_eq!(fill(head, &pieces, Some(80)), format!("{head}{all}\n"));
        assert_eq!(fill(head, &pieces, Some(60)), format!("{below}\n    {all}\n"));
        assert_eq!(
            fill(head, &pieces, Some(40)),
            format!(
                "{below}\n    (LB=\"Init Ok\", ping_php=\"pong\",\n    current=\"release1\")\n"
            )
        );
    }

    #[test]
    fn colours_take_no_room() {
        let head = "  \x1b[32m[OK]\x1b[0m  ";
        assert_eq!(fill(head, &["x".repeat(30)], Some(40)), format!("{head}{}\n", "x".repeat(30)));
    }
}
