//! The requests, with their expected outcomes.

use std::fmt;

use super::Other::{self, Apache, Caddy, Nginx};

/// A request, the outcome of the gateway, and the servers with another outcome.
pub(super) struct Row {
    pub(super) request: Vec<u8>,
    /// The outcome of the gateway, and of all servers that are not listed.
    pub(super) ours: &'static str,
    /// The outcomes of other servers.
    pub(super) others: &'static [(Other, &'static str)],
    /// The reason for the difference.
    pub(super) why: &'static str,
    /// Response headers that are compared too.
    pub(super) shows: &'static [&'static str],
}

impl Row {
    fn of(request: impl Into<Vec<u8>>, ours: &'static str) -> Self {
        Self { request: request.into(), ours, others: &[], why: "", shows: &[] }
    }

    fn differs(self, why: &'static str, others: &'static [(Other, &'static str)]) -> Self {
        Self { others, why, ..self }
    }

    fn shows(self, shows: &'static [&'static str]) -> Self {
        Self { shows, ..self }
    }

    /// The request target.
    pub(super) fn target(&self) -> String {
        let target = self.request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        String::from_utf8_lossy(target).into_owned()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.request))
    }
}

fn get(target: impl AsRef<[u8]>, ours: &'static str) -> Row {
    let end = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    Row::of([b"GET ", target.as_ref(), end].concat(), ours)
}

/// GET of a file, with these header lines and this body.
fn with(headers: &str, body: &str, ours: &'static str) -> Row {
    let head = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    Row::of(format!("{head}{headers}\r\n{body}"), ours)
}

/// GET of a script, with this line instead of `Host`.
fn host(line: &str, ours: &'static str) -> Row {
    Row::of(format!("GET /vars.php HTTP/1.1\r\n{line}Connection: close\r\n\r\n"), ours)
}

pub(super) fn rows() -> Vec<Row> {
    [slashes_and_dots(), encoded(), odd_bytes(), routing(), secrets(), hosts(), framing()]
        .into_iter()
        .flatten()
        .collect()
}

const ABOVE: &str = "Caddy takes the root for its own parent";

fn slashes_and_dots() -> Vec<Row> {
    vec![
        get("/", "200 /index.php||"),
        get("/vars.php", "200 /vars.php||"),
        get("/vars.php?a=1&b", "200 /vars.php||a=1&b"),
        get("/vars.php/x?y", "200 /vars.php|/x|y"),
        get("//vars.php", "200 /vars.php||"),
        get("/sub//vars.php/x//y", "200 /sub/vars.php|/x/y|"),
        get("/pretty//url", "200 /index.php||"),
        get("//a.txt", "200 =text"),
        get("/docs//b.txt", "200 =b"),
        get("/sub//", "200 /sub/index.php||"),
        get("/./vars.php", "200 /vars.php||"),
        get("/sub/./vars.php", "200 /sub/vars.php||"),
        get("/sub/../vars.php", "200 /vars.php||"),
        get("/sub/..", "200 /index.php||"),
        get("/sub/.", "200 /sub/index.php||"),
        get("/docs/../a.txt", "200 =text"),
        get("/vars.php/../a.txt", "200 =text"),
        get("/vars.php/..", "200 /index.php||"),
        get("/vars.php/x/../y", "200 /vars.php|/y|"),
        get("/vars.php/x/./y", "200 /vars.php|/x/y|"),
        get("/vars.php/x/%2e%2e/y", "200 /vars.php|/y|"),
        get("/sub/%2e%2e/vars.php", "200 /vars.php||"),
        get("/..", "400").differs(ABOVE, &[(Caddy, "200 /index.php||")]),
        get("/../vars.php", "400").differs(ABOVE, &[(Caddy, "200 /vars.php||")]),
        get("/a/../../vars.php", "400").differs(ABOVE, &[(Caddy, "200 /vars.php||")]),
        get("/%2e%2e/vars.php", "400").differs(ABOVE, &[(Caddy, "200 /vars.php||")]),
        get("/vars.php/../../x", "400").differs(ABOVE, &[(Caddy, "200 /index.php||")]),
        get("/vars.php/", "200 /vars.php|/|").differs(
            "Caddy looks for a file without the slash first",
            &[(Caddy, "200 /vars.php||")],
        ),
        get("/...", "404").differs(
            "a name that begins with a dot: Caddy's path matcher has cleaned it away",
            &[(Caddy, "200 /index.php||")],
        ),
    ]
}

