//! JSON lines: one document for each event, with its time and its pool.

use serde::Serialize;

use super::problem::now;
use crate::event::Event;

/// An event with its time, and the pool unless the event names it itself.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a str>,
}

/// Prints an event of a pool.
pub(super) fn print(pool: &str, event: &Event) {
    super::print(&format!("{}\n", line(&now(), pool, event)));
}

fn line(time: &str, pool: &str, event: &Event) -> String {
    let names_pool = matches!(event, Event::Pool { .. } | Event::Done { .. });
    let line = Line { time, event, pool: (!names_pool).then_some(pool) };
    serde_json::to_string(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{GenerationId, Number, Step, Title};

    #[test]
    fn each_line_has_its_time_and_names_its_pool_once() {
        let id = GenerationId { replica: 2, generation: Number::Started(7) };
        let shown = |event: Event| line("2026-01-02T03:04:05.678Z", "www", &event);
        assert_eq!(
            shown(Event::Pool { pool: "www".to_owned() }),
            r#"{"time":"2026-01-02T03:04:05.678Z","event":"pool","pool":"www"}"#
        );
        assert_eq!(
            shown(Event::StepStarted { step: Step::Stop(id) }),
            r#"{"time":"2026-01-02T03:04:05.678Z","event":"step_started","step":"stop","replica":2,"generation":7,"pool":"www"}"#
        );
        assert_eq!(
            shown(Event::StageDone { title: Title::Switching, ms: 3 }),
            r#"{"time":"2026-01-02T03:04:05.678Z","event":"stage_done","stage":"switching","ms":3,"pool":"www"}"#
        );
    }
}
