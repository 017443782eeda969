//! `[command]`: a pool whose replicas are servers that speak FastCGI or HTTP.

mod keys;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use nix::sys::signal::Signal;
use serde::Deserialize;
use toml::Spanned;

pub(crate) use keys::KEYS;

use super::templates::{self, PLACEHOLDERS, Placeholder};
use crate::config::{File, values};
use crate::error::{Error, Result};
use crate::root::Root;

/// The most replicas and processes: far more than any machine runs.
const MOST: u32 = 1000;

/// The settings of `[command]` for the server itself.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program and its arguments, with their placeholders.
    pub run: Vec<String>,
    /// What the server speaks.
    pub protocol: Protocol,
    /// How it gets the connections.
    pub listen: Listen,
    /// How many replicas the pool has.
    pub replicas: u32,
    /// How many processes of `run` a replica has.
    pub processes: u32,
    /// How many requests a process serves at once; None: it has no limit.
    pub concurrency: Option<u32>,
    /// The public socket name, with its placeholders; absolute.
    pub socket: PathBuf,
    /// The mode of the sockets.
    pub socket_mode: u32,
    /// The owner of the sockets; None: `user`.
    pub socket_owner: Option<String>,
    /// The group of the sockets; None: `group`.
    pub socket_group: Option<String>,
    /// The account that runs the server; None: the user who runs pools-manager.
    pub user: Option<String>,
    /// The group of the server; None: the primary group of `user`.
    pub group: Option<String>,
    /// More variables, with their placeholders.
    pub environment: BTreeMap<String, String>,
    /// The working directory, below the release. Empty: the release itself.
    pub directory: String,
    /// The page that shows whether a replica is healthy.
    pub health_path: Option<String>,
    /// What ends a process when it is idle.
    pub stop_signal: i32,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// FastCGI, as a responder.
    Fastcgi,
    /// HTTP/1.1.
    Http,
}

/// How a server gets its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Listen {
    /// The listening socket is descriptor 0, as the FastCGI specification says (section 2.2).
    Fd0,
    /// The listening socket is descriptor 3, with `LISTEN_FDS`: `sd_listen_fds(3)`.
    Fd3,
    /// It makes a unix socket at `{socket}` itself.
    Socket,
    /// It listens on `127.0.0.1:{port}` itself.
    Port,
}

impl Listen {
    /// Whether the connections are passed on to a socket that the server makes itself.
    pub fn is_relayed(self) -> bool {
        matches!(self, Self::Socket | Self::Port)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) current_release_symlink: String,
    #[serde(default)]
    pub(super) current_dir: String,
    pub(super) isolate: Option<Spanned<bool>>,
    #[serde(default, deserialize_with = "values::page_url_or_empty")]
    pub(super) monitor_url: String,
    run: Spanned<Vec<String>>,
    protocol: Protocol,
    listen: Option<Spanned<Listen>>,
    replicas: Option<Spanned<u32>>,
    processes: Option<Spanned<u32>>,
    concurrency: Option<Spanned<u32>>,
    socket: Option<Spanned<String>>,
    socket_mode: Option<Spanned<String>>,
    socket_owner: Option<String>,
    socket_group: Option<String>,
    user: Option<String>,
    group: Option<Spanned<String>>,
    #[serde(default)]
    environment: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    directory: Option<Spanned<String>>,
    health_path: Option<Spanned<String>>,
    stop_signal: Option<Spanned<String>>,
}

