//! Questions on a terminal, each with a default.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::error::{Error, Result};

/// Asks on the terminal, or takes the defaults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Questions {
    is_asking: bool,
}

impl Questions {
    /// Asks if there is a terminal to ask on, unless `silent` is set.
    pub(super) fn new(silent: bool) -> Self {
        let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        Self { is_asking: is_terminal && !silent }
    }

    /// Whether questions are asked.
    pub(super) fn is_asking(self) -> bool {
        self.is_asking
    }

    /// Asks until `parse` accepts the answer. An empty answer means the default. If no questions are asked,
    /// takes the default.
    pub(super) fn ask<T>(
        self,
        question: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<T> {
        if !self.is_asking {
            return parse(default);
        }
        loop {
            let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
            let answer = read(&format!("{question}{shown}: "))?;
            match parse(if answer.is_empty() { default } else { &answer }) {
                Ok(value) => return Ok(value),
                Err(error) => say(&format!("  {error}\n"))?,
            }
        }
    }

    /// Whether the answer is yes, which is the default.
    pub(super) fn confirm(self, question: &str) -> Result<bool> {
        self.ask(question, "Y", |answer| match answer.to_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err(Error::config("answer y or n")),
        })
    }
}

fn read(prompt: &str) -> Result<String> {
    say(prompt)?;
    let mut line = Vec::new();
    let count = io::stdin().lock().read_until(b'\n', &mut line).map_err(|error| lost(&error))?;
    if count == 0 {
        return Err(Error::config("there is no answer: the input has ended")
            .hint("nothing was changed; --yes takes the defaults without questions"));
    }
    let text = String::from_utf8_lossy(&line);
    Ok(text.trim().to_owned())
}

fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| lost(&error))
}

fn lost(error: &io::Error) -> Error {
    Error::config(format!("cannot ask on the terminal: {error}")).hint("nothing was changed")
}
