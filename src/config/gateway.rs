//! `[gateway]` of a pool.

mod access;
mod compress;
mod document_root;
mod error_pages;
mod headers;
mod keys;
mod media_types;
mod paths;
mod private_files;
mod redirects;

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::HeaderValue;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

pub use access::{Access, Prefix, Rate};
pub use compress::Compress;
use compress::CompressType;
pub(crate) use compress::is_compressible;
pub use document_root::{DocumentRoot, USUAL_ROOTS};
pub use error_pages::{ErrorPage, ErrorStatus};
use headers::Headers;
pub(crate) use keys::KEYS;
use media_types::{Extension, MediaType};
use paths::Denied;
pub use private_files::{is_code, is_private, is_suspicious};
pub use redirects::Redirect;
use redirects::Redirects;

use super::file::File;
use super::values;
use crate::error::Result;

/// `[gateway]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// The host names of the pool: `example.com`, `*.example.com`. Empty: all that no other pool has.
    pub hosts: Spanned<Vec<String>>,
    /// The document root, below the release. Empty or `.`: the release itself. None: it depends on the
    /// release.
    pub document_root: Option<Spanned<String>>,
    /// The index files of a directory: the first that exists is used.
    pub index: Spanned<Vec<String>>,
    /// The script for paths without a file. Empty: these get 404.
    pub front_controller: Spanned<String>,
    /// The only scripts that may run. Empty: all below the document root.
    pub scripts: Spanned<Vec<String>>,
    /// Whether a symlink may lead out of the document root.
    pub follow_symlinks: bool,
    /// Whether connections to php-fpm stay open after a response.
    pub fastcgi_keep_alive: KeepAlive,
    /// The largest number of requests that wait for a child.
    pub queue: usize,
    /// The longest time that a request waits for a child.
    #[serde(deserialize_with = "values::some_duration")]
    pub queue_timeout: Duration,
    /// The largest number of requests that wait while the pool is held.
    pub hold_queue: usize,
    /// How long the assets of a release are served after it was replaced. 0: not at all.
    #[serde(deserialize_with = "values::duration")]
    pub keep_assets: Duration,
    /// The longest time in which a script sends nothing.
    #[serde(deserialize_with = "values::some_duration")]
    pub request_timeout: Duration,
    /// `Cache-Control` of static files, by path prefix. The longest matching prefix is used.
    pub cache: BTreeMap<String, CacheControl>,
    /// What the gateway compresses.
    pub compress: Compress,
    /// The media types that the gateway compresses. Empty: texts and the like.
    pub compress_types: Vec<CompressType>,
    /// Media types by extension. They take precedence over the built-in ones.
    pub types: BTreeMap<Extension, MediaType>,
    /// Headers that are set in all responses, or removed.
    pub headers: Headers,
    /// Redirects by path.
    pub redirects: Redirects,
    /// Whether requests by HTTP are redirected to HTTPS.
    pub redirect_to_https: bool,
    /// `Strict-Transport-Security` of responses by HTTPS.
    #[serde(deserialize_with = "hsts")]
    pub hsts: Option<HeaderValue>,
    /// Paths that get 403.
    pub deny: Vec<Denied>,
    /// Whether more paths get 403: private files of a release, scripts in directories for uploads.
    pub deny_defaults: bool,
    /// The largest size of a request body, in bytes. None: that of all pools.
    #[serde(deserialize_with = "values::some_size")]
    pub max_body: Option<u64>,
    /// Pages for the gateway's own errors.
    pub error_pages: BTreeMap<ErrorStatus, ErrorPage>,
    /// Which clients may send requests, and how many.
    pub access: Access,
    /// The CGI variable `SERVER_SOFTWARE`.
    #[serde(deserialize_with = "software")]
    pub server_software: String,
}

/// The default of `server_software`. `WordPress` (`got_url_rewrite()`) offers permalinks without
/// `index.php` only for `nginx`, IIS and `Apache`; for `Apache` it writes an `.htaccess`, which the
/// gateway does not read. The gateway is compatible with nginx here: a path without a file goes to the
/// front controller, and `X-Accel-Redirect` works.
const SERVER_SOFTWARE: &str =
    concat!("pools-manager/", env!("CARGO_PKG_VERSION"), " (nginx-compatible)");

/// A value of `Cache-Control`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct CacheControl(HeaderValue);

impl CacheControl {
    /// The header value.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl TryFrom<String> for CacheControl {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        headers::value(&text).map(Self)
    }
}

fn software<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let is_plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let error = "server_software must be one line of visible ASCII characters and spaces";
    if is_plain { Ok(text) } else { Err(serde::de::Error::custom(error)) }
}

