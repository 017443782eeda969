//! Responses of scripts that the gateway compresses, decoded by the programs of the system.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use harness::served::{Answer, Served};
use harness::wait_for;

/// Runs a decoder. None: the data is not complete.
pub(super) fn decoded(program: &str, data: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Command::new(program)
        .args(["-d", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut stdin, data) = (decoder.stdin.take().unwrap(), data.to_vec());
    let writer = std::thread::spawn(move || drop(stdin.write_all(&data)));
    let output = decoder.wait_with_output().unwrap();
    writer.join().unwrap();
    output.status.success().then_some(output.stdout)
}

pub(super) const CODINGS: [(&str, &str); 3] =
    [("gzip", "gzip"), ("br", "brotli"), ("zstd", "zstd")];

pub(super) fn accepting(served: &Served, page: &str, codings: &str) -> Answer {
    served.get_with(page, &format!("Accept-Encoding: {codings}\r\n"))
}

pub(super) fn coding(answer: &Answer) -> Option<&str> {
    answer.header("content-encoding")
}

/// Prints numbers: short ones are complete at once, long ones are streamed.
const NUMBERS: &str = "<?php if (isset($_GET['length'])) ini_set('zlib.output_compression', 0);
    foreach ($_GET['headers'] ?? [] as $header) header($header);
    http_response_code((int) ($_GET['status'] ?? 200));
    $text = ''; for ($n = 0; $n < $_GET['count']; $n++) $text .= \"<p>number $n</p>\\n\";
    if (isset($_GET['promise'])) header('Content-Length: ' . (strlen($text) + (int) $_GET['promise']));
    echo $text;";

pub(super) fn numbers(count: usize) -> String {
    (0..count).fold(String::new(), |text, number| text + &format!("<p>number {number}</p>\n"))
}

/// A page with this text is sent with each coding that a client accepts.
pub(super) fn is_compressed_by_wish(served: &Served, page: &str, text: &str) {
    for (name, program) in CODINGS {
        let answer = accepting(served, page, name);
        assert_eq!((answer.status, coding(&answer)), (200, Some(name)), "{page}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert!(answer.body.len() * 2 < text.len(), "{page}: {name} {}", answer.body.len());
        assert!(decoded(program, &answer.body).unwrap() == text.as_bytes(), "{page}: {name}");
    }
}

#[test]
fn pages_of_all_lengths_are_compressed_by_the_wish_of_the_client() {
    let served = Served::new();
    served.page("numbers.php", NUMBERS);
    for count in [100, 1000, 20_000, 150_000] {
        let page = format!("/numbers.php?count={count}");
        let text = numbers(count);
        is_compressed_by_wish(&served, &page, &text);
        for none in ["", "identity", "*", "gzip;q=0", "gzip;q=0.5, identity"] {
            let answer = accepting(&served, &page, none);
            assert_eq!((coding(&answer), answer.header("vary")), (None, Some("accept-encoding")));
            assert!(answer.text() == text);
        }
    }
    let best =
        |codings| coding(&accepting(&served, "/numbers.php?count=100", codings)).map(str::to_owned);
    assert_eq!(best("gzip, deflate, br, zstd").as_deref(), Some("zstd"));
    assert_eq!(best("gzip, deflate, br").as_deref(), Some("br"));
    assert_eq!(best("gzip;q=1, br;q=0.5").as_deref(), Some("gzip"));
    let url = format!("http://127.0.0.1:{}/numbers.php?count=20000", served.port());
    let curl = Command::new("curl").args(["-sS", "--fail", "--compressed", &url]).output().unwrap();
    assert!(curl.stdout == numbers(20_000).as_bytes());
}

#[test]
fn ineligible_responses_are_not_compressed() {
    let served = Served::new();
    served.page("numbers.php", NUMBERS);
    served.page(
        "file.php",
        "<?php header('X-Accel-Redirect: /large.bin'); header('Content-Type: text/html');",
    );
    served.page("large.bin", &numbers(1000));
    let of = |query: &str| accepting(&served, &format!("/numbers.php?count=500&{query}"), "gzip");
    for header in [
        "Content-Type: image/png",
        "Content-Type: text/event-stream",
        "Cache-Control: public, no-transform",
        "Content-Encoding: identity",
        "Content-Range: bytes 0-99/200",
        "Content-MD5: x",
    ] {
        let query = format!("headers[]={}", header.replace(' ', "%20"));
        let answer = of(&query);
        assert_ne!(coding(&answer), Some("gzip"), "{header}");
        assert!(answer.text() == numbers(500), "{header}");
    }
    assert_eq!(coding(&of("status=206")), None);
    assert_eq!(of("status=304").body.len(), 0);
    assert_eq!(coding(&accepting(&served, "/file.php", "gzip")), None);
    let short = accepting(&served, "/numbers.php?count=10", "gzip");
    assert_eq!((coding(&short), short.header("vary")), (None, Some("accept-encoding")));
    // Error pages of the application are compressed too; a strong ETag becomes weak.
    assert_eq!(coding(&of("status=404")), Some("gzip"));
    let tagged = of("headers[]=ETag:%20%22a%22&headers[]=Accept-Ranges:%20bytes");
    assert_eq!((tagged.header("etag"), tagged.header("accept-ranges")), (Some("W/\"a\""), None));
    let mut connection = served.connect();
    let head = "HEAD /numbers.php?count=500&promise=0 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    connection.send(head);
    let head = connection.answer_to("HEAD").unwrap();
    assert_eq!((coding(&head), head.header("content-length")), (Some("gzip"), None));
    assert_eq!(connection.get("/ping.php").unwrap().text(), "pong1\n");
}

#[test]
fn compression_is_configured_by_kind_and_type() {
    let count = |settings: &str| {
        let served = Served::with(settings, "");
        served.page("numbers.php", NUMBERS);
        let own = "/numbers.php?count=500&headers[]=Content-Type:%20application/x-own";
        let pages = ["/numbers.php?count=500", own];
        pages.map(|page| coding(&accepting(&served, page, "gzip")).is_some())
    };
    assert_eq!(count("compress = \"static\""), [false, false]);
    assert_eq!(count("compress_types = [\"application/*\"]"), [false, true]);
    let site = Served::site("compress = \"all\"", "");
    let told = site.run(&["list"]).status(2).stderr.clone();
    assert!(
        told.contains("invalid value: string \"all\", expected true, false or \"static\""),
        "{told}"
    );
}

/// A page that is flushed in parts arrives in parts: the script waits until the client has read each part.
#[test]
fn flushed_part_arrives_before_the_script_goes_on() {
    let served = Served::new();
    served.page(
        "parts.php",
        "<?php while (ob_get_level()) ob_end_clean(); $go = fopen(__DIR__ . '/go', 'r'); echo 'first part ', str_repeat('.', 2000); flush();
        fgets($go); echo 'second part'; flush(); fgets($go); echo 'end';",
    );
    let go = served.site.path("www/release1/go");
    for (name, program) in CODINGS {
        let _ = std::fs::remove_file(&go);
        assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
        let mut connection = served.connect();
        connection.send(&format!(
            "GET /parts.php HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {name}\r\n\r\n"
        ));
        let mut fifo = File::options().write(true).open(&go).unwrap();
        let head = connection.head().unwrap();
        assert!(head.contains(&format!("content-encoding: {name}")), "{head}");
        let mut body = connection.chunk_bytes().unwrap();
        while !partly(name, &body).ends_with("....") {
            body.extend(connection.chunk_bytes().unwrap());
        }
        fifo.write_all(b"go\n").unwrap();
        while !partly(name, &body).ends_with("second part") {
            body.extend(connection.chunk_bytes().unwrap());
        }
        fifo.write_all(b"go\n").unwrap();
        loop {
            let chunk = connection.chunk_bytes().unwrap();
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
        }
        let text = String::from_utf8(decoded(program, &body).unwrap()).unwrap();
        assert!(text.ends_with("second partend"), "{name}");
    }
}

/// The part of incomplete data that can be decoded. The programs of the system would print nothing.
fn partly(coding: &str, data: &[u8]) -> String {
    let mut plain = Vec::new();
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(data).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(data, 4096).read_to_end(&mut plain),
        _ => zstd::Decoder::new(data).unwrap().read_to_end(&mut plain),
    };
    String::from_utf8(plain).unwrap()
}

/// An error in the middle must not look like the end.
#[test]
fn response_that_is_cut_stays_incomplete_and_a_client_may_leave() {
    let served = Served::new();
    served.page("numbers.php", NUMBERS);
    served.page(
        "dies.php",
        "<?php echo str_repeat('some text ', 100000); flush(); posix_kill(getmypid(), 9); sleep(9);",
    );
    for (name, _) in CODINGS {
        for page in ["/dies.php", "/numbers.php?count=100000&promise=10"] {
            let mut connection = served.connect();
            connection.send(&format!(
                "GET {page} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {name}\r\n\r\n"
            ));
            let answer = connection.answer();
            assert!(answer.is_err(), "{page} {name}: {:?}", answer.map(|it| it.body.len()));
        }
        // The gateway leaves out the bytes beyond the promised length.
        let answer = accepting(&served, "/numbers.php?count=100000&promise=-10", name);
        assert_eq!(coding(&answer), Some(name));
        let program = CODINGS.iter().find(|(it, _)| *it == name).unwrap().1;
        let text = numbers(100_000);
        assert!(decoded(program, &answer.body).unwrap() == text.as_bytes()[..text.len() - 10]);
    }
    served.page("endless.php", "<?php while (true) { echo str_repeat('text ', 1000); flush(); }");
    for _ in 0..5 {
        let mut connection = served.connect();
        connection.send("GET /endless.php HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        connection.head().unwrap();
        connection.chunk().unwrap();
    }
    served.await_in_flight(0);
    wait_for("a compressed answer", || {
        let answer = accepting(&served, "/numbers.php?count=100", "br");
        (coding(&answer) == Some("br")).then_some(())
    });
}
