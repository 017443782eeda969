//! HAProxy, driven over its runtime API: the stats socket.
//!
//! The driver relies on these properties (HAProxy 2.6, `doc/management.txt` 9.3 and
//! `include/haproxy/server-t.h`):
//! - One command for each connection: HAProxy answers, and closes the connection. An empty answer
//!   is the success of `set server`, a text is its error.
//! - `show servers state BACKEND` shows what an operator has set (`srv_admin_state`) apart from
//!   what health checks find (`srv_op_state`).
//! - `set server BACKEND/SERVER state drain` stops new requests. Both `drain` and `ready` also end
//!   a maintenance, so neither is sent to a server in maintenance.
//! - A reload (`-sf`) starts a new process. The new process does not have the drains of the old
//!   one. The old process finishes its requests in flight.
//! - The path of a server's unix socket is not shown.

mod api;
mod check;
mod driver;
mod settings;
mod stat;
mod state;
mod write;

#[cfg(test)]
mod fuzz;

use std::path::PathBuf;

use super::Member;
use crate::error::{Error, Result};
use api::Api;
pub(crate) use settings::KEYS;
pub use settings::Settings;
use state::{Problem, Server};

/// One backend of an HAProxy, and those of its servers that are a pool's replicas.
#[derive(Debug, Clone)]
pub struct Haproxy {
    api: Api,
    backend: String,
    servers: Vec<String>,
}

impl Haproxy {
    /// Takes names that [`Settings`] has checked. Does not connect yet.
    fn new(socket: PathBuf, backend: String, servers: Vec<String>) -> Self {
        Self { api: Api::new(socket), backend, servers }
    }

    /// Reads the backend, and checks that it has all servers. Returns them in the order of the
    /// configuration.
    ///
    /// Every error has the exit status of a wrong configuration, because nothing was changed.
    async fn read(&self) -> Result<Vec<Server>> {
        let text = self.api.ask(&format!("show servers state {}", self.backend)).await?;
        let all = match state::read(&text, &self.backend) {
            Ok(all) => all,
            Err(problem) => return Err(self.unreadable(problem).await),
        };
        let one = |name: &String| {
            let found = all.iter().find(|server| server.name == *name);
            found.cloned().ok_or_else(|| {
                let names: Vec<&str> = all.iter().map(|server| &*server.name).collect();
                Error::config(format!(
                    "backend {:?} of HAProxy has no server {name:?}",
                    self.backend
                ))
                .hint(there_are("servers", &names))
            })
        };
        self.servers.iter().map(one).collect()
    }

    async fn read_one(&self, index: usize) -> Result<Server> {
        let there = self.servers.len();
        self.read()
            .await?
            .into_iter()
            .nth(index)
            .ok_or_else(|| Error::config(format!("there is no server {}: only {there}", index + 1)))
    }

    async fn unreadable(&self, problem: Problem) -> Error {
        match problem {
            Problem::NoBackend => {
                let known = self.api.ask("show backend").await.unwrap_or_default();
                // The first line is a heading. Internal backends such as `<HTTPCLIENT>` are left out.
                let known = known.lines().skip(1).filter(|name| !name.is_empty());
                let known: Vec<&str> = known.filter(|name| !name.starts_with('<')).collect();
                Error::config(format!("{} has no backend {:?}", self.api, self.backend))
                    .hint(there_are("backends", &known))
            }
            Problem::Answer(answer) => self.api.refused(&answer),
            Problem::Broken(why) => {
                Error::config(format!("{} gave a malformed answer: {why}", self.api))
                    .hint("`socket` must name the stats socket of an HAProxy worker")
            }
        }
    }

    /// The servers' state, in the order of the configuration.
    async fn members(&self) -> Result<Vec<Member>> {
        Ok(self.read().await?.iter().map(Member::from).collect())
    }
}

fn there_are(what: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return format!("there are no {what}");
    }
    format!("the {what} there are: {}", names.join(", "))
}

impl From<&Server> for Member {
    fn from(server: &Server) -> Self {
        Self {
            name: server.name.clone(),
            status: server.to_string(),
            serves: server.serves() && !server.is_unproven(),
            draining: server.is_draining(),
            in_error: server.is_down() || server.is_unproven(),
            busy: 0,
        }
    }
}
