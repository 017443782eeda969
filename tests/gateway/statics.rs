//! Static files: conditions, ranges, compressed copies, and `Cache-Control`.

use harness::served::Served;

#[test]
fn unchanged_file_gets_304() {
    let served = Served::new();
    let answer = served.get("/release.txt");
    let etag = answer.header("etag").unwrap().to_owned();
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    let again = |headers: &str| served.get_with("/release.txt", headers);
    let same = again(&format!("If-None-Match: {etag}\r\n"));
    assert_eq!((same.status, same.header("etag")), (304, Some(etag.as_str())));
    assert_eq!(again("If-None-Match: \"other\"\r\n").status, 200);
    assert_eq!(again("If-Match: \"other\"\r\n").status, 412);
    // A date in the future is ignored.
    assert_eq!(again("If-Modified-Since: Fri, 31 Dec 2100 00:00:00 GMT\r\n").status, 200);
}

/// The files have the same size and mtime, as builds often make them.
#[test]
fn same_file_of_another_release_has_another_etag() {
    let served = Served::new();
    for release in ["release1", "release2"] {
        let file = std::fs::File::options()
            .write(true)
            .open(served.site.path(&format!("www/{release}/release.txt")))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let old = served.get("/release.txt").header("etag").unwrap().to_owned();
    let condition = format!("If-None-Match: {old}\r\n");
    assert_eq!(served.get_with("/release.txt", &condition).status, 304);
    served.site.switch("release2");
    served.site.run(&["restart"]).succeeds();
    let new = served.get_with("/release.txt", &condition);
    assert_eq!((new.status, new.text().as_str()), (200, "2\n"));
    let back = format!("If-None-Match: {}\r\n", new.header("etag").unwrap());
    served.site.switch("release1");
    served.site.run(&["restart"]).succeeds();
    assert_eq!(served.get_with("/release.txt", &back).text(), "1\n");
    assert_eq!(served.get_with("/release.txt", &condition).status, 304);
}

#[test]
fn interrupted_download_is_resumed() {
    let served = Served::new();
    let text = (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    served.page("large.txt", &text);
    let whole = served.get("/large.txt");
    assert!(whole.text() == text);
    let etag = whole.header("etag").unwrap();
    let part = |headers: &str| served.get_with("/large.txt", headers);
    let rest = part(&format!("Range: bytes=1000-\r\nIf-Range: {etag}\r\n"));
    assert_eq!(rest.status, 206);
    let range = format!("bytes 1000-{}/{}", text.len() - 1, text.len());
    assert_eq!(rest.header("content-range"), Some(range.as_str()));
    assert!(rest.text() == text[1000..]);
    assert_eq!(part("Range: bytes=0-4\r\n").text(), text[..5]);
    assert_eq!(part("Range: bytes=-5\r\n").text(), text[text.len() - 5..]);
    // The file has changed: the client gets the whole file.
    assert_eq!(part("Range: bytes=1000-\r\nIf-Range: \"other\"\r\n").status, 200);
    assert_eq!(part("Range: bytes=99999999-\r\n").status, 416);
    // Ranges that touch are sent as one.
    assert_eq!(part("Range: bytes=2-4,0-1,1-6\r\n").text(), text[..7]);
}

#[test]
fn several_ranges_come_in_one_response() {
    let served = Served::new();
    let text: String = (10_000..20_000).map(|n| n.to_string()).collect();
    served.page("large.bin", &text);
    let get = |range: &str| served.get_with("/large.bin", &format!("Range: bytes={range}\r\n"));
    let answer = get("40000-40009,0-4,-5,0-2");
    assert_eq!((answer.status, answer.header("content-range")), (206, None));
    let kind = answer.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, bytes: &str| {
        format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/50000\r\n\r\n{bytes}\r\n"
        )
    };
    let parts = part("40000-40009", &text[40_000..40_010])
        + &part("0-4", &text[..5])
        + &part("49995-49999", &text[49_995..]);
    assert_eq!(answer.text(), format!("{parts}--{boundary}--\r\n"));
    // The connection works for the next request, and HEAD ignores ranges.
    let mut connection = served.connect();
    let asked = "Range: bytes=0-4,40000-\r\nIf-Range: \"other\"\r\n";
    connection.send(&format!("GET /large.bin HTTP/1.1\r\nHost: a\r\n{asked}\r\n"));
    assert!(connection.answer().unwrap().text() == text);
    connection.send("HEAD /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-4,40000-\r\n\r\n");
    assert_eq!(connection.answer_to("HEAD").unwrap().status, 200);
    assert_eq!(get("0-4,99999-").text(), text[..5]);
    assert_eq!(get("50000-,99999-").status, 416);
    assert_eq!(get("0-4,oops").status, 200);
}

/// Overlapping ranges, many ranges, and ranges of most of the file.
#[test]
fn many_ranges_never_exceed_the_size_of_the_file() {
    let served = Served::new();
    served.page("large.bin", &"x".repeat(100_000));
    let length = |ranges: &[String]| {
        let range = format!("Range: bytes={}\r\n", ranges.join(","));
        let answer = served.get_with("/large.bin", &range);
        assert!(matches!(answer.status, 200 | 206), "{}", answer.status);
        answer.body.len()
    };
    let overlapping: Vec<_> = (0..200).map(|n| format!("{n}-")).collect();
    let single: Vec<_> = (0..200).map(|n| format!("{}-{}", n * 499, n * 499)).collect();
    let too_many: Vec<_> = (0..1000).map(|n| format!("{n}-{n}")).collect();
    assert_eq!(length(&overlapping), 100_000);
    assert_eq!(length(&too_many), 100_000);
    assert!((200..60_000).contains(&length(&single)));
    // With the head of each part, they would exceed the file.
    served.page("large.bin", &"x".repeat(20_000));
    let close: Vec<_> = (0..200).map(|n| format!("{}-{}", n * 99, n * 99)).collect();
    assert_eq!(length(&close), 20_000);
}

/// The next response may have another encoding with the same date.
#[test]
fn if_range_with_a_date_is_ignored_for_compressible_types() {
    let served = Served::new();
    let text = "some text ".repeat(1000);
    for name in ["a.txt", "a.bin"] {
        served.page(name, &text);
    }
    let part = |page: &str| {
        let date = served.await_date(page);
        served.get_with(page, &format!("Range: bytes=1-2\r\nIf-Range: {date}\r\n")).status
    };
    assert_eq!((part("/a.bin"), part("/a.txt")), (206, 200));
}

#[test]
fn files_have_built_in_or_configured_types() {
    let served =
        Served::with("types = { md = \"text/markdown\", JSON = \"application/x-own\" }", "");
    let kind = |page: &str| {
        served.page(page, "x");
        served.get(&format!("/{page}")).header("content-type").unwrap().to_owned()
    };
    assert_eq!(kind("a.md"), "text/markdown");
    assert_eq!(kind("a.json"), "application/x-own");
    assert_eq!(kind("a.ics"), "text/calendar; charset=utf-8");
    assert_eq!(kind("a.odt"), "application/vnd.oasis.opendocument.text");
    assert_eq!(kind("a.unknown"), "application/octet-stream");
}

#[test]
fn compressed_copy_is_sent_to_clients_that_accept_it() {
    let served = Served::new();
    served.page("app.js", "plain");
    served.page("app.js.br", "as br");
    served.page("app.js.gz", "as gzip");
    served.page("only.css", "plain");
    let get = |page: &str, accept: &str| {
        let answer = served.get_with(page, &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        let encoding = answer.header("content-encoding").unwrap_or("none").to_owned();
        (answer.text(), encoding, answer.header("etag").unwrap().to_owned())
    };
    let is = |text: &str, encoding: &str| (text.to_owned(), encoding.to_owned());
    let of = |(text, encoding, _): (String, String, String)| (text, encoding);
    assert_eq!(of(get("/app.js", "gzip, br, zstd")), is("as br", "br"));
    assert_eq!(of(get("/app.js", "gzip")), is("as gzip", "gzip"));
    assert_eq!(of(get("/app.js", "identity")), is("plain", "none"));
    assert_eq!(of(get("/only.css", "br")), is("plain", "none"));
    assert_ne!(get("/app.js", "br").2, get("/app.js", "gzip").2);
    assert_eq!(
        served.get_with("/app.js", "Accept-Encoding: br\r\n").header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
}

#[test]
fn cache_control_is_that_of_the_longest_prefix() {
    let pool = "[gateway.cache]\n\"/\" = \"no-cache\"\n\"/assets/\" = \"public, max-age=31536000, immutable\"";
    let served = Served::with(pool, "");
    served.page("assets/a.css", "a");
    let cache = |page: &str| served.get(page).header("cache-control").map(str::to_owned);
    assert_eq!(cache("/assets/a.css").as_deref(), Some("public, max-age=31536000, immutable"));
    assert_eq!(cache("/release.txt").as_deref(), Some("no-cache"));
    assert_eq!(cache("/ping.php"), None);
}
