//! Which side a request belongs to, and the cookie by which its visitor stays there.
//!
//! The cookie names one canary and one side. With another canary, or without one, the cookie means
//! nothing. A visitor can choose the side by setting the cookie. This harms nobody else: a visitor
//! without a cookie is drawn by lot with each request anyway.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY};
use hyper::http::request::Parts;
use tokio::time::Instant;

use super::measure::Open;
use super::{Canary, Live};
use crate::gateway::routing_table::ServedRelease;
use crate::gateway::upstream::Upstream;

/// The name of the cookie.
const NAME: &str = "pools_manager_canary";
/// What a request is for (Fetch, section 2.2.5): browsers send `navigate` for a page.
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// A request while there is a canary.
#[derive(Debug)]
pub(in crate::gateway) struct Visit {
    live: Arc<Live>,
    side: Side,
    /// The side was drawn by lot: the visitor had no cookie, and gets one.
    is_drawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    New,
    Old,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Old => "old",
        }
    }
}

impl Visit {
    /// Decides the side of a request, unless this was done before and that canary is not over. None:
    /// there is no canary.
    pub(in crate::gateway) fn update(visit: &mut Option<Self>, canary: &Canary, request: &Parts) {
        if visit.as_ref().is_some_and(|visit| !visit.live.is_over()) {
            return;
        }
        *visit = canary.live().map(|live| Self::of(live, &request.headers));
    }

    fn of(live: Arc<Live>, headers: &HeaderMap) -> Self {
        if let Some(side) = side_of(headers, &live.record.id) {
            return Self { live, side, is_drawn: false };
        }
        if belongs_to_an_older_page(headers) {
            return Self { live, side: Side::Old, is_drawn: false };
        }
        let is_new = live.record.share.draws(RandomState::new().hash_one(()));
        // A canary without a free child gets no more visitors: they would wait, though children of the
        // other side are free.
        let side = if is_new && live.upstream.has_free_place() { Side::New } else { Side::Old };
        Self { live, side, is_drawn: true }
    }

    /// The endpoints and the release of the canary, if the request belongs to it.
    pub(in crate::gateway) fn canary(&self) -> Option<(&Arc<Upstream>, Arc<ServedRelease>)> {
        let upstream = &self.live.upstream;
        match self.side {
            Side::New => Some((upstream, upstream.release()?)),
            Side::Old => None,
        }
    }

    /// The canary's release, if the request belongs to the other side.
    pub(in crate::gateway) fn other_release(&self) -> Option<Arc<ServedRelease>> {
        if self.side == Side::Old { self.live.upstream.release() } else { None }
    }

    /// Begins to measure a request that is sent to a server.
    pub(in crate::gateway) fn begin(&self) -> Open {
        match self.side {
            Side::New => self.live.measures.new.begin(),
            Side::Old => self.live.measures.old.begin(),
        }
    }

