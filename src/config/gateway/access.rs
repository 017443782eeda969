//! `[gateway.access]`: which clients may send requests to a pool, and how many.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::paths::below_root;
use crate::config::values;

/// The longest `realm`, in bytes.
const REALM_MAX: usize = 200;

/// `[gateway.access]`, or the rules of a path in it. A path without a key has the value of the pool, except
/// `burst`: a path with a `rate_limit` of its own does not get the `burst` of the pool.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// The only addresses that are admitted. Empty: all.
    #[serde(deserialize_with = "some_networks")]
    pub allow: Option<Vec<IpNet>>,
    /// Addresses that are refused, also if `allow` has them.
    #[serde(deserialize_with = "some_networks")]
    pub deny: Option<Vec<IpNet>>,
    /// The file with names and passwords. Empty: none is needed.
    pub auth_file: Option<String>,
    /// The `realm`, which a browser shows when it asks for the password.
    #[serde(deserialize_with = "realm")]
    pub realm: Option<String>,
    /// How many requests a client may send.
    pub rate_limit: Option<Limit>,
    /// How many requests may come at once. None: as many as `rate_limit` has.
    #[serde(deserialize_with = "burst")]
    pub burst: Option<u32>,
    /// Other rules by path prefix. The longest prefix is used.
    #[serde(deserialize_with = "paths")]
    pub paths: BTreeMap<Prefix, Self>,
}

impl Access {
    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        let Self { allow, deny, auth_file, realm: _, rate_limit, burst: _, paths } = self;
        let is_open = allow.is_none() && deny.is_none() && auth_file.is_none();
        is_open && rate_limit.is_none() && paths.is_empty()
    }

    /// The files with passwords, as they are written.
    pub fn auth_files(&self) -> impl Iterator<Item = &str> {
        let all = std::iter::once(self).chain(self.paths.values());
        all.filter_map(|it| it.auth_file.as_deref()).filter(|file| !file.is_empty())
    }

    /// These rules; where a key is not set, the value of the pool.
    #[must_use]
    pub fn or(&self, pool: &Self) -> Self {
        let rate = if self.rate_limit.is_some() || self.burst.is_some() { self } else { pool };
        Self {
            allow: self.allow.clone().or_else(|| pool.allow.clone()),
            deny: self.deny.clone().or_else(|| pool.deny.clone()),
            auth_file: self.auth_file.clone().or_else(|| pool.auth_file.clone()),
            realm: self.realm.clone().or_else(|| pool.realm.clone()),
            rate_limit: rate.rate_limit.or(pool.rate_limit),
            burst: rate.burst,
            paths: BTreeMap::new(),
        }
    }

    /// The rate limit; None: there is none.
    pub fn rate(&self) -> Option<Rate> {
        let Some(Limit(Some((requests, per)))) = self.rate_limit else { return None };
        Some(Rate { interval: per / requests, burst: self.burst.unwrap_or(requests) })
    }
}

/// A path prefix: the path itself, and all below it. Without slashes at its ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix(String);

impl Prefix {
    /// Whether it covers a path, which is decoded and has no slashes at its ends.
    pub fn covers(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.0.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.0.len()
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match below_root(&text)? {
            "" => Err("the rules of \"/\" are those of the pool: write them above".to_owned()),
            path => Ok(Self(path.trim_end_matches('/').to_owned())),
        }
    }
}

/// A number of requests per time; None: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(Option<(u32, Duration)>);

/// A rate of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The time after which a client may send one more.
    pub interval: Duration,
    /// How many may come at once.
    pub burst: u32,
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let parsed = text.split_once('/').and_then(|(requests, per)| {
            let seconds = match per {
                "s" => 1,
                "min" => 60,
                "h" => 3600,
                _ => return None,
            };
            let is_number = requests.bytes().all(|byte| byte.is_ascii_digit());
            let requests = requests.parse().ok().filter(|it| is_number && *it > 0);
            Some((requests?, Duration::from_secs(seconds)))
        });
        // A larger number could make the interval of a request shorter than a nanosecond, which is 0.
        match parsed {
            Some((requests, _)) if requests > 1_000_000 => {
                Err(format!("\"{text}\" is more than 1000000 requests: leave rate_limit out"))
            }
            Some(limit) => Ok(Self(Some(limit))),
            None => {
                Err(format!("\"{text}\" is not a rate, like \"10/s\", \"30/min\" or \"500/h\""))
            }
        }
    }
}

