//! What a file is, by its name.

/// What a file is.
#[derive(Debug)]
pub(super) struct Kind {
    /// Its media type.
    pub(super) name: &'static str,
    /// Whether compressing makes it smaller.
    pub(super) compresses: bool,
}

/// The kind of a file. One that is not known is offered to be saved.
pub(super) fn of(path: &str) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let extension = extension.to_ascii_lowercase();
    let text = |name| Kind { name, compresses: true };
    let packed = |name| Kind { name, compresses: false };
    match extension.as_str() {
        "html" | "htm" => text("text/html; charset=utf-8"),
        "css" => text("text/css; charset=utf-8"),
        "js" | "mjs" => text("text/javascript; charset=utf-8"),
        "json" | "map" => text("application/json"),
        "webmanifest" => text("application/manifest+json"),
        "txt" | "md" => text("text/plain; charset=utf-8"),
        "csv" => text("text/csv; charset=utf-8"),
        "xml" => text("text/xml; charset=utf-8"),
        "rss" => text("application/rss+xml"),
        "atom" => text("application/atom+xml"),
        "svg" => text("image/svg+xml"),
        "ico" => text("image/x-icon"),
        "wasm" => text("application/wasm"),
        "ttf" => text("font/ttf"),
        "otf" => text("font/otf"),
        "eot" => text("application/vnd.ms-fontobject"),
        "woff" => packed("font/woff"),
        "woff2" => packed("font/woff2"),
        "png" => packed("image/png"),
        "jpg" | "jpeg" => packed("image/jpeg"),
        "gif" => packed("image/gif"),
        "webp" => packed("image/webp"),
        "avif" => packed("image/avif"),
        "mp3" => packed("audio/mpeg"),
        "ogg" | "oga" => packed("audio/ogg"),
        "wav" => packed("audio/wav"),
        "mp4" | "m4v" => packed("video/mp4"),
        "webm" => packed("video/webm"),
        "mov" => packed("video/quicktime"),
        "pdf" => packed("application/pdf"),
        "zip" => packed("application/zip"),
        "gz" => packed("application/gzip"),
        _ => packed("application/octet-stream"),
    }
}