fn encoded() -> Vec<Row> {
    vec![
        get("/%76ars%2ephp", "200 /vars.php||"),
        get("/a%20b.php", "200 /a b.php||"),
        get("/vars.php/a+b%41", "200 /vars.php|/a+bA|"),
        get("/vars.php/%252e", "200 /vars.php|/%2e|"),
        get("/sub%2fvars.php", "200 /sub/vars.php||"),
        get("/docs%2fb.txt", "200 =b"),
        get("/vars.php%2fx", "200 /vars.php|/x|"),
        get("/vars.php/a%2Fb", "200 /vars.php|/a/b|"),
        get("/sub%2f..%2fvars.php", "200 /vars.php||"),
        get("/vars.php/..%2f..%2fx", "400").differs(
            "an encoded .. leads above the root: Apache drops it here, Caddy always",
            &[(Caddy, "200 /index.php||"), (Apache, "200 /index.php||")],
        ),
        get("/vars.php/%zz", "400"),
        get("/vars.php/%", "400"),
        get("/%", "400"),
        get("/vars.php?%zz%00%", "200 /vars.php||%zz%00%"),
        get("/a.txt%00", "400").differs(
            "a zero byte: to Apache and Caddy a file that is not there",
            &[(Apache, "404"), (Caddy, "200 /index.php||")],
        ),
    ]
}

const CADDY_ENCODES: &str = "Caddy encodes such bytes anew in REQUEST_URI";

fn odd_bytes() -> Vec<Row> {
    vec![
        get("/a<b>.txt", "200 =brackets"),
        get("/caf\u{e9}.txt", "200 =coffee"),
        get("/vars.php?a=<x>\"`{}|\\^[]", "200 /vars.php||a=<x>\"`{}|\\^[]"),
        get(b"/vars.php?caf\xe9", "200 /vars.php||caf\u{fffd}"),
        get("/vars.php/<x>", "200 /vars.php|/<x>|")
            .differs(CADDY_ENCODES, &[(Caddy, "200 /vars.php|/<x>||/vars.php/%3Cx%3E")]),
        get("/pretty/\"x\"", "200 /index.php||")
            .differs(CADDY_ENCODES, &[(Caddy, "200 /index.php|||/pretty/%22x%22")]),
        get("/vars.php/`{}|\\^", "200 /vars.php|/`{}|\\^|").differs(
            CADDY_ENCODES,
            &[(Caddy, "200 /vars.php|/`{}|\\^||/vars.php/%60%7B%7D%7C%5C%5E")],
        ),
        get(b"/vars.php/caf\xe9", "200 /vars.php|/caf\u{fffd}|")
            .differs(CADDY_ENCODES, &[(Caddy, "200 /vars.php|/caf\u{fffd}||/vars.php/caf%E9")]),
        get("/vars.php/caf%e9", "200 /vars.php|/caf\u{fffd}|"),
        get("/vars.php?x#y", "200 /vars.php||x").differs(
            "a fragment has no place in a request: nginx leaves it out, Caddy takes it for a part of the query, Apache refuses it",
            &[(Caddy, "200 /vars.php||x#y"), (Apache, "400")],
        ),
        get("/vars.php/x#y?z", "200 /vars.php|/x|").differs(
            "as above",
            &[(Caddy, "200 /vars.php|/x#y|z|/vars.php/x%23y?z"), (Apache, "400")],
        ),
        get("/vars.php/x y", "400"),
        get("/vars.php/\x01", "400"),
        get("/vars.php/\x7f", "400"),
    ]
}

