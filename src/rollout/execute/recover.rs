//! After a step has failed: put back what serves, and say what state is left.

use super::Execution;
use crate::error::Error;
use crate::event::Event;
use crate::php_fpm::{self, Running};
use crate::rollout::observe::{Ask, Observed, observe};
use crate::socket;

const TRY_AGAIN: &str =
    "remove the cause, and run the command again: it goes on from what is there";

impl Execution<'_> {
    /// Returns the error that ends the rollout; the cause has been told by the stage that failed.
    pub(super) async fn recover(&mut self) -> Error {
        self.discard_unpublished().await;
        self.put_back().await;
        Error::failed(self.state_left().await).hint(TRY_AGAIN)
    }

    /// A new generation to which no name leads has served nobody.
    async fn discard_unpublished(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        for (replica, running) in fresh {
            if running.generation.is_published().unwrap_or(true) {
                self.fresh.insert(replica, running);
            } else if let Err(error) = php_fpm::discard(&running).await {
                self.warn(error.to_string());
            }
        }
    }

    /// An old generation that still runs gets its name back, unless a new one
    /// has it; what serves gets its place in the balancer back.
    async fn put_back(&mut self) {
        let replicas: Vec<_> = self.observation.seen().replicas;
        for replica in replicas {
            let number = replica.number;
            if !self.fresh.contains_key(&number) {
                let current = self.observation.replica(number).and_then(|it| it.current());
                let listening = |it: &&Running| socket::is_listening(&it.generation.socket);
                let Some(current) = current.filter(listening) else {
                    continue; // nothing of it runs: it stays out
                };
                let id = super::Id { replica: number, generation: current.generation.number };
                if !current.generation.is_published().unwrap_or(false)
                    && let Err(error) = self.publish(id)
                {
                    self.warn(error.to_string());
                    continue;
                }
            }
            if self.drained.contains(&number)
                && let Err(error) = self.enable(number).await
            {
                self.warn(error.to_string());
            }
        }
    }

    fn warn(&mut self, text: String) {
        self.report.event(&Event::Warning { text });
    }

    async fn state_left(&self) -> String {
        match observe(self.pool, self.balancer.members(), Ask::default()).await {
            Ok(now) => {
                let pool = &self.pool.name;
                let replicas: Vec<String> = now.replicas.iter().map(describe).collect();
                format!("pool \"{pool}\" is left as follows: {}", replicas.join("; "))
            }
            Err(error) => {
                error.within(format!("pool \"{}\" has failed, and", self.pool.name)).to_string()
            }
        }
    }
}

fn describe(replica: &Observed) -> String {
    let what = match (replica.current(), replica.published) {
        (None, _) => "does not run".to_owned(),
        (Some(_), None) => "runs, but its public name does not lead to it".to_owned(),
        (Some(running), Some(_)) => {
            let on = running.generation.release.as_ref();
            on.map_or("runs".to_owned(), |it| format!("runs {}", it.path.display()))
        }
    };
    let member = replica.member.as_ref();
    let balancer = member.map(|it| format!(" (LB=\"{}\")", it.status)).unwrap_or_default();
    format!("replica {} {what}{balancer}", replica.number)
}
