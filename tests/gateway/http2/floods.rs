//! Clients that make the gateway work for nothing.

use harness::served::Served;
use harness::served::http2::*;

use super::ok;

/// The next frames of a flood.
type Frames<'a> = Box<dyn FnMut() -> Vec<u8> + 'a>;

/// What a flood gets: the connection is closed, and other clients do not notice.
#[test]
fn floods_are_ended() {
    let served = Served::new();
    served.page("sleep.php", "<?php usleep(200000);");
    let before = served.memory();
    let get = head("GET", "/sleep.php", &[]);
    let part = vec![0; 16_000];
    let mut rapid: Vec<u8> = Vec::new();
    let mut number = 1;
    let mut next = || {
        rapid.clear();
        for _ in 0..50 {
            rapid.extend(frame(HEADERS, END_HEADERS | END_STREAM, number, &get));
            rapid.extend(frame(RST_STREAM, 0, number, &CANCEL.to_be_bytes()));
            number += 2;
        }
        rapid.clone()
    };
    let repeated = |frames: Vec<u8>| move || frames.repeat(100);
    let mut continued = false;
    let mut continuation = || {
        let mut frames = Vec::new();
        if !std::mem::replace(&mut continued, true) {
            frames.extend(frame(HEADERS, END_STREAM, 1, &get));
        }
        frames.extend(frame(CONTINUATION, 0, 1, &field("x-more", "1")).repeat(50));
        frames
    };
    let update = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
    let mut floods: Vec<(&str, Frames<'_>)> = vec![
        ("PING", Box::new(repeated(frame(PING, 0, 0, &[0; 8])))),
        ("SETTINGS", Box::new(repeated(settings))),
        ("empty SETTINGS", Box::new(repeated(frame(SETTINGS, 0, 0, &[])))),
        ("WINDOW_UPDATE", Box::new(repeated(update))),
        ("PRIORITY", Box::new(repeated(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])))),
        ("unknown frames", Box::new(move || frame(0xee, 0, 0, &part).repeat(4))),
        ("CONTINUATION", Box::new(&mut continuation)),
        ("rapid reset", Box::new(&mut next)),
    ];
    for (name, flood) in &mut floods {
        let mut client = Http2::to(served.port());
        let mut sent = 0;
        // The client reads no answers: the memory of a gateway that keeps them would grow.
        while client.send_bytes(&flood()) {
            sent += 1;
            assert!(sent < 20_000, "{name}: the gateway reads on");
        }
        assert_eq!(served.get("/ping.php").text(), "pong1\n", "{name}");
    }
    let grown = served.memory().saturating_sub(before);
    assert!(grown < 20 << 20, "{} KiB", grown >> 10);
}

/// Small frames that become large header lists (an "HPACK bomb"), and many headers.
#[test]
fn header_lists_have_limits() {
    let served = Served::with("", "max_header = \"16KiB\"");
    let before = served.memory();
    let bomb = |references: usize| {
        // One field in the table, then one byte for each copy of it.
        let mut block = head("GET", "/ping.php", &[]);
        let mut stored = field("x-bomb", &"x".repeat(3000));
        stored[0] = 0x40;
        block.extend(stored);
        block.extend(vec![0xbe; references]);
        block
    };
    let end = |block: &[u8]| {
        let mut client = Http2::to(served.port());
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, block);
        client.end_of(1)
    };
    assert_eq!(end(&bomb(1)), ok("pong1\n"));
    for references in [10, 10_000] {
        let end = end(&bomb(references));
        assert!(matches!(end, End::Response(431, _) | End::GoAway(_) | End::Reset(_)), "{end:?}");
    }
    let many: Vec<u8> = (0..600).flat_map(|number| field(&format!("x-{number}"), "")).collect();
    let end = end(&[head("GET", "/ping.php", &[]), many].concat());
    assert!(matches!(end, End::Response(431, _)), "{end:?}");
    assert!(served.memory().saturating_sub(before) < 10 << 20);
}
