//! HTTP/2: good clients (curl, nghttp, h2load), and a client that writes frames by hand.

mod floods;
mod records;
mod wrong_frames;

use std::fs;
use std::process::Command;

use harness::served::http2::*;
use harness::served::{Served, curl};
use harness::wait_for;
use rustix::process::Signal;

const SHOW: &str =
    "<?php foreach (explode(',', $_GET['of']) as $name) echo $_SERVER[$name] ?? '-', '|';";
const ECHO: &str =
    "<?php echo strlen(file_get_contents('php://input')), ' ', $_SERVER['CONTENT_LENGTH'] ?? '-';";

/// What curl prints for a page, by HTTP/2 without TLS.
fn get(served: &Served, page: &str, args: &[&str]) -> String {
    let url = format!("http://127.0.0.1:{}{page}", served.port());
    curl(&[&["--http2-prior-knowledge", &url], args].concat())
}

fn ok(text: &str) -> End {
    End::Response(200, text.as_bytes().to_vec())
}

#[test]
fn variables_are_those_of_http1_with_another_protocol() {
    let served = Served::new();
    served.page("show.php", SHOW);
    let names = "SERVER_PROTOCOL,REQUEST_METHOD,REQUEST_URI,HTTP_HOST,SERVER_NAME,HTTP_COOKIE,HTTPS,CONTENT_LENGTH,HTTP_TE";
    let page = format!("/show.php?of={names}");
    let mut client = Http2::to(served.port());
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")];
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", &page, &fields));
    let expected = format!("HTTP/2.0|GET|{page}|a|a|a=1; b=2|-|-|trailers|");
    assert_eq!(client.end_of(1), ok(&expected));
    // `Host` in place of `:authority`, and beside it.
    let bare = |more: &[(&str, &str)]| {
        let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/show.php?of=HTTP_HOST")];
        pseudo.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect::<Vec<_>>()
    };
    for (stream, more, expected) in [
        (3, &[("host", "B.test:81")][..], ok("B.test:81|")),
        (5, &[(":authority", "c"), ("host", "C")], ok("C|")),
    ] {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &bare(more));
        assert_eq!(client.end_of(stream), expected);
    }
    for more in [&[(":authority", "c"), ("host", "d")][..], &[], &[(":authority", "x@y")]] {
        let mut client = Http2::to(served.port());
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &bare(more));
        assert!(matches!(client.end_of(1), End::Response(400, _)), "{more:?}");
    }
}

#[test]
fn access_log_is_that_of_http1_with_another_protocol() {
    let site = Served::site("", "access_log = \"pid/access.log\"");
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    assert_eq!(get(&served, "/ping.php?x", &["--header", "Host: a.test"]), "pong1\n");
    let line = wait_for("a line", || {
        Some(served.site.read("pid/access.log")).filter(|it| it.ends_with('\n'))
    });
    assert!(line.contains("\"GET /ping.php?x HTTP/2.0\" 200 6 "), "{line}");
    assert!(line.contains("\"a.test\""), "{line}");
}

#[test]
fn responses_without_a_body_have_none() {
    let served = Served::new();
    served.page("status.php", "<?php http_response_code((int) $_GET['is']); header('Connection: close'); header('Keep-Alive: 5'); if ($_GET['is'] != 204) echo 'text';");
    served.page("file.txt", "0123456789");
    let mut client = Http2::to(served.port());
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head("HEAD", "/file.txt", &[]));
    assert_eq!(client.end_of(1), End::Response(200, Vec::new()));
    client.get(3, "/status.php?is=204");
    assert_eq!(client.end_of(3), End::Response(204, Vec::new()));
    client.get(5, "/status.php?is=500");
    assert_eq!(client.end_of(5), End::Response(500, b"text".to_vec()));
    let said = get(&served, "/file.txt", &["--head"]);
    assert!(said.starts_with("HTTP/2 200") && said.contains("content-length: 10"), "{said}");
    let said = get(&served, "/status.php?is=404", &["--include"]);
    assert!(said.starts_with("HTTP/2 404") && said.ends_with("text"), "{said}");
    assert!(!said.contains("connection") && !said.contains("keep-alive"), "{said}");
    served.await_date("/file.txt");
    let tag = get(&served, "/file.txt", &["--head"]);
    let tag = tag.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim().to_owned();
    let said =
        get(&served, "/file.txt", &["--include", "--header", &format!("If-None-Match: {tag}")]);
    assert!(said.starts_with("HTTP/2 304") && said.trim_end().lines().count() > 2, "{said}");
    assert_eq!(get(&served, "/file.txt", &["--range", "2-4"]), "234");
}

