//! php-fpm's part of `check`: the program, and the replicas' resolved configurations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::start_check::outside;
use super::{Command, Demand, Installed, Resolved, uploads};
use crate::account::Account;
use crate::config::Global;
use crate::error::Result;
use crate::finding::{Checked, Finding, Topic, by_replica, untrusted};
use crate::machine::Machine;
use crate::pool::Pool;
use crate::release::Release;
use crate::runtime::{Inspected, LogKind, Spec};
use crate::trust;

/// Runs php-fpm for all replicas in parallel, as for a start on `release`.
pub(in crate::runtime) async fn inspect(
    pool: &Arc<Pool>,
    release: Option<Release>,
    turns: &Semaphore,
) -> Inspected {
    match run(pool, release, turns).await {
        Ok(outputs) => outputs.judge(pool),
        Err(error) => Inspected {
            specs: Vec::new(),
            account: None,
            checked: Checked::new(Topic::PhpFpm, [], [error.into()]),
        },
    }
}

/// What the runs of php-fpm have printed.
struct Outputs {
    program: String,
    args: Vec<String>,
    release: Option<Release>,
    installed: Result<Installed>,
    /// For each replica, ascending.
    resolved: Vec<(u32, Result<Resolved>)>,
}

async fn run(pool: &Arc<Pool>, release: Option<Release>, turns: &Semaphore) -> Result<Outputs> {
    let _turn = turns.acquire().await;
    let command = Arc::new(Command::of(pool)?);
    let mut runs = JoinSet::new();
    for replica in pool.replicas() {
        let (pool, command, release) = (Arc::clone(pool), Arc::clone(&command), release.clone());
        runs.spawn(async move {
            (replica, Resolved::read(&pool, &command, replica, release.as_ref()).await)
        });
    }
    let installed = Installed::read(pool, &command, release.as_ref()).await;
    let mut resolved = runs.join_all().await;
    resolved.sort_by_key(|(replica, _)| *replica);
    let (program, args) = (command.program.clone(), command.args.clone());
    Ok(Outputs { program, args, release, installed, resolved })
}

impl Outputs {
    fn judge(self, pool: &Pool) -> Inspected {
        let accepted =
            |(replica, it): &(u32, Result<Resolved>)| Some((*replica, it.as_ref().ok()?.clone()));
        let resolved: Vec<(u32, Resolved)> = self.resolved.iter().filter_map(accepted).collect();
        Inspected {
            account: account(&resolved),
            checked: check(pool, self, &resolved),
            specs: resolved.into_iter().map(|(replica, it)| (replica, Spec::PhpFpm(it))).collect(),
        }
    }
}

/// The account that runs PHP. If the replicas differ, the first replica's.
fn account(resolved: &[(u32, Resolved)]) -> Option<Account> {
    resolved.first().and_then(|(_, resolved)| account_of(resolved))
}

fn account_of(resolved: &Resolved) -> Option<Account> {
    match &resolved.user {
        Some(user) => Account::named(user, resolved.group.as_deref()),
        None => Some(Account::own()),
    }
}

fn check(pool: &Pool, outputs: Outputs, resolved: &[(u32, Resolved)]) -> Checked {
    let current_dir = pool.settings.current_dir();
    let mut notes = Vec::new();
    let mut findings = Vec::new();
    let mut shared = None;
    match outputs.installed {
        Ok(installed) => {
            shared = installed.file_cache.as_deref().and_then(|it| shared_cache(it, current_dir));
            let of_php = resolved.iter().flat_map(|(replica, it)| {
                let uploads = uploads(pool, it, &installed, &outputs.args);
                let log = unwritable_log(pool, it, &installed, outputs.release.as_ref());
                uploads.into_iter().chain(log).map(|finding| (*replica, finding))
            });
            findings.extend(by_replica(of_php.collect::<Vec<_>>()));
            notes.push(installed.version);
        }
        Err(error) => findings.push(error.into()),
    }
    let program = trust::program(&pool.root, &outputs.program);
    notes.push(outputs.program);
    findings.extend(outputs.resolved.into_iter().filter_map(|(_, it)| it.err()).map(Finding::from));
    let of_sections = resolved
        .iter()
        .flat_map(|(replica, it)| section(it, current_dir).map(|finding| (*replica, finding)));
    findings.extend(by_replica(of_sections.collect::<Vec<_>>()));
    findings.extend(shared);
    findings.extend(capacity(resolved));
    findings.extend(untrusted(program));
    notes.extend(own_paths(resolved));
    Checked::new(Topic::PhpFpm, notes, findings)
}

fn section<'a>(
    resolved: &Resolved,
    current_dir: Option<&'a Path>,
) -> impl Iterator<Item = Finding> + use<'a> {
    let stop = (!resolved.stops_gently).then(|| {
        Finding::warning(
            "process_control_timeout is 0: a php-fpm that is started by other means cuts its requests when it is stopped",
            "set process_control_timeout = 60s in [global]; generations get the drain timeout for now",
        )
    });
    let cache = resolved.file_cache.as_deref().and_then(|it| shared_cache(it, current_dir));
    stop.into_iter().chain(cache)
}

