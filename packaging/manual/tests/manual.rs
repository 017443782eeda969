//! The man pages and completions, read by man and by the shells.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pools_manager::cli::programs;
use tempfile::TempDir;

fn written() -> TempDir {
    let share = tempfile::tempdir().unwrap();
    manual::write(share.path()).unwrap();
    share
}

/// The output of a program, which has to succeed and to print no error.
fn run(program: &str, args: &[&OsStr]) -> String {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").env("MANROFFSEQ", "");
    // fish writes files below the home directory.
    let home = tempfile::tempdir().unwrap();
    command.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && error.is_empty(), "{program} {args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All commands that the help shows, with their subcommands.
fn commands() -> Vec<clap::Command> {
    fn add(command: &clap::Command, all: &mut Vec<clap::Command>) {
        for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            add(below, all);
        }
        all.push(command.clone());
    }
    let mut all = Vec::new();
    for program in programs() {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        add(&program, &mut all);
    }
    all
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn each_command_has_its_man_page() {
    let share = written();
    let dir = share.path().join("man/man1");
    let commands = commands();
    assert!(commands.len() > 20, "{}", commands.len());
    let wanted = commands.iter().map(|it| format!("{}.1", manual::page_name(it))).collect();
    assert_eq!(names(&dir), wanted);
}

#[test]
fn page_has_all_options_and_is_rendered_without_a_warning() {
    let share = written();
    for command in commands() {
        let name = manual::page_name(&command);
        let page = share.path().join(format!("man/man1/{name}.1"));
        let text = run("man", &["--warnings".as_ref(), "-l".as_ref(), page.as_os_str()]);
        let about = command.get_about().unwrap().to_string();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = words(&text.replace("‐\n", "").replace('‐', "-"));
        for part in [&format!("{name} - "), &words(about.lines().next().unwrap()), "SEE ALSO"] {
            assert!(text.contains(part), "{part:?} is not in {name}: {text}");
        }
        for option in command.get_arguments().filter(|it| !it.is_hide_set()) {
            let Some(long) = option.get_long() else { continue };
            assert!(text.contains(&format!("--{long}")), "--{long} is not in {name}: {text}");
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let share = written();
    let dir = share.path().join("bash-completion/completions");
    // As bash does it at a tab: COMP_WORDS has the words, and the function gets three arguments.
    let script = r#"
        set -u
        . "$1"
        shift
        name=$1
        complete -p "$name" >/dev/null || exit 1
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        function_name=$(complete -p "$name" | sed 's/.*-F \([^ ]*\) .*/\1/')
        "$function_name" "$name" "${*: -1}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let complete = |words: &[&str]| -> BTreeSet<String> {
        let file = dir.join(words[0]);
        let fixed = ["--norc", "-c", script, "bash"].map(OsStr::new);
        let words = words.iter().map(OsStr::new);
        let args: Vec<_> = fixed.into_iter().chain([file.as_os_str()]).chain(words).collect();
        run("bash", &args).lines().map(str::to_owned).collect()
    };
    let commands = complete(&["pools-manager", "re"]);
    assert!(
        ["releases", "repair", "restart"].iter().all(|it| commands.contains(*it)),
        "{commands:?}"
    );
    assert!(!commands.contains("status"), "{commands:?}");
    assert!(complete(&["pools-manager", "restart", "--str"]).contains("--strategy"));
    assert!(complete(&["pools-manager", "restart", "--strategy", ""]).contains("swap"));
    assert!(complete(&["balancer-manager", "url", "name", "set"]).contains("set-drain"));
    for program in programs() {
        let name = program.get_name();
        assert!(complete(&[name, "--hel"]).contains("--help"), "{name}");
    }
    assert_eq!(names(&dir).len(), programs().len());
}

#[test]
fn zsh_loads_the_completions() {
    let share = written();
    let dir = share.path().join("zsh/site-functions");
    for file in names(&dir) {
        run("zsh", &["-f".as_ref(), "-n".as_ref(), dir.join(file).as_os_str()]);
    }
    // compinit reads the first line of each file, and names the function for each command.
    let script = "fpath=($1 $fpath); autoload -Uz compinit; compinit -D -u; \
                  for name in ${@:2}; do print $name $_comps[$name]; autoload +X $_comps[$name]; done";
    let programs: Vec<_> = programs().iter().map(|it| it.get_name().to_owned()).collect();
    let fixed = ["-f", "-c", script, "zsh"].map(OsStr::new);
    let args: Vec<_> = fixed.into_iter().chain([dir.as_os_str()]).collect();
    let names = programs.iter().map(OsStr::new);
    let printed = run("zsh", &args.into_iter().chain(names).collect::<Vec<_>>());
    let wanted: Vec<_> = programs.iter().map(|name| format!("{name} _{name}")).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn fish_completes_commands_and_options() {
    let share = written();
    let dir = share.path().join("fish/vendor_completions.d");
    let complete = |program: &str, line: &str| -> Vec<String> {
        let file: PathBuf = dir.join(format!("{program}.fish"));
        let script = "source $argv[1]; complete -C $argv[2]";
        let fixed = ["--no-config", "-c", script].map(OsStr::new).into_iter();
        let args: Vec<_> = fixed.chain([file.as_os_str(), OsStr::new(line)]).collect();
        run("fish", &args).lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    };
    let commands = complete("pools-manager", "pools-manager resta");
    assert!(commands.contains(&"restart".to_owned()), "{commands:?}");
    for program in programs() {
        let name = program.get_name();
        assert!(complete(name, &format!("{name} --hel")).contains(&"--help".to_owned()), "{name}");
    }
    assert_eq!(names(&dir).len(), programs().len());
}
