//! `/.pools-manager/health`: tells a monitor on this machine whether each pool can serve.
//!
//! Only requests that come from this machine itself get this response. For all other requests the path
//! belongs to the application. A web server or load balancer on the same machine also connects from a
//! loopback address, for any visitor. So a request that a proxy has passed on does not count as a request of
//! this machine: it has a header of proxies, or the PROXY protocol names another client.
//!
//! The response comes from the state of the gateway in memory. It causes no request to a replica, and no
//! observation.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::json;

use super::client::Ends;
use super::request_target::RequestTarget;
use super::response_body::ResponseBody;
use super::state::State;

const PATH: &[u8] = b"/.pools-manager/health";

/// Headers with which a proxy passes a request on.
const OF_PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// The response; None: the request is not for the health, or does not come from this machine.
pub(super) fn respond(
    state: &State,
    ends: &Ends,
    request: &Parts,
) -> Option<Response<ResponseBody>> {
    if !is_asked(ends, request) {
        return None;
    }
    if !matches!(request.method, Method::GET | Method::HEAD) {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(response);
    }
    let (status, text) = health(state);
    // hyper leaves out the body of a response to HEAD.
    let mut response = Response::new(ResponseBody::chunks([Bytes::from(text)].into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// Whether the request is for the health, and comes from this machine.
pub(super) fn is_asked(ends: &Ends, request: &Parts) -> bool {
    let is_it = RequestTarget::of(request).path == PATH;
    is_it && ends.is_local() && !is_passed_on(&request.headers)
}

fn is_passed_on(headers: &HeaderMap) -> bool {
    OF_PROXIES.iter().any(|name| headers.contains_key(*name))
}

fn health(state: &State) -> (StatusCode, String) {
    let is_draining = state.is_draining.load(Ordering::Relaxed);
    let all = state.hosts.all();
    let down = all.iter().filter(|vhost| vhost.is_broken() || !vhost.upstream.can_serve());
    let names = down.map(|vhost| vhost.pool.name.as_str());
    let mut down: Vec<&str> =
        names.chain(state.hosts.broken().iter().map(String::as_str)).collect();
    down.sort_unstable();
    let (status, word) = match (is_draining, down.is_empty()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (false, true) => (StatusCode::OK, "ok"),
    };
    (status, format!("{}\n", json!({ "status": word, "unavailable": down })))
}