#[test]
fn bodies_arrive_whole_and_wrong_ones_are_refused() {
    let served = Served::with("", "max_body = \"1MiB\"");
    served.page("echo.php", ECHO);
    let file = served.site.path("body");
    fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    let data = format!("@{}", file.display());
    assert_eq!(get(&served, "/echo.php", &["--data-binary", &data]), "1048576 1048576");
    let file = served.site.path("larger");
    fs::write(&file, vec![b'x'; (1 << 20) + 1]).unwrap();
    let data = format!("@{}", file.display());
    let said = get(&served, "/echo.php", &["--data-binary", &data, "--write-out", "%{http_code}"]);
    assert!(said.ends_with("413"), "{said}");
    // Without a length, in parts, padded, with trailers.
    let mut client = Http2::to(served.port());
    let post = |more: &[(&str, &str)]| head("POST", "/echo.php", more);
    client.send(HEADERS, END_HEADERS, 1, &post(&[]));
    client.send(DATA, 0, 1, b"hel");
    client.send(DATA, PADDED, 1, b"\x03lo\0\0\0");
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &field("x-trailer", "1"));
    assert_eq!(client.end_of(1), ok("5 5"));
    client.send(HEADERS, END_HEADERS, 3, &post(&[("content-length", "0")]));
    client.send(DATA, END_STREAM, 3, b"");
    assert_eq!(client.end_of(3), ok("0 0"));
    for (length, body) in [("3", "hello"), ("7", "hello"), ("x", "hello"), ("+5", "hello")] {
        let mut client = Http2::to(served.port());
        client.send(HEADERS, END_HEADERS, 1, &post(&[("content-length", length)]));
        client.send(DATA, END_STREAM, 1, body.as_bytes());
        let end = client.end_of(1);
        let is_refused = matches!(
            end,
            End::Reset(PROTOCOL_ERROR) | End::GoAway(PROTOCOL_ERROR) | End::Response(400, _)
        );
        assert!(is_refused, "{length}: {end:?}");
    }
    // The client waits for 100.
    let mut client = Http2::to(served.port());
    client.send(HEADERS, END_HEADERS, 1, &post(&[("expect", "100-continue")]));
    client.await_frame(HEADERS);
    client.send(DATA, END_STREAM, 1, b"hello");
    assert_eq!(client.end_of(1), ok("5 5"));
}

/// A response while the upload goes on: the rest of the upload is not needed.
#[test]
fn early_response_ends_the_upload() {
    let served = Served::with("deny = [\"/secret\"]", "");
    let mut client = Http2::to(served.port());
    client.send(HEADERS, END_HEADERS, 1, &head("POST", "/secret", &[]));
    client.send(DATA, 0, 1, &[b'x'; 16_384]);
    assert!(matches!(client.end_of(1), End::Response(403, _)));
    let reset = client.await_frame(RST_STREAM);
    assert_eq!((reset.stream, reset.code()), (1, 0));
    client.get(3, "/ping.php");
    assert_eq!(client.end_of(3), ok("pong1\n"));
}

/// Clients whose windows are closed, or nearly so: they hold no child, and lose only their stream.
#[test]
fn closed_window_holds_no_child() {
    let served = Served::with_children(1, "", "send_timeout = \"2s\"\nheader_timeout = \"60s\"");
    served.page("large.php", "<?php echo str_repeat('x', 3000000);");
    let mut clients: Vec<_> = [0, 1, 100]
        .into_iter()
        .map(|window| {
            let mut client = Http2::with(served.port(), &[(4, window)]);
            for stream in [1, 3, 5] {
                client.get(stream, "/large.php");
            }
            client
        })
        .collect();
    served.await_in_flight(0);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    for client in &mut clients {
        let mut resets: Vec<_> = (0..3).map(|_| client.await_frame(RST_STREAM)).collect();
        resets.sort_by_key(|reset| reset.stream);
        let resets: Vec<_> = resets.iter().map(|reset| (reset.stream, reset.code())).collect();
        assert_eq!(resets, [(1, CANCEL), (3, CANCEL), (5, CANCEL)]);
        // The connection goes on with a stream whose window is open.
        client.send(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
        client.get(7, "/ping.php");
        assert_eq!(client.end_of(7), ok("pong1\n"));
    }
}

#[test]
fn reset_request_frees_its_place() {
    let served = Served::with_children(1, "", "");
    served.page(
        "endless.php",
        "<?php set_time_limit(0); while (true) { echo str_repeat('x', 100000); flush(); }",
    );
    let mut client = Http2::to(served.port());
    client.get(1, "/endless.php");
    client.await_frame(DATA);
    client.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    served.await_in_flight(0);
    // The first response has used up the window of the connection.
    client.send(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]);
    client.get(3, "/ping.php");
    assert_eq!(client.end_of(3), ok("pong1\n"));
}

