//! The gateway's part of `check`: whether it runs, and serves the replicas that run.

use std::path::Path;

use crate::backend::{Behind, Inspection};
use crate::config::Strategy;
use crate::control::PoolState;
use crate::error::{Error, Result};
use crate::file::Stamp;
use crate::finding::{Checked, Finding, Topic};

const SERVE: &str = "run pools-manager serve";
const START: &str = "run pools-manager start";

/// The gateway as it was read.
#[derive(Debug)]
pub(super) struct Read {
    /// An error if no address to listen on is configured.
    pub(super) listens: Result<()>,
    /// Ok(None): no gateway runs.
    pub(super) state: Result<Option<PoolState>>,
    /// The stamp of the pool's settings.
    pub(super) stamp: Stamp,
}

impl Inspection for Read {
    fn check(&self, _strategy: Strategy, replicas: &[Behind<'_>]) -> Checked {
        let findings = match (&self.listens, &self.state) {
            (Err(Error { message, hint, .. }), _) => {
                vec![Finding::warning(message, hint.clone().unwrap_or_default())]
            }
            // A running gateway reads a new pool when the pool is started.
            (Ok(()), Err(error)) if replicas.iter().all(|it| it.published.is_none()) => {
                vec![Finding::warning(&error.message, START)]
            }
            (Ok(()), Err(error)) => vec![error.clone().into()],
            (Ok(()), Ok(state)) => {
                let mut findings = served(state.as_ref(), replicas);
                let stamp = state.as_ref().and_then(|state| state.stamp);
                findings.extend(stamp.filter(|it| *it != self.stamp).map(|_| {
                    Finding::warning(
                        "the gateway serves the pool by other settings than its pools-manager.toml has now",
                        "send serve a HUP; if it keeps the previous settings, its log says why",
                    )
                }));
                findings
            }
        };
        Checked::new(Topic::Balancer, ["gateway".to_owned()], findings)
    }
}

/// Finds replicas that run, and that the gateway does not serve.
fn served(state: Option<&PoolState>, replicas: &[Behind<'_>]) -> Vec<Finding> {
    let published = replicas.iter().filter_map(|it| Some((it.replica, it.published?)));
    let published: Vec<(u32, &Path)> = published.collect();
    let Some(state) = state else {
        let is_missed = !published.is_empty();
        return Vec::from_iter(is_missed.then(|| Finding::warning("no gateway runs", SERVE)));
    };
    let out = published.iter().filter_map(|(number, socket)| out_of_use(*number, socket, state));
    let out: Vec<Finding> = out.collect();
    if !out.is_empty() && out.len() == published.len() {
        let message = "the gateway serves no replica that runs: visitors get 503";
        return vec![Finding::error(message, START)];
    }
    out
}

fn out_of_use(number: u32, socket: &Path, state: &PoolState) -> Option<Finding> {
    match state.serving(socket) {
        Some(replica) if replica.silent => Some(Finding::warning(
            format!("replica {number} accepts the gateway's connections, and does not answer"),
            "see whether its processes are halted or hang (`ps -eo pid,stat,wchan,args`); a restart replaces them",
        )),
        Some(replica) if replica.ejected => Some(Finding::warning(
            format!("the gateway cannot connect to replica {number}"),
            format!(
                "the gateway's user needs the right to write to {}: see listen.owner, listen.group and listen.mode",
                replica.socket.display()
            ),
        )),
        Some(_) => None,
        None => Some(Finding::warning(
            format!("the gateway does not serve replica {number}, though it runs"),
            START,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ReplicaState;
    use crate::finding::Level;

    fn replica(socket: &str) -> ReplicaState {
        ReplicaState {
            socket: socket.into(),
            release: "/srv/1".into(),
            serves: true,
            ejected: false,
            silent: false,
            in_flight: 0,
            idle: 0,
        }
    }

    /// The findings for two replicas that run, on the sockets /1 and /2.
    fn found(state: Option<Vec<ReplicaState>>) -> Vec<(Level, String)> {
        let behind = |(replica, socket)| Behind {
            replica,
            public: None,
            published: Some(Path::new(socket)),
        };
        let behind = [(1, "/1"), (2, "/2")].map(behind);
        let state = state.map(|replicas| PoolState {
            replicas,
            waiting: 0,
            held: 0,
            stamp: None,
            canary: None,
        });
        served(state.as_ref(), &behind).into_iter().map(|it| (it.level, it.message)).collect()
    }

    #[test]
    fn pool_that_the_gateway_does_not_know_is_an_error_once_it_runs() {
        let read = Read {
            listens: Ok(()),
            state: Err(Error::failed("the gateway: no")),
            stamp: Stamp::of(Path::new("/absent")),
        };
        let level = |published| {
            let behind = Behind { replica: 1, public: None, published };
            read.check(Strategy::Swap, &[behind]).level
        };
        assert_eq!(level(None), Level::Warning);
        assert_eq!(level(Some(Path::new("/1"))), Level::Error);
    }

    #[test]
    fn replica_that_is_not_served_is_reported() {
        assert_eq!(found(Some(vec![replica("/1"), replica("/2")])), []);
        let warning = |text: &str| (Level::Warning, text.to_owned());
        assert_eq!(found(None), [warning("no gateway runs")]);
        let drained = ReplicaState { serves: false, ..replica("/2") };
        assert_eq!(
            found(Some(vec![replica("/1"), drained])),
            [warning("the gateway does not serve replica 2, though it runs")]
        );
        let ejected = ReplicaState { ejected: true, ..replica("/1") };
        assert_eq!(
            found(Some(vec![ejected, replica("/2")])),
            [warning("the gateway cannot connect to replica 1")]
        );
        let silent = ReplicaState { ejected: true, silent: true, ..replica("/1") };
        assert_eq!(
            found(Some(vec![silent, replica("/2")])),
            [warning("replica 1 accepts the gateway's connections, and does not answer")]
        );
        let message = "the gateway serves no replica that runs: visitors get 503";
        assert_eq!(found(Some(Vec::new())), [(Level::Error, message.to_owned())]);
    }
}
