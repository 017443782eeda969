//! The operator's pages for the gateway's own errors: `error_pages` of a pool.
//!
//! Errors of scripts are not replaced: only the application can decide whether its client gets a page or
//! JSON. A page that cannot be sent is left out, so that one error does not cause a second one. The log and
//! `check` say why.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::file_lookup::{FileLookup, Found};
use super::file_reader::FileReader;
use super::http_error::HttpError;
use super::response_body::ResponseBody;
use super::routing_table::ServedRelease;
use super::static_file;
use super::virtual_host::VirtualHost;
use crate::config::{ErrorPage, ErrorStatus, Gateway};
use crate::finding::Finding;
use crate::pool::Pool;
use crate::release::Release;

/// The largest page, in bytes.
const SIZE_MAX: u64 = 1 << 20;

/// Replaces the body of the response by the configured page, if there is one. The status stays, and so do
/// the headers that do not describe the body. `canary`: the release of the canary that the request belongs
/// to.
pub(super) fn replace(
    vhost: &VirtualHost,
    canary: Option<Arc<ServedRelease>>,
    mut response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let (settings, status) = (&vhost.settings, ErrorStatus::from(response.status()));
    let Some(page) = settings.error_pages.get(&status) else { return response };
    let release = canary.or_else(|| vhost.upstream.table().releases.last().cloned());
    let document_root = release.as_ref().map(|served| &served.document_root);
    let (file, size) = match open(settings, document_root, vhost.pool.root.path(), page) {
        Ok(found) => found,
        Err(why) => {
            if let Some(more) = vhost.left_out_pages.pass() {
                let problem = left_out(status, page, &why);
                let pool = &vhost.pool.name;
                tracing::warn!(pool = %pool, "{problem}; {more} more times since the last such line");
            }
            return response;
        }
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, static_file::media_type(settings, page.path()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    response.map(|_| ResponseBody::file(FileReader::new(file, 0, size)))
}

/// The pages of a pool that cannot be sent while the pool serves the release at this path. Opens files, and
/// blocks.
pub fn findings(pool: &Pool, release: &Path) -> Vec<Finding> {
    let Some(settings) = pool.settings.backend.gateway() else { return Vec::new() };
    let below = settings.document_root_at(release).below;
    let dir = File::open(release).ok();
    let document_root = dir.and_then(|dir| Release::open_below(&dir, &below).ok());
    let problem = |(status, page): (&ErrorStatus, &ErrorPage)| {
        let found = open(settings, document_root.as_ref(), pool.root.path(), page);
        let problem = left_out(*status, page, &found.err()?);
        let file = pool.settings_file();
        let help = format!("put it there, or correct error_pages in {}", file.display());
        Some(Finding::warning(problem, help))
    };
    settings.error_pages.iter().filter_map(problem).collect()
}

fn left_out(status: ErrorStatus, page: &ErrorPage, why: &str) -> String {
    format!("the error page {:?} of {status} is left out: {why}", page.path())
}

/// The page: the file in the document root of the release, else the file in the root, because there may be
/// no release. Error: why the page is left out.
fn open(
    settings: &Gateway,
    document_root: Option<impl AsFd>,
    root: &Path,
    page: &ErrorPage,
) -> Result<(Arc<File>, u64), String> {
    let lookup = FileLookup { follow_symlinks: settings.follow_symlinks };
    let mut why = None;
    let mut file = |found: Result<Found, HttpError>| match found {
        Ok(Found::File(file, stat)) => Some((file, stat)),
        Ok(_) => None,
        Err(error) => {
            let is_denied = error.status == StatusCode::FORBIDDEN;
            why = Some(if is_denied { "permission is denied".to_owned() } else { error.reason });
            None
        }
    };
    let of_release = document_root.and_then(|dir| file(lookup.open(dir, page.path())));
    let found = of_release.or_else(|| file(lookup.open(File::open(root).ok()?, page.path())));
    let Some((file, stat)) = found else {
        let nowhere = || format!("it is not in the document root, nor in {}", root.display());
        return Err(why.unwrap_or_else(nowhere));
    };
    match u64::try_from(stat.st_size) {
        Ok(size) if size <= SIZE_MAX => Ok((file, size)),
        _ => Err("it is larger than 1 MiB".to_owned()),
    }
}
