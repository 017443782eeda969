//! `Lend`, `Unpublish`, `Publish`: move the public names.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file;
use crate::pool::Pool;
use crate::rollout::observe::{Observation, is_removable};
use crate::runtime::Generation;
use crate::socket::{self, Name};

/// The public names of a pool's replicas.
pub(in crate::rollout) struct Names<'a> {
    pub(in crate::rollout) pool: &'a Pool,
    pub(in crate::rollout) observation: &'a mut Observation,
}

impl Names<'_> {
    /// Points the replica's names at `target`, the socket of another replica's generation, which
    /// then serves the clients of these names.
    pub(in crate::rollout) fn lend(&mut self, replica: u32, target: &Path) -> Result<()> {
        self.keep_reachable(replica)?;
        for name in self.names_leading_to(replica) {
            socket::publish(&name, target).map_err(|error| cannot("publish", &name, &error))?;
        }
        Ok(())
    }

    /// Removes the replica's names, wherever they lead, and those that were lent to it.
    pub(in crate::rollout) fn unpublish(&mut self, replica: u32) -> Result<()> {
        self.keep_reachable(replica)?;
        let mut names = self.names_leading_to(replica);
        // If the replica was stopped just now, no generation runs and its name is still lent. Then only
        // the records have that name.
        let records: Vec<Generation> = self.observation.generations().cloned().collect();
        for name in self.names_on_record(replica) {
            if !names.contains(&name) && is_removable(&name, &records)? {
                names.push(name);
            }
        }
        for name in names {
            file::remove(&name).map_err(|error| cannot("remove", &name, &error))?;
        }
        Ok(())
    }

    /// Points the replica's name, and those that were lent to it, at a generation of the replica.
    pub(in crate::rollout) fn publish(&mut self, generation: &Generation) -> Result<()> {
        self.keep_reachable(generation.replica)?;
        // `keep_reachable` may have changed an adopted master's private name.
        let id = generation.id();
        let socket = match self.observation.running(id) {
            Some(running) => running.generation.socket.clone(),
            None => generation.socket.clone(),
        };
        let lent = self.names_lent_to(id.replica);
        for name in lent.into_iter().chain([generation.public.clone()]) {
            socket::publish(&name, &socket).map_err(|error| cannot("publish", &name, &error))?;
        }
        publish_pid(generation)?;
        for old in self.own_names(id.replica).into_iter().filter(|name| *name != generation.public)
        {
            // The operator has renamed the public socket.
            file::remove(&old).map_err(|error| cannot("remove", &old, &error))?;
        }
        Ok(())
    }

    /// Gives an adopted master a private name: it listens on the public name, which is about to
    /// lead elsewhere.
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
        self.own_names(replica).into_iter().chain(self.names_lent_to(replica)).collect()
    }

    /// The public names that the replica's generations have had.
    fn own_names(&self, replica: u32) -> Vec<PathBuf> {
        let observed = self.observation.replica(replica);
        let configured = observed.and_then(|it| Some(it.spec.as_ref()?.public().to_owned()));
        let running = observed.into_iter().flat_map(|it| &it.running);
        let mut names: Vec<PathBuf> =
            running.map(|it| it.generation.public.clone()).chain(configured).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Names of other replicas that lead to this replica's generations: an unfinished rollout has
    /// lent them.
    fn names_lent_to(&self, replica: u32) -> Vec<PathBuf> {
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
        let mut names = self.own_names(replica);
        names.extend(ended.map(|generation| generation.public.clone()));
        names.sort();
        names.dedup();
        names
    }
}

/// Moves the public name of the pid file. An adopted master has a file there, not a link.
pub(in crate::rollout) fn publish_pid(generation: &Generation) -> Result<()> {
    let name = generation.public_pid.as_ref().filter(|_| !generation.number.is_adopted());
    let Some(name) = name else { return Ok(()) };
    socket::publish(name, &generation.pid_file).map_err(|error| cannot("publish", name, &error))
}

pub(in crate::rollout) fn cannot(what: &str, name: &Path, error: &io::Error) -> Error {
    Error::failed(format!("cannot {what} {}: {error}", name.display()))
}
