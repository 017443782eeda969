use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::head::HEAD_MAX;
use super::*;

/// A record as a server writes it.
fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut record = vec![1, kind, 0, 1, high, low, padding, 0];
    record.extend_from_slice(content);
    record.extend(vec![0; padding.into()]);
    record
}

fn end() -> Vec<u8> {
    record(kind::END_REQUEST, &[0; 8], 0)
}

/// The content of a response, without the borders of its parts.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ended: bool,
}

/// Decodes a stream of these chunks.
fn decode(pieces: impl IntoIterator<Item = Vec<u8>>) -> (Decoded, Option<Malformed>) {
    let (mut decoder, mut input, mut response) =
        (Decoder::default(), BytesMut::new(), Decoded::default());
    for piece in pieces {
        input.extend_from_slice(&piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Part::Stdout(part))) => response.stdout.extend_from_slice(&part),
                Ok(Some(Part::Stderr(part))) => response.stderr.extend_from_slice(&part),
                Ok(Some(Part::End)) => response.ended = true,
                Ok(None) => break,
                Err(broken) => return (response, Some(broken)),
            }
        }
    }
    (response, None)
}

/// Splits a stream at these places.
fn cut(stream: &[u8], places: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = places.iter().map(|it| it.index(stream.len() + 1)).collect();
    places.sort_unstable();
    places.insert(0, 0);
    places.push(stream.len());
    places.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect()
}

fn records() -> impl Strategy<Value = Vec<(bool, Vec<u8>, u8)>> {
    vec((any::<bool>(), vec(any::<u8>(), 1..300), any::<u8>()), 0..8)
}

