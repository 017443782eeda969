//! Checks the planner's rules on random pools: each plan is executed on a small model, which is
//! checked after every step.

mod canary;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generate;

use super::*;
use crate::canary::Share;
use crate::config::Strategy;
use crate::rollout::goal::Canary as Watched;

const WATCH: Watched = Watched { time: Duration::from_secs(1), share: None };

/// A watch of a canary that gets a share of the visitors.
fn by_share() -> Watched {
    Watched { share: Share::parse("10%"), ..WATCH }
}

/// The model of a pool: its names, generations and members.
#[derive(Debug, Clone)]
struct World(BTreeMap<u32, Model>);

#[derive(Debug, Clone)]
struct Model {
    last: Number,
    alive: BTreeSet<Number>,
    /// Alive, but the file of its socket is gone.
    unreachable: BTreeSet<Number>,
    ready: BTreeSet<Number>,
    idle: BTreeSet<Number>,
    /// Alive, but to be replaced by a repair.
    stale: BTreeSet<Number>,
    proven: BTreeSet<Number>,
    stopped: bool,
    name: Option<GenerationId>,
    /// The gateway sends it a share of the visitors.
    diverted: Option<Number>,
    member: MemberState,
}

/// A generation that does not run.
const NOT_RUNNING: Number = Number::Adopted;

impl Model {
    fn current(&self, number: u32) -> Option<Number> {
        let own = |id: &GenerationId| id.replica == number && self.alive.contains(&id.generation);
        let published = self.name.filter(own).map(|id| id.generation);
        published.or(self.alive.difference(&self.unreachable).last().copied())
    }
}

impl World {
    fn of(seen: &PoolView) -> Self {
        let model = |replica: &ReplicaView| Model {
            last: replica.last,
            alive: replica.running.iter().copied().collect(),
            unreachable: replica
                .running
                .iter()
                .copied()
                .filter(|n| replica.current.is_none_or(|current| *n > current))
                .collect(),
            ready: replica.published.into_iter().collect(),
            idle: BTreeSet::new(),
            stale: replica.running.iter().copied().filter(|_| replica.stale).collect(),
            proven: replica.running.iter().copied().filter(|_| replica.proven).collect(),
            stopped: replica.stopped,
            name: replica.named.then(|| replica.id(replica.published.unwrap_or(NOT_RUNNING))),
            diverted: None,
            member: replica.member,
        };
        Self(seen.replicas.iter().map(|replica| (replica.number, model(replica))).collect())
    }

    /// The state that the next command would observe.
    fn view(&self) -> PoolView {
        let replica = |(&number, model): (&u32, &Model)| ReplicaView {
            number,
            last: model.last,
            running: model.alive.iter().copied().collect(),
            current: model.current(number),
            published: model
                .name
                .filter(|id| id.replica == number && model.alive.contains(&id.generation))
                .map(|id| id.generation),
            named: model.name.is_some(),
            stale: model.current(number).is_none_or(|current| model.stale.contains(&current)),
            proven: model.current(number).is_some_and(|current| model.proven.contains(&current)),
            stopped: model.stopped,
            member: model.member,
        };
        PoolView { replicas: self.0.iter().map(replica).collect() }
    }

    fn lives(&self, id: GenerationId) -> bool {
        self.0[&id.replica].alive.contains(&id.generation)
    }

    /// The number of replicas that get new requests and answer them themselves.
    fn serving(&self) -> usize {
        self.view().replicas.iter().filter(|replica| replica.serves()).count()
    }

    /// The number of replicas that serve and are not going to be stopped.
    fn staying(&self, goal: &Goal) -> usize {
        let goes = |it: &&ReplicaView| {
            goal.state == Wanted::Repaired && it.stopped && goal.replicas.contains(&it.number)
        };
        self.view().replicas.iter().filter(|it| !goes(it) && it.serves()).count()
    }

    fn model(&mut self, replica: u32) -> &mut Model {
        self.0.get_mut(&replica).unwrap()
    }

    /// Moves the replica's name, and the names that were lent to it.
    fn move_names(&mut self, replica: u32, to: Option<GenerationId>) {
        for (&number, model) in &mut self.0 {
            if number == replica || model.name.is_some_and(|id| id.replica == replica) {
                model.name = to;
            }
        }
    }

