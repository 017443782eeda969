//! Reads the command line, and prints its mistakes.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, ValueEnum};

use crate::error::{Error, Exit};
use crate::render::colour::When;
use crate::render::print_error;

/// The commands that a mistyped one may suggest: they change nothing.
const READS: [&str; 9] =
    ["status", "check", "list", "config", "releases", "history", "logs", "snippet", "help"];

/// Reads the command line. If it is wrong, or asks for the help, prints that and returns the exit status.
pub fn parse<P: Parser>() -> Result<P, ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    // clap prints in colour too, and before it has read the options.
    let early = Early::of(&args);
    early.color.decide();
    P::try_parse_from(args).map_err(|error| early.report(error))
}

/// The options that decide how a mistake in the command line is printed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Early {
    json: bool,
    color: When,
}

impl Early {
    fn of(args: &[OsString]) -> Self {
        let mut early = Self::default();
        let mut args =
            args.iter().skip(1).filter_map(|arg| arg.to_str()).take_while(|it| *it != "--");
        while let Some(arg) = args.next() {
            let color = match arg.strip_prefix("--color") {
                Some("") => args.next(),
                Some(value) => value.strip_prefix('='),
                None => None,
            };
            early.json |= arg == "--json";
            early.color =
                color.and_then(|it| When::from_str(it, false).ok()).unwrap_or(early.color);
        }
        early
    }

    fn report(&self, mut error: clap::Error) -> ExitCode {
        only_suggest_reads(&mut error);
        if self.json && error.use_stderr() {
            print_error(&as_error(&error), true);
            return Exit::Config.into();
        }
        // A closed pipe changes nothing about the exit status.
        let _ = error.print();
        if error.use_stderr() { Exit::Config.into() } else { ExitCode::SUCCESS }
    }
}

/// Removes the suggestions of commands that change something.
fn only_suggest_reads(error: &mut clap::Error) {
    if let Some(ContextValue::Strings(mut commands)) =
        error.remove(ContextKind::SuggestedSubcommand)
    {
        commands.retain(|command| READS.contains(&&**command));
        if !commands.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(commands));
        }
    }
    // "'restart --canary' exists", for an option that the command does not have.
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
}

/// clap's message: the first paragraph is what is wrong, the rest is help.
fn as_error(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let (first, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let message: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    let help = rest.split("\n\n").filter(|it| !it.starts_with("For more information"));
    let help: Vec<&str> = help.map(str::trim).filter(|it| !it.is_empty()).collect();
    Error { hint: Some(help.join("\n")), ..Error::config(message.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    fn mistake(line: &str) -> String {
        let mut error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        only_suggest_reads(&mut error);
        error.render().to_string()
    }

    #[test]
    fn typo_suggests_only_commands_that_change_nothing() {
        for (typo, tip) in
            [("stat", "status"), ("chekc", "check"), ("lst", "list"), ("histry", "history")]
        {
            let text = mistake(&format!("pools-manager {typo}"));
            assert!(text.contains(" exist") && text.contains(&format!("'{tip}'")), "{text}");
        }
        for typo in ["sto", "strat", "restrat", "swich", "rolback", "repiar", "serv", "star"] {
            let text = mistake(&format!("pools-manager {typo}"));
            for command in Cli::command().get_subcommands().map(clap::Command::get_name) {
                let is_named = text.contains(&format!("'{command}'"));
                assert!(!is_named || READS.contains(&command), "{text}");
            }
        }
        let text = mistake("pools-manager --canary 5s");
        assert!(!text.contains("restart"), "{text}");
    }

    #[test]
    fn suggested_commands_exist() {
        for command in READS.iter().filter(|it| **it != "help") {
            assert!(Cli::command().find_subcommand(command).is_some(), "{command}");
        }
    }

    #[test]
    fn options_for_mistakes_are_read_before_the_others() {
        let early =
            |line: &str| Early::of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let is = |json, color| Early { json, color };
        assert_eq!(early("p status"), is(false, When::Auto));
        assert_eq!(early("p nonsense --color always --json"), is(true, When::Always));
        assert_eq!(early("p --color=never"), is(false, When::Never));
        assert_eq!(early("p --color"), is(false, When::Auto));
        assert_eq!(early("p --color loud -- --json"), is(false, When::Auto));
    }

    #[test]
    fn mistake_is_a_message_and_a_help() {
        let error = Cli::try_parse_from(["p", "restart", "--tiemout", "3"]).unwrap_err();
        let error = as_error(&error);
        assert_eq!(error.message, "unexpected argument '--tiemout' found");
        let help = error.hint.unwrap();
        assert!(help.contains("'--timeout'") && help.contains("Usage: "), "{help}");
        let error = as_error(&Cli::try_parse_from(["p", "switch", "www"]).unwrap_err());
        assert_eq!(error.message, "the following required arguments were not provided: <RELEASE>");
    }
}