/// A value of `Strict-Transport-Security` (RFC 6797, section 6.1); empty: none.
fn hsts<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<HeaderValue>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let is_age = |it: &str| {
        let age = it.trim().strip_prefix("max-age=");
        age.is_some_and(|age| !age.is_empty() && age.bytes().all(|it| it.is_ascii_digit()))
    };
    if !text.split(';').any(is_age) {
        let error = "hsts needs an age in seconds, as in \"max-age=31536000\"";
        return Err(serde::de::Error::custom(error));
    }
    headers::value(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Whether connections to php-fpm stay open after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepAlive {
    /// If the number of children is fixed. Otherwise php-fpm counts an idle connection as a busy child,
    /// and starts more.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Default for Gateway {
    fn default() -> Self {
        fn none<T>(value: T) -> Spanned<T> {
            Spanned::new(0..0, value)
        }
        Self {
            hosts: none(Vec::new()),
            document_root: None,
            index: none(vec!["index.php".to_owned(), "index.html".to_owned()]),
            front_controller: none("index.php".to_owned()),
            scripts: none(Vec::new()),
            follow_symlinks: false,
            fastcgi_keep_alive: KeepAlive::Auto,
            queue: 1024,
            queue_timeout: Duration::from_secs(10),
            hold_queue: 10_000,
            keep_assets: Duration::ZERO,
            request_timeout: Duration::from_secs(60),
            cache: BTreeMap::new(),
            compress: Compress::All,
            compress_types: Vec::new(),
            types: BTreeMap::new(),
            headers: Headers::default(),
            redirects: Redirects::default(),
            redirect_to_https: false,
            hsts: None,
            deny: Vec::new(),
            deny_defaults: true,
            max_body: None,
            error_pages: BTreeMap::new(),
            access: Access::default(),
            server_software: SERVER_SOFTWARE.to_owned(),
        }
    }
}

impl Gateway {
    pub(crate) fn check(&self, file: &File<'_>) -> Result<()> {
        for host in self.hosts.get_ref() {
            if !is_host(host) {
                let message = format!("\"{host}\" is not a host name");
                return Err(file
                    .error(&self.hosts.span(), &message)
                    .hint("write it in lower case, without a port: example.com or *.example.com"));
            }
        }
        let lists = [&self.index, &self.scripts];
        let listed = lists.iter().flat_map(|it| it.get_ref().iter().map(|path| (path, it.span())));
        let root = self.document_root.iter().filter(|it| it.get_ref() != ".");
        let single = root.chain([&self.front_controller]).map(|it| (it.get_ref(), it.span()));
        let single = single.filter(|(path, _)| !path.is_empty());
        for (path, span) in listed.chain(single) {
            if !is_below(path) {
                let message = format!("\"{path}\" is not a path below the release");
                return Err(file.error(&span, &message).hint(
                    "write it without a leading or trailing /, and without . and ..: public/index.php",
                ));
            }
        }
        let front = self.front_controller.get_ref();
        if !front.is_empty() && !self.scripts.get_ref().is_empty() && !self.allows(front) {
            let message = format!("scripts does not name the front_controller \"{front}\"");
            return Err(file.error(&self.scripts.span(), &message).hint("add it to the list"));
        }
        Ok(())
    }

    /// Whether bodies of a media type are compressed. Parameters of the type are ignored.
    pub fn compresses(&self, kind: &str) -> bool {
        let kind = kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase();
        if self.compress_types.is_empty() || kind == compress::EVENT_STREAM {
            return is_compressible(&kind);
        }
        self.compress_types.iter().any(|it| it.covers(&kind))
    }

    /// Whether `deny` names a path. The path is decoded, without slashes at its ends.
    pub fn denies(&self, path: &str) -> bool {
        self.deny.iter().any(|denied| denied.covers(path))
    }

    /// Whether a script may run. `script`: its path below the document root.
    pub fn allows(&self, script: &str) -> bool {
        let scripts = self.scripts.get_ref();
        scripts.is_empty() || scripts.iter().any(|allowed| allowed == script)
    }

    /// Whether `deny_defaults` denies a file or a script that exists. `path`: below the document root.
    pub fn denies_by_default(&self, root: &DocumentRoot, path: &str) -> bool {
        self.deny_defaults && root.is_release() && is_private(path)
    }

    /// Whether `deny_defaults` denies a script that exists, because visitors may have uploaded it.
    pub fn denies_script_by_default(&self, script: &str) -> bool {
        self.deny_defaults
            && private_files::is_upload(script)
            && !self.scripts.get_ref().iter().any(|allowed| allowed == script)
    }
}

/// Whether `host` can be an entry of `hosts`: a name, or `*.` and a name.
pub(crate) fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name.bytes().all(|byte| is_letter(byte) || b"-._".contains(&byte))
}

fn is_below(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}
