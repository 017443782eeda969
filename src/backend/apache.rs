//! Apache's `mod_proxy_balancer`, driven through its page balancer-manager.
//!
//! The driver relies on these properties (Apache 2.4, `modules/proxy/mod_proxy_balancer.c`):
//! - `GET ?xml=1` lists balancers and workers. A change needs a nonce. Since 2.4.64 this list has
//!   the nonce; before, only the links of the HTML page have it.
//! - Apache takes parameters only if the `Referer` is of the same host as the request and the nonce
//!   is right. Otherwise it ignores them, and still answers 200 with the HTML page. So the driver
//!   reads each change back. A nonce lasts until Apache is restarted.
//! - A change is a form of at most 1,024 bytes.

mod check;
mod document;
mod driver;
mod manager;
mod settings;
mod snapshot;
mod write;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use super::Member;
use crate::error::{Error, Result};
pub use document::Columns;
use document::{Problem, Section};
use manager::Manager;
pub(crate) use settings::KEYS;
pub use settings::Settings;
pub use snapshot::{MemberStatus, Snapshot, Worker};

/// One balancer of an Apache, and those of its members that are a pool's replicas.
#[derive(Debug, Clone)]
pub struct Apache {
    manager: Box<Manager>,
    /// Without the scheme `balancer://`.
    balancer: String,
    member_urls: Vec<String>,
    /// The file that notes that a member's errors are ignored for a moment.
    note: Option<PathBuf>,
}

impl Apache {
    /// Takes the URL of balancer-manager, the balancer's name (with or without `balancer://`), and
    /// the URL of each replica's member, either alone (`fcgi://pool-1`) or whole
    /// (`unix:/path|fcgi://pool-1`). Sends no request yet.
    pub fn new(manager_url: &str, balancer_name: &str, member_urls: &[String]) -> Result<Self> {
        let balancer = document::without_scheme(balancer_name);
        if balancer.is_empty() {
            return Err(Error::config("the balancer's name is empty"));
        }
        Ok(Self {
            manager: Box::new(Manager::new(manager_url)?),
            balancer: balancer.to_owned(),
            member_urls: member_urls.to_vec(),
            note: None,
        })
    }

    /// Sets the note file. [`Apache::clean_up`] reads in it what a killed command has left.
    #[must_use]
    pub fn with_note(mut self, path: PathBuf) -> Self {
        self.note = Some(path);
        self
    }

    /// Sets a page that Apache fetches through this balancer. Only a request ends the error state of
    /// a member, and there may be no visitors. So the driver requests this page itself.
    pub fn with_probe(mut self, url: &str) -> Result<Self> {
        self.manager.set_probe(url)?;
        Ok(self)
    }

    /// Reads the balancer, and checks that it has all members.
    ///
    /// Every error has the exit status of a wrong configuration, because nothing was changed. A
    /// caller in the middle of a change turns the error into a failure.
    pub async fn read(&self) -> Result<Snapshot> {
        let (mut sections, has_nonce) = self.sections(Some("xml=1")).await?;
        if !has_nonce {
            // Up to 2.4.63 only the page's links have the nonce.
            let (page, _) = self.sections(None).await?;
            for section in &mut sections {
                let same = page.iter().find(|other| other.name == section.name);
                section.nonce = same.and_then(|other| other.nonce.clone());
            }
        }
        self.select(sections)
    }

    /// Reads the HTML page: the same as [`Apache::read`], but attributes and columns are named as
    /// the page names them, such as `Worker URL` and `RouteRedir`.
    pub async fn read_page(&self) -> Result<Snapshot> {
        let (sections, _) = self.sections(None).await?;
        self.select(sections)
    }

    /// The members' state, in the order of the configuration.
    pub async fn members(&self) -> Result<Vec<Member>> {
        let snapshot = self.read().await?;
        (0..self.member_urls.len())
            .map(|index| self.member(&snapshot, index).map(Member::from))
            .collect()
    }

    /// Whether the balancer would still have a worker that serves if it lost this member.
    pub async fn other_serving(&self, index: usize) -> Result<bool> {
        let snapshot = self.read().await?;
        let member = self.member(&snapshot, index)?;
        Ok(snapshot.workers.iter().any(|other| other.name != member.name && other.status.serves()))
    }

    /// Fetches and parses a document. The flag says whether all its balancers have a nonce.
    async fn sections(&self, query: Option<&str>) -> Result<(Vec<Section>, bool)> {
        let text = self.manager.get(query).await?;
        let sections = document::read(&text).map_err(|problem| self.unreadable(&problem))?;
        let has_nonce = sections.iter().all(|section| section.nonce.is_some());
        Ok((sections, has_nonce))
    }

    fn select(&self, sections: Vec<Section>) -> Result<Snapshot> {
        let names: Vec<_> = sections.iter().map(|section| section.name.clone()).collect();
        let wanted = |section: &Section| section.name.eq_ignore_ascii_case(&self.balancer);
        let section = sections.into_iter().find(wanted).ok_or_else(|| {
            Error::config(format!("{} has no balancer {:?}", self.manager, self.balancer))
                .hint(there_are("balancers", &names))
        })?;
        let snapshot = Snapshot::from(section);
        let mut seen = Vec::new();
        for (index, url) in self.member_urls.iter().enumerate() {
            let name = &self.member(&snapshot, index)?.name;
            if let Some(same) = seen.iter().position(|other| *other == name) {
                let (first, balancer) = (&self.member_urls[same], &self.balancer);
                return Err(Error::config(format!(
                    "{first:?} and {url:?} are the same member of balancer {balancer:?}"
                ))
                .hint("name one balancer member for each replica, the first for 1.conf"));
            }
            seen.push(name);
        }
        Ok(snapshot)
    }

    /// The worker of the member with this index.
    fn member<'a>(&self, snapshot: &'a Snapshot, index: usize) -> Result<&'a Worker> {
        let url = self.member_urls.get(index).ok_or_else(|| {
            let there = self.member_urls.len();
            Error::config(format!("there is no member {}: only {there}", index + 1))
        })?;
        snapshot.worker(url).ok_or_else(|| {
            let names: Vec<_> = snapshot.workers.iter().map(|worker| worker.name.clone()).collect();
            Error::config(format!("balancer {:?} has no member {url:?}", self.balancer))
                .hint(there_are("members", &names))
        })
    }

    fn unreadable(&self, problem: &Problem) -> Error {
        match problem {
            Problem::NotManager => {
                Error::config(format!("{} answers, but is not balancer-manager", self.manager))
                    .hint("the URL's <Location> in Apache needs: SetHandler balancer-manager")
            }
            Problem::Broken(reason) => Error::config(format!(
                "balancer-manager at {} gave a malformed answer: {reason}",
                self.manager
            )),
        }
    }
}

fn there_are(what: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("there are no {what}");
    }
    format!("the {what} there are: {}", names.join(", "))
}

impl From<&Worker> for Member {
    fn from(worker: &Worker) -> Self {
        Self {
            name: worker.url.clone(),
            status: worker.status.to_string(),
            serves: worker.is_used(),
            draining: worker.status.is_draining(),
            in_error: worker.status.is_in_error(),
            busy: worker.busy,
        }
    }
}
