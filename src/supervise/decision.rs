//! What a pool needs, as it was seen: pure, no I/O.

/// One replica, as far as the decision depends on it.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts")]
pub(super) struct View {
    /// The operator has stopped it.
    pub(super) stopped: bool,
    /// A generation of it runs, whether or not it is well.
    pub(super) runs: bool,
    /// Its public name leads to a generation whose master is alive and not halted.
    pub(super) is_well: bool,
    /// It serves another release than the one to follow.
    pub(super) is_behind: bool,
}

/// What a pool needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It is as it should be.
    Nothing,
    /// None of the replicas that should run does.
    Start,
    /// Some of them do not run, or are not well.
    Repair,
    /// The symlink names another release than the replicas serve.
    Rollout,
}

pub(super) fn decide(replicas: &[View]) -> Need {
    let mut wanted = replicas.iter().filter(|replica| !replica.stopped).peekable();
    if wanted.peek().is_none() {
        return Need::Nothing;
    }
    if wanted.clone().all(|replica| !replica.runs) {
        return Need::Start;
    }
    if wanted.clone().any(|replica| !replica.is_well) {
        return Need::Repair;
    }
    if wanted.any(|replica| replica.is_behind) { Need::Rollout } else { Need::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: View = View { stopped: false, runs: true, is_well: true, is_behind: false };
    const BEHIND: View = View { is_behind: true, ..WELL };
    const DEAD: View = View { stopped: false, runs: false, is_well: false, is_behind: false };
    const STOPPED: View = View { stopped: true, ..DEAD };
    const HEADLESS: View = View { is_well: false, ..WELL };

    #[test]
    fn a_pool_that_is_well_needs_nothing() {
        assert_eq!(decide(&[WELL, WELL]), Need::Nothing);
    }

    #[test]
    fn stopped_replicas_stay_stopped() {
        assert_eq!(decide(&[STOPPED, STOPPED]), Need::Nothing);
        assert_eq!(decide(&[WELL, STOPPED]), Need::Nothing);
        assert_eq!(decide(&[DEAD, STOPPED]), Need::Start);
    }

    #[test]
    fn dead_replicas_are_repaired_before_a_rollout() {
        assert_eq!(decide(&[BEHIND, DEAD]), Need::Repair);
        assert_eq!(decide(&[DEAD, DEAD]), Need::Start);
        assert_eq!(decide(&[HEADLESS, HEADLESS]), Need::Repair);
    }

    #[test]
    fn replicas_that_are_behind_are_taken_to_the_release() {
        assert_eq!(decide(&[BEHIND, BEHIND]), Need::Rollout);
        assert_eq!(decide(&[WELL, BEHIND]), Need::Rollout);
    }
}
