//! `[limits]`: when the supervisor renews a replica.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::keys::{Default as Holds, Key, Kind};
use super::values;

/// `[limits]`: a replica that exceeds one of them is renewed, without loss of a request. None: no
/// limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The memory of all processes of a replica, in bytes. A page that several processes share is
    /// divided among them.
    #[serde(deserialize_with = "memory")]
    pub max_memory: Option<u64>,
    /// The time since the start of a replica.
    #[serde(deserialize_with = "time")]
    pub max_age: Option<Duration>,
    /// The number of requests since the start of a replica.
    #[serde(deserialize_with = "number")]
    pub max_requests: Option<u64>,
    /// The time that a request in flight has taken.
    #[serde(deserialize_with = "time")]
    pub max_request_time: Option<Duration>,
    /// The time between two measurements.
    #[serde(deserialize_with = "values::some_duration")]
    pub interval: Duration,
}

const NO_LIMIT: Holds = Holds::Unset("no limit");

/// The keys of `[limits]`.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "max_memory",
        Kind::Size,
        NO_LIMIT,
        "the memory of all processes of a replica. A page that several processes share is divided among them (`Pss` of proc(5))",
    ),
    Key::new("max_age", Kind::SOME_TIME, NO_LIMIT, "the time since the start of the replica"),
    Key::new(
        "max_requests",
        Kind::Number,
        NO_LIMIT,
        "the requests since its start. php-fpm counts connections: on kept connections the requests of the present children count, if they are more",
    ),
    Key::new("max_request_time", Kind::SOME_TIME, NO_LIMIT, "the time of a request in flight"),
    Key::new(
        "interval",
        Kind::SOME_TIME,
        Holds::Value("\"5s\""),
        "the time between two measurements",
    ),
];

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_memory: None,
            max_age: None,
            max_requests: None,
            max_request_time: None,
            interval: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Whether no limit is set.
    pub fn are_off(&self) -> bool {
        self.max_memory.is_none() && self.max_age.is_none() && !self.concern_requests()
    }

    /// Whether a limit on requests is set.
    pub fn concern_requests(&self) -> bool {
        self.max_requests.is_some() || self.max_request_time.is_some()
    }
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    values::some_duration(from).map(Some)
}

fn memory<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    more_than_0(values::size(from)?)
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    more_than_0(u64::deserialize(from)?)
}

fn more_than_0<E: serde::de::Error>(number: u64) -> Result<Option<u64>, E> {
    if number == 0 { Err(E::custom("it must be more than 0")) } else { Ok(Some(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes_times_and_numbers() {
        let text =
            "max_memory = '256MiB'\nmax_age = '1day'\nmax_requests = 5\nmax_request_time = '30s'";
        let limits: Limits = toml::from_str(text).unwrap();
        assert_eq!(limits.max_memory, Some(256 << 20));
        assert_eq!(limits.max_age, Some(Duration::from_secs(24 * 60 * 60)));
        assert_eq!(limits.max_requests, Some(5));
        assert_eq!(limits.max_request_time, Some(Duration::from_secs(30)));
        assert!(toml::from_str::<Limits>("interval = '1s'").unwrap().are_off());
    }

    #[test]
    fn limit_of_0_is_refused() {
        let zeros = ["max_memory = '0'", "max_age = '0s'", "max_requests = 0", "interval = '0s'"];
        for text in zeros.into_iter().chain(["max_requests = -1", "max_request_time = '0s'"]) {
            assert!(toml::from_str::<Limits>(text).is_err(), "{text}");
        }
    }
}
