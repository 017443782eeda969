//! The account of the process that serves clients: `user` and `group` of the global `[gateway]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Uid, User};
use rustix::fs::Access;

use crate::account::Account;
use crate::config::Global;
use crate::control::Gateway;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::pool::{self, Pool};
use crate::privsep::Identity;
use crate::release::Release;
use crate::root::Root;
use crate::runtime;

/// The account of the child. None: there is no child, and this process serves clients itself. Error: the
/// account does not exist, this process must not or cannot take it, or the account cannot read the
/// configuration. Blocks for a moment.
pub fn identity(root: &Root, global: &Global) -> Result<Option<Identity>> {
    let Some(account) = account(global)? else { return Ok(None) };
    if let Some(error) = unreadable(&account, root, global) {
        return Err(error);
    }
    let Some((uid, gid, groups)) = account.ids() else { return Ok(None) };
    Ok(Some(Identity { name: account.name, uid, gid, groups }))
}

/// The account of the child. None: this process serves clients itself.
fn account(global: &Global) -> Result<Option<Account>> {
    let (user, group) = (global.front.user.as_str(), global.front.group.as_str());
    let file = global.path.display();
    if user.is_empty() {
        if group.is_empty() {
            return Ok(None);
        }
        return Err(Error::config(format!("group in {file} needs a user"))
            .hint("add user to [gateway], or remove group"));
    }
    if !Uid::effective().is_root() {
        return refuse_another(user, group, &file.to_string()).map(|()| None);
    }
    if Account::named(user, None).is_none() {
        return Err(Error::config(format!("there is no user \"{user}\" (user in {file})"))
            .hint("make it: useradd --system --no-create-home NAME; or name another one"));
    }
    let group = Some(group).filter(|group| !group.is_empty());
    let Some(account) = Account::named(user, group) else {
        let group = group.unwrap_or_default();
        return Err(Error::config(format!("there is no group \"{group}\" (group in {file})"))
            .hint("make it: groupadd --system NAME; or name another one"));
    };
    let (uid, gid, groups) = account.ids().unwrap_or_default();
    if uid == 0 || gid == 0 || groups.contains(&0) {
        let what = if uid == 0 { "user" } else { "group" };
        return Err(Error::config(format!("the gateway cannot be of the {what} root (user in {file})"))
            .hint("name an account of its own, such as pools-gateway; or remove the key, and all of serve is root's"));
    }
    Ok(Some(account))
}

/// An ordinary user cannot become another one.
fn refuse_another(user: &str, group: &str, file: &str) -> Result<()> {
    let own = Uid::effective();
    let found = match user.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(user),
    };
    let is_own = found.ok().flatten().is_some_and(|found| found.uid == own);
    if is_own && group.is_empty() {
        return Ok(());
    }
    let name = Account::own().name;
    let what = if is_own { "change its group" } else { "become another user" };
    Err(Error::config(format!(
        "only root can {what}, and serve was started by {name} (user in {file})"
    ))
    .hint(format!("start serve as root, or remove user and group from {file}")))
}

/// The error for the first file or directory that the account must read to serve anything, and cannot.
fn unreadable(account: &Account, root: &Root, global: &Global) -> Option<Error> {
    let pools = pool::names(root).unwrap_or_default();
    let files = pools.iter().map(|name| root.pools_dir().join(name).join(pool::FILE_NAME));
    let read = std::iter::once(global.path.clone()).chain(files).map(|it| (it, Access::READ_OK));
    let dirs =
        [(root.pools_dir(), Access::READ_OK | Access::EXEC_OK), (root.pid_dir(), Access::EXEC_OK)];
    let mut all = read.chain(dirs);
    let denied = all.find_map(|(path, access)| account.denied(&path, access))?;
    Some(cannot(account, "read", &denied, global))
}

fn cannot(account: &Account, what: &str, path: &Path, global: &Global) -> Error {
    let (name, shown, file) = (&account.name, path.display(), global.path.display());
    Error::config(format!("the user {name} (user in {file}) cannot {what} {shown}")).hint(format!(
        "give it access, for example by chmod o+{} {shown}",
        if path.is_dir() { "rx" } else { "r" }
    ))
}

/// The findings about the account: errors for which `serve` does not start, and directories, releases and
/// sockets that the account cannot reach. Blocks. `running`: the gateway that runs on the root.
pub(super) fn findings(
    root: &Root,
    global: &Global,
    running: &Gateway,
    served: &[&Pool],
) -> Vec<Finding> {
    if !Uid::effective().is_root() && *running != Gateway::Absent {
        // The running gateway may be root's: root can change to another account, and this user cannot.
        return Vec::new();
    }
    let account = match account(global) {
        Ok(Some(account)) => account,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![error.into()],
    };
    let mut findings: Vec<Finding> =
        unreadable(&account, root, global).map(Finding::from).into_iter().collect();
    findings.extend(no_temp_dir(&account, global));
    for pool in served {
        findings.extend(unreachable(&account, pool, global).into_iter().map(Finding::from));
    }
    findings
}

/// Large bodies and responses need the directory.
fn no_temp_dir(account: &Account, global: &Global) -> Option<Finding> {
    let dir = &global.front.temp_dir;
    let denied = account.denied(dir, Access::WRITE_OK | Access::EXEC_OK)?;
    let (name, file) = (&account.name, global.path.display());
    Some(Finding::warning(
        format!(
            "the user {name} (user in {file}) cannot create files in {} (temp_dir): large uploads get 503",
            denied.display()
        ),
        format!("give it the directory (chown), or change temp_dir in {file}"),
    ))
}

/// The errors for the release of a pool, and for the sockets of its running replicas, if the account cannot
/// reach them.
fn unreachable(account: &Account, pool: &Pool, global: &Global) -> Vec<Error> {
    let mut errors = Vec::new();
    let symlink = pool.settings.pinning.as_ref().map(|pinning| &pinning.symlink);
    if let Some(release) = symlink.and_then(|symlink| Release::resolve(symlink).ok()) {
        let denied = account.denied(&release.path, Access::EXEC_OK);
        errors
            .extend(denied.map(|path| cannot(account, "read", &path, global).of_pool(&pool.name)));
    }
    let records = runtime::discover(pool).unwrap_or_default();
    let sockets = records.iter().filter(|it| it.is_published().unwrap_or(false));
    let mut sockets: Vec<&PathBuf> = sockets.map(|it| &it.socket).collect();
    sockets.dedup();
    for socket in sockets {
        if let Some(denied) = account.denied(socket, Access::WRITE_OK) {
            let (name, shown) = (&account.name, denied.display());
            let file = global.path.display();
            errors.push(
                Error::config(format!(
                    "the user {name} (user in {file}) cannot connect to {shown}: requests get 503"
                ))
                .hint("set listen.owner, listen.group or listen.mode of php-fpm for this user, and restart the pool")
                .of_pool(&pool.name),
            );
        }
    }
    errors
}

/// Logs, at a start, the releases and sockets of the pools that the account cannot reach. Blocks.
pub(super) fn log_unreachable(root: &Root, global: &Global) {
    let Ok(Some(account)) = account(global) else { return };
    let pools = pool::names(root).unwrap_or_default();
    for pool in pools.iter().filter_map(|name| pool::load(root, name).ok()).map(Arc::new) {
        if pool.settings.backend.gateway().is_some() {
            for error in unreachable(&account, &pool, global) {
                tracing::error!(pool = %pool.name, "{}", error.in_one_line());
            }
        }
    }
}
