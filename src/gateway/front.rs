//! From a request to its answer.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::access_log::{AccessLog, Entry};
use super::admit::admit;
use super::body::Body;
use super::client::{Client, Ends, Host};
use super::pace::Pace;
use super::params::Asked;
use super::path::Path;
use super::redirect;
use super::refusal::Refusal;
use super::route::{Target, route};
use super::script::{Call, Missed, is_keepable};
use super::site::Site;
use super::sites::{Owner, Sites};
use super::spool::{self, Spooled};
use super::static_file::{self, Compressor};
use super::target::RequestTarget;
use super::temp::{self, Temp};
use crate::config::Front;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How often a request is sent again that php-fpm has not read.
const UNREAD_MAX: u32 = 2;
/// The longest id that is taken over from a trusted proxy, in bytes.
const ID_MAX: usize = 128;

/// All that requests share.
#[derive(Debug)]
pub(super) struct Gateway {
    /// The pools.
    pub sites: Sites,
    /// How it listens, and its limits.
    pub front: Arc<Front>,
    body_limits: spool::Limits,
    temp: Arc<Temp>,
    compressor: Arc<Compressor>,
    /// The access log.
    pub log: Option<Arc<AccessLog>>,
    ids: Arc<Ids>,
}

impl Gateway {
    /// Begins with nothing that serves.
    pub(super) fn new(sites: Sites, front: Front, log: Option<Arc<AccessLog>>) -> Self {
        let temp = Temp::new(front.temp_dir.clone(), limits(&front));
        let compressor = Compressor::new(front.max_compressed);
        Self::with(sites, front, log, temp, compressor, Arc::new(Ids::new()))
    }

    /// The same with other settings. What is in temporary files, or compressed in memory, stays
    /// there, unless its limit changes.
    pub(super) fn changed(&self, sites: Sites, front: Front, log: Option<Arc<AccessLog>>) -> Self {
        let same_temp =
            self.front.temp_dir == front.temp_dir && limits(&self.front) == limits(&front);
        let temp = if same_temp {
            Arc::clone(&self.temp)
        } else {
            Temp::new(front.temp_dir.clone(), limits(&front))
        };
        let compressor = if self.front.max_compressed == front.max_compressed {
            Arc::clone(&self.compressor)
        } else {
            Compressor::new(front.max_compressed)
        };
        Self::with(sites, front, log, temp, compressor, Arc::clone(&self.ids))
    }

    fn with(
        sites: Sites,
        front: Front,
        log: Option<Arc<AccessLog>>,
        temp: Arc<Temp>,
        compressor: Arc<Compressor>,
        ids: Arc<Ids>,
    ) -> Self {
        let pace = Pace { timeout: front.body_timeout, min_rate: front.min_rate };
        let body_limits = spool::Limits { max: front.max_body, pace };
        Self { sites, front: Arc::new(front), body_limits, temp, compressor, log, ids }
    }

    /// Answers a request, whatever it is.
    pub(super) fn answer(
        self: Arc<Self>,
        ends: Ends,
        request: Request<Incoming>,
    ) -> Pin<Box<impl Future<Output = Response<Body>> + use<>>> {
        // Boxed, so that a connection without a request is small.
        Box::pin(async move {
            let (request, body) = request.into_parts();
            let client = Client::of(&ends, &request.headers, &self.front.trusted_proxies);
            let id = self.ids.of(&request, &client);
            let mut entry = self.log.as_ref().map(|log| log.entry(client.address));
            let visit =
                Visit { gateway: &self, ends: &ends, client: &client, request: &request, id: &id };
            let mut response = visit.answer(body, entry.as_deref_mut()).await;
            if let Ok(id) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            if let Some(entry) = &mut entry {
                entry.note(&request, &id, response.status());
            }
            response.map(|body| body.logged(entry))
        })
    }
}

/// How much may be in temporary files.
fn limits(front: &Front) -> temp::Limits {
    let all = front.max_temp;
    let pool = front.max_temp_per_pool.unwrap_or(all / 2);
    temp::Limits { all, pool, client: front.max_temp_per_client.unwrap_or(all / 8) }
}

/// One request.
struct Visit<'a> {
    gateway: &'a Gateway,
    ends: &'a Ends,
    client: &'a Client,
    request: &'a Parts,
    id: &'a str,
}

