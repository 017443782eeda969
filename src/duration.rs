//! Durations, as options and settings have them: `5`, `5s`, `2m`, `1h 30m`, `500ms`.

use std::time::Duration;

/// The longest duration: a longer one could overflow the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The format, for messages.
pub const EXPECTED: &str =
    "a time like 5s, 2m, 1h or 500ms, of a year at most; a number alone means seconds";

/// The message for a duration of 0 where 0 is not allowed.
pub const NOT_ZERO: &str = "it must be more than 0";

/// Parses a duration. A number alone means seconds. None: it has another format, or is too long.
pub fn parse(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let duration = if is_number {
        Duration::from_secs(text.parse().ok()?)
    } else {
        humantime::parse_duration(text).ok()?
    };
    (duration <= LONGEST).then_some(duration)
}

/// Parses the duration of an option.
pub fn option(text: &str) -> Result<Duration, String> {
    parse(text).ok_or_else(|| format!("expected {EXPECTED}"))
}

/// Parses the duration of an option that must not be 0.
pub fn some_option(text: &str) -> Result<Duration, String> {
    match option(text)? {
        Duration::ZERO => Err(NOT_ZERO.to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn number_alone_means_seconds() {
        let cases = [
            ("5", 5_000),
            ("0", 0),
            ("007", 7_000),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1h 30m", 5_400_000),
            ("1h30min", 5_400_000),
            ("500ms", 500),
            ("31536000", 31_536_000_000),
            ("365days", 31_536_000_000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        let wrong = [
            "",
            " ",
            "s",
            "-5",
            "+5",
            "5x",
            "soon",
            "5 5",
            "0x5",
            "31536001",
            "366days",
            "99999999999999999999",
            "99999999999999999999s",
            "٥",
            "5\n",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(some_option("0ms"), Err(NOT_ZERO.to_owned()));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in ".{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_number_of_seconds_is_the_same_with_its_unit(seconds in 0_u64..=31_536_000) {
            prop_assert_eq!(parse(&seconds.to_string()), parse(&format!("{seconds}s")));
        }
    }
}
