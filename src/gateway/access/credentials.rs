//! The name and password that a client sends (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;

/// The longest name, in bytes.
const USER_MAX: usize = 255;
/// The longest password, in bytes: the time that SHA-crypt takes grows with the square of the length.
const PASSWORD_MAX: usize = 255;
/// The longest encoded value.
const ENCODED_MAX: usize = (USER_MAX + PASSWORD_MAX + 1).div_ceil(3) * 4;

/// A name and a password, not verified.
#[derive(PartialEq, Eq)]
pub(super) struct Credentials {
    /// The name, without control characters.
    pub(super) user: String,
    /// The password.
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// The credentials of a request. None: the request has none, or they are malformed or too long.
    pub(super) fn of(request: &Parts) -> Option<Self> {
        let mut values = request.headers.get_all(AUTHORIZATION).iter();
        let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
        let (scheme, encoded) = value.split_at_checked("Basic ".len())?;
        let encoded = encoded.trim_ascii();
        if !scheme.eq_ignore_ascii_case(b"Basic ") || encoded.len() > ENCODED_MAX {
            return None;
        }
        let decoded = STANDARD.decode(encoded).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let user = str::from_utf8(user).ok().filter(|user| !user.chars().any(char::is_control))?;
        let is_short = user.len() <= USER_MAX && password.len() <= PASSWORD_MAX;
        // bcrypt would end the password at a zero byte.
        let is_plain = is_short && !password.contains(&0);
        is_plain.then(|| Self { user: user.to_owned(), password: password.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&str]) -> Option<(String, String)> {
        let mut request = hyper::Request::builder();
        for value in values {
            request = request.header("authorization", *value);
        }
        let request = request.body(()).unwrap().into_parts().0;
        let sent = Credentials::of(&request)?;
        Some((sent.user, String::from_utf8(sent.password).unwrap()))
    }

    fn basic(text: &[u8]) -> Option<(String, String)> {
        sent(&[&format!("Basic {}", STANDARD.encode(text))])
    }

    #[test]
    fn name_and_password_are_decoded() {
        let is = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(sent(&["Basic YTpi"]), is("a", "b"));
        assert_eq!(sent(&["bAsIc  YTpi "]), is("a", "b"));
        assert_eq!(basic("ä:b:c".as_bytes()), is("ä", "b:c"));
        assert_eq!(basic(b":"), is("", ""));
    }

    #[test]
    fn malformed_or_long_credentials_are_none() {
        for text in ["", "Basic", "Basic ", "Bearer YTpi", "Basic YTpi!", "Basic YTp", "Basic YQ=="]
        {
            assert_eq!(sent(&[text]), None, "{text}");
        }
        assert_eq!(sent(&[]), None);
        assert_eq!(sent(&["Basic YTpi", "Basic YTpi"]), None);
        for text in [&b"a\n:b"[..], b"\xff:b", b"a:b\0c"] {
            assert_eq!(basic(text), None);
        }
        assert!(basic(&[b"a:".to_vec(), vec![b'x'; 255]].concat()).is_some());
        assert_eq!(basic(&[b"a:".to_vec(), vec![b'x'; 256]].concat()), None);
        assert_eq!(basic(&[vec![b'x'; 256], b":a".to_vec()].concat()), None);
    }
}
