//! Applies one step: passes the execution's state to the step, and stores the step's result.

use std::time::Instant;

use super::{Execution, find};
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::failpoint;
use crate::process::Process;
use crate::rollout::check::check_start;
use crate::rollout::steps::compare::Comparison;
use crate::rollout::steps::front_page::{self, release_of};
use crate::rollout::steps::idle::Wait;
use crate::rollout::steps::members::{self, Floor};
use crate::rollout::steps::names::Names;
use crate::rollout::steps::watch::Watch;
use crate::rollout::steps::{millis, start, warm_up};
use crate::runtime::{self, Generation, Running};
use crate::socket::{UnixSockets, is_listening};
use crate::step::{GenerationId, Step};

impl Execution<'_> {
    pub(super) async fn step(&mut self, step: Step) -> Result<()> {
        self.report.event(&Event::StepStarted { step });
        let started = Instant::now();
        match step {
            Step::Drain { replica } => self.drain(replica).await?,
            Step::Lend { replica, to } => self.lend(replica, to).await?,
            Step::Unpublish { replica } => self.unpublish(replica)?,
            Step::AwaitIdle(id) => self.await_idle(id).await?,
            Step::Stop(id) => self.stop(id).await?,
            Step::Start(id) => self.start(id).await?,
            Step::AwaitReady(id) => {
                let ready = start::await_ready(self.pool, self.running(id)?).await;
                ready.map_err(|error| self.with_log(id, error))?;
            }
            Step::WarmUp(id) => self.warm_up(id).await.map_err(|e| self.with_log(id, e))?,
            Step::Publish(id) => self.publish(id)?,
            Step::Divert(id) => self.divert(id).await?,
            Step::Watch(id) => self.watch(id).await?,
            Step::Enable { replica } => self.enable(replica).await?,
        }
        failpoint::hit(format_args!("after: {step}"));
        self.report.event(&Event::StepDone { step, ms: millis(started) });
        Ok(())
    }

    async fn drain(&mut self, replica: u32) -> Result<()> {
        self.await_another_serving(replica).await?;
        // Recorded first: a call that fails may still have had its effect.
        self.progress.drained.push(replica);
        self.backend.drain(members::member(replica)).await
    }

    pub(super) async fn enable(&mut self, replica: u32) -> Result<()> {
        members::enable(self.pool, self.backend, replica, self.report).await?;
        self.progress.drained.retain(|drained| *drained != replica);
        Ok(())
    }

    async fn await_another_serving(&self, replica: u32) -> Result<()> {
        if !self.keep_floor {
            return Ok(());
        }
        let (pool, backend, observation) = (self.pool, self.backend, &self.observation);
        let floor = Floor { pool, backend, observation, started: &self.progress.started };
        floor.await_another_serving(replica).await
    }

    async fn lend(&mut self, replica: u32, to: GenerationId) -> Result<()> {
        let lent = self.try_lend(replica, to).await;
        if lent.is_err() && !self.keep_floor {
            // A stop also works where no link can be made, for example on a full disk.
            return self.unpublish(replica);
        }
        lent
    }

    async fn try_lend(&mut self, replica: u32, to: GenerationId) -> Result<()> {
        self.await_another_serving(replica).await?;
        let target = self.running(to)?.generation.socket.clone();
        if !is_listening(&target)? {
            return Err(Error::failed(format!("{to} does not listen any more")));
        }
        self.names().lend(replica, &target)?;
        self.progress.substitute = Some(to);
        Ok(())
    }

    fn unpublish(&mut self, replica: u32) -> Result<()> {
        self.names().unpublish(replica)
    }

    pub(super) fn publish(&mut self, id: GenerationId) -> Result<()> {
        let running = self.running(id)?;
        let generation = running.generation.clone();
        let is_new =
            self.progress.started.get(&id.replica).is_some_and(|it| it.generation == generation);
        if is_new {
            start::check_pin(self.pool, running)?; // it was right when the generation was ready
        }
        self.names().publish(&generation)?;
        if is_new {
            self.visitors.note_published(self.release.as_ref());
        }
        Ok(())
    }

    /// The public names, for a move: the backend has to be notified after it.
    fn names(&mut self) -> Names<'_> {
        self.progress.backend_is_notified = false;
        Names { pool: self.pool, observation: &mut self.observation }
    }

    async fn await_idle(&mut self, id: GenerationId) -> Result<()> {
        self.notify_backend().await?;
        let running = self.running(id)?;
        let generation = running.generation.clone();
        let wait = Wait {
            backend: self.backend,
            generation: &generation,
            master: running.master.as_ref().and_then(|master| master.try_clone().ok()),
            timeout: self.drain_timeout,
        };
        let substitute = self.substitute()?;
        let serves_still = !self.progress.started.contains_key(&id.replica);
        let cancel = self.cancel;
        let check = |unix_sockets: &UnixSockets| {
            if serves_still {
                cancel.check()?; // the generation can still get its name back
                check_substitute(substitute.as_ref(), unix_sockets)?;
            }
            Ok(())
        };
        if let Some(left) = wait.await_idle(check, self.report).await? {
            self.progress.busy.push(id);
            self.visitors.cut = true;
            self.warn(wait.will_cut(&left));
        }
        Ok(())
    }

    /// The generation that serves in place of the replica that is being renewed.
    pub(super) fn substitute(&self) -> Result<Option<Generation>> {
        let substitute = self.progress.substitute.map(|id| self.running(id)).transpose()?;
        Ok(substitute.map(|running| running.generation.clone()))
    }

    async fn start(&mut self, id: GenerationId) -> Result<()> {
        let ended = self.observation.replica(id.replica).map(|it| it.ended.clone());
        ended.into_iter().flatten().for_each(|ended| self.clean_up_after(&ended));
        let observed = self.observation.replica(id.replica);
        let missing = || Error::failed(format!("replica {} was not observed", id.replica));
        let spec = observed.and_then(|it| it.spec.as_ref()).ok_or_else(missing)?;
        let (release, drain) = (self.release.as_ref(), self.drain_timeout);
        let running = start::start(self.pool, id, spec, release, drain, self.report).await?;
        let log = running.new_log();
        self.progress.logs.extend(log.map(|log| (id.replica, log)));
        self.progress.started.insert(id.replica, running);
        Ok(())
    }

    async fn warm_up(&mut self, id: GenerationId) -> Result<()> {
        let rollout = &self.pool.settings.rollout;
        if rollout.probes_front_page() {
            let probed =
                front_page::probe(self.pool, self.running(id)?, self.other_than(id)).await?;
            if let Some(warning) = probed {
                self.warn(warning);
            }
        } else if !rollout.warm_up().is_empty() {
            let started = Instant::now();
            let spec = self.observation.replica(id.replica).and_then(|it| it.spec.as_ref());
            let children = spec.map_or(1, |spec| spec.children_at_start() as usize);
            let generation = self.running(id)?.generation.clone();
            let requests = warm_up::warm_up(self.pool, &generation, children).await?;
            let (replica, ms) = (id.replica, millis(started));
            self.report.event(&Event::Warmed { replica, requests, ms });
        }
        Ok(())
    }

    /// Another generation to compare a new one with: a published one, if there is one. Of several, an
    /// old one is preferred.
    fn other_than(&self, id: GenerationId) -> Option<&Running> {
        let old = self.observation.replicas.iter().flat_map(|replica| &replica.running);
        old.chain(self.progress.started.values())
            .filter(|it| it.generation.id() != id)
            .filter(|it| it.reachable && it.master.as_ref().is_some_and(Process::is_alive))
            .min_by_key(|it| !it.generation.is_published().unwrap_or(false))
    }

    async fn watch(&mut self, id: GenerationId) -> Result<()> {
        let mut log = self.progress.logs.remove(&id.replica);
        let watch = Watch {
            pool: self.pool,
            backend: self.backend,
            running: find(&self.progress.started, &self.observation, id)?,
            spec: self.observation.replica(id.replica).and_then(|it| it.spec.as_ref()),
            log: log.as_mut(),
            time: self.canary.map(|canary| canary.time).unwrap_or_default(),
            comparison: self.progress.offer.as_ref().map(|offer| Comparison::new(&offer.record)),
            cancel: self.cancel,
        };
        let watched = watch.watch(self.report).await;
        self.progress.logs.extend(log.map(|log| (id.replica, log)));
        watched.map_err(|error| match error.exit {
            Exit::Failed => self.with_log(id, error),
            _ => error,
        })
    }

    async fn stop(&mut self, id: GenerationId) -> Result<()> {
        self.keep_drained(id).await?;
        let idle = !self.progress.busy.contains(&id);
        self.check_replaceable(id)?;
        let running = self.running(id)?;
        let generation = running.generation.clone();
        let release = release_of(self.pool, running);
        let stopped = runtime::stop(running, idle, self.drain_timeout).await;
        // Also after a failure: the stop may have had its effect.
        self.progress.stopped.insert(id.replica, release);
        stopped?;
        self.clean_up_after(&generation);
        let replica = self.observation.replicas.iter_mut().find(|it| it.number == id.replica);
        if let Some(replica) = replica {
            let is_it = |running: &mut Running| running.generation.number == id.generation;
            let ended = replica.running.extract_if(.., is_it).map(|running| running.generation);
            replica.ended.extend(ended);
            replica.ended.sort_by_key(|ended| ended.number);
        }
        Ok(())
    }

    /// Called before the generation that serves is stopped. If the balancer has lost the drain of its
    /// replica in a reload, drains the replica again, and waits until the requests that the balancer
    /// has sent meanwhile have ended.
    async fn keep_drained(&mut self, id: GenerationId) -> Result<()> {
        let serves_still = !self.progress.started.contains_key(&id.replica);
        if !serves_still || !self.progress.drained.contains(&id.replica) {
            return Ok(());
        }
        if members::keep_drained(self.pool, self.backend, id.replica).await? {
            self.warn(format!(
                "the balancer had forgotten that replica {} is drained: it is drained again",
                id.replica
            ));
            self.await_idle(id).await?;
        }
        Ok(())
    }

    /// Removes the files of a generation that has ended. A failure is only a warning: no later
    /// generation has the same number.
    pub(super) fn clean_up_after(&mut self, ended: &Generation) {
        if let Err(error) = ended.remove_leftovers() {
            self.warn(format!("cannot remove what {ended} has left: {error}"));
        }
    }

    /// Checks that a generation that serves may be stopped: its substitute still serves, and its
    /// successor can be started. Both may have changed during the drain.
    fn check_replaceable(&self, id: GenerationId) -> Result<()> {
        let Some(replica) = self.observation.replica(id.replica) else { return Ok(()) };
        let is_current = replica.current().is_some_and(|it| it.generation.id() == id);
        if !self.keep_floor || !is_current || self.progress.started.contains_key(&id.replica) {
            return Ok(());
        }
        check_substitute(self.substitute()?.as_ref(), &UnixSockets::read()?)?;
        check_start(self.pool, replica, self.release.as_ref())
    }
}

/// Refuses to go on if the substitute has died.
fn check_substitute(substitute: Option<&Generation>, unix_sockets: &UnixSockets) -> Result<()> {
    let Some(substitute) = substitute else { return Ok(()) };
    if unix_sockets.listens(&substitute.bound) || is_listening(&substitute.socket)? {
        return Ok(());
    }
    Err(Error::failed(format!("{substitute}, which was to serve meanwhile, has died")))
}
