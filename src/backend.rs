//! Backends: the web server or balancer in front of a pool. It is Apache, the gateway, or a web
//! server that connects by path.
//!
//! Each driver is a folder or a file below this one. It brings its table of `pools-manager.toml`,
//! its commands, its part of `status`, `list` and `check`. A driver overrides the methods of
//! [`Driver`] that its backend needs; the default methods do nothing, as for a web server that
//! connects by path. To add a driver, add its table and its variant here, and its table to
//! `config/settings.rs`.
//!
//! Members are counted from 0 in the order of the configuration: replica N is member N-1.

pub mod apache;
mod by_path;
pub mod gateway;
mod settings;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::Strategy;
use crate::error::Result;
use crate::file::Stamp;
use crate::finding::Checked;
use crate::release::Release;
use crate::root::Root;
use apache::Apache;
use by_path::ByPath;
use gateway::Gateway;
pub use settings::Settings;

/// A pool's backend.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A web server that connects by path. It needs no notification.
    ByPath(ByPath),
    /// Apache's `mod_proxy_balancer`.
    Apache(Apache),
    /// The embedded gateway.
    Gateway(Gateway),
}

/// Calls a method of the driver.
macro_rules! driver {
    ($backend:expr, $driver:ident => $call:expr) => {
        match $backend {
            Backend::ByPath($driver) => $call,
            Backend::Apache($driver) => $call,
            Backend::Gateway($driver) => $call,
        }
    };
}

/// The properties of a pool that its driver needs.
#[derive(Debug)]
pub struct Context<'a> {
    /// The root.
    pub root: &'a Root,
    /// The pool's name.
    pub pool: &'a str,
    /// A page that the web server fetches through the pool.
    pub monitor_url: Option<&'a str>,
    /// The stamp of the pool's settings.
    pub stamp: Stamp,
    /// A file in which the driver notes changes that it must undo.
    pub note: PathBuf,
}

/// One member as its backend sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's name in the backend.
    pub name: String,
    /// Its status in the backend's own words, such as `Init Ok`.
    pub status: String,
    /// The member gets new requests.
    pub serves: bool,
    /// A command has stopped new requests to the member.
    pub draining: bool,
    /// The backend found the member broken, and sends it no requests until the next attempt.
    pub in_error: bool,
    /// Requests in flight as the backend counts them: for display only, because that count is
    /// wrong after a reload and leaks under load.
    pub busy: u64,
}

/// The result of enabling a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enabled {
    /// The member gets new requests again.
    Serving,
    /// The backend still considers the member broken, and tries it again within this many seconds.
    /// This happens if no request has passed through the backend meanwhile.
    StillInError {
        /// The backend's own time between two attempts.
        retry_seconds: u64,
    },
    /// The member is out for another reason than a drain, which pools-manager must not undo: the
    /// operator has stopped the member, or a health check fails.
    Held {
        /// Its status in the backend's own words.
        status: String,
    },
}

/// Whether a replica gets requests, and the backend's word for that, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The replica gets new requests.
    pub serves: bool,
    /// The backend's own words.
    pub word: String,
}

impl Standing {
    fn new(serves: bool, word: &str) -> Self {
        Self { serves, word: word.to_owned() }
    }

    /// The backend cannot be read.
    pub fn unknown() -> Self {
        Self::new(false, "unknown")
    }
}

/// A replica, for the driver's part of `check`.
#[derive(Debug)]
pub struct Behind<'a> {
    /// The replica's number.
    pub replica: u32,
    /// Its public socket name; None: its configuration is wrong.
    pub public: Option<&'a Path>,
    /// The private socket of the generation that the public name leads to; None: no generation is
    /// published, or a command changes the pool.
    pub published: Option<&'a Path>,
}

