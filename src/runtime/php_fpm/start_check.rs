//! Why php-fpm would not start, although `-tt` accepts its configuration: a log that it cannot open,
//! or root as the account of PHP.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{Command, Resolved};
use crate::account::Account;
use crate::error::Error;
use crate::file;
use crate::pool::Pool;
use crate::release::Release;

/// The options of php-fpm with which root may run PHP.
const AS_ROOT: [&str; 2] = ["-R", "--allow-to-run-as-root"];

impl Resolved {
    /// All reasons against a start on `release`.
    pub(in crate::runtime) fn refusals(
        &self,
        pool: &Pool,
        command: &Command,
        release: Option<&Release>,
    ) -> Vec<Error> {
        let logs = self.opened.iter().filter_map(|(key, path)| {
            let error = file::can_append(&outside(pool, release, path)).err()?;
            Some(cannot_open(key, path, &error))
        });
        logs.chain(self.account_refusal(command)).collect()
    }

    /// Only root's php-fpm changes its account.
    fn account_refusal(&self, command: &Command) -> Option<Error> {
        let Self { section, user, group, .. } = self;
        let user = user.as_deref().filter(|_| geteuid().is_root())?;
        // An account that does not exist is refused by `-tt`.
        let account = Account::named(user, group.as_deref())?;
        let may_be_root = command.args.iter().any(|it| AS_ROOT.contains(&it.as_str()));
        let is_root = account.ids().is_some_and(|(user, group, _)| user == 0 || group == 0);
        (is_root && !may_be_root).then(|| {
            let message =
                format!("[{section}] runs PHP as root (user = {user}), which php-fpm refuses");
            Error::config(message).hint(
                "name another account and group, such as user = www-data; or add -R to php_fpm_cmd",
            )
        })
    }
}

/// The path of a file outside of the mount namespace of php-fpm.
pub(super) fn outside(pool: &Pool, release: Option<&Release>, path: &Path) -> PathBuf {
    let current_dir = pool.settings.current_dir();
    let below = current_dir.and_then(|dir| path.strip_prefix(dir).ok());
    match (release, below) {
        (Some(release), Some(below)) => release.path.join(below),
        _ => path.to_owned(),
    }
}

fn cannot_open(key: &str, path: &Path, error: &io::Error) -> Error {
    let dir = path.parent().unwrap_or(Path::new("/")).display();
    let shown = path.display();
    Error::config(format!("php-fpm cannot write {key} {shown}: {error}")).hint(match error.kind() {
        ErrorKind::NotFound => {
            format!("php-fpm makes the file, and not its directory: mkdir -p {dir}; or set {key}")
        }
        ErrorKind::PermissionDenied => {
            format!("set {key} to a file that you may write, or give this one to you: chown")
        }
        _ => format!("correct {key}"),
    })
}