impl Raw {
    /// Checks the values. `pool`: its name.
    pub(super) fn check(self, file: &File<'_>, root: &Root, pool: &str) -> Result<Command> {
        let run = checked_run(file, &self.run)?;
        for value in self.environment.values() {
            templates::check(file, value.get_ref(), &value.span(), &PLACEHOLDERS)?;
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.get_ref().contains('\0') {
                let message = format!("{name:?} cannot be a variable of the environment");
                return Err(file
                    .error(&value.span(), &message)
                    .hint("a name has no = in it, and neither name nor value a zero byte"));
            }
        }
        let texts = run.iter().chain(self.environment.values().map(Spanned::get_ref));
        let listen = self.listen(file, &texts.collect::<Vec<_>>())?;
        let replicas = count(file, self.replicas.as_ref(), "replicas", 2)?;
        let processes = count(file, self.processes.as_ref(), "processes", 1)?;
        let concurrency = match &self.concurrency {
            Some(_) => Some(count(file, self.concurrency.as_ref(), "concurrency", 1)?),
            // A CGI-like process serves one request after the other.
            None => (self.protocol == Protocol::Fastcgi).then_some(1),
        };
        if let Some(group) = self.group.as_ref().filter(|_| self.user.is_none()) {
            return Err(file
                .error(&group.span(), "[command] has group but no user")
                .hint("name the account that runs the server: user = \"www-data\""));
        }
        Ok(Command {
            protocol: self.protocol,
            listen,
            replicas,
            processes,
            concurrency,
            socket: root.resolve(public_name(file, self.socket, pool, replicas)?),
            socket_mode: mode(file, self.socket_mode)?,
            socket_owner: self.socket_owner,
            socket_group: self.socket_group,
            user: self.user,
            group: self.group.map(Spanned::into_inner),
            directory: directory(file, self.directory)?,
            health_path: health_path(file, self.health_path)?,
            stop_signal: stop_signal(file, self.stop_signal)?,
            environment: self
                .environment
                .into_iter()
                .map(|(name, value)| (name, value.into_inner()))
                .collect(),
            run,
        })
    }

    /// The value of `listen`. If the key is missing, the placeholder `{socket}` or `{port}` decides.
    fn listen(&self, file: &File<'_>, texts: &[&String]) -> Result<Listen> {
        let has = |what: Placeholder| texts.iter().any(|text| templates::has(text, what));
        let (socket, port) = (has(Placeholder::Socket), has(Placeholder::Port));
        let error = |message: &str, hint: &str| {
            let at = self.listen.as_ref().map_or(self.run.span(), Spanned::span);
            Err(file.error(&at, message).hint(hint))
        };
        match (self.listen.as_ref().map(|listen| *listen.get_ref()), socket, port) {
            (_, true, true) => error(
                "[command] has {socket} and {port}",
                "a server listens on one of them: leave the other one out",
            ),
            (None, true, false) => Ok(Listen::Socket),
            (None, false, true) => Ok(Listen::Port),
            (None, false, false) => error(
                "[command] does not say how the server gets its connections",
                "add listen = \"fd3\" (or \"fd0\"), or name {socket} or {port} in run or environment",
            ),
            (Some(Listen::Socket), false, _) => error(
                "listen is \"socket\", but {socket} is nowhere in run and environment",
                "the server has to be told its path: put {socket} where it expects that",
            ),
            (Some(Listen::Port), _, false) => error(
                "listen is \"port\", but {port} is nowhere in run and environment",
                "the server has to be told its port: put {port} where it expects that",
            ),
            (Some(Listen::Fd0 | Listen::Fd3), true, false) => error(
                "{socket} is for listen = \"socket\"",
                "a server that inherits its socket needs no path: leave listen or {socket} out",
            ),
            (Some(Listen::Fd0 | Listen::Fd3), false, true) => error(
                "{port} is for listen = \"port\"",
                "a server that inherits its socket needs no port: leave listen or {port} out",
            ),
            (Some(listen), ..) => Ok(listen),
        }
    }
}

fn checked_run(file: &File<'_>, run: &Spanned<Vec<String>>) -> Result<Vec<String>> {
    let words = run.get_ref();
    if words.first().is_none_or(String::is_empty) {
        return Err(file
            .error(&run.span(), "run names no program")
            .hint("name the server, and each argument as a string of its own"));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(file.error(&run.span(), "run has a zero byte").hint("remove it"));
    }
    for word in words {
        templates::check(file, word, &run.span(), &PLACEHOLDERS)?;
    }
    Ok(words.clone())
}

