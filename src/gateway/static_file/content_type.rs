//! The media type of a file, by the extension of its name.

use std::cell::RefCell;
use std::collections::HashMap;

use hyper::header::HeaderValue;
use memchr::memrchr2;

use crate::config::{Gateway, is_compressible};

/// The type of a file.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    /// The media type.
    pub(super) name: HeaderValue,
    /// Whether compression makes such files smaller.
    pub(super) is_compressible: bool,
}

/// The type of a file: the configured one, else a built-in one, else `application/octet-stream`.
pub(super) fn of(settings: &Gateway, path: &str) -> Kind {
    let extension = extension(path);
    if !settings.types.is_empty()
        && let Some(configured) = settings.types.get(extension.to_ascii_lowercase().as_str())
    {
        let name = configured.value().clone();
        let is_compressible = name.to_str().is_ok_and(|name| settings.compresses(name));
        return Kind { name, is_compressible };
    }
    let mut kind = KNOWN.with_borrow_mut(|known| {
        if let Some(kind) = known.get(extension) {
            return kind.clone();
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.entry(extension.to_owned()).or_insert_with(|| built_in(extension)).clone()
    });
    if !settings.compress_types.is_empty() {
        kind.is_compressible = kind.name.to_str().is_ok_and(|name| settings.compresses(name));
    }
    kind
}

fn extension(path: &str) -> &str {
    match memrchr2(b'.', b'/', path.as_bytes()) {
        Some(at) if path[at..].starts_with('.') => &path[at + 1..],
        _ => "",
    }
}

thread_local! {
    /// The built-in types of the extensions that this thread has seen. Finding a type and making its
    /// header value takes a tenth of the time of a response with a small file.
    static KNOWN: RefCell<HashMap<String, Kind>> = RefCell::new(HashMap::new());
}

/// The most extensions that a thread keeps.
const KNOWN_MAX: usize = 1000;

fn built_in(extension: &str) -> Kind {
    let name = known(&extension.to_ascii_lowercase());
    Kind { name: with_charset(name), is_compressible: is_compressible(name) }
}

/// The list of the crate `mime_guess`, with corrections by the IANA registry and the use in browsers.
fn known(extension: &str) -> &'static str {
    match extension {
        "mjs" | "cjs" => "text/javascript",
        "map" => "application/json",
        // Browsers download `text/markdown` instead of showing it.
        "md" => "text/plain",
        "woff" => "font/woff",
        "otf" => "font/otf",
        "m4a" => "audio/mp4",
        "m4v" => "video/mp4",
        "ts" => "video/mp2t",
        "m3u8" => "application/vnd.apple.mpegurl",
        "sql" => "application/sql",
        "toml" => "application/toml",
        "yaml" | "yml" => "application/yaml",
        "tgz" => "application/gzip",
        "zst" => "application/zstd",
        other => mime_guess::from_ext(other).first_raw().unwrap_or("application/octet-stream"),
    }
}

/// Adds `charset=utf-8` to text types.
fn with_charset(name: &'static str) -> HeaderValue {
    if !name.starts_with("text/") {
        return HeaderValue::from_static(name);
    }
    HeaderValue::from_str(&format!("{name}; charset=utf-8"))
        .unwrap_or_else(|_| HeaderValue::from_static(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(settings: &str, path: &str) -> (String, bool) {
        let Kind { name, is_compressible } = of(&toml::from_str(settings).unwrap(), path);
        (name.to_str().unwrap().to_owned(), is_compressible)
    }

    #[test]
    fn type_follows_from_the_extension() {
        let is = |path, name: &str, compresses| {
            assert_eq!(kind("", path), (name.to_owned(), compresses), "{path}");
        };
        is("a/b.HTML", "text/html; charset=utf-8", true);
        is("a.css", "text/css; charset=utf-8", true);
        is("a.js", "text/javascript; charset=utf-8", true);
        is("a.mjs", "text/javascript; charset=utf-8", true);
        is("a.json", "application/json", true);
        is("a.js.map", "application/json", true);
        is("a.webmanifest", "application/manifest+json", true);
        is("a.svg", "image/svg+xml", true);
        is("a.xml", "text/xml; charset=utf-8", true);
        is("a.ico", "image/x-icon", true);
        is("a.ttf", "font/ttf", true);
        is("a.wasm", "application/wasm", true);
        is("a.woff2", "font/woff2", false);
        is("a.woff", "font/woff", false);
        is("a.png", "image/png", false);
        is("a.avif", "image/avif", false);
        is("a.mp4", "video/mp4", false);
        is("a.pdf", "application/pdf", false);
        let word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        is("a.docx", word, false);
        is("a.epub", "application/epub+zip", false);
        is("a.ics", "text/calendar; charset=utf-8", true);
        for unknown in ["a", "a.", "a.unknown", ".css/a", "a.ü"] {
            is(unknown, "application/octet-stream", false);
        }
    }

    #[test]
    fn configured_type_takes_precedence() {
        let settings = "[types]\nmd = 'text/markdown'\nGLB = 'model/x'\nx = 'a/b+json; c=d'";
        assert_eq!(kind(settings, "a.MD"), ("text/markdown".to_owned(), true));
        assert_eq!(kind(settings, "a.glb"), ("model/x".to_owned(), false));
        assert_eq!(kind(settings, "a.x"), ("a/b+json; c=d".to_owned(), true));
    }
}
