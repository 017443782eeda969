//! The end of every plan: removes what nobody needs any more, and puts right what a manager that
//! was killed has left, where no step had to.

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
    pub(super) fn tidy(&self) -> Result<()> {
        for replica in &self.observation.replicas {
            let fresh = self.done.fresh.get(&replica.number);
            for running in replica.running.iter().chain(fresh) {
                runtime::write_again(self.pool, running)?;
                finish_publishing(&running.generation)?;
                forget_adopted(&running.generation)?;
            }
        }
        self.forget_ended()?;
        // Looked for first: its directory may be read-only for all but the operator.
        if let Some(Pinning { symlink, .. }) = &self.pool.settings.pinning
            && let unfinished = switch::unfinished(symlink)
            && unfinished.is_symlink()
        {
            remove(&unfinished)?;
        }
        Ok(())
    }

    /// The newest record stays until there is a newer one: numbers go upwards.
    fn forget_ended(&self) -> Result<()> {
        for replica in &self.observation.replicas {
            let runs = !replica.running.is_empty() || self.done.fresh.contains_key(&replica.number);
            let spare = if runs { None } else { replica.ended.last() };
            for old in &replica.ended {
                // Where that cannot be, whoever has ended or replaced it has said so.
                if old.remove_leftovers().is_ok() && spare != Some(old) {
                    runtime::remove_record(self.pool, old)?;
                }
            }
        }
        Ok(())
    }
}

/// The socket's name moves first, and then that of the pid file.
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

/// An adopted master has no record: what is left of one that has ended is its private name.
fn forget_adopted(now: &Generation) -> Result<()> {
    let private = now.private_name_of_adopted();
    if socket::is_listening(&private)? { Ok(()) } else { remove(&private) }
}

fn remove(name: &Path) -> Result<()> {
    file::remove(name).map_err(|error| cannot("remove", name, &error))
}
