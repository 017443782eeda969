//! A file with names and hashed passwords, in the format of `htpasswd`.
//!
//! The file is read again when it changes. If the new version has an error, the previous version stays in
//! use, and the error is logged once. Hashes whose passwords can be guessed fast (DES, MD5 as `apr1`,
//! SHA-1, plain text) are refused.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha_crypt::{PasswordVerifier as _, ShaCrypt};
use tokio::task::spawn_blocking;

use crate::error::{Error, Result};
use crate::file::Stamp;
use crate::privsep::files;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The largest size of the file, in bytes.
const SIZE_MAX: u64 = 1 << 20;
/// The most costly bcrypt: each step doubles the time. This one takes about 4 s.
const BCRYPT_COST_MAX: u32 = 16;
/// The most costly SHA-crypt, in rounds. This takes about 1 s.
const SHA_ROUNDS_MAX: u32 = 1_000_000;

/// The names and hashed passwords of one version of a file.
#[derive(Debug)]
pub(super) struct Users(HashMap<String, String>);

impl Users {
    /// The hashed password of a user, and whether the user exists. If not, the hash is that of another
    /// user, so that an unknown name takes as long as a wrong password.
    pub(super) fn hash_of(&self, user: &str) -> (&str, bool) {
        match self.0.get(user) {
            Some(hash) => (hash, true),
            None => (self.0.values().next().map_or("", String::as_str), false),
        }
    }

    fn read(path: &Path) -> Result<Self> {
        let cannot = |error: &std::io::Error| {
            Error::config(format!("cannot read the auth_file {}: {error}", path.display()))
                .hint("make it with htpasswd -B -c, where the account that runs pools-manager can read it")
        };
        let mut text = String::new();
        let file = files::open(path).map_err(|error| cannot(&error))?;
        let is_file = file.metadata().is_ok_and(|it| it.is_file());
        let read =
            file.take(SIZE_MAX + 1).read_to_string(&mut text).map_err(|error| cannot(&error))?;
        if !is_file || read as u64 > SIZE_MAX {
            return Err(Error::config(format!(
                "the auth_file {} is not a file of at most {} MiB",
                path.display(),
                SIZE_MAX >> 20
            ))
            .hint("name a file that htpasswd -B has made"));
        }
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let added = user(line).and_then(|(user, hash)| {
                let before = users.insert(user.to_owned(), hash.to_owned());
                if before.is_none() { Ok(()) } else { Err("the user is there twice") }
            });
            added.map_err(|what| {
                Error::config(format!("{}:{}: {what}", path.display(), number + 1))
                    .hint("make the line again: htpasswd -B FILE USER, with a cost up to 16; or openssl passwd -6, with up to 1000000 rounds")
            })?;
        }
        if users.is_empty() {
            return Err(Error::config(format!("the auth_file {} has no user", path.display()))
                .hint("add one: htpasswd -B FILE USER"));
        }
        Ok(Self(users))
    }
}

/// The name and the hash of a line. Error: what is wrong. The line itself is not shown.
fn user(line: &str) -> std::result::Result<(&str, &str), &'static str> {
    let Some((user, hash)) = line.split_once(':').filter(|(user, _)| !user.is_empty()) else {
        return Err("this is not a name, a colon and a hashed password");
    };
    let is_costly = if let Some(rest) = hash.strip_prefix("$2") {
        let cost = rest.get(2..4).and_then(|cost| cost.parse::<u32>().ok());
        let is_known = ["a$", "b$", "y$", "x$"].iter().any(|version| rest.starts_with(version));
        let Some(cost) = cost.filter(|_| is_known && hash.len() == 60) else {
            return Err("the bcrypt hash is not complete");
        };
        cost > BCRYPT_COST_MAX
    } else if hash.starts_with("$5$") || hash.starts_with("$6$") {
        if hash.split('$').count() < 4 || sha_crypt::PasswordHashRef::new(hash).is_err() {
            return Err("the SHA-crypt hash is not complete");
        }
        let rounds = hash.split('$').nth(2).and_then(|field| field.strip_prefix("rounds="));
        rounds.is_some_and(|rounds| !rounds.parse().is_ok_and(|it: u32| it <= SHA_ROUNDS_MAX))
    } else {
        return Err("the password is not hashed with bcrypt or SHA-crypt");
    };
    if is_costly { Err("the hash takes more time than a request may") } else { Ok((user, hash)) }
}

