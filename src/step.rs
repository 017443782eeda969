//! The steps of a plan, and the stages that a renderer shows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One generation of one replica of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct GenerationId {
    /// The replica.
    pub replica: u32,
    /// The generation's number.
    pub generation: Number,
}

/// The number of a generation. In files and JSON it is a number: 0 for an adopted master.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "u32", into = "u32")]
pub enum Number {
    /// A master that was started by other means than pools-manager, such as the original tool. It
    /// listens on the replica's public name.
    #[default]
    Adopted,
    /// A generation that pools-manager started. Numbers go up from 1 for the replica's life.
    Started(u32),
}

impl Number {
    /// The number of the next generation.
    #[must_use]
    pub fn next(self) -> Self {
        Self::Started(u32::from(self) + 1)
    }

    /// Whether pools-manager did not start it.
    pub fn is_adopted(self) -> bool {
        self == Self::Adopted
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Adopted,
            number => Self::Started(number),
        }
    }
}

impl From<Number> for u32 {
    fn from(number: Number) -> Self {
        match number {
            Number::Adopted => 0,
            Number::Started(number) => number,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u32::from(*self).fmt(f)
    }
}

/// One step, with its own events, deadline and failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Stop new requests from the balancer to the replica.
    Drain {
        /// The replica.
        replica: u32,
    },
    /// Point the replica's public name at another replica's generation, which then serves the
    /// clients of that name.
    Lend {
        /// The replica that the name belongs to.
        replica: u32,
        /// The generation that serves in its place.
        to: GenerationId,
    },
    /// Remove the replica's public name.
    Unpublish {
        /// The replica that the name belongs to.
        replica: u32,
    },
    /// Wait until a generation has no request in flight.
    AwaitIdle(GenerationId),
    /// Stop a generation, and remove its files.
    Stop(GenerationId),
    /// Start a new generation, pinned to the release.
    Start(GenerationId),
    /// Wait until a new generation answers the ping.
    AwaitReady(GenerationId),
    /// Request the warm-up paths of a new generation.
    WarmUp(GenerationId),
    /// Point the replica's public name at a generation.
    Publish(GenerationId),
    /// Let the gateway send a share of the new visitors to a generation that has no public name.
    Divert(GenerationId),
    /// Watch a canary that serves, before the other replicas follow.
    Watch(GenerationId),
    /// Let the balancer send the replica requests again.
    Enable {
        /// The replica.
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
            Self::Divert(id) => write!(f, "send new visitors to {id}"),
            Self::Watch(id) => write!(f, "watch {id}"),
            Self::Enable { replica } => write!(f, "enable replica {replica}"),
        }
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            Number::Adopted => write!(f, "the adopted master of replica {}", self.replica),
            number @ Number::Started(_) => {
                write!(f, "generation {number} of replica {}", self.replica)
            }
        }
    }
}

/// Steps that a renderer shows as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// The text of the line.
    pub title: Title,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// The title of a stage: the line of the classic output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", content = "replica", rename_all = "snake_case")]
pub enum Title {
    /// Drain and wait.
    Deactivating(u32),
    /// Stop a generation.
    Stopping(u32),
    /// Start a generation, up to its publication.
    Starting(u32),
    /// Enable the replica's member.
    Activating(u32),
    /// Watch a canary.
    Watching(u32),
    /// Publish a canary that had no public name.
    Publishing(u32),
    /// Publish all new generations at once.
    Switching,
    /// Request `monitor_url`; shown only if its answer has become bad.
    Monitoring,
}

impl Title {
    /// Its replica; None: it is for all replicas.
    pub fn replica(&self) -> Option<u32> {
        match self {
            Self::Deactivating(replica)
            | Self::Stopping(replica)
            | Self::Starting(replica)
            | Self::Activating(replica)
            | Self::Watching(replica)
            | Self::Publishing(replica) => Some(*replica),
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
            Self::Publishing(n) => write!(f, "Publishing replica {n}"),
            Self::Switching => write!(f, "Switching all names to the new generations"),
            Self::Monitoring => write!(f, "Requesting monitor_url"),
        }
    }
}
