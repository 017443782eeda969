//! Frames and fields that RFC 9113 forbids. h2spec itself is not in Debian.

use harness::served::Served;
use harness::served::http2::*;

use super::ok;

/// The cases of h2spec, in the order of RFC 9113: what the gateway must answer to wrong frames.
#[allow(clippy::too_many_lines, reason = "a table")]
#[test]
fn wrong_frames_are_refused() {
    const PROTOCOL: &[End] =
        &[End::GoAway(PROTOCOL_ERROR), End::Closed, End::Reset(PROTOCOL_ERROR)];
    // h2 takes most of them for errors of the protocol.
    const SIZE: &[End] = &[
        End::GoAway(FRAME_SIZE_ERROR),
        End::GoAway(PROTOCOL_ERROR),
        End::Closed,
        End::Reset(FRAME_SIZE_ERROR),
    ];
    const FLOW: &[End] = &[
        End::GoAway(FLOW_CONTROL_ERROR),
        End::GoAway(PROTOCOL_ERROR),
        End::Closed,
        End::Reset(FLOW_CONTROL_ERROR),
    ];
    const STATE: &[End] = &[
        End::GoAway(STREAM_CLOSED),
        End::Reset(STREAM_CLOSED),
        End::GoAway(PROTOCOL_ERROR),
        End::Closed,
    ];
    // h2 takes a field block that is cut off for an error of the protocol.
    const CODING: &[End] =
        &[End::GoAway(COMPRESSION_ERROR), End::GoAway(PROTOCOL_ERROR), End::Closed];
    let served = Served::new();
    served.page("sleep.php", "<?php usleep(300000);");
    let get = head("GET", "/ping.php", &[]);
    let all = END_HEADERS | END_STREAM;
    let pseudo = |fields: &[(&str, &str)]| {
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        frame(HEADERS, all, 1, &block)
    };
    let with = |name: &str, value: &str| {
        frame(HEADERS, all, 1, &head("GET", "/ping.php", &[(name, value)]))
    };
    let slow = frame(HEADERS, all, 1, &head("GET", "/sleep.php", &[]));
    let open = frame(HEADERS, END_HEADERS, 1, &head("POST", "/ping.php", &[]));
    let after = |first: &[u8], second: Vec<u8>| [first, &second].concat();
    let (m, s, p, a) =
        ((":method", "GET"), (":scheme", "http"), (":path", "/ping.php"), (":authority", "a"));
    let cases: Vec<(&str, Vec<u8>, &[End])> = vec![
        ("4.2 a frame larger than 16,384 bytes", frame(DATA, 0, 1, &[0; 16_385]), SIZE),
        ("4.2 HEADERS larger than that", frame(HEADERS, all, 1, &[0; 16_385]), SIZE),
        ("4.3 an invalid field block", frame(HEADERS, all, 1, b"\xff\xff\xff\xff\xff"), CODING),
        ("4.3 an index beyond the tables", frame(HEADERS, all, 1, b"\xfe"), CODING),
        (
            "4.3 a table size above the limit",
            frame(HEADERS, all, 1, b"\x3f\xe1\xff\x03\x82"),
            CODING,
        ),
        (
            "4.3 another frame within a field block",
            after(&frame(HEADERS, END_STREAM, 1, &get), frame(PING, 0, 0, &[0; 8])),
            PROTOCOL,
        ),
        (
            "4.3 a field block of another stream",
            after(&frame(HEADERS, END_STREAM, 1, &get), frame(HEADERS, all, 3, &get)),
            PROTOCOL,
        ),
        ("5.1 DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), PROTOCOL),
        ("5.1 RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), PROTOCOL),
        (
            "5.1 WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            PROTOCOL,
        ),
        ("5.1 CONTINUATION on an idle stream", frame(CONTINUATION, all, 1, &get), PROTOCOL),
        ("5.1 DATA on a half-closed stream", after(&slow, frame(DATA, END_STREAM, 1, b"x")), STATE),
        ("5.1 HEADERS on a half-closed stream", after(&slow, frame(HEADERS, all, 1, &get)), STATE),
        ("5.1.1 an even stream", frame(HEADERS, all, 2, &get), PROTOCOL),
        (
            "5.1.1 a stream with a lower number",
            after(&frame(HEADERS, all, 5, &get), frame(HEADERS, all, 3, &get)),
            STATE,
        ),
        ("5.1.1 stream 0", frame(HEADERS, all, 0, &get), PROTOCOL),
        ("6.1 DATA on stream 0", frame(DATA, 0, 0, b"x"), PROTOCOL),
        ("6.1 padding longer than DATA", after(&open, frame(DATA, PADDED, 1, b"\x09x")), PROTOCOL),
        ("6.2 padding longer than HEADERS", frame(HEADERS, all | PADDED, 1, b"\xff\x82"), PROTOCOL),
        ("6.3 PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0; 5]), PROTOCOL),
        ("6.3 PRIORITY of another length", after(&slow, frame(PRIORITY, 0, 1, &[0; 4])), SIZE),
        ("6.4 RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), PROTOCOL),
        ("6.4 RST_STREAM of another length", after(&slow, frame(RST_STREAM, 0, 1, &[0; 3])), SIZE),
        ("6.5 SETTINGS with ACK and a payload", frame(SETTINGS, ACK, 0, &[0; 6]), SIZE),
        ("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("6.5 SETTINGS of another length", frame(SETTINGS, 0, 0, &[0; 5]), SIZE),
        ("6.5.2 ENABLE_PUSH above 1", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), PROTOCOL),
        (
            "6.5.2 INITIAL_WINDOW_SIZE above the limit",
            frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            FLOW,
        ),
        (
            "6.5.2 MAX_FRAME_SIZE too small",
            frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]),
            PROTOCOL,
        ),
        ("6.5.2 MAX_FRAME_SIZE too large", frame(SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0]), PROTOCOL),
        (
            "6.6 PUSH_PROMISE by a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
            PROTOCOL,
        ),
        ("6.7 PING on a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL),
        ("6.7 PING of another length", frame(PING, 0, 0, &[0; 6]), SIZE),
        ("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("6.9 WINDOW_UPDATE of 0", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL),
        (
            "6.9 WINDOW_UPDATE of 0 on a stream",
            after(&slow, frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
            PROTOCOL,
        ),
        ("6.9 WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), SIZE),
        (
            "6.9.1 a window above the limit",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            FLOW,
        ),
        (
            "6.9.1 a window of a stream above the limit",
            after(&slow, frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])),
            FLOW,
        ),
        (
            "6.10 CONTINUATION after END_HEADERS",
            after(&slow, frame(CONTINUATION, END_HEADERS, 1, b"\x82")),
            PROTOCOL,
        ),
        (
            "6.10 CONTINUATION on stream 0",
            after(&frame(HEADERS, END_STREAM, 1, &get), frame(CONTINUATION, END_HEADERS, 0, &[])),
            PROTOCOL,
        ),
        ("8.2.1 a name in upper case", with("X-Upper", "1"), PROTOCOL),
        ("8.2.1 a line feed in a value", with("x-feed", "a\nb"), PROTOCOL),
        ("8.2.1 a zero in a value", with("x-zero", "a\0b"), PROTOCOL),
        ("8.2.1 a space in a name", with("x space", "1"), PROTOCOL),
        ("8.2.2 Connection", with("connection", "keep-alive"), PROTOCOL),
        ("8.2.2 Transfer-Encoding", with("transfer-encoding", "chunked"), PROTOCOL),
        ("8.2.2 TE other than trailers", with("te", "gzip"), PROTOCOL),
        ("8.3 an unknown pseudo-header", pseudo(&[m, s, p, a, (":x", "1")]), PROTOCOL),
        ("8.3 a pseudo-header of responses", pseudo(&[m, s, p, a, (":status", "200")]), PROTOCOL),
        ("8.3 a pseudo-header after a field", pseudo(&[m, s, p, ("x", "1"), a]), PROTOCOL),
        // A pseudo-header in trailers is not refused: h2 passes no trailers on, and nobody reads them here.
        ("8.3.1 an empty :path", pseudo(&[m, s, (":path", ""), a]), PROTOCOL),
        ("8.3.1 no :method", pseudo(&[s, p, a]), PROTOCOL),
        ("8.3.1 no :scheme", pseudo(&[m, p, a]), PROTOCOL),
        ("8.3.1 no :path", pseudo(&[m, s, a]), PROTOCOL),
        ("8.3.1 :method twice", pseudo(&[m, m, s, p, a]), PROTOCOL),
        ("8.3.1 :path twice", pseudo(&[m, s, p, p, a]), PROTOCOL),
        (
            "8.1 trailers without an end",
            after(&open, frame(HEADERS, END_HEADERS, 1, &field("x", "1"))),
            PROTOCOL,
        ),
    ];
    let mut wrong = Vec::new();
    for (case, frames, expected) in cases {
        let mut client = Http2::to(served.port());
        client.send_bytes(&frames);
        let end = client.end_of(if case.starts_with("5.1.1 a stream") { 3 } else { 1 });
        if !expected.contains(&end) {
            wrong.push(format!("{case}: {end:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Unknown frames, settings and flags are ignored (sections 4.1 and 5.5). So is a preface without SETTINGS.
    let mut client = Http2::to(served.port());
    client.send(0xee, 0xff, 0, b"unknown");
    client.send(SETTINGS, 0, 0, &[0xff, 0xff, 0, 0, 0, 1]);
    client.send(PING, 0xfe, 0, b"12345678");
    client.get(1, "/ping.php");
    assert_eq!(client.end_of(1), ok("pong1\n"));
    client.send(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]);
    client.send(HEADERS, END_HEADERS, 3, &head("CONNECT", "/", &[]));
    assert!(matches!(client.end_of(3), End::Reset(PROTOCOL_ERROR) | End::Response(400 | 405, _)));
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}
