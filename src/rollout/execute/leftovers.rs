//! The end of every plan: removes files that are not needed any more, and finishes what a killed
//! command has left half done.

use std::path::Path;

use super::Execution;
use crate::error::Result;
use crate::file;
use crate::pool::Pinning;
use crate::rollout::steps::names::{cannot, publish_pid};
use crate::rollout::switch;
use crate::runtime::{self, Generation};
use crate::socket::{self, Name};

impl Execution<'_> {
    pub(super) fn clean_up(&self) -> Result<()> {
        for replica in &self.observation.replicas {
            let started = self.progress.started.get(&replica.number);
            for running in replica.running.iter().chain(started) {
                runtime::restore_record(self.pool, running)?;
                finish_publishing(&running.generation)?;
                remove_adopted_name(&running.generation)?;
            }
        }
        self.remove_ended_records()?;
        // Nothing is removed unless there is such a symlink: the directory may be read-only for this
        // user.
        if let Some(Pinning { symlink, .. }) = &self.pool.settings.pinning
            && let unfinished = switch::unfinished(symlink)
            && unfinished.is_symlink()
        {
            remove(&unfinished)?;
        }
        Ok(())
    }

    /// Removes the records of ended generations. The newest record stays until there is a newer
    /// one, so that numbers only go up.
    fn remove_ended_records(&self) -> Result<()> {
        for replica in &self.observation.replicas {
            let runs =
                !replica.running.is_empty() || self.progress.started.contains_key(&replica.number);
            let spare = if runs { None } else { replica.ended.last() };
            for old in &replica.ended {
                // A failure was reported already when the generation was stopped or replaced.
                if old.remove_leftovers().is_ok() && spare != Some(old) {
                    runtime::remove_record(self.pool, old)?;
                }
            }
        }
        Ok(())
    }
}

/// Finishes a publication that was cut off: the socket's name moves first, then the pid file's
/// name.
fn finish_publishing(generation: &Generation) -> Result<()> {
    for name in [Some(&generation.public), generation.public_pid.as_ref()].into_iter().flatten() {
        remove(&socket::unfinished(name))?;
    }
    let Some(pid) = &generation.public_pid else { return Ok(()) };
    let to = Name::Link(generation.pid_file.clone());
    let follows = socket::read_name(pid).is_ok_and(|name| name == to);
    if follows || !generation.is_published().unwrap_or(false) {
        return Ok(());
    }
    publish_pid(generation)
}

/// Removes the private name of an adopted master that has ended. An adopted master has no record.
fn remove_adopted_name(now: &Generation) -> Result<()> {
    let private = now.private_name_of_adopted();
    if socket::is_listening(&private)? { Ok(()) } else { remove(&private) }
}

fn remove(name: &Path) -> Result<()> {
    file::remove(name).map_err(|error| cannot("remove", name, &error))
}
