//! `Last-Modified` and conditional requests, while the release changes.

use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use harness::served::Served;

const PAGE: &str = "/release.txt";

fn get_if_modified(served: &Served, date: &str) -> (u16, String) {
    let answer = served.get_with(PAGE, &format!("If-Modified-Since: {date}\r\n"));
    (answer.status, answer.text())
}

fn get_unless_modified(served: &Served, date: &str) -> u16 {
    served.get_with(PAGE, &format!("If-Unmodified-Since: {date}\r\n")).status
}

fn restart_on(served: &Served, release: &str) {
    served.site.switch(release);
    served.site.run(&["restart"]).succeeds();
}

/// Sets the mtime of the file in both releases.
fn normalise(served: &Served) {
    for release in ["release1", "release2"] {
        let path = served.site.path(&format!("www/{release}/release.txt"));
        File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    }
}

/// The date is the `Last-Modified` of the old file, or the time at which the client got the file.
#[test]
fn date_from_before_a_switch_does_not_match_another_release() {
    let served = Served::new();
    normalise(&served);
    let is = |status: u16, text: &str| (status, text.to_owned());
    let first = served.await_date(PAGE);
    assert_eq!(get_if_modified(&served, &first), is(304, ""));
    let until = served.get(PAGE).header("date").unwrap().to_owned();
    assert_eq!(get_if_modified(&served, &until), is(304, ""));
    assert_eq!(get_unless_modified(&served, &first), 200);

    restart_on(&served, "release2");
    for date in [&first, &until] {
        assert_eq!(get_if_modified(&served, date), is(200, "2\n"));
        assert_eq!(get_unless_modified(&served, date), 412);
    }
    let second = served.await_date(PAGE);
    for date in [&first, &until] {
        assert_eq!(get_if_modified(&served, date), is(200, "2\n"));
    }
    assert_eq!(get_if_modified(&served, &second), is(304, ""));
    let until_second = served.get(PAGE).header("date").unwrap().to_owned();

    // After the switch back, most clients have the file of the second release.
    restart_on(&served, "release1");
    for date in [&first, &until, &second, &until_second] {
        assert_eq!(get_if_modified(&served, date), is(200, "1\n"));
        assert_eq!(get_unless_modified(&served, date), 412);
    }
    let third = served.await_date(PAGE);
    assert_eq!(get_if_modified(&served, &second), is(200, "1\n"));
    assert_eq!(get_if_modified(&served, &third), is(304, ""));
}

#[test]
fn date_stays_the_same_after_a_restart_of_the_gateway() {
    let mut served = Served::new();
    normalise(&served);
    let date = served.await_date(PAGE);
    served.stop_gateway().succeeds();
    served.start_gateway();
    assert_eq!(served.get(PAGE).header("last-modified"), Some(date.as_str()));
    served.kill_gateway();
    served.start_gateway();
    assert_eq!(get_if_modified(&served, &date).0, 304);
    // A restart on the same release publishes the names again, which changes the date.
    served.site.run(&["restart"]).succeeds();
    assert_ne!(served.await_date(PAGE), date);
}

/// The file changes in place, and is replaced by a file with an older mtime.
#[test]
fn changed_file_has_another_date() {
    let served = Served::new();
    let date = served.await_date(PAGE);
    let path = served.site.path("www/release1/release.txt");
    std::fs::write(&path, "changed\n").unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    assert_eq!(get_if_modified(&served, &date), (200, "changed\n".to_owned()));
    let changed = served.await_date(PAGE);
    assert_ne!(changed, date);
    assert_eq!(get_if_modified(&served, &changed).0, 304);
    // A file with an mtime in the future has no date.
    let future = std::time::SystemTime::now() + Duration::from_secs(3600);
    File::options().write(true).open(&path).unwrap().set_modified(future).unwrap();
    let answer = served.get_with(PAGE, &format!("If-Modified-Since: {changed}\r\n"));
    assert_eq!((answer.status, answer.header("last-modified")), (200, None));
}

#[test]
fn etag_takes_precedence_over_the_date() {
    let served = Served::new();
    let date = served.await_date(PAGE);
    let etag = served.get(PAGE).header("etag").unwrap().to_owned();
    let old = "Thu, 01 Jan 2004 00:00:00 GMT";
    let status = |headers: &str| served.get_with(PAGE, headers).status;
    assert_eq!(status(&format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n")), 200);
    assert_eq!(status(&format!("If-None-Match: {etag}\r\nIf-Modified-Since: {old}\r\n")), 304);
    assert_eq!(status(&format!("If-Match: {etag}\r\nIf-Unmodified-Since: {old}\r\n")), 200);
    assert_eq!(status(&format!("If-Match: \"x\"\r\nIf-Unmodified-Since: {date}\r\n")), 412);
    assert_eq!(status(&format!("If-Unmodified-Since: {old}\r\n")), 412);
    assert_eq!(status("If-Modified-Since: when it was\r\n"), 200);
    assert_eq!(status("If-Unmodified-Since: when it was\r\n"), 200);
    let twice = format!("If-Modified-Since: {date}\r\nIf-Modified-Since: {date}\r\n");
    assert_eq!(status(&twice), 200);
}

#[test]
fn conditions_apply_to_a_file_sent_for_a_script() {
    let served = Served::new();
    served.page("private/a.bin", &"0123456789".repeat(100));
    let script = "<?php foreach ($_GET['h'] ?? [] as $h) header($h); header('X-Accel-Redirect: /private/a.bin');";
    served.page("send.php", script);
    let answer = served.get("/send.php");
    let etag = answer.header("etag").unwrap().to_owned();
    let date = served.await_date("/send.php");
    let status =
        |query: &str, headers: &str| served.get_with(&format!("/send.php{query}"), headers).status;
    assert_eq!(status("", &format!("If-None-Match: {etag}\r\n")), 304);
    assert_eq!(status("", &format!("If-Modified-Since: {date}\r\n")), 304);
    assert_eq!(status("", &format!("Range: bytes=0-1\r\nIf-Range: {date}\r\n")), 206);
    assert_eq!(status("", "Range: bytes=0-1,800-801\r\n"), 206);
    // The script's own ETag and date are used, and conditions apply only to status 200.
    let own = served.get("/send.php?h[]=ETag:%20%22own%22");
    assert_eq!((own.header("etag"), own.header("last-modified")), (Some("\"own\""), None));
    assert_eq!(status("?h[]=ETag:%20%22own%22", "If-None-Match: \"own\"\r\n"), 304);
    assert_eq!(status("?h[]=Status:%20404", "If-None-Match: *\r\nRange: bytes=0-1\r\n"), 404);
    // A POST has had its effect already.
    let request = format!(
        "POST /send.php HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nIf-None-Match: {etag}\r\n\r\n"
    );
    assert_eq!(served.raw(request.as_bytes()).unwrap().status, 200);
}
