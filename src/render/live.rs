//! The lines on a terminal: one live line while a stage runs, with a spinner, the seconds and what the
//! stage waits for; then its classic line, with the seconds in place of the dots.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::classic::{failed, hook_title, line};
use super::colour::bracketed;
use super::{print, width};
use crate::event::{Event, Report};

const TICK: Duration = Duration::from_millis(100);

/// Shows a running stage as a live line, and then its classic line.
#[derive(Default)]
pub(super) struct Live {
    stage: Option<Stage>,
}

/// A stage that runs.
struct Stage {
    title: String,
    bar: ProgressBar,
    /// What it waits for, shown after the seconds.
    waits_for: Arc<Mutex<String>>,
    /// The seconds that it has waited, as its events say.
    waited: u64,
}

impl Stage {
    fn begin(title: String) -> Self {
        let waits_for = Arc::new(Mutex::new(String::new()));
        let bar = ProgressBar::new_spinner();
        let (shown, facts) = (title.clone(), Arc::clone(&waits_for));
        let rest = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let facts = facts.lock().unwrap_or_else(PoisonError::into_inner);
            // Less the spinner, and the last column, which would wrap the line on some terminals.
            let room = width::of_stderr().unwrap_or(80).saturating_sub(3);
            let _ = out.write_str(&live_line(&shown, state.elapsed().as_secs(), &facts, room));
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {rest}") {
            bar.set_style(style.with_key("rest", rest));
        }
        bar.enable_steady_tick(TICK);
        Self { title, bar, waits_for, waited: 0 }
    }

    fn waits(&mut self, waited_ms: u64, waits_for: String) {
        self.waited = waited_ms / 1000;
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = waits_for;
    }

    /// The classic line, with the seconds that it took.
    fn end(self, how: &str) {
        self.bar.finish_and_clear();
        // Events that were kept are shown all at once. Then only the events have the right time.
        let waited = match self.waited.max(self.bar.elapsed().as_secs()) {
            0 => String::new(),
            seconds => format!("({seconds}s)"),
        };
        print(&width::wrap(&format!("  {} {waited}{how}", self.title), width::of_stdout()));
    }
}

/// The line without its spinner, in at most `room` columns: a title that is too long loses its middle,
/// because the number of the replica stands at its end.
fn live_line(title: &str, seconds: u64, waits_for: &str, room: usize) -> String {
    let comma = if waits_for.is_empty() { "" } else { ", " };
    let facts: String = format!("  {seconds}s{comma}{waits_for}").chars().take(room).collect();
    let room = room - facts.chars().count();
    let letters: Vec<char> = title.chars().collect();
    if letters.len() <= room {
        return title.to_owned() + &facts;
    }
    let end = (room / 2).min(13);
    let Some(start) = room.checked_sub(end + 1) else { return facts };
    let (start, end) = (&letters[..start], &letters[letters.len() - end..]);
    let [start, end] = [start, end].map(|part| part.iter().collect::<String>());
    format!("{}…{}{facts}", start.trim_end(), end)
}

/// What is in flight, in a few words.
fn in_flight(accepted: u32, queued: u32, idle: u32) -> String {
    let kept = if idle > 0 { format!(", {idle} idle") } else { String::new() };
    format!("{} in flight{kept}", accepted.saturating_sub(idle) + queued)
}

impl Live {
    fn begin(&mut self, title: String) {
        self.stage = Some(Stage::begin(title));
    }

    fn end(&mut self, how: &str) {
        if let Some(stage) = self.stage.take() {
            stage.end(how);
        }
    }

    fn say(&self, text: &str) {
        let text = width::wrap(text, width::of_stdout());
        match &self.stage {
            Some(stage) => stage.bar.suspend(|| print(&text)),
            None => print(&text),
        }
    }
}

impl Report for Live {
    fn event(&mut self, event: &Event) {
        match event {
            Event::StageStarted { title } => self.begin(title.to_string()),
            Event::HookStarted { hook } => self.begin(hook_title(*hook)),
            Event::Progress { waited_ms, accepted, queued, idle, .. } => {
                if let Some(stage) = &mut self.stage {
                    stage.waits(*waited_ms, in_flight(*accepted, *queued, *idle));
                }
            }
            Event::Watching { waited_ms, left_ms, canary, .. } => {
                if let Some(stage) = &mut self.stage {
                    let figures = canary.map(|it| format!(", {}", it.new)).unwrap_or_default();
                    let left = left_ms.div_ceil(1000);
                    stage.waits(*waited_ms, format!("{left}s left{figures}"));
                }
            }
            Event::StageDone { .. } | Event::HookDone { failure: None, .. } => {
                self.end(&format!(" {}\n", bracketed("OK")));
            }
            Event::StageFailed { reason, .. } | Event::HookDone { failure: Some(reason), .. } => {
                self.end(&failed(reason));
            }
            other => self.say(&line(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Title;

    #[test]
    fn live_line_fits_60_columns_and_names_its_replica() {
        let title = Title::Deactivating(2).to_string();
        let whole = "Deactivating the load balancer for replica 2  12s, 3 in flight";
        assert_eq!(live_line(&title, 12, &in_flight(2, 1, 0), 77), whole);
        let cut = "Deactivating the load bal…for replica 2  12s, 3 in flight";
        assert_eq!(live_line(&title, 12, &in_flight(2, 1, 0), 57), cut);
        assert_eq!(live_line("Stopping replica 2", 0, "", 57), "Stopping replica 2  0s");
        for room in 0..70 {
            let line = live_line(&title, 3600, &in_flight(120, 1234, 20), room);
            assert!(line.chars().count() <= room, "{room} {line}");
        }
    }
}
