//! The contents of `init`: a new pool, from what the machine has and what the operator chooses.
//!
//! [`create`] is the way through: check, write, publish. Everything is checked before anything is
//! written, and php-fpm itself reads the new configuration first.

mod layout;
mod machine;
mod old_pool;
mod place;
mod release;
mod replica_files;
mod settings_file;

use std::fs;
use std::path::PathBuf;

pub use layout::Layout;
pub use machine::{Account, WebServer, is_root};
pub use old_pool::{Changed, OldPool};
pub use release::{Found, Framework, find};

use crate::config::Global;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pool;
use crate::release::{check_mount_point, first_target};
use crate::root::Root;
use crate::runtime::has_room;
use crate::runtime::php_fpm::directives;
use crate::trust;
use place::{Placed, Staging, exists};

/// What a new pool is made of.
#[derive(Debug, Clone)]
pub struct Choices {
    /// Its name.
    pub pool: String,
    /// The number of replicas.
    pub replicas: u32,
    /// The program that they run.
    pub php_fpm: PathBuf,
    /// What is in front of the pool.
    pub web_server: WebServer,
    /// The hosts of the pool in the gateway; empty: all hosts that no other pool has.
    pub hosts: Vec<String>,
    /// The address of the gateway, if `etc/pools-manager.toml` has to be written.
    pub listen: String,
    /// The symlink and the mount point.
    pub layout: Layout,
    /// The release, without any symlink; None: there is none yet.
    pub release: Option<PathBuf>,
    /// What the release is.
    pub found: Found,
    /// The account that runs PHP; None: the user who starts php-fpm.
    pub account: Option<Account>,
    /// The php-fpm pool whose directives are taken.
    pub old: Option<OldPool>,
}

/// What [`create`] has done.
#[derive(Debug)]
pub struct Created {
    /// The paths that did not exist before.
    pub paths: Vec<PathBuf>,
    /// Whether the gateway has no address: `etc/pools-manager.toml` existed, and names none.
    pub needs_listen: bool,
}

/// Refuses a name that a new pool cannot have, and one that exists.
pub fn check_name(root: &Root, name: &str) -> Result<()> {
    pool::check_name(name)?;
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    if !name.chars().all(is_plain) || name.starts_with(['.', '-']) {
        return Err(Error::config(format!("\"{name}\" is no name for a pool")).hint(
            "use letters, digits and the characters . _ -, and begin with a letter or digit",
        ));
    }
    if ["all", "single"].contains(&name) {
        return Err(Error::config(format!("\"{name}\" is a word of the command line"))
            .hint("choose another name for the pool"));
    }
    let dir = root.pools_dir().join(name);
    if fs::symlink_metadata(&dir).is_ok() {
        return Err(exists(&dir, "init overwrites nothing"));
    }
    Ok(())
}

/// Creates a pool, and what its root lacks. After an error nothing has changed.
pub async fn create(root: &Root, choices: &Choices) -> Result<Created> {
    check_name(root, &choices.pool)?;
    check_paths(root, choices)?;
    trust::require(trust::of_root(root).into_iter().chain([root.path().join("etc/php/fpm")]))?;
    let global = Global::read(root)?;
    check_configuration(root, choices).await?;

    // Rust drops these in the opposite order. So after an error, `placed` removes what another `init` could
    // rely on while `staging` still has the lock.
    let parent = root.path().join("etc/php/fpm");
    let mut above = Placed::default();
    above.dir(&parent)?;
    let mut staging = Staging::new(parent.join(".init"))?;
    let mut placed = Placed::default();
    for dir in [root.pools_dir(), root.pid_dir(), root.path().join("sockets")] {
        placed.dir(&dir)?;
    }
    placed.dir(&choices.layout.current_dir)?;
    placed.dir(choices.layout.symlink.parent().unwrap_or(root.path()))?;
    failpoint::hit("init: directories made");
    let dir = root.pools_dir().join(&choices.pool);
    let written = format!("etc/php/fpm/redundant-pools/{}", choices.pool);
    staging.write(pool::FILE_NAME, &settings_file::of_pool(root, choices))?;
    staging.write("pool.conf", &replica_files::of_all_replicas(choices, true))?;
    for replica in 1..=choices.replicas {
        let text = replica_files::of_replica(choices, replica, &written);
        staging.write(&format!("{replica}.conf"), &text)?;
    }
    let has_gateway = choices.web_server == WebServer::Gateway;
    let mut needs_listen = has_gateway && global.listens().is_err();
    if needs_listen {
        let text = settings_file::of_all_pools(&choices.listen);
        needs_listen = !placed.file(&staging, &global.path, &text)?;
    }
    if let Some(release) = &choices.release {
        let target = first_target(&choices.layout.symlink, release);
        placed.link(&choices.layout.symlink, &target)?;
    }
    failpoint::hit("init: release linked");
    staging.publish(&dir)?;
    let mut paths = above.keep();
    paths.extend(placed.keep());
    let replicas = (1..=choices.replicas).map(|replica| format!("{replica}.conf"));
    let names = [pool::FILE_NAME.to_owned(), "pool.conf".to_owned()].into_iter().chain(replicas);
    paths.extend(names.map(|name| dir.join(name)));
    Ok(Created { paths, needs_listen })
}

