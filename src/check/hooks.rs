//! Checks that the programs in `[hooks]` can be run.

use std::env;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::Hook;
use crate::finding::{Checked, Finding, Topic, untrusted};
use crate::hook;
use crate::pool::Pool;
use crate::trust;

/// Checks the hooks; None: no hook is set.
pub(super) fn check(pool: &Pool) -> Option<Checked> {
    let hooks = &pool.settings.hooks;
    let set: Vec<Hook> =
        Hook::ALL.into_iter().filter(|hook| hooks.command(*hook).is_some()).collect();
    if set.is_empty() {
        return None;
    }
    let notes = set.iter().map(ToString::to_string);
    let findings = set.iter().filter_map(|hook| check_program(pool, *hook));
    let untrusted = untrusted(trust::hook_programs(pool));
    Some(Checked::new(Topic::Hooks, notes, findings.chain(untrusted)))
}

fn check_program(pool: &Pool, hook: Hook) -> Option<Finding> {
    let words = match pool.fill_in(pool.settings.hooks.command(hook)?) {
        Ok(words) => words,
        Err(error) => return Some(error.into()),
    };
    let program = hook::locate(&pool.root, words.first()?);
    let problem = problem(&program)?;
    let settings = pool.settings_file();
    Some(Finding::error(
        format!("{hook}: {}: {problem}", program.display()),
        format!("correct it in {}, or make the file executable (chmod +x)", settings.display()),
    ))
}

/// Why a program cannot be run; None: it can.
fn problem(program: &Path) -> Option<String> {
    if program.is_absolute() {
        return match access(program, Access::EXEC_OK) {
            Ok(()) if program.is_dir() => Some("it is a directory".to_owned()),
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
    }
    let dirs = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&dirs).map(|dir: PathBuf| dir.join(program));
    let found = places.any(|place| place.is_file() && access(&place, Access::EXEC_OK).is_ok());
    (!found).then(|| "there is no such program in PATH".to_owned())
}
