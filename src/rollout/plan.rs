//! The plan: from what is seen and what is wanted to a list of steps. Pure:
//! no I/O, no clock.
//!
//! Two things hold at every point of every plan for a renewal. A replica is
//! drained, or its name taken away, only while another one serves; where no
//! other does, its new generation starts beside the old one. And a generation
//! that runs is stopped only after its public name has gone elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::goal::{Goal, Wanted};
use crate::config::Strategy;
use crate::step::{GenerationId, Number, Stage, Step, Title};

/// What the planner needs to know of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its replicas, ascending.
    pub replicas: Vec<Replica>,
}

/// What the planner needs to know of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Replica {
    /// Its number.
    pub number: u32,
    /// The highest number that one of its generations has had.
    pub last: Number,
    /// The generations that run, ascending.
    pub running: Vec<Number>,
    /// The one that its public name leads to, if that one runs.
    pub published: Option<Number>,
    /// The one to keep, or to replace: the published one, else the newest of
    /// those that can still be reached.
    pub current: Option<Number>,
    /// Whether nothing of it runs, and its public name is there to be removed: it leads to this
    /// pool, or nowhere.
    pub named: bool,
    /// Whether the current one is to be replaced: it cannot go on, or has the wrong release.
    pub stale: bool,
    /// Whether the current one has been published before: it need not prove itself again.
    pub proven: bool,
    /// Whether the operator has stopped it.
    pub stopped: bool,
    /// What the balancer thinks of it.
    pub member: Member,
}

/// What the balancer thinks of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// There is no balancer: clients come by path.
    None,
    /// It gets requests.
    Serving,
    /// It is drained or disabled.
    Drained,
    /// The balancer has seen it fail.
    InError,
    /// The operator has taken it out by means that are not ours.
    TakenOut,
}

impl Replica {
    /// Whether new requests reach a process of it.
    pub fn serves(&self) -> bool {
        self.published.is_some() && matches!(self.member, Member::None | Member::Serving)
    }

    fn id(&self, generation: Number) -> GenerationId {
        GenerationId { replica: self.number, generation }
    }

    fn current(&self) -> Option<GenerationId> {
        self.current.map(|number| self.id(number))
    }

    fn fresh(&self) -> GenerationId {
        self.id(self.last.next())
    }

    fn drain(&self) -> Option<Step> {
        let replica = self.number;
        matches!(self.member, Member::Serving | Member::InError).then_some(Step::Drain { replica })
    }

    /// What `Enable` would be needed for, once the replica has been drained or not.
    fn enable(&self, drained: bool) -> Option<Step> {
        let replica = self.number;
        let needed = match self.member {
            Member::None | Member::TakenOut => false,
            Member::Serving => drained,
            Member::Drained | Member::InError => true,
        };
        needed.then_some(Step::Enable { replica })
    }
}

/// Plans what takes the pool from `seen` to `goal`. No stages: nothing is to be done.
pub fn plan(seen: &Seen, goal: &Goal) -> Vec<Stage> {
    let wanted = || seen.replicas.iter().filter(|replica| goal.replicas.contains(&replica.number));
    match (goal.state, goal.strategy) {
        (Wanted::Stopped, _) => wanted().filter_map(stop).collect(),
        (Wanted::Running, _) => wanted().flat_map(run).collect(),
        (Wanted::Repaired, _) => repair(seen, &wanted().collect::<Vec<_>>(), goal.strategy),
        (Wanted::Renewed, Strategy::Swap) => {
            let replicas: Vec<_> = wanted().collect();
            swap(&replicas, canary(&replicas, goal))
        }
        (Wanted::Renewed, Strategy::Rolling) => {
            let mut order: Vec<_> = wanted().collect();
            // Those in trouble have nothing to lose, and may become those that others rely on.
            order.sort_by_key(|replica| (replica.serves(), replica.number));
            let canary = canary(&order, goal);
            let mut serving = Serving::of(seen);
            order.into_iter().flat_map(|replica| roll(replica, &mut serving, canary)).collect()
        }
    }
}

/// The replica that is watched before others follow: the first that gets requests.
fn canary(order: &[&Replica], goal: &Goal) -> Option<u32> {
    goal.canary?;
    let mut used = order.iter().filter(|replica| replica.member != Member::TakenOut);
    used.next().or(order.first()).map(|replica| replica.number)
}

/// Who serves at this point of the plan, and with which generation.
struct Serving(BTreeMap<u32, GenerationId>);

impl Serving {
    fn of(seen: &Seen) -> Self {
        let serving = seen.replicas.iter().filter(|replica| replica.serves());
        Self(serving.filter_map(|replica| Some((replica.number, replica.current()?))).collect())
    }

    fn other_than(&self, replica: u32) -> Option<GenerationId> {
        self.0.iter().find(|(number, _)| **number != replica).map(|(_, id)| *id)
    }
}

fn roll(replica: &Replica, serving: &mut Serving, canary: Option<u32>) -> Vec<Stage> {
    let number = replica.number;
    let old = replica.running.iter().map(|&generation| replica.id(generation));
    let mut stages = Vec::new();
    if let Some(to) = serving.other_than(number) {
        if let Some(current) = replica.current() {
            let lend = Step::Lend { replica: number, to };
            let steps = replica.drain().into_iter().chain([lend, Step::AwaitIdle(current)]);
            stages.push(stage(Title::Deactivating(number), steps));
        }
        stages.extend(stop_all(number, old, replica.current()));
        stages.push(start(replica, true));
        stages.extend(activate(replica, replica.drain().is_some()));
        stages.extend(watch(replica, canary));
    } else {
        stages.extend(replace(replica, canary));
    }
    let serves = !matches!(replica.member, Member::TakenOut);
    if serves {
        serving.0.insert(number, replica.fresh());
    }
    stages
}