    /// Takes one step, if the rules allow it.
    fn take(&mut self, step: Step) {
        match step {
            Step::Drain { replica } => self.model(replica).member = MemberState::Drained,
            Step::Lend { replica, to } => {
                assert!(self.lives(to), "a name is lent to a running generation only");
                assert_ne!(replica, to.replica);
                self.move_names(replica, Some(to));
            }
            Step::Unpublish { replica } => self.move_names(replica, None),
            Step::AwaitIdle(id) => {
                assert!(self.lives(id));
                self.model(id.replica).idle.insert(id.generation);
            }
            Step::Stop(id) => {
                assert!(self.lives(id));
                assert!(
                    self.0[&id.replica].idle.contains(&id.generation),
                    "{id} is stopped while it is busy"
                );
                let led_here = self.0.values().any(|model| model.name == Some(id));
                assert!(!led_here, "{id} is stopped while a name leads to it");
                self.model(id.replica).alive.remove(&id.generation);
            }
            Step::Start(id) => {
                let model = self.model(id.replica);
                assert!(id.generation > model.last, "numbers go upwards");
                model.last = id.generation;
                model.alive.insert(id.generation);
            }
            Step::AwaitReady(id) => {
                assert!(self.lives(id));
                let reachable = !self.0[&id.replica].unreachable.contains(&id.generation);
                assert!(reachable, "{id} can never answer");
                self.model(id.replica).ready.insert(id.generation);
            }
            Step::WarmUp(id) => assert!(self.0[&id.replica].ready.contains(&id.generation)),
            Step::Publish(id) => {
                assert!(self.0[&id.replica].ready.contains(&id.generation), "proved first");
                self.move_names(id.replica, Some(id));
                self.model(id.replica).proven.insert(id.generation);
            }
            Step::Divert(id) => {
                let model = self.model(id.replica);
                assert!(model.ready.contains(&id.generation), "proved first");
                assert_ne!(model.name, Some(id), "{id} has a public name");
                model.diverted = Some(id.generation);
            }
            Step::Watch(id) => {
                let model = &self.0[&id.replica];
                let is_visited = model.name == Some(id) || model.diverted == Some(id.generation);
                assert!(self.lives(id) && is_visited, "{id} is watched without visitors");
                if model.diverted == Some(id.generation) {
                    return;
                }
                let member = model.member;
                assert!(
                    !matches!(member, MemberState::Drained | MemberState::InError),
                    "{id} gets no requests"
                );
            }
            Step::Enable { replica } => {
                let name = self.0[&replica].name.expect("enabled without a name");
                assert!(self.lives(name) && name.replica == replica);
                self.model(replica).member = MemberState::Serving;
            }
        }
    }
}

fn steps(stages: &[Stage]) -> Vec<Step> {
    stages.iter().flat_map(|stage| stage.steps.iter().copied()).collect()
}

/// Executes a plan on the model, and checks the floor after every step.
fn play(world: &mut World, goal: &Goal) {
    let replicas = world.0.len();
    let at_first = world.staying(goal);
    let floor = match goal.strategy {
        Strategy::Swap => at_first,
        // N-1 replicas serve, and at least one.
        Strategy::Rolling if at_first == replicas => (replicas - 1).max(1),
        Strategy::Rolling => at_first.saturating_sub(1).max(at_first.min(1)),
    };
    for step in steps(&plan(&world.view(), goal)) {
        world.take(step);
        if goal.state != Wanted::Stopped {
            let serving = world.serving();
            assert!(serving >= floor, "after {step}: {serving} serve, the floor is {floor}");
        }
    }
}

fn check_end(world: &World, goal: &Goal) {
    for replica in world.view().replicas.iter().filter(|it| goal.replicas.contains(&it.number)) {
        let serves = replica.serves() || replica.member == MemberState::TakenOut;
        match goal.state {
            Wanted::Repaired if replica.stopped => is_stopped(replica),
            Wanted::Stopped => is_stopped(replica),
            Wanted::Running | Wanted::Renewed | Wanted::Repaired => {
                assert!(serves && replica.published.is_some(), "{replica:?}");
                assert_eq!(replica.running.len(), 1, "{replica:?}");
                assert!(goal.state == Wanted::Running || !replica.stale, "{replica:?}");
            }
        }
    }
}

fn is_stopped(replica: &ReplicaView) {
    assert!(replica.running.is_empty() && !replica.named, "{replica:?}");
}

