//! The two pages of the demo application, and their good responses.

use super::sample::{Failure, FailureKind};

/// A page whose response names its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Responds with `pongRELEASE` at once.
    Ping,
    /// Sleeps for some seconds and checks that its release is still the same. Then it responds with
    /// `verRELEASE: Success. Slept for N seconds. CWD: PATH`, else with `verRELEASE: Failed: ...`.
    Sleep,
}

/// The most bytes in a good body: a path on Linux has at most 4096.
pub(super) const LONGEST_BODY: usize = 8 * 1024;

/// The most bytes in the name of a release.
const LONGEST_RELEASE: usize = 64;

impl Page {
    /// The URL of the page in the sample site.
    pub const fn default_url(self) -> &'static str {
        match self {
            Self::Ping => "http://localhost:82/ping.php",
            Self::Sleep => "http://localhost:82/sleep-long.php",
        }
    }

    /// Judges a complete response: the release that sent it, if the response is good.
    ///
    /// A mixed response is the worst failure, so it is reported as mixed with any status.
    pub(super) fn judge(self, status: u16, body: &[u8]) -> Result<String, Failure> {
        let text = str::from_utf8(body).map(without_newline).unwrap_or_default();
        let good = match self {
            Self::Ping => ping_release(text),
            Self::Sleep => sleep_release(text),
        };
        let failed = |kind| Err(Failure::with_body(kind, body));
        match good {
            _ if self.is_mixed(text) => failed(FailureKind::Mixed),
            _ if status != 200 => failed(FailureKind::HttpStatus(status)),
            Some(release) if body.len() <= LONGEST_BODY => Ok(release.to_owned()),
            _ => failed(FailureKind::Unexpected),
        }
    }

    /// Whether the body has parts of two releases, or the page itself reports that.
    fn is_mixed(self, text: &str) -> bool {
        let mut names = self.names(text);
        let Some(first) = names.next() else { return false };
        names.any(|name| name != first)
            || (self == Self::Sleep && text.starts_with(&format!("ver{first}: Failed: mixed")))
    }

    /// The releases that the body names, in the format of the page and from the beginning of the
    /// body on. Other texts may contain something that only looks like such a name.
    fn names(self, text: &str) -> impl Iterator<Item = &str> {
        let mark = match self {
            Self::Ping => "pong",
            Self::Sleep => "ver",
        };
        let text = if text.starts_with(mark) { text } else { "" };
        text.split(mark).skip(1).filter_map(move |part| {
            let end = part.find(|c| !in_release(c)).unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            (is_release(name) && (self == Self::Ping || rest.starts_with(':'))).then_some(name)
        })
    }
}

/// The release in a good response of the ping page.
fn ping_release(line: &str) -> Option<&str> {
    let release = line.strip_prefix("pong")?;
    (is_release(release) && !release.contains("pong")).then_some(release)
}

/// The release in a good response of the sleep page.
fn sleep_release(line: &str) -> Option<&str> {
    let (release, rest) = line.strip_prefix("ver")?.split_once(": Success. Slept for ")?;
    let (seconds, path) = rest.split_once(" seconds. CWD: ")?;
    let is_number =
        seconds.starts_with(|c: char| c.is_ascii_digit()) && seconds.parse::<f64>().is_ok();
    let is_path = path.starts_with('/') && !path.contains(char::is_control);
    (is_release(release) && is_number && is_path).then_some(release)
}

fn without_newline(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

fn is_release(name: &str) -> bool {
    (1..=LONGEST_RELEASE).contains(&name.len()) && name.chars().all(in_release)
}

fn in_release(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(body: &str) -> Result<String, FailureKind> {
        Page::Ping.judge(200, body.as_bytes()).map_err(|failure| failure.kind)
    }

    fn sleep(body: &str) -> Result<String, FailureKind> {
        Page::Sleep.judge(200, body.as_bytes()).map_err(|failure| failure.kind)
    }

    #[test]
    fn a_good_ping_has_its_release_and_nothing_else() {
        assert_eq!(ping("pong1"), Ok("1".to_owned()));
        assert_eq!(ping("pong1\n"), Ok("1".to_owned()));
        assert_eq!(ping("pong2026-01_a.b\r\n"), Ok("2026-01_a.b".to_owned()));
        let too_long = format!("pong{}", "1".repeat(65));
        for body in ["", "pong", "pong\n", "pong1\n\n", " pong1", "pong1 ", "PONG1", &too_long] {
            assert_eq!(ping(body), Err(FailureKind::Unexpected), "{body:?}");
        }
        for body in ["pong\u{e9}", "<b>pong1</b>", "Warning: x\npong1", "pong1pong1", "pongpong1"] {
            assert_eq!(ping(body), Err(FailureKind::Unexpected), "{body:?}");
        }
        assert_eq!(Page::Ping.judge(200, b"pong\xff").unwrap_err().kind, FailureKind::Unexpected);
    }

    #[test]
    fn a_good_sleep_has_release_time_and_directory() {
        let good = "ver1: Success. Slept for 5 seconds. CWD: /srv/www/current";
        assert_eq!(sleep(good), Ok("1".to_owned()));
        assert_eq!(sleep(&format!("{good} two\n")), Ok("1".to_owned()));
        assert_eq!(
            sleep("ver2.b: Success. Slept for 0.25 seconds. CWD: /\n"),
            Ok("2.b".to_owned())
        );
        for body in [
            "ver1: Success. Slept for 5 seconds. CWD: ",
            "ver1: Success. Slept for 5 seconds. CWD: www",
            "ver1: Success. Slept for many seconds. CWD: /srv",
            "ver1: Success. Slept for inf seconds. CWD: /srv",
            "ver: Success. Slept for 5 seconds. CWD: /srv",
            "ver1: Success. Slept for 5 seconds. CWD: /srv\nmore",
            "ver1: Failed: out of memory",
            "over1: x ver2: y",
        ] {
            assert_eq!(sleep(body), Err(FailureKind::Unexpected), "{body:?}");
        }
        let too_long = format!("{good}{}", "/x".repeat(LONGEST_BODY));
        assert_eq!(sleep(&too_long), Err(FailureKind::Unexpected));
    }

    #[test]
    fn two_releases_in_one_response_are_mixed() {
        for body in ["pong1pong2", "pong1\npong2\n", "pong1 and pong2"] {
            assert_eq!(ping(body), Err(FailureKind::Mixed), "{body:?}");
        }
        for body in [
            "ver1: Failed: mixed",
            "ver1: Failed: mixed releases 1 and 2\n",
            "ver1: Failed: the release became ver2: who did that?",
            "ver1: Success. Slept for 5 seconds. CWD: /srv\nver2: Success. Slept for 5 seconds. CWD: /srv",
        ] {
            assert_eq!(sleep(body), Err(FailureKind::Mixed), "{body:?}");
        }
    }

    #[test]
    fn a_status_other_than_200_fails_with_any_body_and_mixed_wins() {
        let kind = |status, body: &[u8]| Page::Ping.judge(status, body).unwrap_err().kind;
        assert_eq!(kind(500, b"pong1"), FailureKind::HttpStatus(500));
        assert_eq!(kind(204, b""), FailureKind::HttpStatus(204));
        assert_eq!(kind(302, b"\xff"), FailureKind::HttpStatus(302));
        assert_eq!(kind(500, b"pong1pong2"), FailureKind::Mixed);
    }
}
