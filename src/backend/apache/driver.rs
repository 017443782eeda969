//! Apache as a pool's backend.

use std::path::PathBuf;

use super::{Apache, check};
use crate::backend::{Driver, Enabled, Inspection, Member, Standing};
use crate::error::Result;

impl Driver for Apache {
    fn name(&self) -> &'static str {
        "apache"
    }

    async fn members(&self) -> Result<Vec<Member>> {
        Self::members(self).await
    }

    async fn standings(&self, _sockets: &[Option<PathBuf>]) -> Result<Vec<Standing>> {
        let members = self.members().await?;
        Ok(members.into_iter().map(|it| Standing { serves: it.serves, word: it.status }).collect())
    }

    async fn inspect(&self) -> Box<dyn Inspection> {
        match self.read().await {
            Ok(snapshot) => {
                Box::new(check::Read { snapshot, member_urls: self.member_urls.clone() })
            }
            Err(error) => Box::new(check::Unread(error)),
        }
    }

    /// A host that cannot be found or reached may run a process that listens.
    async fn is_running(&self) -> bool {
        self.manager.is_listened_to().await
    }

    async fn check_changeable(&self, drains: bool) -> Result<()> {
        Self::check_changeable(self, drains).await
    }

    async fn drain(&self, index: usize) -> Result<()> {
        Self::drain(self, index).await
    }

    async fn enable(&self, index: usize) -> Result<Enabled> {
        Self::enable(self, index).await
    }

    async fn clean_up(&self) -> Result<()> {
        Self::clean_up(self).await
    }
}
