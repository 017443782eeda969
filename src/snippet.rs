//! `snippet`: the configuration of a web server for a pool as it is configured.
//!
//! Each web server connects to the public socket names of the replicas. It takes scripts from
//! `current_dir`, where each replica sees its own release. It takes static files from the release that the
//! symlink names.

mod apache;
mod caddy;
mod diff;
mod haproxy;
mod nginx;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use diff::{Found, Include, Trap, Wanted, diff, recognize};

use crate::error::{Error, Result};
use crate::http;
use crate::pool::{Pool, Protocol};
use crate::release::Release;
use crate::runtime::{self, Runtime, Spec};

/// The shortest time, in seconds, that a web server waits for the next byte of a script.
const MIN_TIMEOUT: u64 = 60;

/// A web server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Apache 2.4
    Apache,
    /// HAProxy 2.4 or newer
    Haproxy,
    /// nginx
    Nginx,
    /// Caddy 2
    Caddy,
}

/// Where the web server listens: a port, or an address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// None: all addresses.
    address: Option<IpAddr>,
    port: u16,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let alone = text.parse().ok().map(|port| Self { address: None, port });
        let whole = text.parse::<SocketAddr>().ok();
        let whole = whole.map(|it| Self { address: Some(it.ip()), port: it.port() });
        let listen = alone.or(whole).filter(|it| it.port > 0);
        listen
            .ok_or_else(|| "write a port, or an address and a port, like 127.0.0.1:8080".to_owned())
    }
}

impl Listen {
    /// As nginx and Apache write it; `all` stands for all addresses.
    fn shown(self, all: &str) -> String {
        match self.address {
            Some(address) => SocketAddr::new(address, self.port).to_string(),
            None => format!("{all}{}", self.port),
        }
    }
}

/// What the configuration of a web server needs of a pool.
struct Site<'a> {
    pool: &'a Pool,
    /// The pool's name, as a name in any web server's configuration.
    name: String,
    listen: Listen,
    /// Empty: every host.
    hosts: Vec<String>,
    /// The directory of the static files.
    files: String,
    /// The directory of the symlink, or of the files if there is none.
    links: String,
    /// The directory of the static files as the replicas see it.
    scripts: String,
    /// Below both.
    front_controller: String,
    /// `ping.path` of php-fpm, if `monitor_url` requests it.
    ping: Option<String>,
    replicas: Vec<Replica>,
    /// How long a script may send nothing, in seconds.
    timeout: u64,
}

struct Replica {
    number: u32,
    /// Its public socket name.
    socket: String,
    /// Its children at most; None: it is not known.
    children: Option<u32>,
}

/// The configuration of a web server for a pool. Without `listen`, the web server listens on all addresses,
/// at the port of `monitor_url`, or at port 80.
pub async fn snippet(kind: Kind, pool: &Pool, listen: Option<Listen>) -> Result<String> {
    let speaks_http =
        pool.settings.command().is_some_and(|command| command.protocol == Protocol::Http);
    if speaks_http && matches!(kind, Kind::Apache | Kind::Caddy) {
        let message = format!("the servers of the pool \"{}\" speak HTTP", pool.name);
        return Err(Error::config(message).hint(
            "snippet prints configurations for HTTP for nginx and haproxy; with another web server, proxy HTTP to the public socket names (status shows them)",
        ));
    }
    let site = Site::of(pool, listen).await?;
    Ok(match kind {
        Kind::Apache => apache::text(&site),
        Kind::Haproxy if speaks_http => haproxy::http(&site),
        Kind::Haproxy => haproxy::fastcgi(&site),
        Kind::Nginx if speaks_http => nginx::http(&site),
        Kind::Nginx => nginx::fastcgi(&site),
        Kind::Caddy => caddy::text(&site),
    })
}