fn count(file: &File<'_>, value: Option<&Spanned<u32>>, key: &str, default: u32) -> Result<u32> {
    match value {
        None => Ok(default),
        Some(value) if (1..=MOST).contains(value.get_ref()) => Ok(*value.get_ref()),
        Some(value) => Err(file
            .error(&value.span(), &format!("{key} is {}", value.get_ref()))
            .hint(format!("it is a number from 1 to {MOST}"))),
    }
}

fn public_name(
    file: &File<'_>,
    socket: Option<Spanned<String>>,
    pool: &str,
    replicas: u32,
) -> Result<String> {
    let Some(socket) = socket else { return Ok(format!("sockets/{pool}.{{replica}}.sock")) };
    let (at, socket) = (socket.span(), socket.into_inner());
    templates::check(file, &socket, &at, &[Placeholder::Replica])?;
    if socket.is_empty() || socket.ends_with('/') {
        return Err(file
            .error(&at, "socket is not the path of a file")
            .hint("write it like this: socket = \"sockets/www.{replica}.sock\""));
    }
    if replicas > 1 && !templates::has(&socket, Placeholder::Replica) {
        return Err(file
            .error(&at, "all replicas would have the same public socket name")
            .hint("put {replica} into the name: socket = \"sockets/www.{replica}.sock\""));
    }
    Ok(socket)
}

fn mode(file: &File<'_>, mode: Option<Spanned<String>>) -> Result<u32> {
    let Some(mode) = mode else { return Ok(0o660) };
    match u32::from_str_radix(mode.get_ref(), 8) {
        Ok(bits) if bits <= 0o777 => Ok(bits),
        _ => Err(file
            .error(&mode.span(), &format!("{:?} is not a mode", mode.get_ref()))
            .hint("write it in octal digits: socket_mode = \"0660\"")),
    }
}

fn directory(file: &File<'_>, directory: Option<Spanned<String>>) -> Result<String> {
    let Some(directory) = directory else { return Ok(String::new()) };
    let text = directory.get_ref();
    let is_below = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if text.is_empty() || text.split('/').all(is_below) {
        return Ok(directory.into_inner());
    }
    Err(file
        .error(&directory.span(), &format!("{text:?} is not a path below the release"))
        .hint("write it without a leading or trailing /, and without . and ..: apps/web"))
}

fn health_path(file: &File<'_>, path: Option<Spanned<String>>) -> Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    let is_plain = |byte: u8| byte.is_ascii_graphic();
    if path.get_ref().starts_with('/') && path.get_ref().bytes().all(is_plain) {
        return Ok(Some(path.into_inner()));
    }
    Err(file
        .error(&path.span(), &format!("the health_path {:?} is not a path", path.get_ref()))
        .hint("write what follows the host in the page's URL, like /health"))
}

fn stop_signal(file: &File<'_>, name: Option<Spanned<String>>) -> Result<i32> {
    let Some(name) = name else { return Ok(Signal::SIGTERM as i32) };
    let text = name.get_ref().strip_prefix("SIG").unwrap_or(name.get_ref());
    match Signal::from_str(&format!("SIG{text}")) {
        Ok(signal) if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) => Ok(signal as i32),
        _ => Err(file
            .error(
                &name.span(),
                &format!("{:?} is not a signal that ends a server", name.get_ref()),
            )
            .hint("name the one that its documentation names: TERM, QUIT, INT, USR1, ...")),
    }
}

impl Command {
    /// The public socket name of a replica.
    pub fn public(&self, replica: u32) -> Result<PathBuf> {
        let Some(text) = self.socket.to_str() else {
            let path = self.socket.display();
            return Err(Error::config(format!("the path {path} is not UTF-8"))
                .hint("move the root to another path"));
        };
        let replica = replica.to_string();
        Ok(templates::fill(text, |what| match what {
            Placeholder::Replica => Some(replica.clone()),
            _ => None,
        })
        .into())
    }
}
