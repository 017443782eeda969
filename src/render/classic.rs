//! The classic lines, which scripts read: `  Stopping replica 2 . [OK]`, with one dot for each second
//! of waiting.

use std::io::Write;

use super::colour::{Tone, bracketed};
use crate::canary::Sides;
use crate::config::Hook;
use crate::event::{Event, LinkChange, Report};
use crate::step::Stage;

/// Writes the line of a stage while the stage runs.
pub(super) struct Classic<W> {
    out: W,
    dots: Dots,
    /// Lines that came in the middle of a line, printed after it.
    later: String,
    in_line: bool,
}

/// Counts the seconds that a stage has waited.
#[derive(Default)]
pub(super) struct Dots {
    shown: u64,
}

impl Dots {
    /// The new dots for a step that has waited this long, in milliseconds.
    pub(super) fn more(&mut self, waited_ms: u64) -> String {
        let new = (waited_ms / 1000).saturating_sub(self.shown);
        self.shown += new;
        ".".repeat(usize::try_from(new).unwrap_or_default())
    }
}

impl<W: Write> Classic<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, dots: Dots::default(), later: String::new(), in_line: false }
    }

    fn write(&mut self, text: &str) {
        // A closed pipe must not stop a rollout.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    fn begin_line(&mut self, title: &str) {
        self.dots = Dots::default();
        self.in_line = true;
        self.write(&format!("  {title} "));
    }

    fn end_line(&mut self, text: &str) {
        self.in_line = false;
        self.write(text);
        let later = std::mem::take(&mut self.later);
        self.write(&later);
    }
}

impl<W: Write + Send + Sync> Report for Classic<W> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::StageStarted { title } => self.begin_line(&title.to_string()),
            Event::HookStarted { hook } => self.begin_line(&hook_title(*hook)),
            Event::Progress { waited_ms, .. } | Event::Watching { waited_ms, .. } => {
                let dots = self.dots.more(*waited_ms);
                self.write(&dots);
            }
            Event::StageDone { .. } | Event::HookDone { failure: None, .. } => {
                self.end_line(&format!(" {}\n", bracketed("OK")));
            }
            Event::StageFailed { reason, .. } | Event::HookDone { failure: Some(reason), .. } => {
                self.end_line(&failed(reason));
            }
            Event::Warning { .. } | Event::Warmed { .. } | Event::Compared { .. }
                if self.in_line =>
            {
                self.later.push_str(&line(event));
            }
            other => self.write(&line(other)),
        }
    }
}

/// The line of a hook.
pub(super) fn hook_title(hook: Hook) -> String {
    format!("Running the hook {hook}")
}

/// The end of the line of a stage that has failed.
pub(super) fn failed(reason: &str) -> String {
    format!(" {}\n{}", bracketed("FAILED"), indent(reason))
}

/// The lines of an event outside of a stage; empty for events that are not shown.
pub(super) fn line(event: &Event) -> String {
    match event {
        Event::Pool { pool } => format!("Redundant pool \"{pool}\"...\n"),
        Event::LockWait { holder } => format!("  Waiting: the pool is locked by {holder}\n"),
        Event::Nothing { replica, because } => format!("  Replica {replica} {because}\n"),
        Event::Link { change, link, target } => {
            let (link, target) = (link.display(), target.display());
            match change {
                LinkChange::Planned => format!("  {link} would lead to {target}\n"),
                LinkChange::Moved => format!("  {link} leads to {target}\n"),
                LinkChange::Removed => format!("  {link} is removed again\n"),
                LinkChange::MovedBack => format!("  {link} leads to {target} again\n"),
            }
        }
        Event::Warning { text } => format!("  {} {text}\n", Tone::Warning.on_stdout("Warning:")),
        Event::Warmed { replica, requests, ms } => {
            format!("  Replica {replica} has answered {requests} warm-up requests in {ms} ms\n")
        }
        Event::Compared { replica, canary: Sides { new, old } } => {
            format!("  Canary of replica {replica}: {new}; the old release: {old}\n")
        }
        Event::RollingBack { replica, release: Some(release) } => {
            format!("  Rolling replica {replica} back to {}\n", release.display())
        }
        Event::RollingBack { replica, release: None } => {
            format!("  Starting replica {replica} once more\n")
        }
        Event::HookPlanned { hook } => format!("  {}\n", hook_title(*hook)),
        Event::Plan { stages } if stages.is_empty() => "  Nothing to do\n".to_owned(),
        Event::Plan { stages } => stages.iter().map(planned).collect(),
        _ => String::new(),
    }
}

fn planned(stage: &Stage) -> String {
    let steps: Vec<String> = stage.steps.iter().map(ToString::to_string).collect();
    format!("  {}\n{}", stage.title, indent(&steps.join("\n")))
}

fn indent(text: &str) -> String {
    text.lines().flat_map(|line| ["    ", line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Title;

    fn shown(events: &[Event]) -> String {
        let mut classic = Classic::new(Vec::new());
        for event in events {
            classic.event(event);
        }
        String::from_utf8(classic.out).unwrap()
    }

    #[test]
    fn stages_are_printed_as_the_classic_lines() {
        let title = Title::Stopping(2);
        let waited =
            |waited_ms| Event::Progress { replica: 2, accepted: 1, queued: 0, idle: 0, waited_ms };
        let events = [
            Event::Pool { pool: "www".to_owned() },
            Event::StageStarted { title },
            Event::StageDone { title, ms: 8 },
            Event::StageStarted { title },
            waited(900),
            waited(2100),
            Event::Warning { text: "1 request will be cut".to_owned() },
            Event::StageFailed { title, reason: "no\nreally".to_owned() },
        ];
        assert_eq!(
            shown(&events),
            "Redundant pool \"www\"...\n  \
             Stopping replica 2  [OK]\n  \
             Stopping replica 2 .. [FAILED]\n    \
             no\n    \
             really\n  \
             Warning: 1 request will be cut\n"
        );
    }
}