    /// Marks the response: the cookie, and headers for shared caches (RFC 9111). The caches must not give
    /// the cookie of a visitor, nor a page or a file of the new release, to others.
    pub(in crate::gateway) fn mark(&self, is_https: bool, headers: &mut HeaderMap) {
        if self.live.is_over() {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("Cookie"));
        if self.is_drawn || self.side == Side::New {
            headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        if self.is_drawn
            && let Ok(cookie) = HeaderValue::try_from(self.cookie(is_https))
        {
            headers.append(SET_COOKIE, cookie);
        }
    }

    fn cookie(&self, is_https: bool) -> String {
        let (id, side) = (&self.live.record.id, self.side.name());
        let left = self.live.expires.saturating_duration_since(Instant::now()).as_secs() + 1;
        let secure = if is_https { "; Secure" } else { "" };
        format!("{NAME}={id}.{side}; Path=/; Max-Age={left}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// The side that the cookie names; None: there is no cookie of this canary.
fn side_of(headers: &HeaderMap, id: &str) -> Option<Side> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).map(str::trim);
    cookies.find_map(|cookie| {
        let value = cookie.strip_prefix(NAME)?.strip_prefix('=')?;
        let side = value.strip_prefix(id)?.strip_prefix('.')?;
        [Side::New, Side::Old].into_iter().find(|it| it.name() == side)
    })
}

/// Whether the request is for a part of a page that the browser loaded before the canary began. With a
/// page that was loaded later, the browser would have got a cookie.
fn belongs_to_an_older_page(headers: &HeaderMap) -> bool {
    headers.get(FETCH_MODE).is_some_and(|mode| mode != "navigate")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;
    use crate::canary::{Record, Share, Sides};
    use crate::config::Gateway;
    use crate::step::{GenerationId, Number};

    const ID: &str = "0123456789abcdef";

    fn side(lines: &[&str]) -> Option<Side> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        side_of(&headers, ID)
    }

    #[test]
    fn only_a_cookie_of_this_canary_counts() {
        assert_eq!(side(&["pools_manager_canary=0123456789abcdef.new"]), Some(Side::New));
        assert_eq!(side(&["a=b; pools_manager_canary=0123456789abcdef.old; c=d"]), Some(Side::Old));
        // HTTP/2 clients may send each cookie in a field of its own (RFC 9113, section 8.2.3).
        let several =
            ["a=b", "pools_manager_canary=1.new", "pools_manager_canary=0123456789abcdef.new"];
        assert_eq!(side(&several), Some(Side::New));
        let odd = [
            "",
            "pools_manager_canary",
            "pools_manager_canary=",
            "pools_manager_canary=new",
            "pools_manager_canary=.new",
            "pools_manager_canary=0123456789abcdef",
            "pools_manager_canary=0123456789abcdef.",
            "pools_manager_canary=0123456789abcdef.newer",
            "pools_manager_canary=0123456789abcdef.NEW",
            "pools_manager_canary=0123456789abcde.new",
            "pools_manager_canary=\"0123456789abcdef.new\"",
            "xpools_manager_canary=0123456789abcdef.new",
            "pools_manager_canary =0123456789abcdef.new",
            "pools_manager_canary=0123456789abcdef.new\u{ff}",
        ];
        for line in odd {
            assert_eq!(side(&[line]), None, "{line}");
        }
    }

    fn marked(side: Side, is_drawn: bool, is_https: bool) -> Vec<(String, String)> {
        let generation = GenerationId { replica: 1, generation: Number::Started(7) };
        let minute = Duration::from_secs(60);
        let share = Share::parse("10%").unwrap();
        let mut record = Record::new(generation, share, minute, Duration::ZERO);
        record.id = ID.to_owned();
        let live = Live {
            record,
            expires: Instant::now() + minute,
            upstream: Upstream::new(&Gateway::default()),
            measures: Sides::default(),
            is_over: AtomicBool::new(false),
        };
        let mut headers = HeaderMap::new();
        headers.insert(SET_COOKIE, HeaderValue::from_static("a=b"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
        Visit { live: Arc::new(live), side, is_drawn }.mark(is_https, &mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    #[test]
    fn response_of_the_canary_and_each_with_the_cookie_is_private() {
        let has = |all: &[(String, String)], name: &str, value: &str| {
            all.contains(&(name.to_owned(), value.to_owned()))
        };
        for (side, is_drawn) in
            [(Side::New, true), (Side::New, false), (Side::Old, true), (Side::Old, false)]
        {
            let all = marked(side, is_drawn, false);
            assert!(has(&all, "vary", "Cookie") && has(&all, "set-cookie", "a=b"), "{all:?}");
            assert!(has(&all, "cache-control", "public, max-age=60"), "{all:?}");
            let is_private = has(&all, "cache-control", "private");
            assert_eq!(is_private, is_drawn || side == Side::New, "{all:?}");
            let cookies = all.iter().filter(|(name, _)| name == "set-cookie").count();
            assert_eq!(cookies, 1 + usize::from(is_drawn), "{all:?}");
        }
        let cookie = "pools_manager_canary=0123456789abcdef.old; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure";
        let all = marked(Side::Old, true, true);
        assert!(has(&all, "set-cookie", cookie), "{all:?}");
    }

    #[test]
    fn part_of_a_page_belongs_to_that_page() {
        let belongs = |mode: Option<&'static str>| {
            let mode = mode.map(|it| (FETCH_MODE, HeaderValue::from_static(it)));
            belongs_to_an_older_page(&mode.into_iter().collect())
        };
        assert!(belongs(Some("no-cors")) && belongs(Some("cors")) && belongs(Some("same-origin")));
        assert!(!belongs(Some("navigate")) && !belongs(None));
    }
}
