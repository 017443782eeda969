//! Where the programs and files of the package are.
//!
//! `CARGO_BIN_EXE_*` exists only in the tests of the package itself, not in this crate. It also is
//! a path of the machine that built the test, while `.ci/run` copies the tests to another directory.

use std::env;
use std::path::{Path, PathBuf};

/// A program of the package, by its name. Cargo puts the programs into `target/PROFILE/`, and the
/// tests into `deps/` below it.
pub fn program_path(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join(name)
}

/// The directory of the package, with `etc/` and `www/`.
pub fn package_dir() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(built, PathBuf::from)
}
