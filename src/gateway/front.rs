//! From a request to its answer.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::access_log::{AccessLog, Entry};
use super::body::Body;
use super::client::{Client, Ends, Host};
use super::params::Asked;
use super::path::Path;
use super::redirect;
use super::refusal::Refusal;
use super::route::{Target, route};
use super::script::{Call, Missed, is_repeatable};
use super::site::{Site, Sites};
use super::spool::{self, Spooled};
use super::static_file::{self, Compressor};
use super::temp::Temp;
use crate::config::Front;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a trusted proxy, in bytes.
const ID_MAX: usize = 128;

/// All that requests share.
#[derive(Debug)]
pub(super) struct Gateway {
    /// The pools.
    pub sites: Sites,
    /// How it listens, and its limits.
    pub front: Front,
    body_limits: spool::Limits,
    temp: Arc<Temp>,
    compressor: Arc<Compressor>,
    log: Option<Arc<AccessLog>>,
    ids: Ids,
}

impl Gateway {
    /// Begins with nothing that serves.
    pub(super) fn new(sites: Sites, front: Front, log: Option<Arc<AccessLog>>) -> Self {
        let temp = Temp::new(front.temp_dir.clone(), front.max_temp);
        let body_limits = spool::Limits {
            max: front.max_body,
            timeout: front.body_timeout,
            temp: Arc::clone(&temp),
        };
        let compressor = Compressor::new(front.max_compressed);
        Self { sites, front, body_limits, temp, compressor, log, ids: Ids::new() }
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
        if matches!(self.request.method, Method::CONNECT | Method::TRACE) {
            return Err(Refusal::plain(StatusCode::METHOD_NOT_ALLOWED));
        }
        match self.gateway.sites.find(&host.name) {
            Some(site) => Ok((site, host)),
            None => Err(Refusal::plain(StatusCode::MISDIRECTED_REQUEST)),
        }
    }

    async fn answer_of(
        &self,
        site: &Arc<Site>,
        host: &Host,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        let Ok(path) = Path::parse(self.request.uri.path()) else {
            return Err(Refusal::plain(StatusCode::BAD_REQUEST));
        };
        if let Some(response) = redirect::answer(&site.settings, &path, self.request) {
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
        let mut is_stale = false;
        loop {
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
                Target::AddSlash => return add_slash(request),
                Target::Script(script) => script,
            };
            if let Some(body) = body.take() {
                spooled = Spooled::read(body, &self.gateway.body_limits).await?;
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
                temp: &self.gateway.temp,
                id: self.id,
                deadline: *deadline.get_or_insert_with(|| Instant::now() + patience),
            };
            let keepable = !is_stale && is_repeatable(&request.method, &spooled);
            match call.answer(&mut encoded, keepable).await {
                Ok(response) => return Ok(response),
                Err(Missed::Refused(refusal)) => return Err(refusal),
                Err(Missed::Stale) => is_stale = true,
                Err(Missed::NotBegun) => {}
            }
        }
    }

    /// The answer to a request that gets no other one.
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        let Refusal { status, why } = refusal;
        if !why.is_empty() {
            let why = why.replace(char::is_control, "?");
            eprintln!("request {}: {}: {why}", self.id, status.as_u16());
        }
        let text = Bytes::from(format!("{status}\n"));
        let mut response = Response::new(Body::chunks([text].into()));
        *response.status_mut() = *status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if *status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// `/docs?x` is at `/docs/?x`. Only a path is named: the client knows the host.
fn add_slash(request: &Parts) -> Result<Response<Body>, Refusal> {
    let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // Two slashes at the beginning would name a host.
    let path = request.uri.path().trim_start_matches('/');
    let location = HeaderValue::from_str(&format!("/{path}/{query}"))
        .map_err(|_| Refusal::plain(StatusCode::BAD_REQUEST))?;
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