impl Visit<'_> {
    /// Finds the pool of the request's host, and answers. The pool's headers apply to all its answers,
    /// also to errors.
    async fn answer(&self, body: Incoming, entry: Option<&mut Entry>) -> Response<Body> {
        let (site, host) = match self.site() {
            Ok(found) => found,
            Err(refusal) => return self.refuse(&refusal),
        };
        if let Some(entry) = entry {
            entry.pool.clone_from(&site.pool.name);
        }
        let answered = self.answer_of(site, &host, body).await;
        let mut response = answered.unwrap_or_else(|refusal| self.refuse(&refusal));
        site.settings.headers.apply(response.headers_mut());
        response
    }

    fn site(&self) -> Result<(&Arc<Site>, Host), Refusal> {
        let host = Host::of(self.request)?;
        admit(self.request)?;
        match self.gateway.sites.find(&host.name) {
            Some(Owner::Site(site)) => Ok((site, host)),
            Some(Owner::Broken(why)) => {
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why.as_ref()))
            }
            None => Err(Refusal::plain(StatusCode::MISDIRECTED_REQUEST)),
        }
    }

    async fn answer_of(
        &self,
        site: &Arc<Site>,
        host: &Host,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        let target = RequestTarget::of(self.request);
        let Ok(path) = Path::parse(target.path) else {
            return Err(Refusal::plain(StatusCode::BAD_REQUEST));
        };
        if let Some(response) = redirect::answer(&site.settings, &path, target.query) {
            return Ok(response);
        }
        self.serve(site, host, &path, body).await
    }

    /// Routes it, and has it answered; once more where what it was routed by has gone before
    /// anybody has begun with it.
    async fn serve(
        &self,
        site: &Arc<Site>,
        host: &Host,
        path: &Path,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        let request = self.request;
        let mut body = Some(body);
        let mut spooled = Spooled::Empty;
        let mut deadline = None;
        let mut unread = 0;
        loop {
            if site.is_broken() {
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the pool is broken"));
            }
            let Some(served) = site.upstream.await_served().await else {
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the pool does not run"));
            };
            let script = match route(&served, &site.settings, path)? {
                Target::File(file) => {
                    let compressor = &self.gateway.compressor;
                    return static_file::respond(
                        request,
                        &served,
                        &site.settings,
                        compressor,
                        file,
                    );
                }
                Target::AddSlash => return add_slash(request, path),
                Target::Script(script) => script,
            };
            let owner = self.gateway.temp.owner(&site.pool.name, self.client.address);
            if let Some(body) = body.take() {
                spooled = Spooled::read(body, &self.gateway.body_limits, &owner).await?;
            }
            let asked = Asked {
                request,
                ends: self.ends,
                client: self.client,
                host,
                id: self.id,
                document_root: &site.document_root,
                software: &site.settings.server_software,
                script: &script,
                length: spooled.length(),
            };
            let mut encoded = asked.encode()?;
            if let Some(body) = spooled.short() {
                encoded.push_body(body);
            }
            let patience = site.settings.queue_timeout;
            let call = Call {
                site,
                served: &served,
                request,
                body: &spooled,
                owner: &owner,
                id: self.id,
                deadline: *deadline.get_or_insert_with(|| Instant::now() + patience),
            };
            let keepable = unread == 0 && is_keepable(&request.method, &spooled);
            match call.answer(&mut encoded, keepable).await {
                Ok(response) => return Ok(response),
                Err(Missed::Unread(_)) if unread < UNREAD_MAX => unread += 1,
                Err(Missed::Unread(refusal) | Missed::Refused(refusal)) => return Err(refusal),
                Err(Missed::NotBegun) => {}
            }
        }
    }

    /// The answer to a request that gets no other one.
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        let Refusal { status, why } = refusal;
        if !why.is_empty() {
            let why = why.replace(char::is_control, "?");
            tracing::warn!("request {}: {}: {why}", self.id, status.as_u16());
        }
        let text = Bytes::from(format!("{status}\n"));
        let mut response = Response::new(Body::chunks([text].into()));
        *response.status_mut() = *status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if matches!(*status, StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED) {
            // What such a request is followed by may be part of it.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if *status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Redirects `/docs?x` to `/docs/?x`. The location is the resolved path and not what the client wrote,
/// in which browsers could see a host (`//host`, `/\\host`).
fn add_slash(request: &Parts, path: &Path) -> Result<Response<Body>, Refusal> {
    let query = RequestTarget::of(request).query;
    let mark: &[u8] = if query.is_empty() { b"" } else { b"?" };
    let location = [path.to_directory_url().as_bytes(), mark, query].concat();
    let location =
        HeaderValue::from_bytes(&location).map_err(|_| Refusal::plain(StatusCode::BAD_REQUEST))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// What requests are known by: a number of this process and one of the request.
#[derive(Debug)]
struct Ids {
    /// With a `-` at its end.
    process: String,
    last: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let process = format!("{:016x}-", RandomState::new().hash_one(()));
        Self { process, last: AtomicU64::new(0) }
    }

    /// A new one, or the one that a trusted proxy has given it.
    fn of(&self, request: &Parts, client: &Client) -> String {
        let given = request.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let is_plain = |id: &&str| {
            (1..=ID_MAX).contains(&id.len())
                && id.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
        };
        if let Some(given) = given.filter(is_plain).filter(|_| client.is_forwarded) {
            return given.to_owned();
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(self.process.len() + 16);
        id.push_str(&self.process);
        let _ = write!(id, "{number:x}"); // a String takes everything
        id
    }
}
