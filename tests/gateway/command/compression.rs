//! The compression of responses of servers that speak HTTP.

use harness::needs_root;

use super::site::{CommandSite, PYTHON_FD};
use crate::compressed_answers::{accepting, coding, is_compressed_by_wish, numbers};

#[test]
fn text_of_a_server_is_compressed_by_the_wish_of_the_client() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    for (count, more) in [(100, ""), (100, "&chunked=1"), (20_000, ""), (20_000, "&chunked=1")] {
        let page = format!("/text?type=text/html&count={count}{more}");
        let text = numbers(count);
        is_compressed_by_wish(&served, &page, &text);
        let plain = accepting(&served, &page, "identity");
        assert!(coding(&plain).is_none() && plain.text() == text, "{page}");
    }
}

#[test]
fn ineligible_responses_of_a_server_are_not_compressed() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    // The response is compressed by the server, is not text, is a stream of events, or is short.
    for query in [
        "type=text/html&count=500&coding=br",
        "type=image/png&count=500",
        "type=text/event-stream&count=500&chunked=1",
        "type=text/html&count=10",
    ] {
        let answer = accepting(&served, &format!("/text?{query}"), "gzip");
        assert_ne!(coding(&answer), Some("gzip"), "{query}");
        let count = if query.contains("=10") { 10 } else { 500 };
        assert!(answer.text() == numbers(count), "{query}");
    }
    let off = CommandSite::with(PYTHON_FD, "compress = false", "").serve();
    let answer = accepting(&off, "/text?type=text/html&count=500", "gzip");
    assert!(coding(&answer).is_none() && answer.text() == numbers(500));
}
