//! Colours, on a terminal that shows them. `--color`, `NO_COLOR` and `CLICOLOR_FORCE` decide otherwise.

use std::io;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl When {
    /// Decides for the whole process, for clap's messages too.
    pub fn decide(self) {
        let choice = match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Something is broken.
    Bad,
    /// Something needs attention.
    Warning,
    /// Nothing to look at.
    Faint,
    /// A word that is to be found.
    Strong,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Faint => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }

    fn paint(self, text: &str, is_shown: bool) -> String {
        let style = self.style();
        if is_shown { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Text for standard output.
    pub fn on_stdout(self, text: &str) -> String {
        self.paint(text, AutoStream::choice(&io::stdout()) != ColorChoice::Never)
    }

    /// Text for standard error.
    pub fn on_stderr(self, text: &str) -> String {
        self.paint(text, AutoStream::choice(&io::stderr()) != ColorChoice::Never)
    }
}

/// A verdict in brackets, for standard output: `[OK]`.
pub fn bracketed(word: &str) -> String {
    let text = format!("[{word}]");
    match word {
        "OK" => Tone::Good.on_stdout(&text),
        "Error" | "FAILED" => Tone::Bad.on_stdout(&text),
        "Warning" => Tone::Warning.on_stdout(&text),
        "Stopped" => Tone::Faint.on_stdout(&text),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_plain_unless_colours_are_shown() {
        assert_eq!(Tone::Good.paint("[OK]", false), "[OK]");
        assert_eq!(Tone::Good.paint("[OK]", true), "\x1b[32m[OK]\x1b[0m");
    }
}
