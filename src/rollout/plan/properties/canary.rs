//! The rules of a plan with a canary.

use proptest::prelude::*;

use super::*;
use crate::config::Strategy;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Until the canary has been watched, the plan touches only the canary, and replicas that get
    /// no requests.
    #[test]
    fn canary_is_renewed_and_watched_first(seen in any_pool(), goal in goal()) {
        let goal = Goal { state: Wanted::Renewed, canary: Some(WATCH), ..goal_for(&seen, goal) };
        let mut stages = plan(&seen, &goal);
        let watched = |stage: &Stage| matches!(stage.title, Title::Watching(_));
        let Some(at) = stages.iter().position(watched) else {
            prop_assert!(goal.replicas.is_empty());
            return Ok(());
        };
        let canary = stages[at].title.replica();
        let taken_out = |number: u32| {
            seen.replicas.iter().any(|it| it.number == number && it.member == MemberState::TakenOut)
        };
        let is_harmless = |stage: &Stage| {
            let replica = stage.title.replica();
            replica == canary || replica.is_some_and(taken_out)
        };
        prop_assert!(stages[..at].iter().all(is_harmless), "{stages:?}");
        prop_assert!(!stages[at + 1..].iter().any(watched));
        prop_assert!(
            !canary.is_some_and(taken_out) || goal.replicas.iter().all(|it| taken_out(*it))
        );
        if goal.strategy == Strategy::Swap {
            let stops = steps(&stages[..at]).iter().any(|step| matches!(step, Step::Stop(_)));
            prop_assert!(!stops, "the canary's old generation runs until the watch has ended");
        } else {
            stages.remove(at);
            prop_assert_eq!(stages, plan(&seen, &Goal { canary: None, ..goal }));
        }
    }

    /// Until the watch of a canary by share has ended, nothing changes for visitors of other
    /// generations: no name moves, no member changes, and nothing is stopped. After that, the plan
    /// does what a plan without a canary does, and starts no replica twice.
    #[test]
    fn canary_by_share_changes_nothing_before_it_was_watched(seen in any_pool(), goal in goal()) {
        let canary = Some(by_share());
        let goal = Goal { state: Wanted::Renewed, canary, ..goal_for(&seen, goal) };
        let all = steps(&plan(&seen, &goal));
        let Some(at) = all.iter().position(|step| matches!(step, Step::Watch(_))) else {
            prop_assert!(goal.replicas.is_empty());
            return Ok(());
        };
        let Step::Watch(id) = all[at] else { unreachable!() };
        let before =
            [Step::Start(id), Step::AwaitReady(id), Step::WarmUp(id), Step::Divert(id), Step::Watch(id)];
        prop_assert_eq!(&all[..=at], before);
        let starts = |all: &[Step]| all.iter().filter(|it| matches!(it, Step::Start(_))).count();
        prop_assert_eq!(starts(&all), goal.replicas.len());
        if goal.strategy == Strategy::Swap {
            let published = all.iter().position(|step| *step == Step::Publish(id));
            prop_assert_eq!(starts(&all[..published.unwrap()]), goal.replicas.len());
        }
        let mut world = World::of(&seen);
        play(&mut world, &goal);
        check_end(&world, &goal);
    }
}
