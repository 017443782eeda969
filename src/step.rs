//! The steps that a plan is made of, and the stages that people see.

use std::fmt;

use serde::Serialize;

/// One generation of one replica of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Id {
    /// The replica.
    pub replica: u32,
    /// The generation's number; 0 is an adopted master.
    pub generation: u32,
}

/// One thing to do, with its own event, deadline and failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Tell the balancer to send the replica nothing new.
    Drain {
        /// Which one.
        replica: u32,
    },
    /// Point the replica's public name at another replica's generation, so
    /// that whoever still comes by that name is served.
    Lend {
        /// Whose name.
        replica: u32,
        /// Who serves it meanwhile.
        to: Id,
    },
    /// Remove the replica's public name.
    Unpublish {
        /// Whose name.
        replica: u32,
    },
    /// Wait until nothing is in flight on a generation.
    AwaitIdle(Id),
    /// End a generation, and remove what it leaves.
    Stop(Id),
    /// Start a new generation, pinned to the release.
    Start(Id),
    /// Wait until a new generation answers the ping.
    AwaitReady(Id),
    /// Ask a new generation for the warm-up paths.
    WarmUp(Id),
    /// Point the replica's public name at a generation.
    Publish(Id),
    /// Watch a new generation that serves, before others follow it.
    Watch(Id),
    /// Tell the balancer to send the replica requests again.
    Enable {
        /// Which one.
        replica: u32,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain { replica } => write!(f, "drain replica {replica}"),
            Self::Lend { replica, to } => write!(f, "lend the name of replica {replica} to {to}"),
            Self::Unpublish { replica } => write!(f, "unpublish replica {replica}"),
            Self::AwaitIdle(id) => write!(f, "await that {id} is idle"),
            Self::Stop(id) => write!(f, "stop {id}"),
            Self::Start(id) => write!(f, "start {id}"),
            Self::AwaitReady(id) => write!(f, "await that {id} is ready"),
            Self::WarmUp(id) => write!(f, "warm up {id}"),
            Self::Publish(id) => write!(f, "publish {id}"),
            Self::Watch(id) => write!(f, "watch {id}"),
            Self::Enable { replica } => write!(f, "enable replica {replica}"),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(f, "the adopted master of replica {}", self.replica),
            number => write!(f, "generation {number} of replica {}", self.replica),
        }
    }
}

/// Steps that are shown as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// What the line says.
    pub title: Title,
    /// What is done, in this order.
    pub steps: Vec<Step>,
}

/// The classic lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", content = "replica", rename_all = "snake_case")]
pub enum Title {
    /// Drain and wait.
    Deactivating(u32),
    /// End a generation.
    Stopping(u32),
    /// Start one, up to its publication.
    Starting(u32),
    /// Put back into the balancer.
    Activating(u32),
    /// See whether a new generation proves itself.
    Watching(u32),
    /// Publish all new generations at once.
    Switching,
    /// Request `monitor_url`: shown only if that has become bad.
    Monitoring,
}

impl Title {
    /// The replica that it is about; None where it is about all.
    pub fn replica(&self) -> Option<u32> {
        match self {
            Self::Deactivating(replica)
            | Self::Stopping(replica)
            | Self::Starting(replica)
            | Self::Activating(replica)
            | Self::Watching(replica) => Some(*replica),
            Self::Switching | Self::Monitoring => None,
        }
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deactivating(n) => write!(f, "Deactivating the load balancer for replica {n}"),
            Self::Stopping(n) => write!(f, "Stopping replica {n}"),
            Self::Starting(n) => write!(f, "Starting replica {n}"),
            Self::Activating(n) => write!(f, "Activating the load balancer for replica {n}"),
            Self::Watching(n) => write!(f, "Watching replica {n}"),
            Self::Switching => write!(f, "Switching all names to the new generations"),
            Self::Monitoring => write!(f, "Requesting monitor_url"),
        }
    }
}
