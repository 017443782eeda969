//! The times in logs: `20-Nov-2026 07:28:01.123456 Europe/Berlin`, with or without the last two parts.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads times. A time without a zone has that of the machine, as php-fpm writes it.
#[derive(Debug)]
pub(super) struct Clock {
    zone: TimeZone,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { zone: TimeZone::system() }
    }

    /// None: the text is no time.
    pub(super) fn read(&self, text: &str) -> Option<Timestamp> {
        let mut words = text.split(' ');
        let (date, time, zone) = (words.next()?, words.next()?, words.next());
        if words.next().is_some() {
            return None;
        }
        let moment = moment(date, time)?;
        match zone {
            None => self.zone.to_timestamp(moment).ok(),
            Some("UTC") => TimeZone::UTC.to_timestamp(moment).ok(),
            Some(zone) => TimeZone::get(zone).ok()?.to_timestamp(moment).ok(),
        }
    }
}

fn moment(date: &str, time: &str) -> Option<DateTime> {
    let mut date = date.split('-');
    let (day, month, year) = (number(date.next()?)?, date.next()?, number(date.next()?)?);
    let month = MONTHS.iter().position(|it| *it == month)? + 1;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.split(':');
    let mut part = || number::<i8>(time.next()?);
    let (hour, minute, second) = (part()?, part()?, part()?);
    let nanos = number::<i32>(format!("{fraction:0<9}").get(..9)?)?;
    DateTime::new(year, i8::try_from(month).ok()?, day, hour, minute, second, nanos).ok()
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_php_fpm_and_of_php_are_read() {
        let clock = Clock { zone: TimeZone::get("Europe/Berlin").unwrap() };
        let read = |text: &str| clock.read(text).map(|it| it.to_string());
        let expected = |text: &str| Some(text.to_owned());
        assert_eq!(read("20-Nov-2026 07:28:01"), expected("2026-11-20T06:28:01Z"));
        assert_eq!(read("20-Nov-2026 07:28:01 UTC"), expected("2026-11-20T07:28:01Z"));
        assert_eq!(read("20-Jul-2026 07:28:01 Europe/London"), expected("2026-07-20T06:28:01Z"));
        assert_eq!(read("20-Nov-2026 07:28:01.25"), expected("2026-11-20T06:28:01.25Z"));
        for no_time in ["", "pool www", "32-Nov-2026 07:28:01", "20-Nov-2026 07:28:01 No/Where"] {
            assert_eq!(read(no_time), None, "{no_time}");
        }
        assert_eq!(read("20-Nov-2026 +7:28:01"), None);
    }
}
