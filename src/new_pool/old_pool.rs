//! `--from`: the directives of an existing php-fpm pool.
//!
//! php-fpm itself resolves the file. It prints each directive that exists, also those that the file does not
//! set. A second run, for a pool that sets nothing, prints the defaults. Directives with their default are
//! left out.

use std::fs;
use std::path::{Path, PathBuf};

use super::machine::is_root;
use crate::error::{Error, Result};
use crate::runtime::php_fpm::{Section, directives, directives_of_file};
use crate::trust;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The directives of an existing pool, for new replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OldPool {
    /// The file.
    pub file: PathBuf,
    /// The name of its section.
    pub name: String,
    /// The names and values that are taken as they are.
    pub taken: Vec<(String, String)>,
    /// Those that are not.
    pub changed: Vec<Changed>,
}

/// A directive of the existing pool that the new one has otherwise, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Changed {
    /// Its name.
    pub directive: String,
    /// Its value in the existing pool.
    pub value: String,
    /// What happens to it, and why.
    pub why: &'static str,
}

/// Directives of which each replica needs values of its own.
const OWN: [(&str, &str); 4] = [
    ("listen", "each replica listens on a socket of its own"),
    ("access.log", "each replica has a file of its own in pid/"),
    ("slowlog", "each replica has a file of its own in pid/"),
    ("pm.status_listen", "left out: two replicas cannot listen on one address"),
];
/// Directives that have no use here.
const LEFT_OUT: [(&str, &str); 3] = [
    ("listen.allowed_clients", "left out: it is for internet addresses"),
    ("prefix", "left out: the prefix is the root, which paths are relative to"),
    ("chroot", "left out: the release is mounted on current_dir, outside of it"),
];
/// Directives that only root can use.
const OF_ROOT: [&str; 7] = [
    "user",
    "group",
    "listen.owner",
    "listen.group",
    "listen.acl_users",
    "listen.acl_groups",
    "process.priority",
];
/// Directives that are taken even with their default.
const ALWAYS: [&str; 4] = ["user", "group", "pm", "pm.max_children"];

impl OldPool {
    /// Reads a file with one pool. php-fpm has to accept it.
    pub async fn read(program: &Path, file: &Path) -> Result<Self> {
        let error = |what: String| {
            Error::config(format!("cannot read {}: {what}", file.display()))
                .hint("name the file of one php-fpm pool, like /etc/php/8.2/fpm/pool.d/www.conf")
        };
        let file = &fs::canonicalize(file).map_err(|it| error(it.to_string()))?;
        let metadata = fs::metadata(file).map_err(|it| error(it.to_string()))?;
        if !metadata.is_file() {
            return Err(error("it is not a file".to_owned()));
        }
        if metadata.len() > MAX_FILE {
            return Err(error("it is larger than 1 MiB".to_owned()));
        }
        // The error of php-fpm would only be that it cannot include the file.
        fs::File::open(file).map_err(|it| error(it.to_string()))?;
        trust::require([file.clone()])?;
        let sections = directives_of_file(program, file).await.map_err(|error| {
            error.hint("init takes what php-fpm accepts: correct the file, or take a copy without these lines. Only root can open the logs of root's pools")
        })?;
        let pools: Vec<&Section> = sections.iter().filter(|it| it.name != "global").collect();
        let [old] = pools.as_slice() else {
            let names: Vec<String> = pools.iter().map(|it| format!("[{}]", it.name)).collect();
            let what = if names.is_empty() { "no pool".to_owned() } else { names.join(", ") };
            return Err(error(format!("it has {what}")));
        };
        let defaults = defaults(program, old).await?;
        Ok(Self::sort(file, old, &defaults))
    }

    fn sort(file: &Path, old: &Section, defaults: &Section) -> Self {
        let (mut taken, mut changed) = (Vec::new(), Vec::new());
        for (name, value) in &old.directives {
            let is_default = defaults.get(name) == Some(value.as_str());
            let reason = OWN.iter().chain(&LEFT_OUT).find(|(other, _)| other == name);
            let why = match reason {
                Some((_, why)) => Some(*why),
                None if OF_ROOT.contains(&name.as_str()) && !is_root() => {
                    Some("left out: only a php-fpm of root uses it")
                }
                None => None,
            };
            match why {
                Some(why) if !is_default || name == "listen" || ALWAYS.contains(&name.as_str()) => {
                    changed.push(Changed { directive: name.clone(), value: value.clone(), why });
                }
                None if !is_default || ALWAYS.contains(&name.as_str()) => {
                    taken.push((name.clone(), value.clone()));
                }
                _ => {}
            }
        }
        // php-fpm prints the values of PHP and of the environment in the opposite order.
        let is_list = |name: &str| name.ends_with(']');
        let mut listed: Vec<_> = taken.iter().filter(|(name, _)| is_list(name)).cloned().collect();
        listed.reverse();
        taken.retain(|(name, _)| !is_list(name));
        taken.extend(listed);
        Self { file: file.to_owned(), name: old.name.clone(), taken, changed }
    }

    /// The value of a directive that is taken.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.taken.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether this directive of the existing pool is one of the [`Self::changed`] directives.
    pub fn changes(&self, name: &str) -> bool {
        self.changed.iter().any(|it| it.directive == name)
    }
}

/// What php-fpm prints for a pool that sets only what it has to set.
async fn defaults(program: &Path, old: &Section) -> Result<Section> {
    let of_old = |name| Some(format!("{name} = \"{}\"\n", old.get(name)?));
    let accounts: String = ["user", "group"].into_iter().filter_map(of_old).collect();
    let text = format!(
        "[global]\nerror_log=/dev/null\n[defaults]\n{accounts}listen = /nowhere.sock\npm = static\npm.max_children = 1\n"
    );
    let mut sections = directives(program, Path::new("/"), &[], &text).await?;
    sections.pop().ok_or_else(|| Error::failed("php-fpm -tt prints no configuration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(directives: &[(&str, &str)]) -> Section {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Section { name: "www".to_owned(), directives: directives.iter().map(owned).collect() }
    }

    #[test]
    fn directives_are_taken_changed_or_default() {
        let old = section(&[
            ("listen", "/run/a.sock"),
            ("pm", "static"),
            ("pm.max_children", "9"),
            ("pm.max_requests", "500"),
            ("clear_env", "yes"),
            ("slowlog", "/l"),
            ("env[B]", "2"),
            ("env[A]", "1"),
        ]);
        let defaults =
            section(&[("listen", "/nowhere.sock"), ("pm", "static"), ("clear_env", "yes")]);
        let found = OldPool::sort(Path::new("/f"), &old, &defaults);
        let taken: Vec<&str> = found.taken.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(taken, ["pm", "pm.max_children", "pm.max_requests", "env[A]", "env[B]"]);
        let changed: Vec<&str> = found.changed.iter().map(|it| it.directive.as_str()).collect();
        assert_eq!(changed, ["listen", "slowlog"]);
    }
}