/// Whether PHP accepts smaller bodies than the gateway in front of it.
fn uploads(
    pool: &Pool,
    resolved: &Resolved,
    installed: &Installed,
    args: &[String],
) -> Option<Finding> {
    pool.settings.backend.gateway()?;
    let global = Global::read(&pool.root).ok()?;
    let is_argument = args.iter().any(|it| it.contains("upload_max") || it.contains("post_max"));
    let ini = match &installed.ini {
        _ if is_argument => "php_fpm_cmd or php.ini".to_owned(),
        Some(path) => path.display().to_string(),
        None => "the default of PHP".to_owned(),
    };
    let limits = uploads::Limits {
        section: &resolved.uploads,
        installed: &installed.uploads,
        accepts_files: installed.accepts_files,
        ini: &ini,
        max_body: global.front.max_body,
        global: &global.path,
    };
    limits.finding()
}

/// Whether PHP's own error log can be written by the account that runs PHP.
fn unwritable_log(
    pool: &Pool,
    resolved: &Resolved,
    installed: &Installed,
    release: Option<&Release>,
) -> Option<Finding> {
    let own = resolved.logs.iter().find(|log| log.kind == LogKind::Php).map(|log| &log.path);
    let path = own.or(installed.error_log.as_ref()).filter(|path| path.is_absolute())?;
    let account = account_of(resolved)?;
    let error = account.can_append(&outside(pool, release, path)).err()?;
    let (account, shown) = (&account.name, path.display());
    Some(Finding::warning(
        format!("{account}, who runs PHP, cannot write PHP's error_log {shown}: {error}"),
        format!(
            "make its directory, and let {account} write there; or set php_admin_value[error_log]"
        ),
    ))
}

/// Whether the children of all replicas fit on the machine, with the same messages as `start`.
fn capacity(resolved: &[(u32, Resolved)]) -> Option<Finding> {
    let (demand, machine) = (Demand::of(resolved.iter().map(|(_, it)| it)), Machine::read());
    // `at_once` is 0: the replicas may run already, so only their maximum counts here.
    match demand.refusal(0, &machine) {
        Some(error) => Some(error.into()),
        None => demand.warning(&machine).map(|(text, help)| Finding::warning(text, help)),
    }
}

/// A warning for a cache outside the mount point: all releases share it, because PHP sees each release
/// at the same path. Below the mount point, each release has a cache of its own.
fn shared_cache(cache: &Path, current_dir: Option<&Path>) -> Option<Finding> {
    let current_dir = current_dir?;
    (!cache.starts_with(current_dir)).then(|| {
        Finding::warning(
            format!(
                "opcache.file_cache is {}: all releases share it, so a new one may run the old one's code",
                cache.display()
            ),
            format!(
                "leave it unset, or put it into the release: {}",
                PathBuf::from(current_dir).join("...").display()
            ),
        )
    })
}

/// Notes for paths that the operator has not set, and that pools-manager sets for its generations.
fn own_paths(resolved: &[(u32, Resolved)]) -> Vec<String> {
    let any = |is_unset: fn(&Resolved) -> bool| resolved.iter().any(|(_, it)| is_unset(it));
    let unset = [
        ("ping.path", any(|it| it.ping_path.is_none())),
        ("pm.status_path", any(|it| it.status_path.is_none())),
    ];
    let unset = unset.into_iter().filter(|(_, is_unset)| *is_unset);
    unset.map(|(name, _)| format!("{name} is not set: pools-manager sets one")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::generation::fuzz;

    fn resolved() -> Resolved {
        let (ping_path, status_path) = (Some("/ping".to_owned()), Some("/status".to_owned()));
        Resolved { ping_path, status_path, ..fuzz::resolved() }
    }

    #[test]
    fn cache_below_current_dir_is_not_shared() {
        let current_dir = Some(Path::new("/srv/www/current"));
        let found = |cache: &str, dir| shared_cache(Path::new(cache), dir).is_some();
        assert!(found("/var/cache/php", current_dir));
        assert!(found("/srv/www/current2", current_dir));
        assert!(!found("/srv/www/current/cache", current_dir));
        assert!(!found("/var/cache/php", None));
    }

    #[test]
    fn correct_section_has_no_finding() {
        let dir = Some(Path::new("/srv/www/current"));
        assert_eq!(section(&resolved(), dir).count(), 0);
        assert!(own_paths(&[(1, resolved())]).is_empty());
        let file_cache = Some("/var/cache/php".into());
        let bad = Resolved { stops_gently: false, ping_path: None, file_cache, ..resolved() };
        assert_eq!(section(&bad, dir).count(), 2);
        assert_eq!(own_paths(&[(1, bad)]), ["ping.path is not set: pools-manager sets one"]);
    }
}
