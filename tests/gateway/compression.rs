//! Files that the gateway compresses: the first response is the plain file, later ones come from memory.

use std::fs::{self, File};
use std::io::Read;
use std::time::UNIX_EPOCH;

use harness::served::{Answer, Served};
use harness::wait_for;

const GZIP: &str = "Accept-Encoding: br;q=0, gzip\r\n";

fn text() -> String {
    (0..20_000).map(|n| format!("number {n}")).collect::<Vec<_>>().join("\n")
}

fn plain(answer: &Answer) -> String {
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    unpacked(&answer.body)
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// Sends requests until the response is compressed; the responses before are the plain file. A file is not
/// compressed within 3 s after its last change.
fn compressed(served: &Served, page: &str, text: &str) -> Answer {
    wait_for("a compressed answer", || {
        let answer = served.get_with(page, GZIP);
        if answer.header("content-encoding").is_some() {
            assert!(plain(&answer) == text);
            return Some(answer);
        }
        assert!(answer.text() == text);
        None
    })
}

/// Sends a HEAD request.
fn head(served: &Served, page: &str, headers: &str) -> Answer {
    let mut connection = served.connect();
    connection.send(&format!("HEAD {page} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
    let answer = connection.answer_to("HEAD").unwrap();
    // The connection can be used for the next request.
    assert_eq!(connection.get("/ping.php").unwrap().text(), "pong1\n");
    answer
}

#[test]
fn file_is_compressed_for_clients_that_accept_gzip() {
    let served = Served::new();
    let text = text();
    served.page("a.js", &text);
    let first = served.get_with("/a.js", GZIP);
    assert_eq!((first.header("content-encoding"), first.text() == text), (None, true));
    let answer = compressed(&served, "/a.js", &text);
    assert!(answer.body.len() < text.len() / 2);
    assert_eq!(answer.header("vary"), Some("accept-encoding"));
    assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    let etag = answer.header("etag").unwrap();
    assert!(etag.ends_with("-gz\""), "{etag}");
    assert_ne!(first.header("etag"), Some(etag));
    for other in ["", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0\r\n"] {
        let answer = served.get_with("/a.js", other);
        assert_eq!(answer.header("content-encoding"), None, "{other}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert_eq!(answer.header("etag"), first.header("etag"));
        assert!(answer.text() == text);
    }
    // All threads share the cache: from now on, each response is compressed.
    for _ in 0..20 {
        assert_eq!(served.get_with("/a.js", GZIP).body, answer.body);
    }
}

#[test]
fn conditions_and_ranges_apply_to_the_compressed_bytes() {
    let served = Served::new();
    let text = text();
    served.page("a.css", &text);
    let old = served.get("/a.css").header("etag").unwrap().to_owned();
    let whole = compressed(&served, "/a.css", &text);
    let etag = whole.header("etag").unwrap();
    let ask = |headers: &str| served.get_with("/a.css", &format!("{GZIP}{headers}"));

    let same = ask(&format!("If-None-Match: {etag}\r\n"));
    assert_eq!((same.status, same.header("etag")), (304, Some(etag)));
    assert_eq!(same.header("content-encoding"), None);
    assert_eq!(same.header("vary"), Some("accept-encoding"));
    assert_eq!(plain(&ask(&format!("If-None-Match: {old}\r\n"))), text);
    assert_eq!(ask(&format!("If-Match: {etag}\r\n")).status, 200);
    assert_eq!(ask(&format!("If-Match: {old}\r\n")).status, 412);

    let length = whole.body.len();
    let part = ask(&format!("Range: bytes=1000-\r\nIf-Range: {etag}\r\n"));
    assert_eq!((part.status, part.header("content-encoding")), (206, Some("gzip")));
    let range = format!("bytes 1000-{}/{length}", length - 1);
    assert_eq!(part.header("content-range"), Some(&*range));
    assert_eq!(part.header("etag"), Some(etag));
    let begin = ask("Range: bytes=0-999\r\n");
    assert_eq!(unpacked(&[begin.body, part.body].concat()), text);
    assert_eq!(ask("Range: bytes=-10\r\n").body, whole.body[length - 10..]);
    let beyond = ask(&format!("Range: bytes={length}-\r\n"));
    assert_eq!((beyond.status, beyond.header("content-encoding")), (416, None));
    // A download that began with the plain file continues with the plain file.
    let other = ask(&format!("Range: bytes=1000-\r\nIf-Range: {old}\r\n"));
    assert_eq!((other.status, plain(&other)), (200, text));

    let head = head(&served, "/a.css", GZIP);
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in ["etag", "content-length", "content-encoding", "vary", "content-type"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
}

/// The file is larger than the part that a connection gets at a time.
#[test]
fn large_compressed_file_arrives_complete() {
    let served = Served::new();
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let text = (0..150_000).map(|_| format!("{:x}", next())).collect::<Vec<_>>().join(" ");
    served.page("large.json", &text);
    let answer = compressed(&served, "/large.json", &text);
    assert!(answer.body.len() > 500_000, "{}", answer.body.len());
    let part = served.get_with("/large.json", &format!("{GZIP}Range: bytes=200000-399999\r\n"));
    assert_eq!(part.body, answer.body[200_000..400_000]);
}

#[test]
fn incompressible_or_precompressed_file_is_sent_plain() {
    let served = Served::new();
    let text = text();
    for page in ["a.png", "a.txt", "turn1.txt", "turn2.txt", "turn3.txt"] {
        served.page(page, &text);
    }
    served.page("small.css", &text[..1023]);
    served.page("copy.css", &text);
    served.page("copy.css.gz", "the copy");
    served.page("file.php", "<?php header('X-Accel-Redirect: /a.txt');");
    compressed(&served, "/a.txt", &text);
    for turn in ["/turn1.txt", "/turn2.txt", "/turn3.txt"] {
        let get = |page: &str| {
            let answer = served.get_with(page, GZIP);
            (answer.header("content-encoding").map(str::to_owned), answer.text())
        };
        assert!(get("/a.png") == (None, text.clone()));
        assert!(get("/small.css") == (None, text[..1023].to_owned()));
        assert!(get("/file.php") == (None, text.clone()));
        assert!(get("/copy.css") == (Some("gzip".to_owned()), "the copy".to_owned()));
        // One file is compressed at a time: any earlier compression has ended by now.
        compressed(&served, turn, &text);
    }
    let etag = |page: &str| served.get_with(page, GZIP).header("etag").unwrap().to_owned();
    assert!(etag("/copy.css").ends_with(".gz\"") && etag("/a.txt").ends_with("-gz\""));
    // A copy that is added later takes precedence, too.
    served.page("a.txt.gz", "later");
    assert_eq!(served.get_with("/a.txt", GZIP).text(), "later");
}

/// Files of the same size and mtime, in another release and in place of the old file.
#[test]
fn changed_file_never_gets_old_bytes() {
    let served = Served::new();
    let write = |release: &str, text: &str| {
        served.site.write(&format!("www/{release}/a.css"), text);
        let path = served.site.path(&format!("www/{release}/a.css"));
        File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    };
    let texts = ["one", "two", "six"].map(|word| word.repeat(1000));
    write("release1", &texts[0]);
    write("release2", &texts[1]);
    let first = compressed(&served, "/a.css", &texts[0]);
    served.site.switch("release2");
    served.site.run(&["restart"]).succeeds();
    let second = compressed(&served, "/a.css", &texts[1]);
    assert_ne!(first.header("etag"), second.header("etag"));
    write("release2", &texts[2]);
    let third = compressed(&served, "/a.css", &texts[2]);
    // The plain file keeps its ETag.
    assert_ne!(second.header("etag"), third.header("etag"));
    served.site.switch("release1");
    served.site.run(&["restart"]).succeeds();
    assert_eq!(compressed(&served, "/a.css", &texts[0]).header("etag"), first.header("etag"));
}

/// The second release gets the compressed file at once.
#[test]
fn file_shared_by_releases_is_compressed_once() {
    let served = Served::new();
    let text = text();
    served.page("a.css", &text);
    let [first, second] =
        ["release1", "release2"].map(|it| served.site.path(&format!("www/{it}/a.css")));
    fs::remove_file(&second).unwrap();
    fs::hard_link(&first, &second).unwrap();
    let old = compressed(&served, "/a.css", &text);
    served.site.switch("release2");
    served.site.run(&["restart"]).succeeds();
    let new = served.get_with("/a.css", GZIP);
    assert!(plain(&new) == text && new.body == old.body);
    assert_ne!(new.header("etag"), old.header("etag"));
}

/// The cache holds only some of the files: the others are compressed again when needed.
#[test]
fn files_beyond_max_compressed_are_served() {
    let served = Served::with("", "max_compressed = \"150KiB\"");
    let texts = [1, 2, 3, 4, 5].map(|n| text().replace("number", &format!("number {n}")));
    for (n, text) in texts.iter().enumerate() {
        served.page(&format!("{n}.txt"), &text[..140_000]);
    }
    for _ in 0..2 {
        for (n, text) in texts.iter().enumerate() {
            compressed(&served, &format!("/{n}.txt"), &text[..140_000]);
        }
    }
}

#[test]
fn compression_can_be_turned_off() {
    for (pool, global) in [("compress = false", ""), ("", "max_compressed = \"0\"")] {
        let served = Served::with(pool, global);
        let text = text();
        served.page("a.txt", &text);
        let path = served.site.path("www/release1/a.txt");
        // Requests the file until a compression would have ended, and then once more.
        let settled =
            || path.metadata().unwrap().modified().unwrap().elapsed().unwrap().as_secs() >= 3;
        wait_for("a file that has settled", || {
            let is_settled = settled();
            let answer = served.get_with("/a.txt", GZIP);
            assert_eq!(answer.header("content-encoding"), None);
            is_settled.then_some(())
        });
        assert!(served.get_with("/a.txt", GZIP).text() == text);
    }
}
