//! Apache's part of `check`: the balancer and its members.

use std::fs;
use std::path::{Path, PathBuf};

use super::snapshot::{Snapshot, Worker};
use super::write::{forbid_failing_sessions, nonce};
use crate::backend::{Behind, Inspection};
use crate::config::Strategy;
use crate::error::Error;
use crate::finding::{Checked, Finding, Topic};

/// How many links are followed from a member's socket to a public name.
const MAX_LINKS: usize = 8;

/// The balancer, as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) snapshot: Snapshot,
    pub(super) member_urls: Vec<String>,
}

/// A balancer that could not be read.
#[derive(Debug)]
pub(super) struct Unread(pub(super) Error);

impl Inspection for Unread {
    fn check(&self, _strategy: Strategy, _replicas: &[Behind<'_>]) -> Checked {
        Checked::new(Topic::Balancer, [], [self.0.clone().into()])
    }
}

impl Inspection for Read {
    fn check(&self, strategy: Strategy, replicas: &[Behind<'_>]) -> Checked {
        let members = self.member_urls.iter().zip(replicas);
        let members = members.filter_map(|(url, it)| Some((self.snapshot.worker(url)?, it)));
        let members: Vec<_> = members.collect();
        let mut notes = vec!["apache".to_owned()];
        let mut findings: Vec<Finding> = as_a_whole(&self.snapshot, strategy);
        for (worker, behind) in &members {
            findings.extend(retries(worker));
            findings
                .extend(behind.public.and_then(|public| elsewhere(worker, behind.replica, public)));
            findings.extend(out_of_use(worker, behind));
            notes.extend(taken_out(worker));
        }
        findings.extend(none_serves(&members));
        Checked::new(Topic::Balancer, notes, findings)
    }
}

fn as_a_whole(snapshot: &Snapshot, strategy: Strategy) -> Vec<Finding> {
    // A swap drains nothing; `stop` of one replica does.
    let refused = |error: Error| match strategy {
        Strategy::Rolling => Finding::from(error),
        Strategy::Swap => Finding::warning(error.message, error.hint.unwrap_or_default()),
    };
    let refusals = [nonce(snapshot).map(drop), forbid_failing_sessions(snapshot)];
    refusals.into_iter().filter_map(Result::err).map(refused).collect()
}

fn retries(worker: &Worker) -> Option<Finding> {
    let seconds = worker.shown_retry_seconds().filter(|seconds| *seconds > 0)?;
    let url = &worker.url;
    Some(Finding::warning(
        format!(
            "member {url} has retry={seconds}: after one failure Apache leaves it out for {seconds} seconds, and no command can change that"
        ),
        "add retry=0 to its BalancerMember in Apache's configuration",
    ))
}

/// Checks that the member connects to the replica's public socket name.
fn elsewhere(worker: &Worker, replica: u32, public: &Path) -> Option<Finding> {
    let (url, right) = (&worker.url, public.display());
    let Some(socket) = worker.socket() else {
        return Some(Finding::warning(
            format!(
                "member {url} names no unix socket: it is not known whether it leads to replica {replica}"
            ),
            format!("write it as BalancerMember \"unix:{right}|{url}\""),
        ));
    };
    let shown = socket.display();
    match canonical(socket) {
        Some(_) if leads_to(socket, public) => None,
        Some(_) => Some(Finding::error(
            format!(
                "member {url} connects to {shown}, which is not the socket of replica {replica}"
            ),
            format!(
                "its socket is {right}: correct the BalancerMember, or the order of member_urls"
            ),
        )),
        None => Some(Finding::warning(
            format!("member {url} connects to {shown}, whose directory is not here"),
            format!(
                "the socket of replica {replica} is {right}: correct the BalancerMember, unless Apache runs where that has another path"
            ),
        )),
    }
}

/// Whether a socket's path leads to the public name. Follows links until one is the public name,
/// which is a link itself.
fn leads_to(socket: &Path, public: &Path) -> bool {
    let public = canonical(public);
    let mut at = canonical(socket);
    for _ in 0..MAX_LINKS {
        if at == public {
            return true;
        }
        let Some(here) = at else { return false };
        let Ok(target) = fs::read_link(&here) else { return false };
        at = canonical(&here.parent().unwrap_or(Path::new("/")).join(target));
    }
    false
}

/// The path of a name, with all symlinks in its directory resolved. The name itself is not
/// resolved.
fn canonical(name: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(name.parent()?).ok()?.join(name.file_name()?))
}

fn out_of_use(worker: &Worker, behind: &Behind<'_>) -> Option<Finding> {
    behind.published?;
    let (url, replica) = (&worker.url, behind.replica);
    let Worker { status, .. } = worker;
    let what = match () {
        () if worker.is_used() || is_taken_out(worker) => return None,
        () if status.is_draining() => "drained",
        () => "in error",
    };
    let message = format!("member {url} is {what} ({status}), though replica {replica} runs");
    Some(Finding::warning(message, "run pools-manager start"))
}

/// Stopped or disabled by the operator, or by a health check.
fn is_taken_out(worker: &Worker) -> bool {
    let status = &worker.status;
    !worker.is_used() && !status.is_draining() && (status.is_stopped() || !status.is_in_error())
}

fn taken_out(worker: &Worker) -> Option<String> {
    is_taken_out(worker).then(|| format!("member {} is taken out: {}", worker.url, worker.status))
}

fn none_serves(members: &[(&Worker, &Behind<'_>)]) -> Option<Finding> {
    let mut running = members.iter().filter(|(_, behind)| behind.published.is_some()).peekable();
    let any_runs = running.peek().is_some();
    let serves = running.any(|(worker, _)| worker.is_used());
    (any_runs && !serves).then(|| {
        Finding::error(
            "no member of a replica that runs is in use: visitors get 503",
            "run pools-manager start; enable members that you have taken out yourself in balancer-manager",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_paths_are_compared_by_their_targets() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sockets")).unwrap();
        let public = at("sockets/www1.sock");
        std::os::unix::fs::symlink("www1.g7.sock", &public).unwrap();
        std::os::unix::fs::symlink("sockets", at("link")).unwrap();
        std::os::unix::fs::symlink("link/www1.sock", at("apache.sock")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        for same in
            ["sockets/www1.sock", "link/../sockets/www1.sock", "link/www1.sock", "apache.sock"]
        {
            assert!(leads_to(&at(same), &public), "{same}");
        }
        // The private socket is the right one only until the next restart.
        for other in ["sockets/www1.g7.sock", "sockets/www2.sock", "loop", "none/www1.sock"] {
            assert!(!leads_to(&at(other), &public), "{other}");
        }
    }
}
