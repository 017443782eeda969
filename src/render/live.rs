//! The classic lines on a terminal: while a stage waits, its line lives.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::classic::{Dots, failed, line};
use super::print;
use crate::event::{Event, Report};

const TICK: Duration = Duration::from_millis(100);

/// Shows the stage that is under way as a spinner, and then its classic line.
#[derive(Default)]
pub(super) struct Live {
    bar: Option<ProgressBar>,
    dots: Dots,
    /// The classic line so far.
    text: String,
}

impl Live {
    fn end(&mut self, how: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        print(&format!("{}{how}", self.text));
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print(text)),
            None => print(text),
        }
    }
}

impl Report for Live {
    fn event(&mut self, event: &Event) {
        match event {
            Event::StageStarted { title } => {
                self.dots = Dots::default();
                self.text = format!("  {title} ");
                let style = ProgressStyle::with_template("  {msg} {spinner} {elapsed}");
                let bar = ProgressBar::new_spinner();
                if let Ok(style) = style {
                    bar.set_style(style);
                }
                bar.set_message(title.to_string());
                bar.enable_steady_tick(TICK);
                self.bar = Some(bar);
            }
            Event::Progress { waited_ms, accepted, queued, .. } => {
                self.text += &self.dots.more(*waited_ms);
                if let Some(bar) = &self.bar {
                    let title = self.text.trim();
                    bar.set_message(format!("{title} ({accepted} in flight, {queued} queued)"));
                }
            }
            Event::StageDone { .. } => self.end(" [OK]\n"),
            Event::StageFailed { reason, .. } => self.end(&failed(reason)),
            other => self.say(&line(other)),
        }
    }
}
