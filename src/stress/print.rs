//! The output during a run: a dot for each good response, a line for each failure.

use std::io::{self, Write};

use super::page::Page;
use super::sample::Sample;

/// Prints samples as the classic dots and lines. Drop ends the last line of dots.
pub(super) struct Printer<W: Write> {
    out: W,
    page: Page,
    dots: bool,
    /// Whether the last output was a dot.
    within_line: bool,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, page: Page, dots: bool) -> Self {
        Self { out, page, dots, within_line: false }
    }

    /// Prints one sample.
    pub(super) fn show(&mut self, sample: &Sample) -> io::Result<()> {
        match (&sample.result, self.page) {
            (Ok(_), _) if !self.dots => return Ok(()),
            (Ok(_), _) => {
                self.within_line = true;
                self.out.write_all(b".")?;
            }
            (Err(_), Page::Ping) => {
                self.end_line()?;
                writeln!(self.out, "ping-failed")?;
            }
            (Err(failure), Page::Sleep) => {
                self.end_line()?;
                writeln!(self.out, "sleep-failed: {failure}")?;
            }
        }
        self.out.flush()
    }

    fn end_line(&mut self) -> io::Result<()> {
        if self.within_line {
            self.within_line = false;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }
}

impl<W: Write> Drop for Printer<W> {
    fn drop(&mut self) {
        // If this fails, the summary fails too and reports the error.
        let _ = self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stress::sample::{Failure, FailureKind};

    fn shown(page: Page, dots: bool) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, page, dots);
        let failure = Failure::new(FailureKind::HttpStatus(500), "oops");
        let results = [Ok("1".to_owned()), Ok("1".to_owned()), Err(failure.clone()), Err(failure)];
        for result in results.into_iter().chain([Ok("1".to_owned())]) {
            printer.show(&Sample { result, latency: Duration::ZERO, went_back: false }).unwrap();
        }
        drop(printer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_failure_has_its_own_line() {
        assert_eq!(shown(Page::Ping, true), "..\nping-failed\nping-failed\n.\n");
        let line = "sleep-failed: HTTP status 500: oops\n";
        assert_eq!(shown(Page::Sleep, true), format!("..\n{line}{line}.\n"));
    }

    #[test]
    fn quiet_prints_no_dots() {
        assert_eq!(shown(Page::Ping, false), "ping-failed\nping-failed\n");
    }
}