#[test]
fn request_in_progress_is_finished_at_the_shutdown() {
    let mut served = Served::new();
    served.page("slow.php", "<?php usleep(700000); echo 'done';");
    let mut client = Http2::to(served.port());
    let mut idle = Http2::to(served.port());
    idle.get(1, "/ping.php");
    assert_eq!(idle.end_of(1), ok("pong1\n"));
    client.get(1, "/slow.php");
    served.await_in_flight(1);
    served.gateway().signal(Signal::TERM);
    assert_eq!(client.await_frame(GOAWAY).code(), 0);
    assert_eq!(client.end_of(1), ok("done"));
    // Neither client acknowledges the end: the gateway does not wait for that.
    served.finish_gateway().status(0);
}

#[test]
fn connection_without_requests_is_closed() {
    let served = Served::with("", "header_timeout = \"1s\"");
    let mut silent = Http2::bare(served.port());
    silent.send_bytes(&PREFACE[..10]);
    let mut idle = Http2::to(served.port());
    // Headers without an end.
    let mut slow = Http2::to(served.port());
    slow.send(HEADERS, END_STREAM, 1, &head("GET", "/ping.php", &[]));
    assert_eq!(idle.await_frame(GOAWAY).code(), 0);
    for client in [&mut silent, &mut idle, &mut slow] {
        while client.frame().is_some() {}
    }
}

/// By `nghttp` and `h2load`: many requests at the same time, a large response, an upload.
#[test]
fn nghttp_and_h2load_are_served() {
    let served = Served::with_tls("", "");
    served.page("echo.php", ECHO);
    served.page("large.php", "<?php echo str_repeat('x', 5000000);");
    fs::write(served.site.path("body"), vec![b'x'; 3_000_000]).unwrap();
    let run = |program: &str, args: &[&str]| {
        let output = Command::new("timeout")
            .args(["60", program])
            .args(args)
            .current_dir(served.site.root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let https = |page: &str| format!("https://127.0.0.1:{}{page}", served.tls_port());
    let http = |page: &str| format!("http://127.0.0.1:{}{page}", served.port());
    for url in [https("/echo.php"), http("/echo.php")] {
        assert_eq!(run("nghttp", &["-d", "body", &url]), "3000000 3000000");
        assert_eq!(
            run("nghttp", &["-d", "body", "--expect-continue", "--no-content-length", &url]),
            "3000000 3000000"
        );
    }
    assert_eq!(run("nghttp", &["-w10", "-W10", &https("/large.php")]).len(), 5_000_000);
    for url in [https("/ping.php"), http("/ping.php")] {
        let said = run("h2load", &["-n500", "-c4", "-m20", &url]);
        assert!(said.contains("500 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    }
}

/// The limit of simultaneous requests that the gateway has announced to a client holds.
#[test]
fn requests_beyond_the_limit_are_refused() {
    let served = Served::with_children(1, "", "");
    served.page("hold.php", include_str!("../real/pages/hold.php"));
    let mark = served.site.scratch().join("mark");
    let page = format!("/hold.php?mark={}", mark.display());
    let mut client = Http2::to(served.port());
    for number in 0..101 {
        client.get(2 * number + 1, &page);
    }
    assert_eq!(client.end_of(201), End::Reset(REFUSED_STREAM));
    drop(client);
    fs::write(mark.with_extension("end"), "").unwrap();
    served.await_in_flight(0);
}
