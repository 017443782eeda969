//! The planner: turns the state of a pool and a goal into a list of steps. It is pure: no I/O, no
//! clock.
//!
//! Two rules hold at every point of a plan for a renewal. A replica is drained, or loses its name,
//! only while another replica serves; if no other replica serves, its new generation starts beside
//! the old one. A running generation is stopped only after its public name leads elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::goal::{Goal, Wanted};
use crate::config::Strategy;
use crate::step::{GenerationId, Number, Stage, Step, Title};

/// The planner's view of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// Its replicas, ascending.
    pub replicas: Vec<ReplicaView>,
}

/// The planner's view of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct ReplicaView {
    /// Its number.
    pub number: u32,
    /// The highest number that one of its generations has had.
    pub last: Number,
    /// The generations that run, ascending.
    pub running: Vec<Number>,
    /// The generation that its public name leads to, if that one runs.
    pub published: Option<Number>,
    /// The generation to keep or to replace: the published one, else the newest one that clients
    /// can reach.
    pub current: Option<Number>,
    /// Whether no generation runs, but a public name is left that may be removed: it leads to a
    /// socket of this pool, or nowhere.
    pub named: bool,
    /// Whether the current generation has to be replaced: it is not healthy, or has the wrong
    /// release.
    pub stale: bool,
    /// Whether the current generation has been published before: then it is not warmed up again.
    pub proven: bool,
    /// Whether the operator has stopped it.
    pub stopped: bool,
    /// The state of its member in the balancer.
    pub member: MemberState,
}

/// The state of a replica's member in the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// There is no balancer: clients connect by path.
    None,
    /// It gets requests.
    Serving,
    /// It is drained or disabled.
    Drained,
    /// The balancer has seen it fail.
    InError,
    /// The operator has taken it out of the balancer by other means.
    TakenOut,
}

impl ReplicaView {
    /// Whether new requests reach one of its processes.
    pub fn serves(&self) -> bool {
        self.published.is_some() && matches!(self.member, MemberState::None | MemberState::Serving)
    }

    fn id(&self, generation: Number) -> GenerationId {
        GenerationId { replica: self.number, generation }
    }

    fn current(&self) -> Option<GenerationId> {
        self.current.map(|number| self.id(number))
    }

    fn next(&self) -> GenerationId {
        self.id(self.last.next())
    }

    fn drain(&self) -> Option<Step> {
        let replica = self.number;
        matches!(self.member, MemberState::Serving | MemberState::InError)
            .then_some(Step::Drain { replica })
    }

    /// The `Enable` step, if the replica needs one. `drained`: the plan has drained it before.
    fn enable(&self, drained: bool) -> Option<Step> {
        let replica = self.number;
        let needed = match self.member {
            MemberState::None | MemberState::TakenOut => false,
            MemberState::Serving => drained,
            MemberState::Drained | MemberState::InError => true,
        };
        needed.then_some(Step::Enable { replica })
    }
}

/// Plans the way of the pool from its state to the goal. No stages: the goal is reached already.
pub fn plan(pool: &PoolView, goal: &Goal) -> Vec<Stage> {
    let wanted = || pool.replicas.iter().filter(|replica| goal.replicas.contains(&replica.number));
    match (goal.state, goal.strategy) {
        (Wanted::Stopped, _) => {
            let stays = |id: &GenerationId| !goal.replicas.contains(&id.replica);
            let to = Serving::of(pool).0.into_values().find(stays);
            wanted().filter_map(|replica| stop(replica, to)).collect()
        }
        (Wanted::Running, _) => wanted().flat_map(run).collect(),
        (Wanted::Repaired, _) => repair(pool, &wanted().collect::<Vec<_>>(), goal.strategy),
        (Wanted::Renewed, Strategy::Swap) => {
            let replicas: Vec<_> = wanted().collect();
            swap(&replicas, canary(&replicas, goal))
        }
        (Wanted::Renewed, Strategy::Rolling) => {
            let mut order: Vec<_> = wanted().collect();
            // Replicas that do not serve come first: they lose no request, and then serve in place
            // of others.
            order.sort_by_key(|replica| (replica.serves(), replica.number));
            let canary = canary(&order, goal);
            if let Some(canary) = canary.filter(|canary| canary.by_share) {
                // Nothing of the new release is published before it has proved itself.
                order.sort_by_key(|replica| replica.number != canary.replica);
            }
            let mut serving = Serving::of(pool);
            order.into_iter().flat_map(|replica| roll(replica, &mut serving, canary)).collect()
        }
    }
}

