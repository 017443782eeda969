//! Shows the events of pools that are changed side by side.
//!
//! JSON lines name their pool and are printed at once. Classic lines are printed pool by pool, in the
//! order of the pools: lines of the first pool that has not ended are printed at once, lines of the
//! pools after it are kept until it has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::json;
use crate::event::{Event, Report};

/// Shows the events of several pools.
pub struct SideBySide(Arc<Mutex<Shared>>);

struct Shared {
    shown_by: ShownBy,
    /// The position of the pool whose events are shown at once.
    turn: usize,
    /// The kept events of the pools after it, by position.
    kept: BTreeMap<usize, Kept>,
}

enum ShownBy {
    Json,
    /// One pool after the other.
    Lines(Box<dyn Report>),
}

#[derive(Default)]
struct Kept {
    events: Vec<Event>,
    has_ended: bool,
}

/// The report of one pool. When it is dropped, the lines of the pool are complete.
pub struct OnePool {
    shared: Arc<Mutex<Shared>>,
    position: usize,
    pool: String,
}

impl SideBySide {
    /// Shows events as JSON lines.
    pub(super) fn json() -> Self {
        Self::shown_by(ShownBy::Json)
    }

    /// Shows events with `report`, one pool after the other.
    pub(super) fn lines(report: Box<dyn Report>) -> Self {
        Self::shown_by(ShownBy::Lines(report))
    }

    fn shown_by(shown_by: ShownBy) -> Self {
        Self(Arc::new(Mutex::new(Shared { shown_by, turn: 0, kept: BTreeMap::new() })))
    }

    /// The report of the pool at this position. Positions count from 0, and each is used once.
    pub fn of(&self, position: usize, pool: &str) -> OnePool {
        OnePool { shared: Arc::clone(&self.0), position, pool: pool.to_owned() }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Report for OnePool {
    fn event(&mut self, event: &Event) {
        let shared = &mut *lock(&self.shared);
        match &mut shared.shown_by {
            ShownBy::Json => json::print(&self.pool, event),
            ShownBy::Lines(report) if shared.turn == self.position => report.event(event),
            ShownBy::Lines(_) => shared.kept.entry(self.position).or_default().keep(event),
        }
    }
}

impl Drop for OnePool {
    fn drop(&mut self) {
        let shared = &mut *lock(&self.shared);
        if shared.turn == self.position {
            shared.next();
        } else {
            shared.kept.entry(self.position).or_default().has_ended = true;
        }
    }
}

impl Shared {
    /// Shows the kept events of the next pool, and of the pools after it as long as they have ended.
    fn next(&mut self) {
        loop {
            self.turn += 1;
            let Some(kept) = self.kept.remove(&self.turn) else { return };
            if let ShownBy::Lines(report) = &mut self.shown_by {
                kept.events.iter().for_each(|event| report.event(event));
            }
            if !kept.has_ended {
                return;
            }
        }
    }
}

impl Kept {
    /// Keeps an event. Of several reports of one wait, only the last one is kept: it has the whole time.
    fn keep(&mut self, event: &Event) {
        let waits =
            |event: &Event| matches!(event, Event::Progress { .. } | Event::Watching { .. });
        if waits(event) && self.events.last().is_some_and(waits) {
            self.events.pop();
        }
        self.events.push(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Title;

    /// Notes the events that it gets.
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl Report for Notes {
        fn event(&mut self, event: &Event) {
            let note = match event {
                Event::Pool { pool } => pool.clone(),
                Event::StageStarted { title } => title.to_string(),
                Event::Progress { waited_ms, .. } => waited_ms.to_string(),
                _ => "?".to_owned(),
            };
            self.0.lock().unwrap().push(note);
        }
    }

    #[test]
    fn lines_of_a_pool_come_together_and_in_the_order_of_the_pools() {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let all = SideBySide::lines(Box::new(Notes(Arc::clone(&notes))));
        let begin = |position, name: &str| {
            let mut pool = all.of(position, name);
            pool.event(&Event::Pool { pool: name.to_owned() });
            pool
        };
        let progress =
            |waited_ms| Event::Progress { replica: 1, accepted: 1, queued: 0, idle: 0, waited_ms };
        let (mut a, mut b, c) = (begin(0, "a"), begin(1, "b"), begin(2, "c"));
        drop(c);
        b.event(&progress(1));
        b.event(&progress(2));
        a.event(&Event::StageStarted { title: Title::Stopping(1) });
        assert_eq!(*notes.lock().unwrap(), ["a", "Stopping replica 1"]);
        drop(a);
        assert_eq!(notes.lock().unwrap()[2..], ["b", "2"]);
        b.event(&progress(3));
        drop(b);
        drop(begin(3, "d"));
        assert_eq!(notes.lock().unwrap()[4..], ["3", "c", "d"]);
    }
}
