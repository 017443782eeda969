//! HAProxy as a pool's backend.

use std::path::PathBuf;

use super::state::Server;
use super::{Haproxy, check};
use crate::backend::{Driver, Enabled, Inspection, Member, Standing};
use crate::error::Result;

impl Driver for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    async fn members(&self) -> Result<Vec<Member>> {
        Self::members(self).await
    }

    async fn standings(&self, _sockets: &[Option<PathBuf>]) -> Result<Vec<Standing>> {
        let servers = self.read().await?;
        let standing = |it: &Server| Standing { serves: it.serves(), word: it.to_string() };
        Ok(servers.iter().map(standing).collect())
    }

    async fn inspect(&self) -> Box<dyn Inspection> {
        match self.look().await {
            Ok(read) => Box::new(read),
            Err(error) => Box::new(check::Unread(error)),
        }
    }

    async fn is_running(&self) -> bool {
        self.api.is_listened_to().await
    }

    async fn check_changeable(&self, _drains: bool) -> Result<()> {
        Self::check_changeable(self).await
    }

    async fn drain(&self, index: usize) -> Result<()> {
        Self::drain(self, index).await
    }

    async fn keep_drained(&self, index: usize) -> Result<bool> {
        Self::keep_drained(self, index).await
    }

    async fn enable(&self, index: usize) -> Result<Enabled> {
        Self::enable(self, index).await
    }
}