impl<'a> Site<'a> {
    async fn of(pool: &'a Pool, listen: Option<Listen>) -> Result<Self> {
        let settings = &pool.settings;
        let (files, scripts) = match &settings.pinning {
            Some(pinning) => (&*pinning.symlink, &*pinning.current_dir),
            None => (pool.root.path(), pool.root.path()),
        };
        let links = settings.pinning.as_ref().and(files.parent()).unwrap_or(files);
        let release = Release::at(files).ok();
        let front = release.and_then(|it| runtime::front_script(pool, &it.path));
        let front = front.unwrap_or_else(|| PathBuf::from("index.php"));
        let below = match settings.backend.gateway() {
            Some(gateway) => PathBuf::from(gateway.document_root_at(files).below),
            None => front.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let front = front.strip_prefix(&below).unwrap_or(&front);
        let runtime = Runtime::of(pool)?;
        let (mut replicas, mut ping) = (Vec::new(), None);
        for number in pool.replicas() {
            let spec = runtime.resolve(pool, number, None).await?;
            ping = ping.or_else(|| monitored_ping(pool, &spec));
            replicas.push(Replica {
                number,
                socket: plain(spec.public())?,
                children: spec.children_max(),
            });
        }
        let hosts = settings.backend.gateway().map(|it| it.hosts.get_ref().clone());
        Ok(Self {
            pool,
            name: pool.name.replace(|it: char| !it.is_ascii_alphanumeric(), "_"),
            listen: listen.unwrap_or_else(|| default_listen(pool)),
            hosts: hosts.unwrap_or_default(),
            files: plain(&joined(files, &below))?,
            links: plain(links)?,
            scripts: plain(&joined(scripts, &below))?,
            front_controller: plain(front)?,
            ping: ping.map(|path| plain(Path::new(&path))).transpose()?,
            replicas,
            timeout: settings.rollout.drain_timeout.as_secs().max(MIN_TIMEOUT),
        })
    }

    /// Formats each replica.
    fn each(&self, one: impl Fn(&Replica) -> String) -> String {
        self.replicas.iter().map(one).collect()
    }

    /// The words of each text's first line.
    fn heading(&self) -> impl fmt::Display {
        format!("The pool \"{}\" of {}", self.name, self.pool.root.path().display())
    }

    /// The smallest number of children of a replica.
    fn children(&self) -> Option<u32> {
        self.replicas.iter().filter_map(|replica| replica.children).min()
    }
}

/// Without the slash that `join` adds for an empty path.
fn joined(dir: &Path, below: &Path) -> PathBuf {
    dir.join(below).components().collect()
}

fn default_listen(pool: &Pool) -> Listen {
    let url = pool.settings.monitor_url.as_deref().and_then(|url| http::page(url).ok());
    let port = url.filter(|url| url.scheme() == "http").and_then(|url| url.port());
    Listen { address: None, port: port.unwrap_or(80) }
}

/// The ping path of php-fpm, if it is the path of `monitor_url`.
fn monitored_ping(pool: &Pool, spec: &Spec) -> Option<String> {
    let url = http::page(pool.settings.monitor_url.as_deref()?).ok()?;
    spec.ping_path().filter(|path| *path == url.path()).map(str::to_owned)
}

/// A path as text, without characters that mean something in the configuration of a web server.
fn plain(path: &Path) -> Result<String> {
    let is_plain = |it: char| it.is_alphanumeric() || "/._-+@:,=".contains(it);
    path.to_str().filter(|text| text.chars().all(is_plain)).map(str::to_owned).ok_or_else(|| {
        Error::config(format!(
            "{} cannot be written into the configuration of a web server",
            path.display()
        ))
        .hint("use letters, digits and the characters / . _ - + @ : , = in this path")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_is_a_port_or_an_address() {
        let shown = |text: &str| text.parse::<Listen>().map(|it| it.shown("*:"));
        assert_eq!(shown("80"), Ok("*:80".to_owned()));
        assert_eq!(shown("127.0.0.1:8080"), Ok("127.0.0.1:8080".to_owned()));
        assert_eq!(shown("[::1]:80"), Ok("[::1]:80".to_owned()));
        for wrong in ["", "0", "65536", "localhost:80", "127.0.0.1", ":80", "80;", "1.2.3.4:0"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_with_special_characters_are_refused() {
        assert_eq!(plain(Path::new("/srv/sité-1/a_b.sock")).unwrap(), "/srv/sité-1/a_b.sock");
        for wrong in ["/a b", "/a\"b", "/a$b", "/a;b", "/a{b", "/a\nb", "/a#b", "/a%b", "/a\\b"] {
            assert!(plain(Path::new(wrong)).is_err(), "{wrong}");
        }
    }
}
