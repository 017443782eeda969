//! Backends: the web server or balancer in front of a pool. It is Apache, HAProxy, the gateway, or a
//! web server that connects by path.
//!
//! Each driver is a folder or a file in `backend/`. It brings its table of `pools-manager.toml`,
//! its commands, and its part of `status`, `list` and `check`. A driver overrides the methods of
//! [`Driver`] that its backend needs. The default methods are those of a web server that connects
//! by path. To add a driver, add its table and its variant here, and its table to
//! `pool/settings.rs`.
//!
//! Members are counted from 0 in the order of the configuration: replica N is member N-1.

pub mod apache;
mod by_path;
mod driver;
pub mod gateway;
pub mod haproxy;

use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::config::{self, File, Strategy};
use crate::control::CanaryState;
use crate::error::Result;
use crate::release::Release;
use apache::Apache;
use by_path::ByPath;
use driver::Driver;
pub use driver::{Behind, Context, Description, Enabled, Inspection, Member, Standing};
use gateway::Gateway;
use haproxy::Haproxy;

/// A pool's backend.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A web server that connects by path. It needs no notification.
    ByPath(ByPath),
    /// Apache's `mod_proxy_balancer`.
    Apache(Apache),
    /// HAProxy, over its stats socket.
    Haproxy(Haproxy),
    /// The embedded gateway.
    Gateway(Gateway),
}

/// Calls a method of the driver.
macro_rules! driver {
    ($backend:expr, $driver:ident => $call:expr) => {
        match $backend {
            Backend::ByPath($driver) => $call,
            Backend::Apache($driver) => $call,
            Backend::Haproxy($driver) => $call,
            Backend::Gateway($driver) => $call,
        }
    };
}

impl Backend {
    /// The driver that a pool's settings name. Does not talk to the backend yet.
    pub fn new(settings: &Settings, context: Context<'_>) -> Result<Self> {
        Ok(match settings {
            Settings::None => Self::ByPath(ByPath),
            Settings::Apache(settings) => Self::Apache(settings.driver(context)?),
            Settings::Haproxy(settings) => Self::Haproxy(settings.driver(&context)),
            Settings::Gateway(settings) => Self::Gateway(Gateway::new(settings, &context)?),
        })
    }

    /// The name that `list` shows: `none`, `apache`, `haproxy` or `gateway`.
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

    /// What `status` shows of each replica. `sockets` has one entry for each replica: the private
    /// socket of its published generation; None: it has no published generation.
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

    /// Checks that members can be enabled, and also drained if `drains` is true. Changes nothing.
    pub async fn check_changeable(&self, drains: bool) -> Result<()> {
        driver!(self, it => it.check_changeable(drains).await)
    }

    /// Checks that the backend can serve a release.
    pub fn check_release(&self, release: &Release) -> Result<()> {
        driver!(self, it => it.check_release(release))
    }

    /// Stops new requests to a member, and returns when the backend has confirmed it. Does not
    /// wait for requests in flight, and does not check that other members serve.
    pub async fn drain(&self, index: usize) -> Result<()> {
        driver!(self, it => it.drain(index).await)
    }

    /// Drains a member again if the backend has lost its drain, for example in a reload. Returns
    /// true if the drain was lost.
    pub async fn keep_drained(&self, index: usize) -> Result<bool> {
        driver!(self, it => it.keep_drained(index).await)
    }

    /// Allows new requests to a member again. To be called only for a member that answers, because
    /// the backend may forget that the member was broken.
    pub async fn enable(&self, index: usize) -> Result<Enabled> {
        driver!(self, it => it.enable(index).await)
    }

    /// Tells a backend that reads the public names itself that some names have moved. Its clients
    /// see all moves since the last call at one moment.
    pub async fn names_moved(&self) -> Result<()> {
        driver!(self, it => it.names_moved().await)
    }

    /// Whether no request for the generation behind this socket waits in the backend, where the
    /// kernel does not see it. Only valid after [`Backend::names_moved`].
    pub async fn is_idle(&self, socket: &Path) -> Result<bool> {
        driver!(self, it => it.is_idle(socket).await)
    }

    /// Checks that the backend can send a share of the visitors to a generation that has no public
    /// name.
    pub async fn check_divertible(&self) -> Result<()> {
        driver!(self, it => it.check_divertible().await)
    }

    /// The canary by share that the backend has now; None: it has none.
    pub async fn canary(&self) -> Result<Option<CanaryState>> {
        driver!(self, it => it.canary().await)
    }

