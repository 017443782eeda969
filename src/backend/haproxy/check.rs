//! HAProxy's part of `check`: the socket, the backend and its servers.

use super::Haproxy;
use super::stat::{self, Stat};
use super::state::Server;
use crate::backend::{Behind, Inspection};
use crate::config::Strategy;
use crate::error::{Error, Result};
use crate::finding::{Checked, Finding, Topic};

/// The backend, as it was read.
#[derive(Debug)]
pub(super) struct Read {
    /// In the order of the configuration.
    servers: Vec<Server>,
    stats: Vec<Stat>,
    /// The error of a socket that accepts no changes.
    unchangeable: Option<Error>,
}

/// A backend that could not be read.
#[derive(Debug)]
pub(super) struct Unread(pub(super) Error);

impl Haproxy {
    pub(super) async fn look(&self) -> Result<Read> {
        let servers = self.read().await?;
        // The statistics of all backends: the name alone may select the frontend of that name.
        let stats = self.api.ask("show stat -1 4 -1").await;
        let stats = stats.map(|text| stat::read(&text, &self.backend)).unwrap_or_default();
        Ok(Read { servers, stats, unchangeable: self.check_changeable().await.err() })
    }
}

impl Inspection for Unread {
    fn check(&self, _strategy: Strategy, _replicas: &[Behind<'_>]) -> Checked {
        Checked::new(Topic::Balancer, [], [self.0.clone().into()])
    }
}

impl Inspection for Read {
    fn check(&self, strategy: Strategy, replicas: &[Behind<'_>]) -> Checked {
        let servers: Vec<_> = self.servers.iter().zip(replicas).collect();
        let mut notes = vec!["haproxy".to_owned()];
        let mut findings: Vec<Finding> = self.unchangeable(strategy).into_iter().collect();
        for (server, behind) in &servers {
            let stat = self.stats.iter().find(|stat| stat.name == server.name);
            findings.extend(elsewhere(server, behind));
            findings.extend(stat.and_then(unlimited));
            findings.extend(out_of_use(server, stat, behind));
            notes.extend(taken_out(server));
        }
        findings.extend(none_serves(&servers));
        Checked::new(Topic::Balancer, notes, findings)
    }
}

impl Read {
    /// A swap drains nothing; `stop` of one replica does.
    fn unchangeable(&self, strategy: Strategy) -> Option<Finding> {
        let finding = Finding::from(self.unchangeable.clone()?);
        Some(match strategy {
            Strategy::Rolling => finding,
            Strategy::Swap => Finding::warning(finding.message, finding.help.unwrap_or_default()),
        })
    }
}

/// HAProxy does not show the path of a unix socket. So only a server with another kind of address
/// is found.
fn elsewhere(server: &Server, behind: &Behind<'_>) -> Option<Finding> {
    let (name, replica) = (&server.name, behind.replica);
    let (address, public) = (server.address.as_ref()?, behind.public?.display());
    Some(Finding::error(
        format!("server {name} connects to {address}, and not to the socket of replica {replica}"),
        format!("write it in HAProxy's configuration as: server {name} {public} proto fcgi"),
    ))
}

fn unlimited(stat: &Stat) -> Option<Finding> {
    stat.maxconn.is_none().then(|| {
        let name = &stat.name;
        Finding::warning(
            format!("server {name} has no maxconn: HAProxy sends it more requests than it has children, and they wait where no other server can take them"),
            format!("add maxconn with the value of pm.max_children to the line of server {name}"),
        )
    })
}

fn out_of_use(server: &Server, stat: Option<&Stat>, behind: &Behind<'_>) -> Option<Finding> {
    behind.published?;
    if server.serves() || server.is_in_maintenance() {
        return None;
    }
    let (name, replica) = (&server.name, behind.replica);
    let message = format!("server {name} is {server} in HAProxy, though replica {replica} runs");
    let found = stat.map(|stat| stat.last_check.as_str()).filter(|text| !text.is_empty());
    let help = match (server.is_draining(), found) {
        (true, _) => "run pools-manager start".to_owned(),
        (false, Some(found)) if server.is_down() => format!("its health check finds: {found}"),
        _ => "HAProxy gives it no requests: see its health check, its agent and its weight"
            .to_owned(),
    };
    Some(Finding::warning(message, help))
}

fn taken_out(server: &Server) -> Option<String> {
    let name = &server.name;
    server.is_in_maintenance().then(|| format!("server {name} is in maintenance: {server}"))
}

fn none_serves(servers: &[(&Server, &Behind<'_>)]) -> Option<Finding> {
    let mut running = servers.iter().filter(|(_, behind)| behind.published.is_some()).peekable();
    let any_runs = running.peek().is_some();
    let one_serves = running.any(|(server, _)| server.serves());
    (any_runs && !one_serves).then(|| {
        Finding::error(
            "no server of a replica that runs is in use: visitors get 503",
            "run pools-manager start; end a maintenance of yours with: set server BACKEND/SERVER state ready",
        )
    })
}
