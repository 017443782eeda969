//! Values with more rules than TOML's own types: a wrong value is an error with its line.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, Unexpected, Visitor};

use crate::canary;
use crate::duration;
use crate::http;

/// A duration: a string, or a whole number of seconds.
pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_any(Time)
}

/// A duration that must not be 0.
pub(crate) fn some_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let time = from.deserialize_any(Time)?;
    if time.is_zero() { Err(Error::custom(duration::NOT_ZERO)) } else { Ok(time) }
}

struct Time;

impl Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(duration::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        duration::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
        duration::parse(&seconds.to_string())
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(seconds), &self))
    }
}

/// A program and its arguments.
pub(crate) fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(Error::custom("it names no program")),
    }
}

pub(crate) fn page_url<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match http::page(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Error::custom(error.message)),
    }
}

pub(crate) fn page_url_or_empty<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Ok(text) } else { page_url(text.into_deserializer()) }
}

pub(crate) fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Err(Error::custom("it is empty")) } else { Ok(text) }
}

/// A number of bytes, with a binary unit or none.
pub(crate) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let shift = match text[digits.len()..].trim_start() {
        "" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        "TiB" => Some(40),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    let size = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    size.ok_or_else(|| Error::invalid_value(Unexpected::Str(&text), &"a size like \"64MiB\""))
}

/// A percentage, in hundredths of a percent.
pub(crate) fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let text = String::deserialize(from)?;
    let wrong =
        || Error::invalid_value(Unexpected::Str(&text), &"a percentage like \"1%\" or \"0.5%\"");
    canary::percent(&text).ok_or_else(wrong)
}

/// A factor of 1 or more.
pub(crate) fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let factor = f64::deserialize(from)?;
    let is_valid = factor.is_finite() && factor >= 1.0;
    if is_valid { Ok(factor) } else { Err(Error::custom("it must be 1 or more")) }
}

/// A size whose default depends on another one.
pub(crate) fn some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    size(from).map(Some)
}

/// Networks like `10.0.0.0/8`, or single addresses.
pub(crate) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let wrong = |text: &str| {
        Error::invalid_value(
            Unexpected::Str(text),
            &"an address like \"127.0.0.1\" or \"10.0.0.0/8\"",
        )
    };
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| network(text).ok_or_else(|| wrong(text))).collect()
}

/// An IPv4-mapped network is an IPv4 network, as the addresses of clients are.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse()).ok()?;
    let IpNet::V6(six) = network else { return Some(network) };
    let four = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    let Some((address, bits)) = four else { return Some(network) };
    Ipv4Net::new(address, bits).ok().map(IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_addresses_or_ranges() {
        let is_in = |text: &str, address: &str| {
            network(text).unwrap().contains(&address.parse::<IpAddr>().unwrap())
        };
        assert!(is_in("10.0.0.0/8", "10.9.8.7") && !is_in("10.0.0.0/8", "11.0.0.0"));
        assert!(is_in("10.1.2.3/8", "10.9.8.7"));
        assert!(is_in("127.0.0.1", "127.0.0.1") && !is_in("127.0.0.1", "127.0.0.2"));
        assert!(is_in("0.0.0.0/0", "1.2.3.4") && !is_in("0.0.0.0/0", "::1"));
        assert!(is_in("fd00::/8", "fd12::1") && !is_in("fd00::/8", "fe80::1"));
        assert!(is_in("::/0", "fe80::1") && is_in("::ffff:10.0.0.0/104", "10.9.8.7"));
        assert!(is_in("::ffff:10.0.0.1", "10.0.0.1") && !is_in("::ffff:10.0.0.1", "10.0.0.2"));
        for odd in ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/+8", "x", ""] {
            assert_eq!(network(odd), None, "{odd}");
        }
    }
}