    /// Undoes what a killed command has left in the backend, if no later command would notice it.
    pub async fn clean_up(&self) -> Result<()> {
        driver!(self, it => it.clean_up().await)
    }
}

/// The backends' tables of a file. If a file has two, the error names them in this order.
#[derive(Debug, Default)]
pub struct Tables {
    /// `[apache]`
    pub apache: Option<Spanned<apache::Settings>>,
    /// `[haproxy]`
    pub haproxy: Option<Spanned<haproxy::Settings>>,
    /// `[gateway]`
    pub gateway: Option<Spanned<config::Gateway>>,
}

impl Tables {
    fn present(self) -> Vec<Spanned<Settings>> {
        fn within<T>(table: Spanned<T>, kind: impl Fn(T) -> Settings) -> Spanned<Settings> {
            let at = table.span();
            Spanned::new(at, kind(table.into_inner()))
        }
        let apache = self.apache.map(|it| within(it, Settings::Apache));
        let haproxy = self.haproxy.map(|it| within(it, Settings::Haproxy));
        let gateway = self.gateway.map(|it| within(it, |it| Settings::Gateway(Box::new(it))));
        [apache, haproxy, gateway].into_iter().flatten().collect()
    }
}

/// The backend's table. A pool has one at most.
#[derive(Debug, Clone)]
pub enum Settings {
    /// No table: the web server connects by path.
    None,
    /// `[apache]`
    Apache(apache::Settings),
    /// `[haproxy]`
    Haproxy(haproxy::Settings),
    /// `[gateway]`
    Gateway(Box<config::Gateway>),
}

impl Settings {
    /// Checks the tables of a file, and refuses a second one.
    pub fn new(file: &File<'_>, tables: Tables) -> Result<Self> {
        let mut tables = tables.present().into_iter();
        let first = tables.next();
        if let (Some(first), Some(second)) = (&first, tables.next()) {
            let names = (first.get_ref().name(), second.get_ref().name());
            return Err(file
                .error(&second.span(), &format!("there are both [{}] and [{}]", names.0, names.1))
                .hint("leave out the one that does not balance this pool's requests"));
        }
        let settings = first.map_or(Self::None, Spanned::into_inner);
        match &settings {
            Self::None => {}
            Self::Apache(apache) => apache.check(file)?,
            Self::Haproxy(haproxy) => haproxy.check(file)?,
            Self::Gateway(gateway) => gateway.check(file)?,
        }
        Ok(settings)
    }

    /// The name that `list` shows.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Apache(_) => "apache",
            Self::Haproxy(_) => "haproxy",
            Self::Gateway(_) => "gateway",
        }
    }

    /// The description that `list` shows after the name.
    pub fn describe(&self) -> Description {
        match self {
            Self::Apache(apache) => apache.describe(),
            Self::Haproxy(haproxy) => haproxy.describe(),
            Self::None | Self::Gateway(_) => Description::default(),
        }
    }

    /// The strategy of a rollout, if neither the command line nor `[rollout]` names one.
    pub fn default_strategy(&self) -> Strategy {
        match self {
            Self::Apache(_) | Self::Haproxy(_) => Strategy::Rolling,
            Self::None | Self::Gateway(_) => Strategy::Swap,
        }
    }

    /// Checks the table against the number of replicas. `path` is the file of the table.
    pub fn check_replicas(&self, path: &Path, replicas: u32) -> Result<()> {
        match self {
            Self::Apache(apache) => apache.check_replicas(path, replicas),
            Self::Haproxy(haproxy) => haproxy.check_replicas(path, replicas),
            Self::None | Self::Gateway(_) => Ok(()),
        }
    }

    /// Apache's settings of the pool; None: the pool has another backend.
    pub fn apache(&self) -> Option<&apache::Settings> {
        if let Self::Apache(apache) = self { Some(apache) } else { None }
    }

    /// HAProxy's settings of the pool; None: the pool has another backend.
    pub fn haproxy(&self) -> Option<&haproxy::Settings> {
        if let Self::Haproxy(haproxy) = self { Some(haproxy) } else { None }
    }

    /// The gateway's settings of the pool; None: the pool has another backend.
    pub fn gateway(&self) -> Option<&config::Gateway> {
        match self {
            Self::Gateway(gateway) => Some(gateway),
            Self::None | Self::Apache(_) | Self::Haproxy(_) => None,
        }
    }
}