proptest! {
    #[test]
    fn any_split_of_the_stream_decodes_the_same(
        records in records(),
        places in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut stream = Vec::new();
        let mut expected = Decoded { ended: true, ..Decoded::default() };
        for (is_output, content, padding) in &records {
            let kind = if *is_output { kind::STDOUT } else { kind::STDERR };
            stream.extend(record(kind, content, *padding));
            let heap = if *is_output { &mut expected.stdout } else { &mut expected.stderr };
            heap.extend_from_slice(content);
        }
        stream.extend(end());
        prop_assert_eq!(decode(cut(&stream, &places)), (expected, None));
        // A truncated stream has no end.
        let (response, _) = decode([stream[..stream.len() - 1].to_vec()]);
        prop_assert!(!response.ended);
    }

    #[test]
    fn any_split_of_invalid_bytes_decodes_the_same(
        stream in vec(prop_oneof![Just(0), Just(1), Just(3), Just(6), Just(8), any::<u8>()], 0..200),
        places in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let whole = decode([stream.clone()]);
        prop_assert_eq!(decode(cut(&stream, &places)), whole);
    }

    #[test]
    fn parameters_are_encoded_as_php_decodes_them(
        pairs in vec((vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..40_000)), 0..3),
    ) {
        let mut params = Params::begin();
        for (name, value) in &pairs {
            let (front, back) = value.split_at(value.len() / 2);
            params.push_parts(name, &[front, back]).unwrap();
        }
        let request = params.end().bytes(true).to_vec();
        let (begin, rest) = request.split_at(16);
        prop_assert_eq!(begin, [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        prop_assert_eq!(read_params(rest), pairs);
    }

    #[test]
    fn any_split_of_a_head_parses_the_same(
        text in "(Status: 404 x\r\n)?([A-Z]{1,3}: [a-z]{0,9}\r?\n){0,4}(\r\n)?[\r\n:a]{0,6}",
        places in vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let read = |pieces: Vec<Vec<u8>>| {
            let (mut parser, mut found) = (HeadParser::default(), None::<(Head, Vec<u8>)>);
            for piece in pieces {
                match &mut found {
                    Some((_, body)) => body.extend_from_slice(&piece),
                    None => found = parser.push(&Bytes::from(piece))?.map(|(head, body)| (head, body.to_vec())),
                }
            }
            Ok::<_, BadHead>(found)
        };
        let whole = read(vec![text.clone().into_bytes()]);
        prop_assert_eq!(read(cut(text.as_bytes(), &places)), whole);
    }

    #[test]
    fn no_head_causes_a_panic(text in vec(any::<u8>(), 0..300)) {
        let _ = HeadParser::default().push(&[&text[..], b"\n\n"].concat().into());
    }
}

/// Decodes `PARAMS` records like php-src, which expects whole pairs in each record.
fn read_params(mut stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    loop {
        let [1, kind::PARAMS, 0, 1, high, low, 0, 0] = stream[..8] else { panic!("{stream:?}") };
        let length = usize::from(u16::from_be_bytes([high, low]));
        assert!(length <= CONTENT_MAX);
        let (mut content, rest) = stream[8..].split_at(length);
        stream = rest;
        if length == 0 {
            assert!(stream.is_empty());
            return pairs;
        }
        while !content.is_empty() {
            let (name, value) = (read_length(&mut content), read_length(&mut content));
            let (name, rest) = content.split_at(name);
            let (value, rest) = rest.split_at(value);
            pairs.push((name.to_vec(), value.to_vec()));
            content = rest;
        }
    }
}

fn read_length(content: &mut &[u8]) -> usize {
    let size = if content[0] < 0x80 { 1 } else { 4 };
    let (length, rest) = content.split_at(size);
    *content = rest;
    let number = length.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    (number & 0x7fff_ffff) as usize
}

#[test]
fn parameter_larger_than_a_record_is_refused() {
    let mut params = Params::begin();
    assert_eq!(params.push(b"A", &vec![0; CONTENT_MAX]), Err(TooLarge));
    assert_eq!(params.push(b"A", &vec![0; CONTENT_MAX - 6]), Ok(()));
    assert_eq!(params.push(b"A", b"b"), Ok(()));
    assert_eq!(read_params(&params.end().bytes(false)[16..]).len(), 2);
}

#[test]
fn body_is_split_into_records_and_ended_by_an_empty_one() {
    let mut out = Vec::new();
    stdin(&mut out, &vec![7; CONTENT_MAX + 1]);
    stdin(&mut out, b"");
    assert_eq!(out[..8], [1, 5, 0, 1, 0xff, 0xf8, 0, 0]);
    assert_eq!(out[8 + CONTENT_MAX..], [1, 5, 0, 1, 0, 1, 0, 0, 7, 1, 5, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn malformed_response_is_an_error() {
    let broken = |stream: Vec<u8>| decode([stream]).1;
    let output = record(kind::STDOUT, b"x", 0);
    let with = |at: usize, byte: u8| {
        let mut record = end();
        record[at] = byte;
        broken([output.clone(), record].concat())
    };
    assert_eq!(with(0, 2), Some(Malformed::Version));
    assert_eq!(with(3, 2), Some(Malformed::Id(2)));
    assert_eq!(with(1, 10), Some(Malformed::Kind(10)));
    assert_eq!(with(5, 7), Some(Malformed::EndLength(7)));
    assert_eq!(with(11, 1), Some(Malformed::AppStatus(1)));
    assert_eq!(with(12, 2), Some(Malformed::ProtocolStatus(2)));
    assert_eq!(broken([end(), output.clone()].concat()), Some(Malformed::AfterEnd));
    let closed = record(kind::STDOUT, b"", 0);
    assert_eq!(broken([closed.clone(), output].concat()), Some(Malformed::AfterEnd));
    assert_eq!(broken([closed, end()].concat()), None);
}

fn head(text: &str) -> Result<Head, BadHead> {
    HeadParser::default()
        .push(&Bytes::from(text.to_owned()))?
        .map(|(head, _)| head)
        .ok_or(BadHead::Missing)
}

#[test]
fn head_has_a_status_and_repeated_headers() {
    let status = |text| head(text).unwrap().status.as_u16();
    assert_eq!(status("A: b\r\n\r\n"), 200);
    assert_eq!(status("Status: 404 Not Found\r\n\r\n"), 404);
    assert_eq!(status("Location: /x\r\n\r\n"), 302);
    assert_eq!(status("status: 201\nLocation: /x\n\n"), 201);
    assert_eq!(status("Status: 404\r\n\r\n"), 404);
    assert_eq!(status("Status: 404Not Found\r\n\r\n"), 404);
    assert_eq!(status("Status: 404\tNot Found\r\n\r\n"), 404);
    assert_eq!(status("Status: 999 Denied\r\n\r\n"), 999);
    let cookies = head("Set-Cookie: a\r\nSet-Cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n");
    let headers = cookies.unwrap().headers;
    assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(!headers.contains_key("transfer-encoding"));
}

#[test]
fn head_may_have_no_headers() {
    for (text, body) in [("\r\nbody", "body"), ("\nbody", "body"), ("\r\n\r\nbody", "\r\nbody")] {
        let (head, rest) = HeadParser::default().push(&Bytes::from(text)).unwrap().unwrap();
        assert_eq!(
            (head.status.as_u16(), head.headers.len(), &rest[..]),
            (200, 0, body.as_bytes())
        );
    }
    let mut parser = HeadParser::default();
    assert_eq!(parser.push(&Bytes::from("\r")), Ok(None));
    assert_eq!(parser.push(&Bytes::from("\nbody")).unwrap().unwrap().1, "body");
}

#[test]
fn invalid_length_is_removed() {
    let length = |text: &str| {
        let head = head(&format!("{text}X: y\r\n\r\n")).unwrap();
        assert_eq!(head.headers.contains_key("content-length"), head.length.is_some(), "{text}");
        (head.length, head.bad_length.map(|bad| bad.to_str().unwrap().to_owned()))
    };
    let bad = |bad: &str| (None, Some(bad.to_owned()));
    assert_eq!(length(""), (None, None));
    assert_eq!(length("Content-Length: 12\r\n"), (Some(12), None));
    assert_eq!(length("Content-Length: 1\r\nContent-Length: 1\r\n"), (Some(1), None));
    assert_eq!(length("Content-Length: 1\r\nContent-Length: 2\r\n"), bad("2"));
    assert_eq!(length("Content-Length: x\r\nContent-Length: 2\r\n"), bad("2"));
    for text in ["+1", "-1", "1, 1", "0x1", "99999999999999999999", ""] {
        assert_eq!(length(&format!("Content-Length: {text}\r\n")), bad(text));
    }
}

#[test]
fn invalid_head_is_refused() {
    assert_eq!(head("no header\r\n\r\n"), Err(BadHead::NoHeader));
    assert_eq!(head("A: b\r\n c\r\n\r\n"), Err(BadHead::NoHeader));
    assert_eq!(head("A: b\0\r\n\r\n"), Err(BadHead::NoHeader));
    assert_eq!(head("Status: 103 x\r\n\r\n"), Err(BadHead::Status));
    assert_eq!(head("Status: ok\r\n\r\n"), Err(BadHead::Status));
    assert_eq!(head("Status: 4\r\n\r\n"), Err(BadHead::Status));
    assert_eq!(head("Status: 2000\r\n\r\n"), Err(BadHead::Status));
    assert_eq!(head(&format!("A: {}", "b".repeat(HEAD_MAX))), Err(BadHead::TooLong));
    assert_eq!(head(&format!("{}\r\n", "A: b\r\n".repeat(201))), Err(BadHead::TooMany));
    assert_eq!(head("A: b\r\n"), Err(BadHead::Missing));
}