fn routing() -> Vec<Row> {
    const ABSOLUTE: &str = "Apache's REQUEST_URI is the target with its host";
    const FALLBACK: &str =
        "Apache's FallbackResource does not answer for a script, nor below a file";
    const CADDY_INDEX: &str = "Caddy's php_fastcgi looks for index.php only";
    vec![
        get("/a.txt", "200 =text [content-type: text/plain; charset=utf-8]")
            .shows(&["content-type"])
            .differs(
                "the others name no character set unless they are told to",
                &[
                    (Nginx, "200 =text [content-type: text/plain]"),
                    (Apache, "200 =text [content-type: text/plain]"),
                ],
            ),
        get("/pretty/url", "200 /index.php||"),
        get("/pretty/url/?x", "200 /index.php||x"),
        get("/sub/x", "200 /index.php||"),
        get("/vars.php/x.php", "200 /vars.php|/x.php|"),
        get("/vars.php/sub/vars.php", "200 /vars.php|/sub/vars.php|"),
        get("/docs/", "200 =docs").differs(CADDY_INDEX, &[(Caddy, "200 /index.php||")]),
        get("/sub", "301 > /sub/").differs("Caddy keeps the method", &[(Caddy, "308 > /sub/")]),
        get("/docs?x=1", "301 > /docs/?x=1")
            .differs(CADDY_INDEX, &[(Caddy, "200 /index.php||x=1")]),
        get("/sub/../docs", "301 > /docs/").differs(CADDY_INDEX, &[(Caddy, "200 /index.php||")]),
        get("//evil.example/../docs", "301 > /docs/")
            .differs(CADDY_INDEX, &[(Caddy, "200 /index.php||")]),
        get("/\\evil.example/..%2fdocs", "301 > /docs/")
            .differs(CADDY_INDEX, &[(Caddy, "200 /index.php|||/%5Cevil.example/../docs")]),
        get("/empty/", "200 /index.php||")
            .differs("nginx finds the directory and no index in it", &[(Nginx, "403")]),
        get("/missing.php", "200 /index.php||").differs(FALLBACK, &[(Apache, "404")]),
        get("/x.jpg/y.php", "200 /index.php||").differs(FALLBACK, &[(Apache, "404")]),
        get("/a.txt/x", "200 /index.php||").differs(FALLBACK, &[(Apache, "404")]),
        get("http://localhost/vars.php/x?y", "200 /vars.php|/x|y|/vars.php/x?y")
            .differs(ABSOLUTE, &[(Apache, "200 /vars.php|/x|y")]),
        get("?x", "400").differs("no target by RFC 9112", &[(Apache, "200 /index.php||x")]),
        get("*", "400").differs("for OPTIONS alone", &[(Caddy, "200 /index.php||")]),
        get("vars.php", "400"),
    ]
}

fn secrets() -> Vec<Row> {
    vec![
        get("/.env", "404"),
        get("/%2eenv", "404"),
        get("/.git/config", "404"),
        get("/sub/../.env", "404"),
        get("/sub%2f..%2f.env", "404"),
        get("/.well-known/../.env", "404"),
        get("/.well-known/acme", "200 =known"),
        get("/pretty/.x", "404"),
        get("/vars.php/.x/y", "200 /vars.php|/.x/y|"),
        get("/x.php.bak", "404").differs("Apache's Require says so", &[(Apache, "403")]),
    ]
}

fn hosts() -> Vec<Row> {
    const STRICT: &str = "no host: Apache refuses it too";
    vec![
        host("Host: [::1]:8\r\n", "200 /vars.php||"),
        host("Host: a_b:80\r\n", "200 /vars.php||"),
        host("", "400"),
        host("Host: a\r\nHost: a\r\n", "400"),
        host("Host: a b\r\n", "400"),
        host("Host: a/b\r\n", "400"),
        host("Host:\r\n", "400")
            .differs("Caddy takes an empty Host", &[(Caddy, "200 /vars.php||")]),
        host("Host: :80\r\n", "400").differs("as above", &[(Caddy, "200 /vars.php||")]),
        host("Host: a@b\r\n", "400").differs(STRICT, &[(Nginx, "200 /vars.php||")]),
    ]
}

fn framing() -> Vec<Row> {
    const CHUNKS: &str = "2\r\nhi\r\n0\r\n\r\n";
    const DECODES: &str = "Apache passes the body on in the coding that it does not know";
    vec![
        with("Expect: nothing\r\n", "", "417")
            .differs("nginx does not look at it", &[(Nginx, "200 =text")]),
        with("Expect:\r\n", "", "200 =text"),
        with("Transfer-Encoding: chunked\r\n", CHUNKS, "200 =text"),
        with("Transfer-Encoding: gzip, chunked\r\n", CHUNKS, "501")
            .differs(DECODES, &[(Apache, "200 =text")]),
        with("Transfer-Encoding: xchunked\r\n", CHUNKS, "400").differs(
            "hyper refuses a last coding that is not chunked as Apache does",
            &[(Nginx, "501"), (Caddy, "501")],
        ),
        with("Transfer-Encoding: chunked, identity\r\n", CHUNKS, "400")
            .differs("as above", &[(Nginx, "501"), (Caddy, "501")]),
        with("Transfer-Encoding : chunked\r\n", CHUNKS, "400"),
        with("Content-Length: 2\r\nContent-Length: 3\r\n", "hi", "400"),
        with("Content-Length: 2, 2\r\n", "hi", "400"),
        with("Content-Length: +2\r\n", "hi", "400"),
        with("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", CHUNKS, "200 =text").differs(
            "RFC 9112 allows both; the chunks count, and the connection ends",
            &[(Nginx, "400")],
        ),
        with("X: a\rb\r\n", "", "400"),
        with("X: a\0b\r\n", "", "400"),
        with("X Y: a\r\n", "", "400"),
        with("X: a\r\n b\r\n", "", "400")
            .differs("a folded line is obsolete", &[(Caddy, "200 =text"), (Apache, "200 =text")]),
    ]
}
