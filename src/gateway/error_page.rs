//! The operator's pages for the gateway's own errors: `error_pages` of a pool.
//!
//! Errors of scripts are not replaced: an application knows what its client expects, a page or JSON. A page
//! that cannot be sent is left out, so that no error follows from an error.

use std::fs::File;
use std::sync::Arc;

use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};

use super::file_lookup::{FileLookup, Found};
use super::file_reader::FileReader;
use super::response_body::ResponseBody;
use super::routing_table::ServedRelease;
use super::static_file;
use super::virtual_host::VirtualHost;

/// The largest page, in bytes.
const SIZE_MAX: u64 = 1 << 20;

/// The response with the configured page as its body, if there is one. The status and the other headers
/// stay. `canary`: the release of the canary that the request belongs to.
pub(super) fn replace(
    vhost: &VirtualHost,
    canary: Option<Arc<ServedRelease>>,
    mut response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let pages = &vhost.settings.error_pages;
    let Some(page) = pages.get(&response.status().into()) else { return response };
    let Some((file, size)) = open(vhost, canary, page.path()) else { return response };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, static_file::media_type(&vhost.settings, page.path()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    response.map(|_| ResponseBody::file(FileReader::new(file, 0, size)))
}

/// The file of the canary or of the newest release, else that of the root: there may be no release.
fn open(
    vhost: &VirtualHost,
    canary: Option<Arc<ServedRelease>>,
    path: &str,
) -> Option<(Arc<File>, u64)> {
    let lookup = FileLookup { follow_symlinks: vhost.settings.follow_symlinks };
    let release = canary.or_else(|| vhost.upstream.table().releases.last().cloned());
    let of_release = release.map(|served| lookup.open(&served.document_root, path));
    let found = match of_release {
        Some(Ok(found @ Found::File(..))) => Some(found),
        _ => File::open(vhost.pool.root.path()).ok().and_then(|dir| lookup.open(dir, path).ok()),
    };
    let Some(Found::File(file, stat)) = found else { return None };
    let size = u64::try_from(stat.st_size).ok().filter(|size| *size <= SIZE_MAX)?;
    Some((file, size))
}
