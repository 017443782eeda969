//! `[systemd]`: the scope that each generation gets where systemd runs.

use serde::{Deserialize, Deserializer};

use super::keys::{Default as Holds, Key, Kind};
use super::values;

/// `[systemd]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Systemd {
    /// Whether each generation gets a scope of its own, where systemd runs.
    pub scope: bool,
    /// The slice of the scopes.
    #[serde(deserialize_with = "slice")]
    pub slice: String,
    /// `MemoryMax=` of a generation, in bytes.
    #[serde(deserialize_with = "values::some_size")]
    pub memory_max: Option<u64>,
    /// `CPUQuota=` of a generation, in percent of one processor.
    #[serde(deserialize_with = "percent")]
    pub cpu_quota: Option<u32>,
    /// `TasksMax=` of a generation: its processes and threads.
    pub tasks_max: Option<u64>,
}

const NO_LIMIT: Holds = Holds::Unset("no limit");

/// The keys of `[systemd]`.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "scope",
        Kind::Bool,
        Holds::Value("true"),
        "where systemd runs, each generation gets [a scope of its own](operations.md#control-groups)",
    ),
    Key::new(
        "slice",
        Kind::Text,
        Holds::Value("\"pools-manager.slice\""),
        "the slice of the scopes",
    ),
    Key::new("memory_max", Kind::Size, NO_LIMIT, "`MemoryMax=` of a generation"),
    Key::new(
        "cpu_quota",
        Kind::Text,
        NO_LIMIT,
        "`CPUQuota=` of a generation: `\"150%\"` is one processor and a half",
    ),
    Key::new(
        "tasks_max",
        Kind::Number,
        NO_LIMIT,
        "`TasksMax=` of a generation: its processes and threads",
    ),
];

impl Default for Systemd {
    fn default() -> Self {
        Self {
            scope: true,
            slice: "pools-manager.slice".to_owned(),
            memory_max: None,
            cpu_quota: None,
            tasks_max: None,
        }
    }
}

impl Systemd {
    /// Whether a generation has a limit of the kernel.
    pub fn has_limits(&self) -> bool {
        self.memory_max.is_some() || self.cpu_quota.is_some() || self.tasks_max.is_some()
    }
}

/// The characters of a unit's name: `systemd.unit(5)`.
fn slice<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let is_valid =
        |character: char| character.is_ascii_alphanumeric() || ":-_.\\".contains(character);
    match name.strip_suffix(".slice") {
        Some(stem) if !stem.is_empty() && name.len() < 200 && name.chars().all(is_valid) => {
            Ok(name)
        }
        _ => Err(serde::de::Error::custom("it is no name of a slice, like \"php.slice\"")),
    }
}

fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(from)?;
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    match number {
        Some(number) if number > 0 => Ok(Some(number)),
        _ => Err(serde::de::Error::custom("it is no percentage of one processor, like \"150%\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes_percentages_and_numbers() {
        let text = "memory_max = '256MiB'\ncpu_quota = '150%'\ntasks_max = 64\nslice = 'php.slice'";
        let systemd: Systemd = toml::from_str(text).unwrap();
        assert_eq!(systemd.memory_max, Some(256 << 20));
        assert_eq!((systemd.cpu_quota, systemd.tasks_max), (Some(150), Some(64)));
        assert!(systemd.scope && systemd.has_limits() && !Systemd::default().has_limits());
    }

    #[test]
    fn wrong_values_are_refused() {
        let quotas =
            ["cpu_quota = '150'", "cpu_quota = '0%'", "cpu_quota = '-1%'", "cpu_quota = 2"];
        let slices =
            ["slice = ''", "slice = '.slice'", "slice = 'a b.slice'", "slice = 'a.service'"];
        for text in quotas.into_iter().chain(slices) {
            assert!(toml::from_str::<Systemd>(text).is_err(), "{text}");
        }
    }
}
