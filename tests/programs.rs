//! What all programs of the package have in common.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::path::Path;
use std::process::Command;

use harness::program_path;
use pools_manager::cli::programs;

#[test]
fn version_has_the_name_of_the_program() {
    for program in programs() {
        let name = program.get_name();
        let output = Command::new(program_path(name)).arg("--version").output().unwrap();
        let version = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), version);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

/// Man pages and completions exist only for the programs in [`programs`].
#[test]
fn list_of_programs_has_each_binary() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin").read_dir().unwrap();
    let sources = sources.map(|entry| entry.unwrap().path());
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut built: Vec<_> = sources.map(|path| stem(&path)).collect();
    built.push("pools-manager".to_owned());
    let mut known: Vec<_> = programs().iter().map(|it| it.get_name().to_owned()).collect();
    built.sort();
    known.sort();
    assert_eq!(known, built);
}
