//! Handles one request: finds its virtual host and route, and responds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::access_log::Entry;
use super::admit::admit;
use super::canary::Visit;
use super::cgi_params::CgiRequest;
use super::client::{Client, Ends};
use super::client_body::ClientBody;
use super::error_page;
use super::gate::{Pass, Wait};
use super::health;
use super::host::Host;
use super::host_map::Owner;
use super::http_error::HttpError;
use super::http_upstream::HttpRequest;
use super::https;
use super::kept_assets::Asset;
use super::redirect;
use super::request_body::RequestBody;
use super::request_id::REQUEST_ID;
use super::request_label::RequestLabel;
use super::request_target::RequestTarget;
use super::response_body::ResponseBody;
use super::route::{Route, Routed, route, route_to_server};
use super::routing_table::ServedRelease;
use super::script::{ScriptRequest, Unanswered, may_reuse_connection};
use super::state::State;
use super::static_file;
use super::url_path::UrlPath;
use super::virtual_host::VirtualHost;

/// The wait of a request whose pool is held; None: it gets its response now.
pub(super) fn must_wait(state: &State, ends: &Ends, request: &Parts) -> Option<Wait> {
    if state.hosts.all().iter().all(|vhost| vhost.gate.is_open()) {
        return None;
    }
    let host = Host::of(request).ok()?;
    admit(request).ok()?;
    let Some(Owner::VirtualHost(vhost)) = state.hosts.find(&host.name) else { return None };
    if health::is_asked(ends, request) {
        return None;
    }
    let client = Client::of(ends, &request.headers, &state.front.trusted_proxies);
    vhost.gate.must_wait(client.address)
}

/// Responds to a request, in every case. `pass`: the pass of a request that has waited at the gate of its
/// pool.
pub(super) fn respond(
    state: Arc<State>,
    ends: Ends,
    request: Request<ClientBody>,
    pass: Option<Pass>,
) -> Pin<Box<impl Future<Output = Response<ResponseBody>> + use<>>> {
    // Boxed, so that a connection without a request is small.
    Box::pin(async move {
        let (request, body) = request.into_parts();
        let client = Client::of(&ends, &request.headers, &state.front.trusted_proxies);
        let id = state.request_ids.id_of(&request, &client);
        if let Some(mut response) = health::respond(&state, &ends, &request) {
            set_id(&mut response, id);
            return response;
        }
        let mut entry = state.access_log.as_ref().map(|log| log.entry(client.address));
        let handler =
            Handler { state: &state, ends: &ends, client: &client, request: &request, id: &id };
        let mut response = handler.respond(body, pass, entry.as_deref_mut()).await;
        if let Some(entry) = &mut entry {
            entry.note(&request, &id, response.status());
        }
        set_id(&mut response, id);
        response.map(|body| body.logged(entry))
    })
}

