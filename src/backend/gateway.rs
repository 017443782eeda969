//! The gateway, `pools-manager serve`, driven over its control socket.
//!
//! The gateway routes by the public names. It reads all of them again, at one moment, when the
//! driver notifies it that they have moved. So no member is drained or enabled: a lent name takes
//! its replica out, and a published name puts the replica back. If no gateway runs, no notification
//! is needed: a gateway that starts later opens the control socket first, and reads the names
//! afterwards.

mod check;

use std::path::{Path, PathBuf};

use super::{Context, Driver, Inspection, Standing};
use crate::config::{self, Global};
use crate::control::{self, CanaryState, PoolState, Request, Response};
use crate::error::{Error, Result};
use crate::file::Stamp;
use crate::release::Release;
use check::Read;

/// The gateway, for one pool.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// An error if no address to listen on is configured.
    listens: Result<()>,
    control: PathBuf,
    pool: String,
    stamp: Stamp,
    settings: Box<config::Gateway>,
}

impl Gateway {
    /// The gateway of the pool's root. Does not talk to it yet.
    pub(super) fn new(settings: &config::Gateway, context: &Context<'_>) -> Result<Self> {
        let global = Global::read(context.root)?;
        Ok(Self {
            listens: global.listens(),
            control: global.control,
            pool: context.pool.to_owned(),
            stamp: context.stamp,
            settings: Box::new(settings.clone()),
        })
    }

    /// The pool's state in the gateway; None: no gateway runs.
    async fn state(&self) -> Result<Option<PoolState>> {
        match control::send(&self.control, &Request::Show(self.pool.clone())).await? {
            Some(Response::State(state)) => Ok(Some(state)),
            Some(Response::Failed(why)) => Err(Error::failed(format!("the gateway: {why}"))),
            Some(Response::Done | Response::Settings(_) | Response::Upgraded(_)) | None => Ok(None),
        }
    }
}

impl Driver for Gateway {
    fn name(&self) -> &'static str {
        "gateway"
    }

    async fn standings(&self, sockets: &[Option<PathBuf>]) -> Result<Vec<Standing>> {
        let state = self.state().await?;
        let standing = |socket: &Option<PathBuf>| {
            let Some(state) = &state else { return Standing::new(false, "no gateway") };
            match socket.as_ref().and_then(|socket| state.serving(socket)) {
                None => Standing::new(false, "out"),
                Some(replica) if replica.ejected => Standing::new(false, "error"),
                Some(_) => Standing::new(true, "ok"),
            }
        };
        Ok(sockets.iter().map(standing).collect())
    }

    async fn inspect(&self) -> Box<dyn Inspection> {
        Box::new(Read {
            listens: self.listens.clone(),
            state: self.state().await,
            stamp: self.stamp,
        })
    }

    /// When this returns, every new request is routed by what the public names lead to now.
    async fn names_moved(&self) -> Result<()> {
        let sync = Request::Sync { pool: self.pool.clone(), stamp: self.stamp };
        match control::send(&self.control, &sync).await? {
            Some(Response::Failed(why)) => Err(Error::failed(format!("the gateway: {why}"))),
            _ => Ok(()),
        }
    }

    /// False while the gateway has a request in flight for the generation, or an idle connection to
    /// it. The kernel does not see a request before the gateway has connected.
    async fn is_idle(&self, socket: &Path) -> Result<bool> {
        let Some(state) = self.state().await? else { return Ok(true) };
        let mut same = state.replicas.iter().filter(|replica| replica.socket == socket);
        Ok(same.all(|replica| replica.in_flight == 0 && replica.idle == 0))
    }

    async fn check_divertible(&self) -> Result<()> {
        match self.state().await? {
            Some(_) => Ok(()),
            None => Err(Error::config(
                "no gateway runs, and only that can send a share of the visitors to a canary",
            )
            .hint("start it: pools-manager serve; or give a time, as in --canary 30s")),
        }
    }

    async fn canary(&self) -> Result<Option<CanaryState>> {
        Ok(self.state().await?.and_then(|state| state.canary))
    }

    /// Whether the gateway could serve a release: the release and its document root can be opened.
    fn check_release(&self, release: &Release) -> Result<()> {
        let opened = release.open().and_then(|dir| {
            let root = self.settings.document_root(&dir);
            Release::open_below(dir, &root.below)
        });
        opened.map(drop).map_err(|error| {
            let path = release.path.join(self.settings.configured_root().unwrap_or_default());
            Error::config(format!("the gateway cannot serve {}: {error}", path.display())).hint(
                "document_root names a directory below the release, which the gateway may enter",
            )
        })
    }
}
