//! What the machine has: web servers and accounts.

use std::fs;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User};

use crate::error::{Error, Result};
use crate::path;

/// What is in front of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum WebServer {
    /// The embedded web server: pools-manager serve
    Gateway,
    /// Apache
    Apache,
    /// nginx
    Nginx,
    /// Caddy
    Caddy,
    /// HAProxy
    Haproxy,
}

impl WebServer {
    /// Those that are programs of their own.
    const OTHERS: [Self; 4] = [Self::Apache, Self::Nginx, Self::Caddy, Self::Haproxy];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Apache => "apache",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
        }
    }

    /// The names of its program.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Gateway => &[],
            Self::Apache => &["apache2", "httpd"],
            Self::Nginx => &["nginx"],
            Self::Caddy => &["caddy"],
            Self::Haproxy => &["haproxy"],
        }
    }

    /// The accounts under which distributions run the web server.
    fn accounts(self) -> &'static [&'static str] {
        match self {
            Self::Gateway => &[],
            Self::Apache => &["www-data", "apache", "http"],
            Self::Nginx => &["www-data", "nginx", "http"],
            Self::Caddy => &["caddy", "www-data"],
            Self::Haproxy => &["haproxy"],
        }
    }

    /// The account under which the web server runs, if a usual one exists on this machine.
    pub fn account(self) -> Option<Account> {
        self.accounts().iter().find_map(|name| Account::find(name).ok())
    }

    /// The web server of this machine, and why it is taken: the only one that runs, or the only one
    /// that is installed, else the gateway.
    pub fn find() -> (Self, String) {
        let running = processes();
        let all = |is_it: &dyn Fn(&str) -> bool| -> Vec<Self> {
            Self::OTHERS
                .into_iter()
                .filter(|it| it.programs().iter().any(|name| is_it(name)))
                .collect()
        };
        let runs = all(&|name| running.iter().any(|it| it == name));
        let installed = all(&is_installed);
        match (runs.as_slice(), installed.as_slice()) {
            ([one], _) => (*one, format!("{} runs", one.name())),
            ([], [one]) => (*one, format!("{} is installed", one.name())),
            ([], []) => (Self::Gateway, "no web server is installed".to_owned()),
            ([], many) => (Self::Gateway, format!("{} are installed, none runs", names(many))),
            (many, _) => (Self::Gateway, format!("{} run", names(many))),
        }
    }
}

fn names(servers: &[WebServer]) -> String {
    servers.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")
}

/// The names of all processes.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let name = |dir: PathBuf| fs::read_to_string(dir.join("comm")).ok();
    entries.filter_map(|entry| Some(name(entry.path())?.trim_end().to_owned())).collect()
}

fn is_installed(program: &str) -> bool {
    path::program_dirs().iter().any(|dir| dir.join(program).is_file())
}

/// An account with its primary group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name of the user.
    pub user: String,
    /// The name of the group.
    pub group: String,
}

impl Account {
    /// The account with this name. An error: there is none, or it is root.
    pub fn find(name: &str) -> Result<Self> {
        let hint = "name an ordinary account, like www-data: --user NAME";
        let found = User::from_name(name).ok().flatten();
        let found = found
            .ok_or_else(|| Error::config(format!("there is no account {name:?}")).hint(hint))?;
        if found.uid.is_root() {
            return Err(Error::config(format!("{name} would run the code of the site")).hint(hint));
        }
        let group = Group::from_gid(found.gid).ok().flatten().map(|group| group.name);
        Ok(Self { user: found.name, group: group.unwrap_or_else(|| found.gid.to_string()) })
    }

    /// The same with another group. An error: there is no such group.
    pub fn with_group(self, name: &str) -> Result<Self> {
        match Group::from_name(name) {
            Ok(Some(group)) if group.gid != Gid::from_raw(0) => {
                Ok(Self { group: group.name, ..self })
            }
            _ => Err(Error::config(format!("there is no ordinary group {name:?}"))
                .hint("name the group that runs the code of the site: --group NAME")),
        }
    }

    /// The account that runs PHP on this distribution.
    pub fn usual() -> Option<Self> {
        ["www-data", "apache", "nginx", "http"].iter().find_map(|name| Self::find(name).ok())
    }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_missing_accounts_are_refused() {
        assert!(Account::find("root").is_err() && Account::find("no-such-account").is_err());
        let nobody = Account::find("nobody").unwrap();
        assert!(nobody.clone().with_group("root").is_err());
        assert!(nobody.clone().with_group("no-such-group").is_err());
        assert_eq!(nobody.clone().with_group(&nobody.group).unwrap(), nobody);
    }
}