fn set_id(response: &mut Response<ResponseBody>, id: String) {
    if let Ok(mut id) = HeaderValue::try_from(id) {
        // Each id is sent once: it must not displace other headers in the table of HTTP/2's compression
        // (RFC 7541, section 6.2.3).
        id.set_sensitive(true);
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

struct Handler<'a> {
    state: &'a State,
    ends: &'a Ends,
    client: &'a Client,
    request: &'a Parts,
    id: &'a str,
}

impl Handler<'_> {
    /// Finds the virtual host and responds. The headers of the virtual host apply to all its responses,
    /// errors included.
    async fn respond(
        &self,
        body: ClientBody,
        pass: Option<Pass>,
        mut entry: Option<&mut Entry>,
    ) -> Response<ResponseBody> {
        let (vhost, host) = match self.virtual_host() {
            Ok(found) => found,
            Err(error) => {
                let host = Host::of(self.request).ok();
                return self.error_response(&error, "", host.as_ref());
            }
        };
        if let Some(entry) = &mut entry {
            entry.pool.clone_from(&vhost.pool.name);
        }
        let mut visit = None;
        let mut response = match vhost.gate.enter(self.client.address, pass).await {
            Ok(pass) => {
                // Boxed, so that a request that is held is small.
                let responding = Box::pin(self.respond_by(vhost, &host, body, entry, &mut visit));
                let result = pass.cover(responding).await;
                let pool = &vhost.pool.name;
                result.unwrap_or_else(|error| {
                    let canary = visit.as_ref().and_then(Visit::canary).map(|(_, served)| served);
                    let response = self.error_response(&error, pool, Some(&host));
                    error_page::replace(vhost, canary, response)
                })
            }
            Err(refused) => refused.response(),
        };
        vhost.settings.headers.apply(response.headers_mut());
        https::add_hsts(&vhost.settings, self.client, response.headers_mut());
        if let Some(visit) = visit {
            visit.mark(self.client.https, response.headers_mut());
        }
        response
    }

    fn virtual_host(&self) -> Result<(&Arc<VirtualHost>, Host<'_>), HttpError> {
        let host = Host::of(self.request)?;
        admit(self.request)?;
        match self.state.hosts.find(&host.name) {
            Some(Owner::VirtualHost(vhost)) => Ok((vhost, host)),
            Some(Owner::Broken(reason)) => {
                Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, reason.as_ref()))
            }
            None => Err(HttpError::unlogged(StatusCode::MISDIRECTED_REQUEST)),
        }
    }

    async fn respond_by(
        &self,
        vhost: &Arc<VirtualHost>,
        host: &Host<'_>,
        body: ClientBody,
        entry: Option<&mut Entry>,
        visit: &mut Option<Visit>,
    ) -> Result<Response<ResponseBody>, HttpError> {
        let port = self.state.front.https_port;
        if let Some(response) =
            https::redirect(&vhost.settings, self.client, self.request, host, port)
        {
            return Ok(response);
        }
        let target = RequestTarget::of(self.request);
        let Ok(path) = UrlPath::parse(target.path) else {
            return Err(HttpError::unlogged(StatusCode::BAD_REQUEST));
        };
        let user = match &vhost.access {
            Some(access) => {
                access.admit(self.client, &path, self.request, &self.state.verifier).await?
            }
            None => None,
        };
        if let (Some(entry), Some(user)) = (entry, &user) {
            entry.user.clone_from(user);
        }
        if let Some(response) = redirect::respond(&vhost.settings, &path, target.query) {
            return Ok(response);
        }
        self.route(vhost, host, &path, user.as_deref(), body, visit).await
    }

    /// Routes the request, and responds. Routes the request again if its release is replaced before the
    /// request is sent, or if the server has not read the request.
    async fn route(
        &self,
        vhost: &Arc<VirtualHost>,
        host: &Host<'_>,
        path: &UrlPath,
        user: Option<&str>,
        body: ClientBody,
        visit: &mut Option<Visit>,
    ) -> Result<Response<ResponseBody>, HttpError> {
        let request = self.request;
        let unavailable = |reason| HttpError::new(StatusCode::SERVICE_UNAVAILABLE, reason);
        let mut incoming = Some(body);
        let mut body = RequestBody::Empty;
        let mut deadline = None;
        let mut resends = 0;
        loop {
            if vhost.is_broken() {
                return Err(unavailable("the pool is broken"));
            }
            let Some(served) = vhost.upstream.wait_for_release().await else {
                return Err(unavailable("the pool does not run"));
            };
            Visit::update(visit, &vhost.canary, request);
            let visit = visit.as_ref();
            let (upstream, served) =
                visit.and_then(Visit::canary).unwrap_or((&vhost.upstream, served));
            let (served, route) = self.find(vhost, served, path, visit)?;
            let script = match route {
                Route::File(file) => {
                    let compressor = &self.state.compressor;
                    let settings = &vhost.settings;
                    return static_file::respond(request, &served, settings, compressor, file);
                }
                Route::AddSlash => return add_slash(request, path),
                Route::Script(script) => Some(script),
                Route::Server => None,
            };
            let space = self.state.buffer_space.of_client(&vhost.pool.name, self.client.address);
            if let Some(incoming) = incoming.take() {
                let limits = self.state.body_limits.of(&vhost.settings);
                body = RequestBody::read(incoming, &limits, &space).await?;
            }
            let queue_timeout = vhost.settings.queue_timeout;
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + queue_timeout);
            let Some(script) = script else {
                let http_request = HttpRequest {
                    vhost,
                    upstream,
                    served: &served,
                    request,
                    client: self.client,
                    host,
                    id: self.id,
                    body: &body,
                    space: &space,
                    deadline,
                };
                match measured(visit, Box::pin(http_request.respond())).await {
                    Ok(response) => return Ok(response),
                    Err(unanswered) => unanswered.or_again(&mut resends)?,
                }
                continue;
            };
            let cgi = CgiRequest {
                request,
                ends: self.ends,
                client: self.client,
                host,
                id: self.id,
                user,
                document_root: &served.script_root,
                software: &vhost.settings.server_software,
                script: &script,
                length: body.length(),
            };
            let mut encoded = cgi.encode()?;
            if let Some(body) = body.short() {
                encoded.push_body(body);
            }
            let script_request = ScriptRequest {
                vhost,
                upstream,
                served: &served,
                request,
                body: &body,
                space: &space,
                id: self.id,
                host,
                deadline,
            };
            let may_reuse = resends == 0 && may_reuse_connection(&request.method, &body);
            // Boxed, so that a request for a file is small.
            let responding = Box::pin(script_request.respond(&mut encoded, may_reuse));
            match measured(visit, responding).await {
                Ok(response) => return Ok(response),
                Err(unanswered) => unanswered.or_again(&mut resends)?,
            }
        }
    }

    /// The route of a path, and the release that the route belongs to: the routed release, or another one
    /// that has the asset (see `kept_assets`).
    fn find(
        &self,
        vhost: &VirtualHost,
        served: Arc<ServedRelease>,
        path: &UrlPath,
        visit: Option<&Visit>,
    ) -> Result<(Arc<ServedRelease>, Route), HttpError> {
        let (settings, method) = (&vhost.settings, &self.request.method);
        let routed = if vhost.speaks_http {
            let may_be_file = matches!(*method, Method::GET | Method::HEAD);
            route_to_server(&served, settings, path, may_be_file)?
        } else {
            route(&served, settings, path)?
        };
        let instead = match routed {
            Routed::Found(route) => return Ok((served, route)),
            Routed::Missing(instead) => instead,
        };
        let (table, canary) = (vhost.upstream.table(), visit.and_then(Visit::other_release));
        let kept = &vhost.kept_assets;
        match kept.find(settings, &table.releases, canary.as_ref(), &served, method, path)? {
            Some(Asset { served, file }) => Ok((served, Route::File(file))),
            None => instead.map(|route| (served, route)),
        }
    }

    /// `pool`: empty if the host has no pool.
    fn error_response(
        &self,
        error: &HttpError,
        pool: &str,
        host: Option<&Host<'_>>,
    ) -> Response<ResponseBody> {
        let HttpError { status, reason, header } = error;
        if !reason.is_empty() {
            let host = host.map_or("", |host| &host.name);
            let label = RequestLabel::new(pool, self.id, host, self.request);
            label.warn(format_args!("{}: {reason}", status.as_u16()));
        }
        let text = Bytes::from(format!("{status}\n"));
        let mut response = Response::new(ResponseBody::chunks([text].into()));
        *response.status_mut() = *status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if matches!(*status, StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED) {
            // The bytes after such a request may be part of it.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if *status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some((name, value)) = header.as_deref() {
            headers.insert(name, value.clone());
        }
        response
    }
}

