//! JSON lines: one document for each event.

use serde::Serialize;

use crate::event::Event;

/// An event, and the pool that it does not name itself.
#[derive(Serialize)]
struct OfPool<'a> {
    #[serde(flatten)]
    event: &'a Event,
    pool: &'a str,
}

/// Prints an event of a pool.
pub(super) fn print(pool: &str, event: &Event) {
    super::print(&format!("{}\n", line(pool, event)));
}

fn line(pool: &str, event: &Event) -> String {
    let line = match event {
        Event::Pool { .. } | Event::Done { .. } => serde_json::to_string(event),
        _ => serde_json::to_string(&OfPool { event, pool }),
    };
    line.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{GenerationId, Number, Step, Title};

    #[test]
    fn each_line_names_its_pool_once() {
        let id = GenerationId { replica: 2, generation: Number::Started(7) };
        let shown = |event: Event| line("www", &event);
        assert_eq!(
            shown(Event::Pool { pool: "www".to_owned() }),
            r#"{"event":"pool","pool":"www"}"#
        );
        assert_eq!(
            shown(Event::StepStarted { step: Step::Stop(id) }),
            r#"{"event":"step_started","step":"stop","replica":2,"generation":7,"pool":"www"}"#
        );
        assert_eq!(
            shown(Event::StageDone { title: Title::Switching, ms: 3 }),
            r#"{"event":"stage_done","stage":"switching","ms":3,"pool":"www"}"#
        );
    }
}