/// Whether a password has this hash. Takes long, on purpose.
pub(super) fn is_right(password: &[u8], hash: &str) -> bool {
    if hash.starts_with("$2") {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    match sha_crypt::PasswordHashRef::new(hash) {
        Ok(hash) => ShaCrypt::default().verify_password(password, hash).is_ok(),
        Err(_) => false,
    }
}

/// The file of a rule.
#[derive(Debug)]
pub(super) struct UsersFile {
    /// Its path.
    pub(super) path: PathBuf,
    version: Mutex<Version>,
}

#[derive(Debug)]
struct Version {
    users: Arc<Users>,
    /// The stamp of the version that was read last, valid or not.
    stamp: Stamp,
    looked: Instant,
}

impl UsersFile {
    /// Opens a file. Error: it cannot be read, or is not valid.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let (stamp, looked) = (files::stamp(&path), Instant::now());
        let users = Arc::new(Users::read(&path)?);
        Ok(Self { path, version: Mutex::new(Version { users, stamp, looked }) })
    }

    /// The users of the current version of the file. If that has an error: the users of the last valid
    /// version.
    pub(super) async fn current(&self) -> Arc<Users> {
        let (users, is_due) = {
            let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = version.looked.elapsed() >= LOOK;
            if is_due {
                version.looked = Instant::now();
            }
            (Arc::clone(&version.users), is_due)
        };
        if !is_due {
            return users;
        }
        let path = self.path.clone();
        let stamp = self.version.lock().unwrap_or_else(PoisonError::into_inner).stamp;
        let read = spawn_blocking(move || {
            let now = files::stamp(&path);
            (now != stamp).then(|| (now, Users::read(&path)))
        });
        let Ok(Some((stamp, read))) = read.await else { return users };
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        version.stamp = stamp;
        match read {
            Ok(read) => {
                tracing::info!("read {} again", self.path.display());
                version.users = Arc::new(read);
            }
            Err(error) => {
                let error = error.in_one_line();
                tracing::error!("the previous users stay in use: {error}");
            }
        }
        Arc::clone(&version.users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `htpasswd -nbB -C 4 a secret`, `openssl passwd -5 secret`, `openssl passwd -6 secret`, and the test
    /// vector with rounds of the specification of SHA-crypt.
    const BCRYPT: &str = "$2y$04$6UjrZX/djdXW2wQoQsorXu.l6V4kH/ag7OnNMJq87BegycJbty5oa";
    const SHA256: &str = "$5$IIN2cfn4e.ij2ET6$OKdzaFv26ikmR18Yjb3kzTVS8yJz3WrOzkhH3W//NrC";
    const SHA512: &str = "$6$S88fR8ZWnjEVe12U$uNbsxJ.jqdyZsEE4ClbmHhCr1Ca73JxAi.lfLhMMTWxlIPQVD76lixQ8jaEzxCJhGHBCpQD0I0DPffRK8oSYb/";
    const ROUNDS: &str = "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.";

    #[test]
    fn passwords_are_verified() {
        for hash in [BCRYPT, SHA256, SHA512] {
            assert!(is_right(b"secret", hash), "{hash}");
            assert!(!is_right(b"Secret", hash) && !is_right(b"", hash), "{hash}");
        }
        assert!(is_right(b"Hello world!", ROUNDS));
        assert!(!is_right(b"", "") && !is_right(b"x", "$6$"));
    }

    fn parse(text: &str) -> std::result::Result<usize, String> {
        let parsed = Users::parse(text, Path::new("/f"));
        parsed.map(|users| users.0.len()).map_err(|error| error.message)
    }

    #[test]
    fn lines_are_parsed_and_errors_name_them() {
        assert_eq!(parse(&format!("# users\n\na:{BCRYPT}\r\nb:{SHA512}\nc d:{ROUNDS}\n")), Ok(3));
        let error = |text: &str| parse(&format!("a:{SHA256}\n{text}\n")).unwrap_err();
        assert_eq!(error("b"), "/f:2: this is not a name, a colon and a hashed password");
        assert_eq!(error(&format!(":{BCRYPT}")), error("b"));
        assert_eq!(error(&format!("a:{BCRYPT}")), "/f:2: the user is there twice");
        let weak = "/f:2: the password is not hashed with bcrypt or SHA-crypt";
        for hash in
            ["secret", "", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "$apr1$a$b", "rqXexS6ZhobKA"]
        {
            assert_eq!(error(&format!("b:{hash}")), weak, "{hash}");
        }
        assert_eq!(error(&format!("b:{}", &BCRYPT[..59])), "/f:2: the bcrypt hash is not complete");
        assert_eq!(error("b:$6$salt"), "/f:2: the SHA-crypt hash is not complete");
        let costly = "/f:2: the hash takes more time than a request may";
        assert_eq!(error(&format!("b:$2y$31{}", &BCRYPT[6..])), costly);
        assert_eq!(error("b:$6$rounds=999999999$salt$abcdefgh"), costly);
        assert_eq!(parse("# nobody\n").unwrap_err(), "the auth_file /f has no user");
    }

    #[test]
    fn unknown_user_has_a_hash_too() {
        let users = Users::parse(&format!("a:{BCRYPT}"), Path::new("/f")).unwrap();
        assert_eq!(users.hash_of("a"), (BCRYPT, true));
        assert_eq!(users.hash_of("b"), (BCRYPT, false));
    }
}