/// The replica that is watched before the others follow.
#[derive(Clone, Copy)]
struct Canary {
    replica: u32,
    /// Its new generation gets a share of the visitors beside the old one, and is published after the
    /// watch.
    by_share: bool,
}

impl Canary {
    fn is(self, replica: &ReplicaView) -> bool {
        self.replica == replica.number
    }
}

/// The first replica that gets requests.
fn canary(order: &[&ReplicaView], goal: &Goal) -> Option<Canary> {
    let by_share = goal.canary?.share.is_some();
    let mut used = order.iter().filter(|replica| replica.member != MemberState::TakenOut);
    let first = used.next().or(order.first());
    first.map(|replica| Canary { replica: replica.number, by_share })
}

/// The replicas that serve at this point of the plan, with their generations.
struct Serving(BTreeMap<u32, GenerationId>);

impl Serving {
    fn of(pool: &PoolView) -> Self {
        let serving = pool.replicas.iter().filter(|replica| replica.serves());
        Self(serving.filter_map(|replica| Some((replica.number, replica.current()?))).collect())
    }

    fn other_than(&self, replica: u32) -> Option<GenerationId> {
        self.0.iter().find(|(number, _)| **number != replica).map(|(_, id)| *id)
    }
}

fn roll(replica: &ReplicaView, serving: &mut Serving, canary: Option<Canary>) -> Vec<Stage> {
    let number = replica.number;
    let old = replica.running.iter().map(|&generation| replica.id(generation));
    let mut stages = Vec::new();
    if canary.is_some_and(|canary| canary.by_share && canary.is(replica)) {
        stages.extend(offer(replica));
        stages.push(stage(Title::Publishing(number), [Step::Publish(replica.next())]));
        stages.extend(activate(replica, false));
        stages.extend(stop_all(number, old, None));
    } else if let Some(to) = serving.other_than(number) {
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
    let serves = !matches!(replica.member, MemberState::TakenOut);
    if serves {
        serving.0.insert(number, replica.next());
    }
    stages
}

/// Starts the new generation beside the old one, and stops the old one after the new one has proved
/// itself.
fn replace(replica: &ReplicaView, canary: Option<Canary>) -> Vec<Stage> {
    let old = replica.running.iter().map(|&generation| replica.id(generation));
    let mut stages = vec![start(replica, true)];
    stages.extend(activate(replica, false));
    stages.extend(watch(replica, canary));
    stages.extend(stop_all(replica.number, old, None));
    stages
}

fn swap(replicas: &[&ReplicaView], canary: Option<Canary>) -> Vec<Stage> {
    let (first, others): (Vec<&ReplicaView>, Vec<&ReplicaView>) =
        replicas.iter().partition(|replica| canary.is_some_and(|canary| canary.is(replica)));
    let by_share = canary.is_some_and(|canary| canary.by_share);
    let ahead = |replica| if by_share { offer(replica) } else { replace(replica, canary) };
    let mut stages: Vec<Stage> = first.iter().flat_map(|replica| ahead(replica)).collect();
    let switched = if by_share { replicas } else { &others };
    if switched.is_empty() {
        return stages; // no replica is left to switch
    }
    stages.extend(others.iter().map(|replica| start(replica, false)));
    let publish = switched.iter().map(|replica| Step::Publish(replica.next()));
    stages.push(stage(Title::Switching, publish));
    stages.extend(switched.iter().filter_map(|replica| activate(replica, false)));
    for replica in switched {
        let old = replica.running.iter().map(|&generation| replica.id(generation));
        stages.extend(stop_all(replica.number, old, None));
    }
    stages
}

/// Healthy replicas come first, so that others can rely on them. Replicas that the operator has
/// stopped serve until the end.
fn repair(pool: &PoolView, wanted: &[&ReplicaView], strategy: Strategy) -> Vec<Stage> {
    let (stopped, wanted): (Vec<_>, Vec<_>) = wanted.iter().partition(|it| it.stopped);
    let is_replaced = |it: &&ReplicaView| it.stale && it.current.is_some();
    let (stale, sound): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_replaced);
    let goals = [(Wanted::Running, sound), (Wanted::Renewed, stale)];
    let planned = goals.into_iter().flat_map(|(state, those)| {
        let replicas = those.iter().map(|replica| replica.number).collect();
        plan(pool, &Goal { state, replicas, strategy, canary: None })
    });
    // No name is lent here: the serving generation may just have been renewed.
    planned.chain(stopped.into_iter().filter_map(|replica| stop(replica, None))).collect()
}

