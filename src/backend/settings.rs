//! The tables of `pools-manager.toml` that name a backend.

use std::path::Path;

use toml::Spanned;

use super::{Description, apache};
use crate::config::{File, Gateway, Strategy};
use crate::error::Result;

/// The backend's table. A pool has one at most.
#[derive(Debug, Clone)]
pub enum Settings {
    /// No table: the web server connects by path.
    None,
    /// `[apache]`
    Apache(apache::Settings),
    /// `[gateway]`
    Gateway(Box<Gateway>),
}

impl Settings {
    /// Checks the tables of a file, and refuses a second one.
    pub fn new(
        file: &File<'_>,
        apache: Option<Spanned<apache::Settings>>,
        gateway: Option<Spanned<Gateway>>,
    ) -> Result<Self> {
        if let Some(apache) = &apache {
            apache.get_ref().check(file)?;
        }
        if let (Some(gateway), Some(_)) = (&gateway, &apache) {
            return Err(file
                .error(&gateway.span(), "there are both [apache] and [gateway]")
                .hint("leave out the one that does not balance this pool's requests"));
        }
        if let Some(gateway) = &gateway {
            gateway.get_ref().check(file)?;
        }
        let apache = apache.map(|it| Self::Apache(it.into_inner()));
        let gateway = gateway.map(|it| Self::Gateway(Box::new(it.into_inner())));
        Ok(apache.or(gateway).unwrap_or(Self::None))
    }

    /// The name that `list` shows.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Apache(_) => "apache",
            Self::Gateway(_) => "gateway",
        }
    }

    /// The description that `list` shows after the name.
    pub fn describe(&self) -> Description {
        match self {
            Self::Apache(apache) => apache.describe(),
            Self::None | Self::Gateway(_) => Description::default(),
        }
    }

    /// The strategy of a rollout, if neither the command line nor `[rollout]` names one.
    pub fn default_strategy(&self) -> Strategy {
        match self {
            Self::Apache(_) => Strategy::Rolling,
            Self::None | Self::Gateway(_) => Strategy::Swap,
        }
    }

    /// Checks the table against the number of replicas. `path` is the file of the table.
    pub fn check_replicas(&self, path: &Path, replicas: u32) -> Result<()> {
        match self {
            Self::Apache(apache) => apache.check_replicas(path, replicas),
            Self::None | Self::Gateway(_) => Ok(()),
        }
    }

    /// The gateway's settings of the pool; None: the pool has another backend.
    pub fn gateway(&self) -> Option<&Gateway> {
        match self {
            Self::Gateway(gateway) => Some(gateway),
            Self::None | Self::Apache(_) => None,
        }
    }
}
