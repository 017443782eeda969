//! The gateway, `pools-manager serve`, told over its control socket.
//!
//! It routes by the public names, as it finds them when it is told that they have moved: all at
//! once, then. So there is nothing to drain or to enable: a name that is lent takes its replica out,
//! a name that is published puts it back. Where no gateway runs, there is nobody to tell: the one
//! that starts later looks for itself, after it has begun to listen on the control socket.

use std::path::{Path, PathBuf};

use crate::config::Global;
use crate::control::{self, Answer, Ask, Shown};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::release::Release;

/// The gateway, as far as one pool is concerned.
#[derive(Debug, Clone)]
pub struct Gateway {
    control: PathBuf,
    pool: String,
    /// Below the release.
    document_root: String,
}

impl Gateway {
    /// The gateway of the pool's root. Asks it nothing yet.
    pub(super) fn new(pool: &Pool, document_root: &str) -> Result<Self> {
        let control = Global::read(&pool.root)?.control;
        Ok(Self { control, pool: pool.name.clone(), document_root: document_root.to_owned() })
    }

    /// Tells it that public names have moved. When this returns, every request that begins is
    /// routed by what they lead to now.
    pub(super) async fn names_moved(&self) -> Result<()> {
        match control::ask(&self.control, &Ask::Sync(self.pool.clone())).await? {
            Some(Answer::Failed(why)) => Err(Error::failed(format!("the gateway: {why}"))),
            _ => Ok(()),
        }
    }

    /// Whether it has no request for the replica behind this socket: also none that has not got
    /// there yet, of which the kernel knows nothing.
    pub(super) async fn is_idle(&self, socket: &Path) -> Result<bool> {
        let Some(shown) = self.show().await? else { return Ok(true) };
        let mut there = shown.replicas.iter().filter(|replica| replica.socket == socket);
        Ok(there.all(|replica| replica.in_flight == 0 && replica.kept == 0))
    }

    /// How the pool is in it; None: no gateway runs.
    pub(super) async fn show(&self) -> Result<Option<Shown>> {
        match control::ask(&self.control, &Ask::Show(self.pool.clone())).await? {
            Some(Answer::Shown(shown)) => Ok(Some(shown)),
            Some(Answer::Failed(why)) => Err(Error::failed(format!("the gateway: {why}"))),
            Some(Answer::Done) | None => Ok(None),
        }
    }

    /// Whether it could serve a release: that is there, and the document root in it.
    pub(super) fn check_release(&self, release: &Release) -> Result<()> {
        let opened = release.open().and_then(|dir| Release::open_below(dir, &self.document_root));
        opened.map(drop).map_err(|error| {
            let path = release.path.join(&self.document_root);
            Error::config(format!("the gateway cannot serve {}: {error}", path.display())).hint(
                "document_root names a directory below the release, which the gateway may enter",
            )
        })
    }
}
