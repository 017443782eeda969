//! Files that a test writes and executes.
//!
//! The kernel refuses to execute a file that a process has open for writing (`ETXTBSY`). While the
//! test has it open, another thread can fork a child, which shares the descriptor until it executes
//! its own program. So `install` writes these files: it forks no children.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;

/// Copies a program. All users may execute the copy.
pub fn copy_program(from: &Path, to: &Path) {
    install(File::open(from).unwrap(), to);
}

/// Writes a script that all users may execute.
pub fn write_script(to: &Path, script: &str) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(script.as_bytes()).unwrap();
    file.rewind().unwrap();
    install(file, to);
}

fn install(from: File, to: &Path) {
    let mut command = Command::new("install");
    command.args(["-D", "-m", "755", "/dev/stdin"]).arg(to).stdin(from);
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