/// The driver's part of `check`: the backend has been read already, and is checked once the
/// replicas are known.
pub trait Inspection: Send {
    /// `strategy` is the one that rollouts take; `replicas` has one entry for each replica,
    /// ascending.
    fn check(&self, strategy: Strategy, replicas: &[Behind<'_>]) -> Checked;
}

/// A driver. The default methods are those of a web server that connects by path.
trait Driver: Sync {
    fn name(&self) -> &'static str;

    fn members(&self) -> impl Future<Output = Result<Vec<Member>>> + Send {
        async { Ok(Vec::new()) }
    }

    fn standings(
        &self,
        sockets: &[Option<PathBuf>],
    ) -> impl Future<Output = Result<Vec<Standing>>> + Send {
        let all = vec![Standing::new(true, self.name()); sockets.len()];
        async { Ok(all) }
    }

    fn inspect(&self) -> impl Future<Output = Box<dyn Inspection>> + Send;

    fn is_running(&self) -> impl Future<Output = bool> + Send {
        async { true }
    }

    fn check_changeable(&self, _drains: bool) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    fn check_release(&self, _release: &Release) -> Result<()> {
        Ok(())
    }

    fn drain(&self, _index: usize) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    fn enable(&self, _index: usize) -> impl Future<Output = Result<Enabled>> + Send {
        async { Ok(Enabled::Serving) }
    }

    fn names_moved(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    fn is_idle(&self, _socket: &Path) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(true) }
    }

    fn clean_up(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

impl Backend {
    /// The driver that a pool's settings name. Does not talk to the backend yet.
    pub fn new(settings: &Settings, context: Context<'_>) -> Result<Self> {
        Ok(match settings {
            Settings::None => Self::ByPath(ByPath),
            Settings::Apache(settings) => Self::Apache(settings.driver(context)?),
            Settings::Gateway(settings) => Self::Gateway(Gateway::new(settings, &context)?),
        })
    }

    /// The name that `list` shows: `none`, `apache` or `gateway`.
    pub fn name(&self) -> &'static str {
        driver!(self, it => it.name())
    }

    /// Reads all members, in the order of the configuration. Empty where the backend has no
    /// members that can be drained: the gateway, or a web server that connects by path.
    ///
    /// An error's exit status is that of a wrong configuration: a read changes nothing.
    pub async fn members(&self) -> Result<Vec<Member>> {
        driver!(self, it => it.members().await)
    }

    /// What `status` shows of each replica. `sockets` are the private sockets of the published
    /// generations; None for a replica that has none.
    pub async fn standings(&self, sockets: &[Option<PathBuf>]) -> Result<Vec<Standing>> {
        driver!(self, it => it.standings(sockets).await)
    }

    /// Reads the backend for `check`.
    pub async fn inspect(&self) -> Box<dyn Inspection> {
        driver!(self, it => it.inspect().await)
    }

    /// Whether a process listens at the backend's address. If none does, the backend sends no
    /// requests either.
    pub async fn is_running(&self) -> bool {
        driver!(self, it => it.is_running().await)
    }

    /// Whether members can be enabled, and drained if that is needed too; changes nothing.
    pub async fn check_changeable(&self, drains: bool) -> Result<()> {
        driver!(self, it => it.check_changeable(drains).await)
    }

    /// Whether a release has what the backend needs of it.
    pub fn check_release(&self, release: &Release) -> Result<()> {
        driver!(self, it => it.check_release(release))
    }

    /// Stops new requests to a member, and returns when the backend has confirmed it. Does not
    /// wait for requests in flight, and does not check that other members serve.
    pub async fn drain(&self, index: usize) -> Result<()> {
        driver!(self, it => it.drain(index).await)
    }

    /// Allows new requests to a member again. Only for a member that answers: the backend may
    /// forget that the member was broken.
    pub async fn enable(&self, index: usize) -> Result<Enabled> {
        driver!(self, it => it.enable(index).await)
    }

    /// Notifies a backend that reads the public names itself that they have moved. For its clients,
    /// all names that have moved since the last call move together.
    pub async fn names_moved(&self) -> Result<()> {
        driver!(self, it => it.names_moved().await)
    }

    /// Whether the backend has no request for the generation behind this socket that the kernel
    /// does not see. Only valid after [`Backend::names_moved`].
    pub async fn is_idle(&self, socket: &Path) -> Result<bool> {
        driver!(self, it => it.is_idle(socket).await)
    }

    /// Undoes changes of a killed command in the backend that no later command would notice.
    pub async fn clean_up(&self) -> Result<()> {
        driver!(self, it => it.clean_up().await)
    }
}

/// A description for `list`: the driver's settings as its line shows them, and as JSON.
#[derive(Debug, Default)]
pub struct Description {
    /// The rest of the line, with a leading blank; empty where there is nothing to say.
    pub line: String,
    /// The settings, without passwords; None: there are none.
    pub json: Option<Value>,
}
