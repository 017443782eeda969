//! The classic lines on a terminal: a spinner while a stage runs, then its line.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::classic::{Dots, failed, hook_title, line};
use super::print;
use crate::event::{Event, Report};

const TICK: Duration = Duration::from_millis(100);

/// Shows a running stage as a spinner, and then its classic line.
#[derive(Default)]
pub(super) struct Live {
    bar: Option<ProgressBar>,
    dots: Dots,
    /// The classic line so far.
    text: String,
}

impl Live {
    fn begin(&mut self, title: String) {
        self.dots = Dots::default();
        self.text = format!("  {title} ");
        let style = ProgressStyle::with_template("  {msg} {spinner} {elapsed}");
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(title);
        bar.enable_steady_tick(TICK);
        self.bar = Some(bar);
    }

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
            Event::StageStarted { title } => self.begin(title.to_string()),
            Event::HookStarted { hook } => self.begin(hook_title(*hook)),
            Event::Progress { waited_ms, accepted, queued, idle, .. } => {
                self.text += &self.dots.more(*waited_ms);
                if let Some(bar) = &self.bar {
                    let title = self.text.trim();
                    let requests = accepted.saturating_sub(*idle);
                    let kept = if *idle > 0 { format!(", {idle} idle") } else { String::new() };
                    let now = format!("{requests} in flight, {queued} queued{kept}");
                    bar.set_message(format!("{title} ({now})"));
                }
            }
            Event::Watching { waited_ms, left_ms, .. } => {
                self.text += &self.dots.more(*waited_ms);
                if let Some(bar) = &self.bar {
                    let left = Duration::from_secs(left_ms.div_ceil(1000));
                    let left = humantime::format_duration(left);
                    bar.set_message(format!("{} ({left} left)", self.text.trim()));
                }
            }
            Event::StageDone { .. } | Event::HookDone { failure: None, .. } => self.end(" [OK]\n"),
            Event::StageFailed { reason, .. } | Event::HookDone { failure: Some(reason), .. } => {
                self.end(&failed(reason));
            }
            other => self.say(&line(other)),
        }
    }
}
