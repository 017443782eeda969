//! The gateway, where that is the balancer: whether it runs, and serves what runs.

use super::Behind;
use crate::balancer::Balancer;
use crate::check::finding::{Checked, Finding, Topic};
use crate::check::replicas::Seen;
use crate::config::Global;
use crate::control::Shown;
use crate::error::{Error, Result};
use crate::pool::Pool;

const SERVE: &str = "run pools-manager serve";
const START: &str = "run pools-manager start";

/// What the gateway is told, and what it tells.
#[derive(Debug)]
pub(in crate::check) struct Asked {
    /// An error where it is not told where to listen.
    listens: Result<()>,
    /// Ok(None): no gateway runs.
    shown: Result<Option<Shown>>,
}

/// Asks a gateway that runs.
pub(super) async fn ask(pool: &Pool) -> Result<Asked> {
    let global = Global::read(&pool.root)?;
    let shown = Balancer::of(pool)?.show().await;
    Ok(Asked { listens: global.listens().map(drop), shown })
}

/// `behind` has one entry for each replica, ascending.
pub(super) fn check(asked: Result<Asked>, behind: &[Behind<'_>]) -> Checked {
    let found = asked.and_then(|asked| findings(asked, behind));
    let findings = found.unwrap_or_else(|error| vec![error.into()]);
    Checked::new(Topic::Balancer, ["gateway".to_owned()], findings)
}

fn findings(asked: Asked, behind: &[Behind<'_>]) -> Result<Vec<Finding>> {
    if let Err(Error { message, hint, .. }) = asked.listens {
        return Ok(vec![Finding::warning(message, hint.unwrap_or_default())]);
    }
    Ok(served(asked.shown?.as_ref(), behind))
}

/// What of that which runs is served.
fn served(shown: Option<&Shown>, behind: &[Behind<'_>]) -> Vec<Finding> {
    let published: Vec<&Seen> =
        behind.iter().filter_map(|it| it.seen.filter(|seen| seen.is_published())).collect();
    let Some(shown) = shown else {
        let is_missed = !published.is_empty();
        return Vec::from_iter(is_missed.then(|| Finding::warning("no gateway runs", SERVE)));
    };
    let out: Vec<Finding> = published.iter().filter_map(|seen| out_of_use(seen, shown)).collect();
    if !out.is_empty() && out.len() == published.len() {
        let nobody = "the gateway serves no replica that runs: visitors get 503";
        return vec![Finding::error(nobody, START)];
    }
    out
}

fn out_of_use(seen: &Seen, shown: &Shown) -> Option<Finding> {
    let number = seen.replica;
    match seen.socket().and_then(|socket| shown.serving(socket)) {
        Some(replica) if replica.silent => Some(Finding::warning(
            format!("replica {number} accepts the gateway's connections, and does not answer"),
            "see whether its processes are halted or hang (`ps -eo pid,stat,wchan,args`); a restart replaces them",
        )),
        Some(replica) if replica.aside => Some(Finding::warning(
            format!("the gateway cannot connect to replica {number}"),
            format!(
                "whoever runs it needs the right to write to {}: see listen.owner, listen.group and listen.mode",
                replica.socket.display()
            ),
        )),
        Some(_) => None,
        None => Some(Finding::warning(
            format!("the gateway does not serve replica {number}, though that runs"),
            START,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;
    use crate::control::Replica;

    fn replica(socket: &str) -> Replica {
        Replica {
            socket: socket.into(),
            release: "/srv/1".into(),
            serves: true,
            aside: false,
            silent: false,
            in_flight: 0,
            kept: 0,
        }
    }

    /// Of two replicas that run, on the sockets /1 and /2.
    fn found(shown: Option<Vec<Replica>>) -> Vec<(Level, String)> {
        let seen = [1, 2].map(|number| Seen::published_on(number, &format!("/{number}")));
        let behind = |seen| Behind { replica: 0, public: None, seen: Some(seen) };
        let behind: Vec<_> = seen.iter().map(behind).collect();
        let shown = shown.map(|replicas| Shown { replicas, waiting: 0 });
        served(shown.as_ref(), &behind).into_iter().map(|it| (it.level, it.message)).collect()
    }

    #[test]
    fn what_runs_and_is_not_served_is_told() {
        assert_eq!(found(Some(vec![replica("/1"), replica("/2")])), []);
        let warning = |text: &str| (Level::Warning, text.to_owned());
        assert_eq!(found(None), [warning("no gateway runs")]);
        let drained = Replica { serves: false, ..replica("/2") };
        assert_eq!(
            found(Some(vec![replica("/1"), drained])),
            [warning("the gateway does not serve replica 2, though that runs")]
        );
        let aside = Replica { aside: true, ..replica("/1") };
        assert_eq!(
            found(Some(vec![aside, replica("/2")])),
            [warning("the gateway cannot connect to replica 1")]
        );
        let silent = Replica { aside: true, silent: true, ..replica("/1") };
        assert_eq!(
            found(Some(vec![silent, replica("/2")])),
            [warning("replica 1 accepts the gateway's connections, and does not answer")]
        );
        let nobody = "the gateway serves no replica that runs: visitors get 503";
        assert_eq!(found(Some(Vec::new())), [(Level::Error, nobody.to_owned())]);
    }
}
