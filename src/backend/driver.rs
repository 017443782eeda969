//! The trait of all drivers, and the types of its arguments and results.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::Strategy;
use crate::control::CanaryState;
use crate::error::{Error, Result};
use crate::file::Stamp;
use crate::finding::Checked;
use crate::release::Release;
use crate::root::Root;

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
    /// The member is out of use, but not because of a drain: the operator has stopped the member, or
    /// a health check fails. pools-manager must not undo that.
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
    pub(super) fn new(serves: bool, word: &str) -> Self {
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
pub(super) trait Driver: Sync {
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

    fn keep_drained(&self, _index: usize) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(false) }
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

    fn check_divertible(&self) -> impl Future<Output = Result<()>> + Send {
        let message = format!(
            "only the gateway can send a share of the visitors to a canary, and the backend of the pool is: {}",
            self.name()
        );
        let hint = "let one replica take all its requests for a time, as --canary 30s does, or give the pool a [gateway]";
        async move { Err(Error::config(message).hint(hint)) }
    }

    fn canary(&self) -> impl Future<Output = Result<Option<CanaryState>>> + Send {
        async { Ok(None) }
    }

    fn clean_up(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

/// A description for `list`: the driver's settings as its line shows them, and as JSON.
#[derive(Debug, Default)]
pub struct Description {
    /// The rest of the line, with a leading blank; empty where there is nothing to say.
    pub line: String,
    /// The name and the address of the balancer, for people; empty where there is none.
    pub place: String,
    /// The settings, without passwords; None: there are none.
    pub json: Option<Value>,
}
