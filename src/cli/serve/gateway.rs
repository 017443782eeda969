//! The gateway of `serve`: in this process, or in a child that is an ordinary user.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::config::Global;
use crate::error::Result;
use crate::gateway::{self, SeparateGateway, Start};
use crate::root::Root;
use crate::upgrade::Passed;

/// The gateway, wherever it is. See [`gateway::Gateway`].
pub(super) enum Gateway {
    /// In this process.
    Here(gateway::Gateway),
    /// In a child.
    Apart(SeparateGateway),
}

impl Gateway {
    pub(super) async fn start(
        root: &Root,
        global: &Global,
        is_json: bool,
        start: Start,
    ) -> Result<Self> {
        Ok(match gateway::identity(root, global)? {
            None => Self::Here(gateway::Gateway::start(root, start).await?),
            Some(identity) => {
                Self::Apart(SeparateGateway::start(root, start, identity, is_json).await?)
            }
        })
    }

    pub(super) fn addresses(&self) -> &[String] {
        match self {
            Self::Here(gateway) => gateway.addresses(),
            Self::Apart(gateway) => gateway.addresses(),
        }
    }

    pub(super) async fn open(&mut self) {
        match self {
            Self::Here(gateway) => gateway.open(),
            Self::Apart(gateway) => gateway.open().await,
        }
    }

    pub(super) async fn probe(&self, pools: &[String]) -> Result<()> {
        match self {
            Self::Here(gateway) => gateway.probe(pools).await,
            Self::Apart(gateway) => gateway.probe(pools).await,
        }
    }

    pub(super) async fn observe(&self) {
        match self {
            Self::Here(gateway) => gateway.observe().await,
            Self::Apart(gateway) => gateway.observe().await,
        }
    }

    /// What the successor gets, and how long the successor may take to start.
    pub(super) async fn pass(&self) -> Result<(Passed, Duration)> {
        match self {
            Self::Here(gateway) => Ok((gateway.pass()?, gateway.upgrade_timeout())),
            Self::Apart(gateway) => gateway.pass().await,
        }
    }

    pub(super) async fn close_control(&mut self) {
        match self {
            Self::Here(gateway) => gateway.close_control().await,
            Self::Apart(gateway) => gateway.close_control().await,
        }
    }

    pub(super) async fn reopen_control(&mut self) {
        match self {
            Self::Here(gateway) => gateway.reopen_control().await,
            Self::Apart(gateway) => gateway.reopen_control().await,
        }
    }

    pub(super) async fn hand_over(&mut self) {
        match self {
            Self::Here(gateway) => gateway.hand_over().await,
            Self::Apart(gateway) => gateway.hand_over().await,
        }
    }

    pub(super) async fn pause(&mut self, pool: &str) -> Result<()> {
        match self {
            Self::Here(gateway) => gateway.pause(pool).await,
            Self::Apart(gateway) => gateway.pause(pool).await,
        }
    }

    pub(super) async fn unpause(&mut self, pool: &str) -> Result<()> {
        match self {
            Self::Here(gateway) => gateway.unpause(pool).await,
            Self::Apart(gateway) => gateway.unpause(pool).await,
        }
    }

    pub(super) async fn unpause_all(&mut self) {
        match self {
            Self::Here(gateway) => gateway.unpause_all().await,
            Self::Apart(gateway) => gateway.unpause_all().await,
        }
    }

    pub(super) fn drained(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self {
            Self::Here(gateway) => Box::pin(gateway.drained()),
            Self::Apart(gateway) => Box::pin(gateway.drained()),
        }
    }

    pub(super) fn close_idle(&self) {
        match self {
            Self::Here(gateway) => gateway.close_idle(),
            Self::Apart(gateway) => gateway.close_idle(),
        }
    }

    pub(super) async fn shut_down(self) -> Result<()> {
        match self {
            Self::Here(gateway) => gateway.shut_down().await,
            Self::Apart(gateway) => gateway.shut_down().await,
        }
    }

    pub(super) async fn end(self) -> Result<()> {
        match self {
            Self::Here(gateway) => gateway.end().await,
            Self::Apart(gateway) => gateway.end().await,
        }
    }
}
