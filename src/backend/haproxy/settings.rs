//! `[haproxy]`

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use toml::Spanned;

use super::Haproxy;
use crate::backend::{Context, Description};
use crate::config::File;
use crate::config::keys::{Default, Key, Kind};
use crate::error::Result;

const ONE_EACH: &str = "name one server of the backend for each replica, the first for 1.conf";

/// `[haproxy]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The path of the stats socket.
    #[serde(serialize_with = "without_span")]
    socket: Spanned<String>,
    /// The backend that balances the replicas.
    #[serde(serialize_with = "without_span")]
    backend: Spanned<String>,
    /// The backend's servers: the first is replica 1.
    #[serde(serialize_with = "without_span")]
    servers: Spanned<Vec<String>>,
}

/// The keys of `[haproxy]`.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "socket",
        Kind::Path,
        Default::Required,
        "the stats socket, with `level admin`. Only a unix socket",
    ),
    Key::new("backend", Kind::Text, Default::Required, "the backend that balances the replicas"),
    Key::new(
        "servers",
        Kind::Texts,
        Default::Required,
        "one server of the backend for each replica, the first for `1.conf`",
    ),
];

impl Settings {
    /// The path of the stats socket, as the operator wrote it.
    pub fn socket(&self) -> &str {
        self.socket.get_ref()
    }

    /// The name of the backend.
    pub fn backend(&self) -> &str {
        self.backend.get_ref()
    }

    /// The names of the backend's servers: the first is that of replica 1.
    pub fn servers(&self) -> &[String] {
        self.servers.get_ref()
    }

    /// Checks the values. The names become words in commands to HAProxy, so they must not contain a
    /// character that separates words or ends a command.
    pub(in crate::backend) fn check(&self, file: &File<'_>) -> Result<()> {
        let socket = self.socket();
        if socket.is_empty() || socket.contains(char::is_control) || has_family(socket) {
            return Err(file
                .error(
                    &self.socket.span(),
                    &format!("socket = {socket:?} is not the path of a unix socket"),
                )
                .hint("name the path on the `stats socket` line of HAProxy"));
        }
        if !is_name(self.backend()) {
            let message = format!("backend = {:?} is not a name of HAProxy", self.backend());
            return Err(file.error(&self.backend.span(), &message).hint(NAMES));
        }
        let (at, servers) = (self.servers.span(), self.servers());
        if let Some(wrong) = servers.iter().find(|name| !is_name(name)) {
            let message = format!("servers has {wrong:?}, which is not a name of HAProxy");
            return Err(file.error(&at, &message).hint(NAMES));
        }
        let mut seen = HashSet::new();
        let twice = servers.iter().find(|name| !seen.insert(*name));
        let message = match twice {
            Some(name) => format!("servers names {name} twice"),
            None if servers.is_empty() => "servers is empty".to_owned(),
            None => return Ok(()),
        };
        Err(file.error(&at, &message).hint(ONE_EACH))
    }

    /// Checks that there are as many servers as replicas.
    pub(in crate::backend) fn check_replicas(&self, path: &Path, replicas: u32) -> Result<()> {
        let servers = self.servers().len();
        if servers == replicas as usize {
            return Ok(());
        }
        let (are, files) = match replicas {
            1 => ("is 1 replica".to_owned(), "1.conf".to_owned()),
            last => (format!("are {last} replicas"), format!("1.conf to {last}.conf")),
        };
        let message = format!(
            "servers names {servers}, but there {are}: {files}, and no {}.conf",
            replicas + 1
        );
        Err(File::read(path)?.error(&self.servers.span(), &message).hint(ONE_EACH))
    }

    pub(in crate::backend) fn driver(&self, context: &Context<'_>) -> Haproxy {
        let socket = context.root.resolve(self.socket());
        Haproxy::new(socket, self.backend().to_owned(), self.servers().to_vec())
    }

    pub(in crate::backend) fn describe(&self) -> Description {
        let (socket, backend) = (self.socket(), self.backend());
        let servers = self.servers().join(", ");
        let line =
            format!(" socket=\"{socket}\" haproxy_backend=\"{backend}\" servers=\"{servers}\"");
        Description { line, place: format!("{backend} at {socket}"), json: Some(json!(self)) }
    }
}

const NAMES: &str = "the names of HAProxy have letters, digits, and the characters - _ . :";

/// As `invalid_char` of HAProxy's `tools.c`.
fn is_name(name: &str) -> bool {
    let is_allowed = |it: u8| it.is_ascii_alphanumeric() || b"-_.:".contains(&it);
    !name.is_empty() && name.bytes().all(is_allowed)
}

/// Whether it begins like an address of HAProxy that is no path: `ipv4@`, `abns@`, `fd@`, `unix@`.
fn has_family(socket: &str) -> bool {
    socket.split_once('@').is_some_and(|(family, _)| !family.contains('/'))
}

fn without_span<T: Serialize, S: Serializer>(
    value: &Spanned<T>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    value.get_ref().serialize(serializer)
}
