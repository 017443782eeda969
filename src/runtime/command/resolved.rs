//! A replica's configuration: the values of `[command]`, checked against the machine.

use std::path::{Path, PathBuf};

use nix::unistd::{Group, Uid, User};

use super::order::{Ids, Order};
use super::program::{self, Program};
use super::server::Server;
use crate::account::Account;
use crate::error::{Error, Result};
use crate::pool::{Command, Listen, Pool};
use crate::process::SOCKET_VARIABLE;
use crate::release::Release;
use crate::runtime::{Children, Generation};
use crate::socket;

/// The resolved configuration of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The public socket name.
    pub public: PathBuf,
    /// The public name of the pid file.
    pub pid: PathBuf,
    /// How many requests a generation can serve at its start.
    pub at_once: u32,
    /// The server's part of the record.
    pub server: Server,
    processes: u32,
    account: Account,
    socket_owner: (Option<u32>, Option<u32>),
}

impl Resolved {
    /// Resolves the configuration of a replica, as for a start on `release`.
    pub fn read(
        pool: &Pool,
        command: &Command,
        replica: u32,
        release: Option<&Release>,
    ) -> Result<Self> {
        Self::check(pool, command, replica, release)
            .map_err(|error| error.within(pool.settings_file().display()))
    }

    fn check(
        pool: &Pool,
        command: &Command,
        replica: u32,
        release: Option<&Release>,
    ) -> Result<Self> {
        pool.root_as_text()?;
        let account = account(command)?;
        Program::of(pool, command).check(pool, release.map(|release| release.path.as_path()))?;
        check_directory(command, release)?;
        let per_process = command.concurrency;
        let all = per_process.map(|it| it.saturating_mul(command.processes));
        Ok(Self {
            public: command.public(replica)?,
            pid: pool.root.pid_dir().join(format!("{}.{replica}.pid", pool.name)),
            at_once: all.unwrap_or(command.processes),
            server: Server {
                protocol: command.protocol,
                listen: command.listen,
                health_path: command.health_path.clone(),
                release_dir: program::release_dir(pool).to_owned(),
                children: all.map(|max| Children { max, fixed: false }),
                stop_signal: command.stop_signal,
            },
            processes: command.processes,
            socket_owner: socket_owner(command, &account)?,
            account,
        })
    }

    /// The account that runs the server.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Checks the length of the paths at which the processes of a generation make their sockets.
    pub(in crate::runtime) fn check_names(&self, generation: &Generation) -> Result<()> {
        if self.server.listen != Listen::Socket {
            return Ok(());
        }
        let longest = generation.sockets_dir().join(self.processes.to_string());
        let length = longest.as_os_str().len();
        // The number of the generation grows by up to four digits.
        if length + 4 <= socket::PATH_MAX {
            return Ok(());
        }
        Err(Error::config(format!(
            "the path of the socket {} may have {} bytes, and the kernel takes {} at most",
            longest.display(),
            length + 4,
            socket::PATH_MAX
        ))
        .hint("shorten `socket` in [command], or move the root to a shorter path"))
    }

    /// The order for the master of a generation.
    pub(super) fn order(&self, pool: &Pool, command: &Command, generation: &Generation) -> Order {
        let release = program::release_dir(pool).display().to_string();
        let program = Program::of(pool, command);
        let mut run = command.run.clone();
        if let (Some(first), Some(path)) = (run.first_mut(), &program.path) {
            *first = path.display().to_string();
        }
        let account = self.account.ids().map(|(uid, gid, groups)| Ids { uid, gid, groups });
        Order {
            run,
            environment: self.environment(pool, command, generation),
            account,
            directory: program::directory(pool, command),
            listen: command.listen,
            processes: command.processes,
            stop_signal: command.stop_signal,
            socket: generation.socket.clone(),
            socket_mode: command.socket_mode,
            socket_owner: self.socket_owner,
            sockets_dir: generation.sockets_dir(),
            pid_file: generation.pid_file.clone(),
            log: generation.pid_file.with_extension("log"),
            release,
            replica: generation.replica,
            generation: generation.number.into(),
        }
    }

