//! `Lend`, `Unpublish`, `Publish`: where the public names lead.

use std::io;
use std::path::{Path, PathBuf};

use super::Execution;
use crate::error::{Error, Result};
use crate::file;
use crate::runtime::Generation;
use crate::socket::{self, Name};
use crate::step::GenerationId;

impl Execution<'_> {
    /// Whoever still comes by this replica's name is served by another one.
    pub(super) async fn lend(&mut self, replica: u32, to: GenerationId) -> Result<()> {
        self.await_another_serving(replica).await?;
        let target = self.running(to)?.generation.socket.clone();
        if !socket::is_listening(&target)? {
            return Err(Error::failed(format!("{to} does not listen any more")));
        }
        self.keep_reachable(replica)?;
        self.done.backend_knows = false;
        for name in self.names_leading_to(replica) {
            socket::publish(&name, &target).map_err(|error| cannot("publish", &name, &error))?;
        }
        self.done.lent_to = Some(to);
        Ok(())
    }

    /// Takes away every name that leads to the replica's generations, its own
    /// and those that were lent to it.
    pub(super) fn unpublish(&mut self, replica: u32) -> Result<()> {
        self.keep_reachable(replica)?;
        self.done.backend_knows = false;
        for name in self.names_leading_to(replica) {
            file::remove(&name).map_err(|error| cannot("remove", &name, &error))?;
        }
        Ok(())
    }

    /// Moves the replica's name, and what was lent to it, to this generation.
    pub(super) fn publish(&mut self, id: GenerationId) -> Result<()> {
        self.keep_reachable(id.replica)?;
        self.done.backend_knows = false;
        let generation = self.running(id)?.generation.clone();
        if self.done.fresh.get(&id.replica).is_some_and(|it| it.generation == generation) {
            self.check_pin(self.running(id)?)?; // it was there when the generation was ready
        }
        let lent = self.lent_to(id.replica);
        for name in lent.into_iter().chain([generation.public.clone()]) {
            socket::publish(&name, &generation.socket)
                .map_err(|error| cannot("publish", &name, &error))?;
        }
        publish_pid(&generation)?;
        for old in self.names(id.replica).into_iter().filter(|name| *name != generation.public) {
            // The operator has renamed the public socket.
            file::remove(&old).map_err(|error| cannot("remove", &old, &error))?;
        }
        Ok(())
    }

    /// An adopted master listens on the public name: it needs another one
    /// before that leads elsewhere.
    fn keep_reachable(&mut self, replica: u32) -> Result<()> {
        let observed = self.observation.replicas.iter_mut().filter(|it| it.number == replica);
        for running in observed.flat_map(|it| &mut it.running) {
            let generation = &mut running.generation;
            generation
                .keep_reachable()
                .map_err(|error| cannot("link", &generation.public, &error))?;
        }
        Ok(())
    }

    /// The replica's own names, and those that were lent to it.
    fn names_leading_to(&self, replica: u32) -> Vec<PathBuf> {
        self.names(replica).into_iter().chain(self.lent_to(replica)).collect()
    }

    /// The public names that the replica's generations have had.
    fn names(&self, replica: u32) -> Vec<PathBuf> {
        let observed = self.observation.replica(replica);
        let configured = observed.and_then(|it| Some(it.spec.as_ref()?.public().to_owned()));
        let running = observed.into_iter().flat_map(|it| &it.running);
        let mut names: Vec<PathBuf> =
            running.map(|it| it.generation.public.clone()).chain(configured).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Names of other replicas that lead to this one's generations: an
    /// earlier rollout has lent them, and did not get to its end.
    fn lent_to(&self, replica: u32) -> Vec<PathBuf> {
        let Some(observed) = self.observation.replica(replica) else { return Vec::new() };
        let sockets: Vec<&Path> =
            observed.running.iter().map(|it| it.generation.socket.as_path()).collect();
        let others = self.pool.replicas().filter(|other| *other != replica);
        let names = others.flat_map(|other| self.names_on_record(other));
        let leads_here = |name: &PathBuf| match socket::read_name(name) {
            Ok(Name::Link(target)) => sockets.contains(&target.as_path()),
            _ => false,
        };
        names.filter(leads_here).collect()
    }

    fn names_on_record(&self, replica: u32) -> Vec<PathBuf> {
        let ended = self.observation.replica(replica).into_iter().flat_map(|it| &it.ended);
        let mut names = self.names(replica);
        names.extend(ended.map(|generation| generation.public.clone()));
        names.sort();
        names.dedup();
        names
    }
}

/// Moves the pid file's public name; an adopted master has a file there, not a link.
pub(super) fn publish_pid(generation: &Generation) -> Result<()> {
    let name = generation.public_pid.as_ref().filter(|_| !generation.number.is_adopted());
    let Some(name) = name else { return Ok(()) };
    socket::publish(name, &generation.pid_file).map_err(|error| cannot("publish", name, &error))
}

pub(super) fn cannot(what: &str, name: &Path, error: &io::Error) -> Error {
    Error::failed(format!("cannot {what} {}: {error}", name.display()))
}
