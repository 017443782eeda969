//! The verdict on a run, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::answer::FailureKind;

/// The verdict on a run. Its text has one fact per line, aligned for names of usual length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whether there was a good answer, nothing failed, and time did not go back where it must not.
    pub passed: bool,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// How many requests ended, well or not.
    pub requests: u64,
    /// `requests` divided by `seconds`.
    pub per_second: f64,
    /// How many requests got a good answer.
    pub good: u64,
    /// How many requests failed.
    pub failed: u64,
    /// How many requests were given up by [`Stop::Abandon`](super::Stop::Abandon).
    pub unfinished: u64,
    /// What failed, by kind.
    pub failures: Vec<FailureCount>,
    /// How long the good answers took, if there were any.
    pub latency: Option<Latency>,
    /// Which releases answered, in the order in which they were first seen.
    pub releases: Vec<ReleaseCount>,
    /// How many answers were steps back, as the module's documentation defines them.
    pub went_back: u64,
}

/// The failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureCount {
    /// The kind.
    #[serde(flatten)]
    pub kind: FailureKind,
    /// How many there were.
    pub count: u64,
    /// The evidence of the first one.
    pub first: String,
}

/// The latency of good answers, each value within a thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half of the answers took no longer, in microseconds.
    pub p50_us: u64,
    /// 99 of 100 answers took no longer, in microseconds.
    pub p99_us: u64,
    /// No answer took longer, in microseconds.
    pub max_us: u64,
}

/// The good answers of one release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReleaseCount {
    /// The release, as its answers name it.
    pub name: String,
    /// How many answers it gave.
    pub answers: u64,
    /// When its first answer was complete, in seconds from the beginning of the run.
    pub first_seconds: f64,
    /// When its last answer was complete, in seconds from the beginning of the run.
    pub last_seconds: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, seconds, per_second, .. } = self;
        let value = format!("{requests} in {seconds:.3} s, {per_second:.1} per second");
        line(f, "requests:", &value)?;
        line(f, "good:", &self.good.to_string())?;
        line(f, "failed:", &self.failed.to_string())?;
        for FailureCount { kind, count, first } in &self.failures {
            line(f, &format!("  {kind}:"), &format!("{count}, first: {first}"))?;
        }
        if self.unfinished > 0 {
            line(f, "unfinished:", &self.unfinished.to_string())?;
        }
        match &self.latency {
            Some(latency) => line(f, "latency:", &latency.to_string())?,
            None => line(f, "latency:", "unknown")?,
        }
        for ReleaseCount { name, answers, first_seconds, last_seconds } in &self.releases {
            let value = format!("{answers}, from {first_seconds:.3} s to {last_seconds:.3} s");
            line(f, &format!("release {name}:"), &value)?;
        }
        match self.went_back {
            0 => line(f, "time went back:", "never"),
            1 => line(f, "time went back:", "1 answer"),
            n => line(f, "time went back:", &format!("{n} answers")),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us| Duration::from_micros(us).as_secs_f64() * 1000.0;
        let Self { p50_us, p99_us, max_us } = *self;
        write!(f, "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms", ms(p50_us), ms(p99_us), ms(max_us))
    }
}

fn line(f: &mut fmt::Formatter<'_>, label: &str, value: &str) -> fmt::Result {
    writeln!(f, "{label:<21} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            passed: false,
            seconds: 10.0,
            requests: 1003,
            per_second: 100.3,
            good: 1000,
            failed: 3,
            unfinished: 0,
            failures: vec![
                FailureCount {
                    kind: FailureKind::Connect,
                    count: 2,
                    first: "Connection refused (os error 111)".to_owned(),
                },
                FailureCount {
                    kind: FailureKind::HttpStatus(503),
                    count: 1,
                    first: "busy".to_owned(),
                },
            ],
            latency: Some(Latency { p50_us: 950, p99_us: 12_345, max_us: 5_003_000 }),
            releases: vec![
                ReleaseCount {
                    name: "1".to_owned(),
                    answers: 600,
                    first_seconds: 0.001,
                    last_seconds: 6.0,
                },
                ReleaseCount {
                    name: "2".to_owned(),
                    answers: 400,
                    first_seconds: 5.9995,
                    last_seconds: 9.999,
                },
            ],
            went_back: 2,
        }
    }

    #[test]
    fn the_text_is_aligned() {
        let expected = "\
requests:             1003 in 10.000 s, 100.3 per second
good:                 1000
failed:               3
  connect failed:     2, first: Connection refused (os error 111)
  HTTP status 503:    1, first: busy
latency:              p50 0.950 ms, p99 12.345 ms, max 5003.000 ms
release 1:            600, from 0.001 s to 6.000 s
release 2:            400, from 6.000 s to 9.999 s
time went back:       2 answers
";
        assert_eq!(summary().to_string(), expected);
    }

    #[test]
    fn the_text_of_a_run_without_an_answer_says_so() {
        let nothing = Summary {
            requests: 0,
            per_second: 0.0,
            good: 0,
            failed: 0,
            unfinished: 4,
            failures: vec![],
            latency: None,
            releases: vec![],
            went_back: 0,
            ..summary()
        };
        let expected = "\
requests:             0 in 10.000 s, 0.0 per second
good:                 0
failed:               0
unfinished:           4
latency:              unknown
time went back:       never
";
        assert_eq!(nothing.to_string(), expected);
        let once = Summary { went_back: 1, ..nothing };
        assert!(once.to_string().ends_with("time went back:       1 answer\n"));
    }

    #[test]
    fn the_json_names_kinds_for_programs() {
        let json = serde_json::to_value(summary()).unwrap();
        assert_eq!(
            json["failures"],
            serde_json::json!([
                {"kind": "connect", "count": 2, "first": "Connection refused (os error 111)"},
                {"kind": "http_status", "status": 503, "count": 1, "first": "busy"},
            ])
        );
        assert_eq!(json["latency"]["p99_us"], 12_345);
        assert_eq!(json["releases"][1]["name"], "2");
        assert_eq!(json["went_back"], 2);
    }
}
