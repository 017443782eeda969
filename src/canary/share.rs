//! The share of the new visitors that a canary gets.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Hundredths of a percent in the whole.
const WHOLE: u32 = 10_000;

/// A share from 1% to 50%. With more than half of the visitors, the new generation would be the rule, and
/// not a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(u32);

impl Share {
    /// The smallest and the largest share, in hundredths of a percent.
    const RANGE: std::ops::RangeInclusive<u32> = 100..=5_000;

    /// The format, for messages.
    pub const EXPECTED: &str = "a share from 1% to 50%, with two decimals at most";

    /// Parses `10%` or `2.5%`.
    pub fn parse(text: &str) -> Option<Self> {
        percent(text).filter(|it| Self::RANGE.contains(it)).map(Self)
    }

    /// Whether a visitor belongs to this share. `random`: evenly distributed.
    pub fn draws(self, random: u64) -> bool {
        random % u64::from(WHOLE) < u64::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole}%"),
            rest => write!(f, "{}%", format!("{whole}.{rest:02}").trim_end_matches('0')),
        }
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl TryFrom<String> for Share {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or(Self::EXPECTED)
    }
}

/// Parses a percentage from 0% to 100%, with two decimals at most. The result is in hundredths of a
/// percent.
pub fn percent(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str, longest: usize| {
        (1..=longest).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit())
    };
    if !is_number(whole, 3) || !is_number(decimals, 2) {
        return None;
    }
    let hundredths: u32 =
        whole.parse::<u32>().ok()? * 100 + format!("{decimals:0<2}").parse::<u32>().ok()?;
    (hundredths <= WHOLE).then_some(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_from_1_to_50_percent_with_two_decimals() {
        for text in ["1%", "10%", "2.5%", "33.33%", "50%", "1.05%"] {
            let share = Share::parse(text).unwrap();
            assert_eq!(share.to_string(), text);
            assert_eq!(Share::try_from(String::from(share)), Ok(share));
        }
        assert_eq!(Share::parse("2.50%").unwrap().to_string(), "2.5%");
        assert_eq!(Share::parse("010.00%").unwrap().to_string(), "10%");
        for odd in [
            "",
            "%",
            "10",
            "0.99%",
            "0%",
            "50.01%",
            "51%",
            "100%",
            "-1%",
            "+5%",
            "1e1%",
            "10 %",
            "10.%",
            ".5%",
            "10.123%",
            "10,5%",
            "99999999999%",
            "٥%",
            "10%%",
        ] {
            assert_eq!(Share::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn share_draws_as_many_as_it_says() {
        let share = Share::parse("12.5%").unwrap();
        let drawn = (0..10_000).filter(|it| share.draws(u64::MAX - it)).count();
        assert!((1249..=1251).contains(&drawn), "{drawn}");
    }
}
