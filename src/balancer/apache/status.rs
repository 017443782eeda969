//! A worker's status: a list of words, to be read as a set.

use std::fmt;

/// The status of a worker, as `ap_proxy_parse_wstatus` of Apache's `proxy_util.c` writes it: any
/// of Init Ign Drn Gen Shut Dis Stop Err Stby Spar Free `HcFl`, and Ok for one that may be used. A
/// draining worker is `Init Drn Ok`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberStatus(String);

impl MemberStatus {
    /// Takes the words as Apache wrote them. Unknown ones are kept, and mean nothing.
    pub fn new(text: &str) -> Self {
        Self(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Whether the word is among them.
    pub fn has(&self, word: &str) -> bool {
        self.0.split(' ').any(|known| known == word)
    }

    /// It gets no new requests, except those of its sticky sessions.
    pub fn is_draining(&self) -> bool {
        self.has("Drn")
    }

    /// It gets no requests at all.
    pub fn is_disabled(&self) -> bool {
        self.has("Dis")
    }

    /// The operator stopped it.
    pub fn is_stopped(&self) -> bool {
        self.has("Stop")
    }

    /// Apache could not connect to it, and waits for its `retry=` seconds to pass.
    pub fn is_in_error(&self) -> bool {
        self.has("Err")
    }

    /// Errors do not put it out of use.
    pub fn ignores_errors(&self) -> bool {
        self.has("Ign")
    }

    /// It is a hot standby or a hot spare: used when the others cannot be.
    pub fn is_standby(&self) -> bool {
        self.has("Stby") || self.has("Spar")
    }

    /// Nobody has taken it out of use. It may be in error all the same.
    pub fn is_free(&self) -> bool {
        let out = ["Drn", "Dis", "Stop", "Shut", "HcFl"];
        self.has("Init") && !out.iter().any(|word| self.has(word))
    }

    /// It gets new requests (a standby: when its turn has come).
    pub fn serves(&self) -> bool {
        self.is_free() && self.has("Ok") && !self.is_in_error()
    }
}

impl fmt::Display for MemberStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
