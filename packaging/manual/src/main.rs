//! `manual DIR`: writes the man pages and shell completions below DIR, such as `/usr/local/share`.

use std::env;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [share] = &arguments[..] else {
        eprintln!(
            "usage: manual DIR\n\nDIR is a directory such as /usr/local/share or ~/.local/share"
        );
        return ExitCode::from(2);
    };
    match manual::write(Path::new(share)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