prop_compose! {
    fn replica(balanced: bool)(
        alive in prop::collection::btree_set(1..6_u32, 0..3),
        pick in any::<prop::sample::Index>(),
        is_published in prop::bool::weighted(0.8),
        reachable in prop::bool::weighted(0.8),
        last in 6..9_u32,
        leads_nowhere in any::<bool>(),
        stale in any::<bool>(),
        proven in any::<bool>(),
        stopped in prop::bool::weighted(0.2),
        member in prop::sample::select(vec![
            MemberState::Serving, MemberState::Serving, MemberState::Drained, MemberState::InError, MemberState::TakenOut,
        ]),
    ) -> ReplicaView {
        let running: Vec<Number> = alive.into_iter().map(Number::Started).collect();
        let published = (is_published && !running.is_empty()).then(|| running[pick.index(running.len())]);
        let member = if balanced { member } else { MemberState::None };
        let current = published.or(reachable.then(|| running.last().copied()).flatten());
        let named = published.is_some() || leads_nowhere;
        let stale = stale || current.is_none();
        ReplicaView {
            number: 0, last: Number::Started(last), running, published, current, named, stale, proven, stopped, member,
        }
    }
}

fn any_pool() -> impl Generate<Value = PoolView> {
    any::<bool>().prop_flat_map(|balanced| {
        prop::collection::vec(replica(balanced), 1..5).prop_map(|mut replicas| {
            for (number, replica) in (1..).zip(&mut replicas) {
                replica.number = number;
            }
            PoolView { replicas }
        })
    })
}

/// The parts of a goal.
type GoalParts = (Wanted, Strategy, BTreeSet<u32>, Option<Watched>);

fn goal() -> impl Generate<Value = GoalParts> {
    (
        prop::sample::select(vec![
            Wanted::Running,
            Wanted::Stopped,
            Wanted::Renewed,
            Wanted::Repaired,
        ]),
        prop::sample::select(vec![Strategy::Rolling, Strategy::Swap]),
        prop::collection::btree_set(1..5_u32, 1..5),
        prop::sample::select(vec![None, Some(WATCH), Some(by_share())]),
    )
}

fn goal_for(seen: &PoolView, (state, strategy, replicas, canary): GoalParts) -> Goal {
    let replicas = replicas.into_iter().filter(|n| *n as usize <= seen.replicas.len()).collect();
    Goal { state, replicas, strategy, canary }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_plan_keeps_the_rules(seen in any_pool(), goal in goal()) {
        let goal = goal_for(&seen, goal);
        let mut world = World::of(&seen);
        play(&mut world, &goal);
        check_end(&world, &goal);
    }

    #[test]
    fn plan_for_a_reached_goal_is_empty(seen in any_pool(), goal in goal()) {
        let mut goal = goal_for(&seen, goal);
        let mut world = World::of(&seen);
        play(&mut world, &goal);
        if goal.state == Wanted::Renewed {
            goal.state = Wanted::Running;
        }
        prop_assert_eq!(plan(&world.view(), &goal), vec![]);
    }

    /// A command can be killed between any two steps. The next plan starts from the state that is
    /// left.
    #[test]
    fn plan_after_a_crash_keeps_the_rules(
        seen in any_pool(),
        first in goal(),
        cut in any::<prop::sample::Index>(),
        second in goal(),
    ) {
        let first = goal_for(&seen, first);
        let mut world = World::of(&seen);
        let steps = steps(&plan(&world.view(), &first));
        for step in steps.iter().take(cut.index(steps.len() + 1)) {
            world.take(*step);
        }
        let second = goal_for(&seen, second);
        play(&mut world, &second);
        check_end(&world, &second);
    }

    /// A bad release bounces: whenever a new generation fails to become ready, the old ones keep
    /// the floor.
    #[test]
    fn failed_start_keeps_the_floor(seen in any_pool(), goal in goal()) {
        let goal = Goal { state: Wanted::Renewed, ..goal_for(&seen, goal) };
        let mut world = World::of(&seen);
        let before = world.serving();
        for step in steps(&plan(&seen, &goal)) {
            if matches!(step, Step::AwaitReady(_)) {
                let floor = if goal.strategy == Strategy::Swap { before } else { before.min(1) };
                prop_assert!(world.serving() >= floor);
            }
            world.take(step);
        }
    }

    /// A web server that has chosen a replica just before its drain connects a moment later.
    #[test]
    fn name_leads_to_a_serving_replica_until_the_stop_is_done(seen in any_pool(), goal in goal()) {
        let goal = Goal { state: Wanted::Stopped, ..goal_for(&seen, goal) };
        let stays = |it: &ReplicaView| it.serves() && !goal.replicas.contains(&it.number);
        let is_partial = seen.replicas.iter().any(stays);
        let mut world = World::of(&seen);
        for step in steps(&plan(&seen, &goal)) {
            world.take(step);
            if let (true, Step::Stop(id)) = (is_partial, step) {
                let name = world.0[&id.replica].name.expect("unpublished too early");
                prop_assert!(world.lives(name) && name.replica != id.replica);
            }
        }
    }
}
