//! Values that are more than TOML's own types: a wrong one is an error of its line.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, Unexpected, Visitor};

use crate::http;

/// The longest time that a setting may name; beyond it the clock could overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_str(Time)
}

/// No wait at all would be no chance at all.
pub(super) fn some_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration = from.deserialize_str(Time)?;
    if duration.is_zero() { Err(Error::custom("it has to be more than 0")) } else { Ok(duration) }
}

struct Time;

impl Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time like \"60s\" or \"500ms\", of a year at most")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST => Ok(duration),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// A program and its arguments.
pub(super) fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(Error::custom("it names no program")),
    }
}

pub(super) fn page_url<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match http::page(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Error::custom(error.message)),
    }
}

pub(super) fn page_url_or_empty<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Ok(text) } else { page_url(text.into_deserializer()) }
}

pub(super) fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Err(Error::custom("it is empty")) } else { Ok(text) }
}
