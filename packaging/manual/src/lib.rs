//! Writes the man pages and the completions for bash, zsh and fish.
//!
//! Both come from the command lines of the programs, so they have all commands and options. The programs
//! need neither when they run, so this is a package of its own: the programs stay smaller, and a build of
//! the programs alone does not compile the code that writes these files.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use pools_manager::cli::programs;

/// The name of the manual in the heading of each page, beside the version of the programs.
const MANUAL: &str = "pools-manager";

/// The end of each page.
const SEE_ALSO: &str = "\
.SH \"SEE ALSO\"
.BR pools\\-manager (1),
.BR ps\\-list (1),
.BR fcgi\\-request (1),
.BR balancer\\-manager (1),
.BR ping\\-stress (1),
.BR sleep\\-stress (1)
";

/// The files that matter to an operator. Only the page of `pools-manager` itself lists them.
const FILES: &str = "\
.SH FILES
Relative paths are below the root.
.TP
.I etc/pools\\-manager.toml
Settings for all pools: the gateway, the supervisor, the log
.TP
.I etc/php/fpm/redundant\\-pools/POOL/pools\\-manager.toml
Settings of a pool
.TP
.I etc/php/fpm/redundant\\-pools/POOL/N.conf
The php\\-fpm configuration of replica N
.TP
.I pid/
Locks, history, pid files and the records of generations
.TP
.I sockets/
The sockets of the replicas, and the control socket of serve
.TP
.I /var/lib/pools\\-manager
The root of the Debian package; its etc leads to
.I /etc/pools\\-manager
";

/// Writes all files below `share`, in the layout of `/usr/local/share`:
/// `man/man1`, `bash-completion/completions`, `zsh/site-functions` and `fish/vendor_completions.d`.
///
/// # Errors
///
/// A directory or file cannot be written; the error names it.
pub fn write(share: &Path) -> io::Result<()> {
    for mut program in programs() {
        let name = program.get_name().to_owned();
        let completions = [
            (Shell::Bash, "bash-completion/completions", name.clone()),
            (Shell::Zsh, "zsh/site-functions", format!("_{name}")),
            (Shell::Fish, "fish/vendor_completions.d", format!("{name}.fish")),
        ];
        for (shell, dir, file) in completions {
            let mut text = Vec::new();
            generate(shell, &mut program, &name, &mut text);
            if shell == Shell::Bash {
                text = with_matching_states(&text, &name);
            }
            write_file(&share.join(dir).join(file), &text)?;
        }
    }
    // The command lines are read again: the completions have added the command `help`, which has no page.
    for program in programs() {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        // Subcommands inherit no version.
        let version = program.get_version().unwrap_or_default();
        write_pages(&program, version, &share.join("man/man1"))?;
    }
    Ok(())
}

/// A completion for bash of a program that has a hyphen in its name.
///
/// `clap_complete` 4.6.11 sets the state after a command under one name and looks it up under another. So
/// nothing is completed after the first word: <https://github.com/clap-rs/clap/issues/6421>.
fn with_matching_states(text: &[u8], name: &str) -> Vec<u8> {
    let state = |separator| format!("{}__subcmd__", name.replace('-', separator));
    String::from_utf8_lossy(text).replace(&state("__subcmd__"), &state("__")).into_bytes()
}

/// The name of a command's page, such as `pools-manager-restart`.
pub fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// Writes the page of a command, and the pages of its subcommands.
fn write_pages(command: &Command, version: &str, dir: &Path) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        write_pages(command, version, dir)?;
    }
    let name = page_name(command);
    let mut page = Vec::new();
    let source = format!("{MANUAL} {version}");
    Man::new(command.clone()).title(name).manual(MANUAL).source(source).render(&mut page)?;
    let mut page =
        String::from_utf8_lossy(&page).replace(".SH EXTRA\n", ".SH NOTES\n").into_bytes();
    if name == MANUAL {
        page.write_all(FILES.as_bytes())?;
    }
    page.write_all(SEE_ALSO.as_bytes())?;
    write_file(&dir.join(format!("{name}.1")), &page)
}

fn write_file(path: &Path, text: &[u8]) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let dir = path.parent().map(PathBuf::from).unwrap_or_default();
    fs::create_dir_all(dir).and_then(|()| fs::write(path, text)).map_err(named)
}
