//! The keys of `[gateway]` of a pool.

use super::super::keys::{Default, Key, Kind};

/// The keys of the table.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "hosts",
        Kind::Texts,
        Default::Value("[]"),
        "`\"example.com\"`, `\"*.example.com\"`. `[]`: all hosts that no other pool has. A host without a pool gets 421",
    ),
    Key::new(
        "document_root",
        Kind::Below("the release"),
        Default::Derived("[the release or its `public/`](gateway.md#the-document-root)"),
        "the document root. `\"\"` or `\".\"`: the release",
    ),
    Key::new(
        "index",
        Kind::Texts,
        Default::Value("[\"index.php\", \"index.html\"]"),
        "the index files of a directory",
    ),
    Key::new(
        "front_controller",
        Kind::Below("the document root"),
        Default::Value("\"index.php\""),
        "the script for paths without a file; `\"\"`: none",
    ),
    Key::new(
        "scripts",
        Kind::Texts,
        Default::Value("[]"),
        "the only scripts that may run. `[]`: all. List them if visitors can upload files",
    ),
    Key::new(
        "follow_symlinks",
        Kind::Bool,
        Default::Value("false"),
        "whether a symlink may lead out of the document root",
    ),
    Key::new(
        "fastcgi_keep_alive",
        Kind::OneOf(&["auto", "on", "off"]),
        Default::Value("\"auto\""),
        "whether connections to php-fpm stay open. `auto`: with `pm = static`",
    ),
    Key::new(
        "queue",
        Kind::Number,
        Default::Value("1024"),
        "how many requests may wait for a child; further ones get 503",
    ),
    Key::new(
        "queue_timeout",
        Kind::SOME_TIME,
        Default::Value("\"10s\""),
        "how long a request may wait; then 503 with `Retry-After`",
    ),
    Key::new(
        "hold_queue",
        Kind::Number,
        Default::Value("10000"),
        "how many requests may wait while the pool is [held](#hold-and-maintenance); further ones get 503",
    ),
    Key::new(
        "keep_assets",
        Kind::TIME,
        Default::Value("\"0s\""),
        "how long the [assets of a replaced release](#assets-of-replaced-releases) are served. `0s`: not at all",
    ),
    Key::new(
        "request_timeout",
        Kind::SOME_TIME,
        Default::Value("\"60s\""),
        "how long a script may send nothing; then 504",
    ),
    Key::new(
        "compress",
        Kind::BoolOr(&["static"]),
        Default::Value("true"),
        "whether the gateway [compresses](#compression) files and the responses of scripts; `\"static\"`: files only",
    ),
    Key::new(
        "compress_types",
        Kind::Texts,
        Default::Value("[]"),
        "the media types that it compresses: `\"text/html\"`, `\"font/*\"`. `[]`: texts, JSON, XML, SVG and the like",
    ),
    Key::new(
        "types",
        Kind::Table,
        Default::Value("{}"),
        "media types by extension, before the built-in ones: `types = { md = \"text/markdown; charset=utf-8\" }`",
    ),
    Key::new("headers", Kind::Table, Default::Value("{}"), "[headers](#headers) of all responses"),
    Key::new("redirects", Kind::Table, Default::Value("{}"), "[redirects](#redirects) by path"),
    Key::new(
        "redirect_to_https",
        Kind::Bool,
        Default::Value("false"),
        "whether requests by HTTP are [redirected](tls.md#redirect-and-hsts) to HTTPS",
    ),
    Key::new(
        "hsts",
        Kind::Text,
        Default::Value("\"\""),
        "`Strict-Transport-Security` of responses by HTTPS: `\"max-age=31536000\"`; `\"\"`: none",
    ),
    Key::new("deny", Kind::Texts, Default::Value("[]"), "[paths that get 403](#denied-paths)"),
    Key::new(
        "deny_defaults",
        Kind::Bool,
        Default::Value("true"),
        "whether [files that are private by their name](#what-is-denied-by-default), and scripts in directories for uploads, get 403 too; and whether the front controller is the only script that runs below [a document root that is not configured](#the-document-root)",
    ),
    Key::new(
        "error_pages",
        Kind::Table,
        Default::Value("{}"),
        "[files for the gateway's own errors](#error-pages): `error_pages = { 404 = \"errors/404.html\" }`",
    ),
    Key::new(
        "max_body",
        Kind::Size,
        Default::Derived("`max_body` of all pools"),
        "the size of the body of a request to this pool, smaller or larger than that of all. A larger one gets 413",
    ),
    Key::new(
        "access",
        Kind::Table,
        Default::Value("{}"),
        "[which clients may send requests](#access), and how many",
    ),
    Key::new(
        "server_software",
        Kind::Text,
        Default::Derived("`\"pools-manager/VERSION (nginx-compatible)\"`"),
        "[`SERVER_SOFTWARE`](#server_software) in PHP",
    ),
    Key::new(
        "cache",
        Kind::Table,
        Default::Value("{}"),
        "`Cache-Control` of files: `cache = { \"/assets/\" = \"public, max-age=31536000, immutable\" }`. The longest matching prefix is used",
    ),
];
