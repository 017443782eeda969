//! The summary of a run, as text and as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::sample::FailureKind;

/// The summary of a run. The text has one fact per line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whether there was a good response, no request failed, and, with `monotonic`, no step back.
    pub passed: bool,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// How many requests ended, good or failed.
    pub requests: u64,
    /// `requests` divided by `seconds`.
    pub per_second: f64,
    /// How many requests got a good response.
    pub good: u64,
    /// How many requests failed.
    pub failed: u64,
    /// How many requests were cancelled by [`Stop::Cancel`](super::Stop::Cancel).
    pub unfinished: u64,
    /// The failures, by kind.
    pub failures: Vec<FailureCount>,
    /// The latency of good responses; None: there were none.
    pub latency: Option<Latency>,
    /// The releases that responded, in the order of their first responses.
    pub releases: Vec<ReleaseCount>,
    /// How many responses were steps back, as the module documentation defines them.
    pub went_back: u64,
}

/// The failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureCount {
    /// The kind.
    #[serde(flatten)]
    pub kind: FailureKind,
    /// How many failures there were.
    pub count: u64,
    /// The detail of the first failure.
    pub first: String,
}

/// The latency of good responses, with an error of at most 0.1%.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half of the responses took this time or less, in microseconds.
    pub p50_us: u64,
    /// 99% of the responses took this time or less, in microseconds.
    pub p99_us: u64,
    /// The longest time, in microseconds.
    pub max_us: u64,
}

/// The good responses of one release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReleaseCount {
    /// The name of the release in its responses.
    pub name: String,
    /// The number of its responses.
    pub answers: u64,
    /// When its first response was complete, in seconds from the beginning of the run.
    pub first_seconds: f64,
    /// When its last response was complete, in seconds from the beginning of the run.
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
    fn the_values_of_the_text_are_aligned() {
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
    fn a_run_without_a_response_has_unknown_latency() {
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
    fn the_json_has_a_kind_for_each_failure() {
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
