//! Decides whether a client may send a request: `[gateway.access]` of a pool.
//!
//! The checks are in the order of their cost: the address, the rate, the password. The rules of the longest
//! prefix that covers the resolved path apply. A front controller also serves `/admin` as
//! `/index.php/admin`. So the rules of both paths must admit a request for `/index.php/admin`.

mod credentials;
mod rate_limit;
mod recent;
mod users;
mod verifier;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use ipnet::IpNet;

use super::client::Client;
use super::http_error::HttpError;
use super::url_path::UrlPath;
use crate::config::{self, Prefix, Rate};
use crate::error::{Error, Result};
use crate::pool::Pool;
use credentials::Credentials;
use rate_limit::RateLimit;
use users::UsersFile;
pub(super) use verifier::Verifier;

/// The access rules of a pool.
#[derive(Debug)]
pub(super) struct AccessRules {
    rules: Rules,
    /// The longest prefix first.
    by_prefix: Vec<(Prefix, Rules)>,
    /// The front controller, with a slash at its end.
    front: String,
}

#[derive(Debug)]
struct Rules {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    rate: Option<Arc<RateLimit>>,
    users: Option<Arc<UsersFile>>,
    /// `WWW-Authenticate`
    challenge: HeaderValue,
}

impl AccessRules {
    /// The rules of a pool; None: the pool has no rules. Error: a file with passwords cannot be read, or is
    /// invalid. `before`: the rules of the previous configuration. Their counters stay in use for the same
    /// rates. Reads files.
    pub(super) fn of(
        pool: &Pool,
        settings: &config::Gateway,
        before: Option<&Self>,
    ) -> Result<Option<Self>> {
        let access = &settings.access;
        if access.is_empty() {
            return Ok(None);
        }
        let mut kept: Vec<Arc<RateLimit>> = before.into_iter().flat_map(Self::rates).collect();
        let mut files: Vec<Arc<UsersFile>> = Vec::new();
        let mut rules = |of: &config::Access, inherited: Option<Arc<RateLimit>>| -> Result<Rules> {
            let rate = match (of.rate(), inherited) {
                (Some(rate), Some(inherited)) if inherited.rate == rate => Some(inherited),
                (rate, _) => rate.map(|rate| limit(rate, &mut kept)),
            };
            let users = of.auth_file.as_deref().filter(|file| !file.is_empty());
            let users = users.map(|file| opened(pool, file, &mut files)).transpose()?;
            Ok(Rules {
                allow: of.allow.clone().unwrap_or_default(),
                deny: of.deny.clone().unwrap_or_default(),
                rate,
                users,
                challenge: challenge(of.realm.as_deref().unwrap_or(&pool.name)),
            })
        };
        let of_pool = rules(access, None)?;
        let mut by_prefix = Vec::new();
        for (prefix, own) in &access.paths {
            let rules = rules(&own.or(access), of_pool.rate.clone())?;
            by_prefix.push((prefix.clone(), rules));
        }
        by_prefix.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length()));
        let front = format!("{}/", settings.front_controller.get_ref());
        Ok(Some(Self { rules: of_pool, by_prefix, front }))
    }

    /// Why the rules of a pool cannot be used; None: they can. Reads files.
    pub(super) fn refusal(pool: &Pool) -> Option<Error> {
        Self::of(pool, pool.settings.backend.gateway()?, None).err()
    }

    fn rates(&self) -> impl Iterator<Item = Arc<RateLimit>> {
        let by_prefix = self.by_prefix.iter().map(|(_, rules)| rules);
        by_prefix.chain([&self.rules]).filter_map(|rules| rules.rate.clone())
    }

    /// Admits a request, and returns the name of the user if a password was needed. Errors: 403 for the
    /// address, 429 for the rate, 401 for the password, 503 if too many passwords are being verified.
    pub(super) async fn admit(
        &self,
        client: &Client,
        path: &UrlPath,
        request: &Parts,
        verifier: &Verifier,
    ) -> std::result::Result<Option<String>, HttpError> {
        let path = path.relative();
        let rules = self.of_path(path);
        let inner = path.strip_prefix(self.front.as_bytes()).map(|info| self.of_path(info));
        let inner = inner.filter(|inner| !std::ptr::eq(*inner, rules));
        let mut user = rules.admit(client, request, verifier).await?;
        if let Some(inner) = inner {
            user = inner.admit(client, request, verifier).await?.or(user);
        }
        Ok(user)
    }

    fn of_path(&self, path: &[u8]) -> &Rules {
        let covering = self.by_prefix.iter().find(|(prefix, _)| prefix.covers(path));
        covering.map_or(&self.rules, |(_, rules)| rules)
    }
}

impl Rules {
    async fn admit(
        &self,
        client: &Client,
        request: &Parts,
        verifier: &Verifier,
    ) -> std::result::Result<Option<String>, HttpError> {
        if !self.admits(client.address) {
            return Err(HttpError::unlogged(StatusCode::FORBIDDEN));
        }
        if let Some(rate) = &self.rate
            && let Err(wait) = rate.take(client.network())
        {
            let error = HttpError::unlogged(StatusCode::TOO_MANY_REQUESTS);
            return Err(error.with(RETRY_AFTER, HeaderValue::from(wait)));
        }
        let Some(users) = &self.users else { return Ok(None) };
        let wrong = || {
            let error = HttpError::unlogged(StatusCode::UNAUTHORIZED);
            error.with(WWW_AUTHENTICATE, self.challenge.clone())
        };
        let Some(sent) = Credentials::of(request) else { return Err(wrong()) };
        let users = users.current().await;
        let is_right = verifier.verify(client.network(), &users, &sent).await?;
        if is_right { Ok(Some(sent.user)) } else { Err(wrong()) }
    }

    /// `deny` takes precedence. An empty `allow` admits all others.
    fn admits(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

/// The counters of the previous configuration for the same rate, or new ones.
fn limit(rate: Rate, kept: &mut Vec<Arc<RateLimit>>) -> Arc<RateLimit> {
    let same = kept.iter().position(|it| it.rate == rate);
    same.map_or_else(|| Arc::new(RateLimit::new(rate)), |at| kept.swap_remove(at))
}

/// The files with passwords that the rules of a pool name.
pub(super) fn files(pool: &Pool) -> Vec<PathBuf> {
    let Some(settings) = pool.settings.backend.gateway() else { return Vec::new() };
    settings.access.auth_files().map(|file| pool.root.resolve(file)).collect()
}

/// Opens a file with passwords, only once if several rules name it.
fn opened(pool: &Pool, file: &str, files: &mut Vec<Arc<UsersFile>>) -> Result<Arc<UsersFile>> {
    let path = pool.root.resolve(file);
    if let Some(open) = files.iter().find(|it| it.path == path) {
        return Ok(Arc::clone(open));
    }
    files.push(Arc::new(UsersFile::open(path)?));
    Ok(Arc::clone(&files[files.len() - 1]))
}

/// RFC 7617, section 2. The realm has neither quotes nor backslashes.
fn challenge(realm: &str) -> HeaderValue {
    let parts = [&b"Basic"[..], b" ", b"realm=\"", realm.as_bytes(), b"\", ", b"charset=\"UTF-8\""];
    let text = parts.concat();
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("Basic realm=\"pool\""))
}
