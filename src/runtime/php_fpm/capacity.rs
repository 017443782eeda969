//! Checks that a pool's children fit on the machine: php-fpm accepts `pm.max_children = 4000000`,
//! and then forks until no memory is left.

use super::Resolved;
use crate::error::Error;
use crate::machine::{Limit, Machine};

/// The least memory of a child, in bytes: its stack, page tables and PHP's own data before the
/// first request.
const LEAST: u64 = 1 << 20;
/// The memory of a child after it has served a page of a small application, in bytes.
const USUAL: u64 = 16 << 20;

const HELP: &str =
    "lower pm.max_children, pm.start_servers or pm.max_spare_servers in the php-fpm configuration";

/// The children of some replicas, and their memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Children when all replicas have started.
    at_once: u64,
    /// Children when all replicas are busy (`pm.max_children`).
    at_most: u64,
    /// The usual memory of these, in bytes.
    usual: u64,
}

impl Demand {
    /// The demand of some replicas together.
    pub fn of<'a>(replicas: impl IntoIterator<Item = &'a Resolved>) -> Self {
        replicas.into_iter().fold(Self::default(), |sum, resolved| {
            let at_once = u64::from(resolved.start_servers);
            let at_most = resolved.children.map_or(at_once, |it| it.max.into()).max(at_once);
            let limit = resolved.memory_limit.unwrap_or(USUAL);
            Self {
                at_once: sum.at_once + at_once,
                at_most: sum.at_most + at_most,
                usual: sum.usual.saturating_add(at_most.saturating_mul(limit.clamp(LEAST, USUAL))),
            }
        })
    }

    /// Why they must not be started: the machine cannot have that many children, even if they stay
    /// idle.
    ///
    /// `at_once` is how many are forked before old ones exit.
    pub fn refusal(&self, at_once: u64, machine: &Machine) -> Option<Error> {
        let refused = |children: u64, what: &str, limit: &Limit, has: &str| {
            let name = &limit.name;
            let message =
                format!("{children} children {what}, and there is room for {has} ({name})");
            Some(Error::config(message).hint(HELP))
        };
        if let Some(memory) = &machine.memory {
            let room = |bytes: u64| format!("{}, of {} each at least", bytes / LEAST, shown(LEAST));
            if at_once > memory.free / LEAST {
                return refused(at_once, "would be started at once", memory, &room(memory.free));
            }
            if self.at_most > memory.total / LEAST {
                return refused(self.at_most, "are allowed", memory, &room(memory.total));
            }
        }
        let processes = machine.processes.as_ref()?;
        if at_once > processes.free {
            let has = processes.free.to_string();
            return refused(at_once, "would be started at once", processes, &has);
        }
        None
    }

    /// A warning with its help, if all children together do not fit when they are busy.
    pub fn warning(&self, machine: &Machine) -> Option<(String, &'static str)> {
        let children = self.at_most;
        if let Some(memory) = machine.memory.as_ref().filter(|memory| self.usual > memory.total) {
            let (usual, total) = (shown(self.usual), shown(memory.total));
            let name = &memory.name;
            let text = format!(
                "{children} children are allowed, which may take {usual}, and there are {total} ({name})"
            );
            return Some((text, HELP));
        }
        let processes = machine.processes.as_ref().filter(|it| children > it.free)?;
        let Limit { free, name, .. } = processes;
        let text =
            format!("{children} children are allowed, and there is room for {free} ({name})");
        Some((text, HELP))
    }
}

fn shown(bytes: u64) -> String {
    match bytes >> 20 {
        mib @ 0..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Children;
    use crate::runtime::generation::fuzz::resolved;

    const GIB: u64 = 1 << 30;

    fn machine(gib: u64, processes: u64) -> Machine {
        let limit = |total, name: &str| Some(Limit { total, free: total, name: name.to_owned() });
        Machine { memory: limit(gib * GIB, "memory"), processes: limit(processes, "pids.max") }
    }

    fn demand(start_servers: u32, max: u32, memory_limit: Option<u64>) -> Demand {
        let children = Some(Children { max, fixed: start_servers == max });
        let one = Resolved { start_servers, children, memory_limit, ..resolved() };
        Demand::of([&one, &one])
    }

    fn refused(demand: Demand, machine: &Machine) -> Option<String> {
        demand.refusal(demand.at_once, machine).map(|error| error.message)
    }

    #[test]
    fn demand_that_fits_has_no_finding() {
        let sample = demand(2, 5, None);
        assert_eq!(refused(sample, &machine(1, 1000)), None);
        assert_eq!(sample.warning(&machine(1, 1000)), None);
        assert_eq!(refused(demand(9, 4_000_000, None), &Machine::default()), None);
    }

    #[test]
    fn demand_that_never_fits_is_refused() {
        let many = |how: &str, room: &str| {
            Some(format!("8000000 children {how}, and there is room for {room}"))
        };
        let room = "24576, of 1 MiB each at least (memory)";
        let fixed = demand(4_000_000, 4_000_000, None);
        assert_eq!(refused(fixed, &machine(24, 1 << 22)), many("would be started at once", room));
        let dynamic = demand(2, 4_000_000, None);
        assert_eq!(refused(dynamic, &machine(24, 1 << 22)), many("are allowed", room));
        let message = "200 children would be started at once, and there is room for 150 (pids.max)";
        assert_eq!(refused(demand(100, 100, None), &machine(24, 150)).as_deref(), Some(message));
    }

    #[test]
    fn demand_that_does_not_fit_when_busy_is_a_warning() {
        let warning = |demand: Demand, machine: &Machine| demand.warning(machine).map(|it| it.0);
        let tight = demand(2, 100, None);
        let text =
            "200 children are allowed, which may take 3200 MiB, and there are 2048 MiB (memory)";
        assert_eq!(warning(tight, &machine(2, 1000)).as_deref(), Some(text));
        assert_eq!(refused(tight, &machine(2, 1000)), None);
        // A lower memory_limit counts; a higher one does not.
        assert_eq!(warning(demand(2, 100, Some(3 << 20)), &machine(2, 1000)), None);
        assert_eq!(warning(demand(2, 50, Some(GIB)), &machine(2, 1000)), None);
        let text = "200 children are allowed, and there is room for 150 (pids.max)";
        assert_eq!(warning(tight, &machine(24, 150)).as_deref(), Some(text));
    }
}