    /// The base environment with the operator's variables. `LISTEN_FDS` and `LISTEN_PID` are added by
    /// the master.
    fn environment(
        &self,
        pool: &Pool,
        command: &Command,
        generation: &Generation,
    ) -> std::collections::BTreeMap<String, String> {
        let home = User::from_name(&self.account.name).ok().flatten().map(|user| user.dir);
        let home = home.unwrap_or_else(|| PathBuf::from("/"));
        let base = [
            ("PATH", program::PATH.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("HOME", home.display().to_string()),
            ("USER", self.account.name.clone()),
            ("LOGNAME", self.account.name.clone()),
        ];
        let own = [
            ("POOLS_MANAGER_POOL", pool.name.clone()),
            ("POOLS_MANAGER_REPLICA", generation.replica.to_string()),
            ("POOLS_MANAGER_GENERATION", generation.number.to_string()),
            // It identifies the processes of a generation whose master has died.
            (SOCKET_VARIABLE, generation.socket.display().to_string()),
        ];
        let text = |(name, value): (&str, String)| (name.to_owned(), value);
        let mut all: std::collections::BTreeMap<_, _> = base.map(text).into_iter().collect();
        all.extend(command.environment.clone());
        all.extend(own.map(text));
        all
    }
}

impl Generation {
    /// The directory in which the processes of a `[command]` server make their own sockets.
    pub(in crate::runtime) fn sockets_dir(&self) -> PathBuf {
        self.socket.with_extension("d")
    }
}

fn account(command: &Command) -> Result<Account> {
    let Some(user) = &command.user else {
        if Uid::effective().is_root() {
            return Err(Error::config("[command] names no user, and you are root").hint(
                "name the account that runs the server: user = \"www-data\" (or \"root\", if it must)",
            ));
        }
        return Ok(Account::own());
    };
    let own = Account::own();
    if !Uid::effective().is_root() && *user != own.name && *user != Uid::effective().to_string() {
        let message = format!("user is {user:?}, but you are {}", own.name);
        return Err(Error::config(message)
            .hint(format!("leave user out, or run pools-manager as root or as {user}")));
    }
    Account::named(user, command.group.as_deref()).ok_or_else(|| {
        let group = command.group.as_ref().map(|group| format!(" with the group {group:?}"));
        let message = format!("there is no user {user:?}{}", group.unwrap_or_default());
        Error::config(message).hint("correct user and group in [command], or create the account")
    })
}

/// The owner and group of the sockets.
fn socket_owner(command: &Command, account: &Account) -> Result<(Option<u32>, Option<u32>)> {
    let ids = account.ids();
    let owner = match &command.socket_owner {
        None => ids.as_ref().map(|(uid, ..)| *uid),
        Some(name) => Some(id(name, || Some(User::from_name(name).ok()??.uid.as_raw()))?),
    };
    let group = match &command.socket_group {
        None => ids.as_ref().map(|(_, gid, _)| *gid),
        Some(name) => Some(id(name, || Some(Group::from_name(name).ok()??.gid.as_raw()))?),
    };
    Ok((owner, group))
}

fn id(name: &str, find: impl Fn() -> Option<u32>) -> Result<u32> {
    name.parse().ok().or_else(find).ok_or_else(|| {
        Error::config(format!("there is no account {name:?}"))
            .hint("correct socket_owner and socket_group in [command]")
    })
}

fn check_directory(command: &Command, release: Option<&Release>) -> Result<()> {
    let Some(release) = release else { return Ok(()) };
    let directory: &Path = &release.path.join(&command.directory);
    if directory.is_dir() {
        return Ok(());
    }
    let shown = directory.display();
    Err(Error::config(format!("the directory {shown} does not exist"))
        .hint("complete the release, or correct `directory` in [command]"))
}