/// The new generation starts beside the old one, which goes when the other has proved itself.
fn replace(replica: &Replica, canary: Option<u32>) -> Vec<Stage> {
    let old = replica.running.iter().map(|&generation| replica.id(generation));
    let mut stages = vec![start(replica, true)];
    stages.extend(activate(replica, false));
    stages.extend(watch(replica, canary));
    stages.extend(stop_all(replica.number, old, None));
    stages
}

fn swap(replicas: &[&Replica], canary: Option<u32>) -> Vec<Stage> {
    let (first, replicas): (Vec<&Replica>, Vec<&Replica>) =
        replicas.iter().partition(|replica| canary == Some(replica.number));
    let mut stages: Vec<Stage> =
        first.into_iter().flat_map(|replica| replace(replica, canary)).collect();
    if replicas.is_empty() {
        return stages; // of no replica there is nothing to switch
    }
    stages.extend(replicas.iter().map(|replica| start(replica, false)));
    let publish = replicas.iter().map(|replica| Step::Publish(replica.fresh()));
    stages.push(stage(Title::Switching, publish));
    stages.extend(replicas.iter().filter_map(|replica| activate(replica, false)));
    for replica in &replicas {
        let old = replica.running.iter().map(|&generation| replica.id(generation));
        stages.extend(stop_all(replica.number, old, None));
    }
    stages
}

/// First those that others may rely on then. What the operator has stopped serves until the end.
fn repair(seen: &Seen, wanted: &[&Replica], strategy: Strategy) -> Vec<Stage> {
    let (stopped, wanted): (Vec<_>, Vec<_>) = wanted.iter().partition(|it| it.stopped);
    let is_replaced = |it: &&Replica| it.stale && it.current.is_some();
    let (stale, sound): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_replaced);
    let goals = [(Wanted::Running, sound), (Wanted::Renewed, stale), (Wanted::Stopped, stopped)];
    let planned = goals.into_iter().flat_map(|(state, those)| {
        let replicas = those.iter().map(|replica| replica.number).collect();
        plan(seen, &Goal { state, replicas, strategy, canary: None })
    });
    planned.collect()
}

/// `start` of a replica that runs already has little to do, or nothing.
fn run(replica: &Replica) -> Vec<Stage> {
    let mut stages = Vec::new();
    // What serves is left alone, whatever it is.
    let current = replica.current().filter(|_| replica.published.is_some() || !replica.stale);
    match current {
        None => {
            let mut starting = start(replica, true);
            starting.steps.extend(replica.enable(false));
            stages.push(starting);
        }
        Some(current) => {
            if replica.published.is_none() {
                let warm_up = (!replica.proven).then_some(Step::WarmUp(current));
                let steps = [Step::AwaitReady(current)].into_iter().chain(warm_up);
                let steps = steps.chain([Step::Publish(current)]);
                stages.push(stage(Title::Starting(replica.number), steps));
            }
            stages.extend(activate(replica, false));
        }
    }
    // What a crash has left beside it, or what nobody can reach any more.
    let surplus = replica.running.iter().map(|&number| replica.id(number));
    let surplus = surplus.filter(|id| Some(*id) != current);
    stages.extend(stop_all(replica.number, surplus, None));
    stages
}

fn stop(replica: &Replica) -> Option<Stage> {
    let number = replica.number;
    if replica.running.is_empty() && !replica.named {
        return None;
    }
    let ids: BTreeSet<GenerationId> = replica.running.iter().map(|&run| replica.id(run)).collect();
    let leave = replica.drain().into_iter().chain([Step::Unpublish { replica: number }]);
    let ends = ids.into_iter().flat_map(|id| [Step::AwaitIdle(id), Step::Stop(id)]);
    Some(stage(Title::Stopping(number), leave.chain(ends)))
}

fn start(replica: &Replica, publish: bool) -> Stage {
    let fresh = replica.fresh();
    let ready = [Step::Start(fresh), Step::AwaitReady(fresh), Step::WarmUp(fresh)];
    let publish = publish.then_some(Step::Publish(fresh));
    stage(Title::Starting(replica.number), ready.into_iter().chain(publish))
}

fn activate(replica: &Replica, drained: bool) -> Option<Stage> {
    let enable = replica.enable(drained)?;
    Some(stage(Title::Activating(replica.number), [enable]))
}

fn watch(replica: &Replica, canary: Option<u32>) -> Option<Stage> {
    let is_it = canary == Some(replica.number);
    is_it.then(|| stage(Title::Watching(replica.number), [Step::Watch(replica.fresh())]))
}

/// Ends generations; `idle` is one that has been waited for already.
fn stop_all(
    replica: u32,
    ids: impl Iterator<Item = GenerationId>,
    idle: Option<GenerationId>,
) -> Option<Stage> {
    let steps: Vec<Step> = ids
        .flat_map(|id| {
            let wait = (idle != Some(id)).then_some(Step::AwaitIdle(id));
            wait.into_iter().chain([Step::Stop(id)])
        })
        .collect();
    (!steps.is_empty()).then(|| stage(Title::Stopping(replica), steps))
}

fn stage(title: Title, steps: impl IntoIterator<Item = Step>) -> Stage {
    Stage { title, steps: steps.into_iter().collect() }
}

#[cfg(test)]
mod properties;