/// Plans a `start`. A replica that runs already needs few steps, or none.
fn run(replica: &ReplicaView) -> Vec<Stage> {
    let mut stages = Vec::new();
    // A generation that serves stays, whatever its state.
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
    // Generations that a crash has left, or that no client can reach any more.
    let surplus = replica.running.iter().map(|&number| replica.id(number));
    let surplus = surplus.filter(|id| Some(*id) != current);
    stages.extend(stop_all(replica.number, surplus, None));
    stages
}

/// Plans a `stop`. `to`: a generation that serves on. The web server may have chosen this replica
/// for a request just before the drain, but not have connected yet. `to` serves such requests.
fn stop(replica: &ReplicaView, to: Option<GenerationId>) -> Option<Stage> {
    let number = replica.number;
    if replica.running.is_empty() && !replica.named {
        return None;
    }
    let ids: BTreeSet<GenerationId> = replica.running.iter().map(|&run| replica.id(run)).collect();
    let unpublish = Step::Unpublish { replica: number };
    let (first, last) = match to {
        Some(to) => (Step::Lend { replica: number, to }, Some(unpublish)),
        None => (unpublish, None),
    };
    let ends = ids.into_iter().flat_map(|id| [Step::AwaitIdle(id), Step::Stop(id)]);
    let steps = replica.drain().into_iter().chain([first]).chain(ends).chain(last);
    Some(stage(Title::Stopping(number), steps))
}

fn start(replica: &ReplicaView, publish: bool) -> Stage {
    let next = replica.next();
    let ready = [Step::Start(next), Step::AwaitReady(next), Step::WarmUp(next)];
    let publish = publish.then_some(Step::Publish(next));
    stage(Title::Starting(replica.number), ready.into_iter().chain(publish))
}

/// Starts the canary's generation beside the old one, and watches it while it gets a share of the
/// visitors. It has no public name.
fn offer(replica: &ReplicaView) -> Vec<Stage> {
    let next = replica.next();
    let watch = stage(Title::Watching(replica.number), [Step::Divert(next), Step::Watch(next)]);
    vec![start(replica, false), watch]
}

fn activate(replica: &ReplicaView, drained: bool) -> Option<Stage> {
    let enable = replica.enable(drained)?;
    Some(stage(Title::Activating(replica.number), [enable]))
}

fn watch(replica: &ReplicaView, canary: Option<Canary>) -> Option<Stage> {
    let is_it = canary.is_some_and(|canary| canary.is(replica));
    is_it.then(|| stage(Title::Watching(replica.number), [Step::Watch(replica.next())]))
}

/// Stops generations. `idle` is the one that the plan has waited for already.
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