/// Measures a request that is sent to a server, while there is a canary.
async fn measured(
    visit: Option<&Visit>,
    responding: impl Future<Output = Result<Response<ResponseBody>, Unanswered>>,
) -> Result<Response<ResponseBody>, Unanswered> {
    let Some(open) = visit.map(Visit::begin) else { return responding.await };
    let responded = responding.await;
    let status = match &responded {
        Ok(response) => Some(response.status()),
        Err(Unanswered::Failed(error)) => Some(error.status),
        // The request is sent again.
        Err(Unanswered::NotSent | Unanswered::NotRead(_)) => None,
    };
    if let Some(status) = status {
        open.end(status.is_server_error());
    }
    responded
}

/// Redirects `/docs?x` to `/docs/?x`. The location is built from the resolved path. A browser could read the
/// path that the client wrote as a host (`//host`, `/\\host`).
fn add_slash(request: &Parts, path: &UrlPath) -> Result<Response<ResponseBody>, HttpError> {
    let query = RequestTarget::of(request).query;
    let mark: &[u8] = if query.is_empty() { b"" } else { b"?" };
    let location = [path.to_directory_url().as_bytes(), mark, query].concat();
    let location = HeaderValue::from_bytes(&location)
        .map_err(|_| HttpError::unlogged(StatusCode::BAD_REQUEST))?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