fn check_paths(root: &Root, choices: &Choices) -> Result<()> {
    let socket = root.path().join(replica_files::socket(&choices.pool, choices.replicas));
    if !has_room(&socket) {
        let message = format!("the path of a socket would be too long: {}", socket.display());
        return Err(Error::config(message)
            .hint("choose a shorter name for the pool, or a root with a shorter path"));
    }
    let Layout { symlink, current_dir } = &choices.layout;
    if current_dir.is_symlink() {
        return Err(exists(current_dir, "is a symlink: the release is mounted there"));
    }
    if fs::symlink_metadata(current_dir).is_ok() {
        check_mount_point(current_dir)?;
    }
    if fs::symlink_metadata(symlink).is_ok() && !symlink.is_symlink() {
        return Err(exists(symlink, "it is no symlink to a release"));
    }
    let Some(release) = &choices.release else { return Ok(()) };
    if current_dir.starts_with(release) {
        let message = format!("the release {} holds current_dir", release.display());
        return Err(Error::config(message)
            .hint("name one release, not the directory of them all; or --dir DIR"));
    }
    crate::release::Release::at(release)?.check(current_dir)?;
    match fs::canonicalize(symlink) {
        Ok(now) if now != *release => Err(exists(symlink, "leads to another release")),
        Err(_) if symlink.is_symlink() => Err(exists(symlink, "leads nowhere")),
        _ => Ok(()),
    }
}

/// Has php-fpm read the new configuration. php-fpm opens no log.
async fn check_configuration(root: &Root, choices: &Choices) -> Result<()> {
    let Some(path) = root.path().to_str() else {
        return Err(Error::config(format!("the root {} is not UTF-8", root.path().display()))
            .hint("php-fpm gets its path as text: move the root to another path"));
    };
    let text = replica_files::to_be_checked(choices);
    let args = ["-p", path];
    let sections = directives(&choices.php_fpm, root.path(), &args, &text).await?;
    match (&choices.old, sections.last()) {
        (Some(old), Some(section)) => replica_files::check_taken(old, &section.directives),
        _ => Ok(()),
    }
}

#[cfg(test)]
impl Choices {
    fn sample(root: &Root, web_server: WebServer) -> Self {
        Self {
            pool: "shop".to_owned(),
            replicas: 2,
            php_fpm: "/usr/sbin/php-fpm8.2".into(),
            web_server,
            hosts: vec!["example.com".to_owned()],
            listen: "127.0.0.1:8080".to_owned(),
            layout: Layout::new(root, "shop", None, None).unwrap(),
            release: None,
            found: Found {
                framework: Framework::Symfony,
                document_root: "public".to_owned(),
                front_controller: "index.php".to_owned(),
                outward: None,
            },
            account: None,
            old: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_pool_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        for name in
            ["", ".", "..", "a/b", "a b", "-x", ".x", "a$b", "ü", "all", "single", &"x".repeat(201)]
        {
            assert!(check_name(&root, name).is_err(), "{name:?}");
        }
        check_name(&root, "shop-2.example").unwrap();
        fs::create_dir_all(root.pools_dir().join("shop")).unwrap();
        let error = check_name(&root, "shop").unwrap_err();
        assert!(error.message.contains("redundant-pools/shop exists"), "{error}");
    }
}
