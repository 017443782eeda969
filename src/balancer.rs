//! What spreads requests over a pool's replicas, as far as pools-manager has to know it.
//!
//! Members are counted from 0 in the order of the configuration: replica N is member N-1.

pub mod apache;
pub mod gateway;

use std::path::Path;

use crate::control::Shown;
use crate::error::Result;
use crate::pool::Pool;
use crate::release::Release;
use apache::Apache;
use gateway::Gateway;

/// A pool's balancer.
#[derive(Debug, Clone)]
pub enum Balancer {
    /// A web server that connects by path, and is told nothing.
    None,
    /// Apache's `mod_proxy_balancer`.
    Apache(Apache),
    /// Our own.
    Gateway(Gateway),
}

/// One member as its balancer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's name in the balancer.
    pub name: String,
    /// Its status in the balancer's own words, such as `Init Ok`.
    pub status: String,
    /// It gets new requests.
    pub serves: bool,
    /// It was told to get no new requests.
    pub draining: bool,
    /// The balancer found it broken, and leaves it out until it tries again.
    pub in_error: bool,
    /// Requests in flight as the balancer counts them: for display only, because that count is
    /// wrong after a reload and leaks under load.
    pub busy: u64,
}

/// What became of a member that was enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enabled {
    /// It gets new requests again.
    Serving,
    /// The balancer still takes it for broken, and tries it again within this many seconds. It
    /// happens where no request passed through the balancer in the meantime.
    StillInError {
        /// The balancer's own time between two attempts.
        retry_seconds: u64,
    },
    /// Something else than a drain keeps it out, and is not ours to undo: the operator stopped it,
    /// or a health check fails.
    Held {
        /// Its status in the balancer's own words.
        status: String,
    },
}

impl Balancer {
    /// The balancer that a pool's configuration names. Asks it nothing yet.
    pub fn of(pool: &Pool) -> Result<Self> {
        if let Some(gateway) = &pool.settings.gateway {
            return Gateway::new(pool, gateway.document_root.get_ref()).map(Self::Gateway);
        }
        let Some(apache) = &pool.settings.apache else { return Ok(Self::None) };
        let driver = Apache::new(&apache.manager_url, &apache.balancer_name, apache.member_urls())?
            .with_note(pool.ignored_errors_file());
        match &pool.settings.php.monitor_url {
            Some(url) => driver.with_probe(url).map(Self::Apache),
            None => Ok(Self::Apache(driver)),
        }
    }

    /// Takes back what a killed command has left in the balancer, and no later one would see.
    pub async fn clean_up(&self) -> Result<()> {
        match self {
            Self::None | Self::Gateway(_) => Ok(()),
            Self::Apache(apache) => apache.clean_up().await,
        }
    }

    /// The name that `list` shows: `none`, `apache` or `gateway`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Apache(_) => "apache",
            Self::Gateway(_) => "gateway",
        }
    }

    /// Reads all members, in the order of the configuration; none at all without a balancer, and
    /// of the gateway, which goes by the public names alone.
    ///
    /// An error's exit status is that of a wrong configuration: a read changes nothing.
    pub async fn members(&self) -> Result<Vec<Member>> {
        match self {
            Self::None | Self::Gateway(_) => Ok(Vec::new()),
            Self::Apache(apache) => apache.members().await,
        }
    }

    /// Whether somebody listens where it is asked. Where nobody does, it sends no requests either.
    pub async fn is_running(&self) -> bool {
        match self {
            Self::None | Self::Gateway(_) => true,
            Self::Apache(apache) => apache.is_running().await,
        }
    }

    /// Whether members can be enabled, and drained if that is needed too; changes nothing.
    pub async fn check_changeable(&self, drains: bool) -> Result<()> {
        match self {
            Self::None | Self::Gateway(_) => Ok(()),
            Self::Apache(apache) => apache.check_changeable(drains).await,
        }
    }

    /// Stops new requests to a member, and returns when the balancer has confirmed it. Does not
    /// wait for those in flight, and does not ask whether others serve.
    pub async fn drain(&self, index: usize) -> Result<()> {
        match self {
            Self::None | Self::Gateway(_) => Ok(()),
            Self::Apache(apache) => apache.drain(index).await,
        }
    }

    /// Lets a member have new requests again. Only for a member that answers: the balancer may be
    /// made to forget that it was broken.
    pub async fn enable(&self, index: usize) -> Result<Enabled> {
        match self {
            Self::None | Self::Gateway(_) => Ok(Enabled::Serving),
            Self::Apache(apache) => apache.enable(index).await,
        }
    }
    /// Tells a balancer that goes by the public names that they have moved. All that have moved
    /// since it was last told do so at the same moment for its clients.
    pub async fn names_moved(&self) -> Result<()> {
        match self {
            Self::None | Self::Apache(_) => Ok(()),
            Self::Gateway(gateway) => gateway.names_moved().await,
        }
    }

    /// Whether it has nothing for the generation behind this socket that the kernel does not see:
    /// true where it connects at once. Only to be asked after [`Balancer::names_moved`].
    pub async fn is_idle(&self, socket: &Path) -> Result<bool> {
        match self {
            Self::None | Self::Apache(_) => Ok(true),
            Self::Gateway(gateway) => gateway.is_idle(socket).await,
        }
    }

    /// Whether a release has what the balancer needs of it.
    pub fn check_release(&self, release: &Release) -> Result<()> {
        match self {
            Self::None | Self::Apache(_) => Ok(()),
            Self::Gateway(gateway) => gateway.check_release(release),
        }
    }

    /// What the gateway does with a pool, for display. None: it is not the gateway's, or no gateway
    /// runs.
    pub async fn show(&self) -> Result<Option<Shown>> {
        match self {
            Self::None | Self::Apache(_) => Ok(None),
            Self::Gateway(gateway) => gateway.show().await,
        }
    }
}
