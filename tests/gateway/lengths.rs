//! Scripts with a wrong `Content-Length` or without headers: the client gets what they print.

use harness::served::{Answer, Served};

/// Requests a page with this `Content-Length` and this output.
fn ask(served: &Served, said: &str, print: &str) -> Answer {
    served.page("length.php", &format!("<?php header('Content-Length: {said}'); {print}"));
    served.get("/length.php")
}

#[test]
fn wrong_length_is_corrected_and_logged() {
    let mut served = Served::new();
    for said in ["5", "500", "0", "-1", "x", "99999999999999999999", "5, 5"] {
        let answer = ask(&served, said, "echo 'what there is';");
        assert_eq!((answer.status, answer.text().as_str()), (200, "what there is"), "{said}");
        assert_eq!(answer.header("content-length"), Some("13"), "{said}");
    }
    let twice = "header('Content-Length: 3', false); echo 'four';";
    let answer = ask(&served, "4", twice);
    assert_eq!((answer.status, answer.text().as_str()), (200, "four"));
    // The connection can be used for the next request.
    let mut connection = served.connect();
    for _ in 0..3 {
        assert_eq!(connection.get("/length.php").unwrap().text(), "four");
    }
    let said = served.stop_gateway().stderr;
    assert!(said.contains("Content-Length is 5, but the script printed 13 bytes"), "{said}");
    assert!(said.contains("Content-Length \"-1\" is invalid"), "{said}");
}

/// The response is larger than what the gateway collects: the head is sent before the script ends.
#[test]
fn wrong_length_is_removed_before_the_head_is_sent() {
    let served = Served::new();
    // The script prints more than its length before the head is sent. PHP sends the head and so few
    // bytes in one write.
    let more = "while (ob_get_level()) ob_end_flush(); echo str_repeat('x', 3000); flush(); \
                usleep(200000); echo 'y';";
    let answer = ask(&served, "1000", more);
    assert_eq!((answer.status, answer.body.len()), (200, 3001));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    // A correct length is passed on.
    let answer = ask(&served, "1000000", "echo str_repeat('x', 1000000);");
    assert_eq!((answer.status, answer.body.len()), (200, 1_000_000));
    assert_eq!(answer.header("content-length"), Some("1000000"));
}

/// After the head was sent with a length, a longer body is cut, and a shorter one is an incomplete
/// response.
#[test]
fn response_with_a_sent_length_is_cut_or_incomplete() {
    let mut served = Served::new();
    let early = "while (ob_get_level()) ob_end_flush(); echo 'early'; flush(); usleep(200000);";
    let list = served.site.scratch().join("list");
    let note = format!("file_put_contents('{}', \"x\\n\", FILE_APPEND);", list.display());
    let more = format!("{early} echo str_repeat('x', 300000); flush(); echo 'more'; {note}");
    let answer = ask(&served, "6", &more);
    assert_eq!((answer.status, answer.text().as_str()), (200, "earlyx"));
    // The script ran to its end.
    harness::wait_for("its end", || list.exists().then_some(()));
    served.page("less.php", &format!("<?php header('Content-Length: 500'); {early} echo 'x';"));
    let mut connection = served.connect();
    connection.send("GET /less.php HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.answer().unwrap_err();
    connection.is_closed();
    assert_eq!(served.get("/ping.php").status, 200);
    let said = served.stop_gateway().stderr;
    assert!(said.contains("Content-Length is 500, but the script printed 6 bytes"), "{said}");
}

#[test]
fn length_is_kept_for_head_and_responses_without_a_body() {
    let served = Served::new();
    served.page(
        "length.php",
        "<?php header('Content-Length: 500'); if ($_SERVER['REQUEST_METHOD'] != 'HEAD') echo 'x';",
    );
    let mut connection = served.connect();
    connection.send("HEAD /length.php HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = connection.answer_to("HEAD").unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("500")));
    served.page("not.php", "<?php http_response_code(304); header('Content-Length: 500');");
    connection.send("GET /not.php HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.answer().unwrap().status, 304);
    assert_eq!(connection.get("/length.php").unwrap().text(), "x");
}

#[test]
fn script_without_headers_has_a_response() {
    let served = Served::new();
    let none = "ini_set('default_mimetype', ''); ini_set('default_charset', ''); header_remove();";
    served.page("none.php", &format!("<?php {none} echo 'no headers';"));
    served.page("nothing.php", &format!("<?php {none}"));
    served.page("head.php", &format!("<?php {none} header('X-A: b');"));
    let answer = served.get("/none.php");
    assert_eq!((answer.status, answer.text().as_str()), (200, "no headers"));
    assert_eq!(answer.header("content-type"), None);
    let answer = served.get("/nothing.php");
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    let answer = served.get("/head.php");
    assert_eq!((answer.status, answer.header("x-a")), (200, Some("b")));
}

#[test]
fn status_is_read_from_the_first_three_digits() {
    let served = Served::new();
    for (said, status) in
        [("404", 404), ("404 Not Found", 404), ("403Forbidden", 403), ("999 x", 999)]
    {
        served.page("status.php", &format!("<?php header('Status: {said}'); echo 'x';"));
        assert_eq!(served.get("/status.php").status, status, "{said}");
    }
}
