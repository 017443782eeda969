//! How many TLS records the responses of a connection take.

use std::io::{Read, Write};

use harness::served::Served;
use harness::served::http2::*;

use crate::tls_memory::{client, connect, request};

const TOGETHER: u32 = 20;
/// The type of a TLS record with data (RFC 8446, section 5.1).
const APPLICATION_DATA: u8 = 23;

fn get(stream: u32) -> Vec<u8> {
    let fields = head("GET", "/release.txt", &[]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields)
}

/// Without gathering, each response has a record of its own.
#[test]
fn responses_that_are_ready_together_share_records() {
    let served = Served::with_tls("", "");
    served.page("release.txt", &format!("{}1\n", "x".repeat(400)));
    let mut tls = connect(&served, &client("h2"));
    let settings = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat();
    request(&mut tls, &[PREFACE, &settings, &get(1)].concat());
    // One record with all requests.
    let requests: Vec<u8> = (1..=TOGETHER).flat_map(|number| get(1 + 2 * number)).collect();
    tls.write_all(&requests).unwrap();
    let (mut raw, mut plain) = (Vec::new(), Vec::new());
    while plain.windows(2).filter(|it| it == b"1\n").count() < TOGETHER as usize {
        let mut buffer = [0; 16 * 1024];
        let length = tls.sock.read(&mut buffer).unwrap();
        assert!(length > 0);
        raw.extend_from_slice(&buffer[..length]);
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            tls.conn.read_tls(&mut rest).unwrap();
            let state = tls.conn.process_new_packets().unwrap();
            let mut some = vec![0; state.plaintext_bytes_to_read()];
            tls.conn.reader().read_exact(&mut some).unwrap();
            plain.extend(some);
        }
    }
    let mut records = 0;
    let mut at = 0;
    while at + 5 <= raw.len() {
        assert_eq!(raw[at], APPLICATION_DATA);
        records += 1;
        at += 5 + usize::from(u16::from_be_bytes([raw[at + 3], raw[at + 4]]));
    }
    assert!(records <= TOGETHER / 4, "{records} records for {TOGETHER} responses");
}