fn some_networks<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<IpNet>>, D::Error> {
    values::networks(from).map(Some)
}

fn realm<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    let is_plain = |byte: u8| byte == b' ' || (byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    if text.bytes().all(is_plain) && text.len() <= REALM_MAX {
        return Ok(Some(text));
    }
    Err(serde::de::Error::custom(
        "realm must be one line of visible ASCII characters and spaces, without quotes and backslashes",
    ))
}

fn burst<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(from)? {
        0 => Err(serde::de::Error::custom("with a burst of 0, no request would be admitted")),
        burst => Ok(Some(burst)),
    }
}

fn paths<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Prefix, Access>, D::Error> {
    let paths = BTreeMap::<Prefix, Access>::deserialize(from)?;
    if paths.values().any(|access| !access.paths.is_empty()) {
        return Err(serde::de::Error::custom(
            "the rules of a path have no paths: write the whole path beside the first one",
        ));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Option<(u128, u32)> {
        let access: Access = toml::from_str(text).unwrap();
        access.rate().map(|rate| (rate.interval.as_micros(), rate.burst))
    }

    #[test]
    fn rates_have_a_unit_and_a_burst() {
        assert_eq!(rate("rate_limit = '10/s'"), Some((100_000, 10)));
        assert_eq!(rate("rate_limit = '30/min'\nburst = 5"), Some((2_000_000, 5)));
        assert_eq!(rate("rate_limit = '3600/h'"), Some((1_000_000, 3600)));
        assert_eq!(rate("rate_limit = ''"), None);
        for text in [
            "10",
            "0/s",
            "-1/s",
            "+1/s",
            "1/d",
            "1.5/s",
            "/s",
            "10/ s",
            "2000000/s",
            "99999999999/s",
        ] {
            assert!(Limit::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(toml::from_str::<Access>("burst = 0").is_err());
    }

    #[test]
    fn path_has_the_rules_of_the_pool_where_it_has_none() {
        let text = "allow = ['10.0.0.0/8']\nauth_file = 'a'\nrate_limit = '5/s'\nburst = 9
            [paths.'/hook']\nauth_file = ''\n[paths.'/login/']\nrate_limit = '1/s'\nallow = []";
        let access: Access = toml::from_str(text).unwrap();
        let of = |path: &str| {
            let prefix = Prefix::try_from(path.to_owned()).unwrap();
            access.paths[&prefix].or(&access)
        };
        let (hook, login) = (of("/hook"), of("/login"));
        assert_eq!((hook.allow.unwrap().len(), hook.auth_file.as_deref()), (1, Some("")));
        assert_eq!(access.paths.values().next().unwrap().or(&access).rate(), access.rate());
        assert_eq!(
            (login.allow.as_ref().unwrap().len(), login.auth_file.as_deref()),
            (0, Some("a"))
        );
        assert_eq!(login.rate().unwrap().burst, 1);
        assert_eq!(access.auth_files().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn prefix_covers_whole_segments() {
        let prefix = Prefix::try_from("/admin/".to_owned()).unwrap();
        assert!(prefix.covers(b"admin") && prefix.covers(b"admin/x"));
        assert!(!prefix.covers(b"admin2") && !prefix.covers(b"") && !prefix.covers(b"a/admin"));
    }

    #[test]
    fn invalid_rules_are_refused() {
        for text in [
            "allow = ['x']",
            "deny = ['10.0.0.0/33']",
            "realm = 'a\"b'",
            "realm = \"a\\r\\nb\"",
            "other = 1",
            "[paths.'admin']",
            "[paths.'/']",
            "[paths.'/a/../b']",
            "[paths.'/a'.paths.'/b']\nburst = 1",
        ] {
            assert!(toml::from_str::<Access>(text).is_err(), "{text}");
        }
    }
}
