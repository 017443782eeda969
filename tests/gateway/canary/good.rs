//! A canary that proves itself, and what its visitors get meanwhile.

use harness::served::Served;
use rustix::process::Signal;
use serde_json::Value;

use super::{LONG, SETTINGS, Visitor, Visitors, drawn, one_of_each, served, watching};

#[test]
fn share_of_the_clients_without_a_cookie_gets_the_canary() {
    let served = served("");
    let manager = watching(&served.site, "20%", LONG);
    let new = (0..600).filter(|_| drawn(&served) == "2").count();
    // Six standard deviations.
    assert!((60..=180).contains(&new), "{new} of 600 at 20%");
    let status = served.site.status();
    let canary = &status["pools"][0]["canary"];
    assert_eq!((&canary["replica"], &canary["share"]), (&Value::from(1), &Value::from("20%")));
    let requests = |side: &str| canary["figures"][side]["requests"].as_u64().unwrap();
    assert_eq!((requests("new"), requests("old")), (new as u64, 600 - new as u64));
    let shown = served.site.run(&["status"]);
    let line = format!("gets 20% of the new visitors until {}", canary["until"].as_str().unwrap());
    assert!(shown.stdout.contains(&line) && shown.stdout.contains("% errors, p95 "), "{shown}");
    manager.signal(Signal::TERM);
    manager.finish().status(143);
}

#[test]
fn visitor_stays_on_one_side_for_pages_and_files() {
    let served = served("");
    let manager = watching(&served.site, "50%", LONG);
    let (mut new, mut old) = one_of_each(served.port());
    for _ in 0..20 {
        for (visitor, release) in [(&mut new, "2"), (&mut old, "1")] {
            for page in ["/which.php", "/which.txt"] {
                let answer = visitor.get(page);
                assert_eq!(answer.text(), release, "{page}");
                assert_eq!(answer.header("set-cookie"), None, "who has a cookie gets none");
                assert!(answer.headers.contains(&("vary".to_owned(), "Cookie".to_owned())));
                let is_private = answer.header("cache-control") == Some("private");
                assert_eq!(is_private, release == "2", "{page} {answer:?}");
            }
        }
    }
    // A request for a part of a page draws no release, and a cookie with a wrong id does not count.
    for _ in 0..20 {
        let answer = served.get_with("/which.php", "Sec-Fetch-Mode: no-cors\r\n");
        assert_eq!((answer.text().as_str(), answer.header("set-cookie")), ("1", None));
        let hostile = format!("Cookie: pools_manager_canary={}.new\r\n", "0".repeat(16));
        let answer = served.get_with("/which.php", &hostile);
        let cookie = answer.header("set-cookie").unwrap();
        let parts: Vec<&str> = cookie.split("; ").collect();
        assert!(parts[0].ends_with(if answer.text() == "2" { ".new" } else { ".old" }), "{cookie}");
        assert_eq!((parts[1], &parts[3..]), ("Path=/", &["HttpOnly", "SameSite=Lax"][..]));
        let age: u64 = parts[2].strip_prefix("Max-Age=").unwrap().parse().unwrap();
        assert!((600..1200).contains(&age), "{cookie}");
        assert_eq!(answer.header("cache-control"), Some("private"));
    }
    // Errors are private too.
    let missing = new.get("/.none.txt");
    assert_eq!((missing.status, missing.header("cache-control")), (404, Some("private")));
    manager.signal(Signal::INT);
    manager.finish().status(130);
    assert_eq!(new.release(), "1", "the cookie means nothing any more");
    let answer = old.get("/which.txt");
    assert_eq!(answer.text(), "1");
    assert!(!answer.headers.iter().any(|(_, value)| value == "Cookie"), "{answer:?}");
    assert_eq!(served.site.releases(), vec![served.site.path("www/release1"); 2]);
    assert_eq!(served.site.all_masters().len(), 2);
}

#[test]
fn good_canary_is_published_as_it_is_and_the_others_follow() {
    for strategy in ["swap", "rolling"] {
        let served = served("");
        served.site.add_rollout(&format!("strategy = \"{strategy}\""));
        let before = served.site.generations();
        let visitors = Visitors::start(&served, 4);
        let ran = served.site.run(&["switch", "www", "release2", "--canary", "30%", "--for", "2s"]);
        let seen = visitors.finish();
        ran.succeeds();
        let report = "  Canary of replica 1: ";
        let line = ran.stdout.lines().find(|line| line.starts_with(report)).expect(&ran.stdout);
        assert!(line.contains("; the old release: "), "{line}");
        assert!(!ran.stdout.contains("Warning"), "{ran}");
        assert_eq!(served.site.releases(), vec![served.site.path("www/release2"); 2]);
        let after: Vec<u64> = before.iter().map(|it| it + 1).collect();
        assert_eq!(served.site.generations(), after, "each replica was renewed once");
        assert_eq!(served.site.all_masters().len(), 2);
        assert!(!served.site.path("pid/www.canary.json").exists());
        let answer = served.get("/which.php");
        assert_eq!((answer.text().as_str(), answer.header("set-cookie")), ("2", None));
        // No request failed. With swap, each visitor of the new release has kept it.
        for visit in seen {
            let releases: Vec<&str> = visit.iter().map(|it| it.release.as_str()).collect();
            assert!(releases.iter().all(|it| ["1", "2"].contains(it)), "{visit:?}");
            assert!(strategy == "rolling" || releases.is_sorted(), "{visit:?}");
        }
    }
}

#[test]
fn one_replica_can_be_the_canary_of_the_same_release() {
    let served = served("");
    served.site.switch("release1");
    let args = ["restart", "www", "2", "--canary", "50%", "--for", "1s", "--json"];
    let mut manager = served.site.spawn(&args);
    manager.await_event("that it watches", |event| event["event"] == "watching");
    let mut visitors: Vec<Visitor> = (0..40).map(|_| Visitor::new(served.port())).collect();
    for visitor in &mut visitors {
        assert_eq!(visitor.release(), "1");
    }
    let sides = |side: &str| {
        let is_it = |it: &&Visitor| it.cookie.as_ref().is_some_and(|it| it.ends_with(side));
        visitors.iter().filter(is_it).count()
    };
    assert!(sides(".new") > 0 && sides(".old") > 0);
    let ran = manager.finish();
    ran.status(0);
    assert_eq!(served.site.generations(), [1, 2]);
}

#[test]
fn canary_with_too_few_requests_is_published_if_it_is_well() {
    let served = served("http_response_code(500);");
    let ran = served.site.run(&["switch", "www", "release2", "--canary", "10%", "--for", "1s"]);
    ran.succeeds();
    let part = "generation 2 of replica 1 has had too few requests for a comparison (canary_min_requests = 30)";
    assert!(ran.stdout.contains(part), "{ran}");
    assert!(
        ran.stdout.contains("Canary of replica 1: 0 requests; the old release: 0 requests"),
        "{ran}"
    );
    assert_eq!(drawn(&served), "500");
}

/// An asset that only one of the releases has comes from this release.
#[test]
fn asset_of_the_other_side_is_found_with_keep_assets() {
    let site = Served::site("keep_assets = \"10m\"", "");
    super::write(&site, "");
    for release in ["1", "2"] {
        site.write(&format!("www/release{release}/app.{release}.js"), release);
    }
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    assert!(served.site.read(SETTINGS).contains("keep_assets"));
    let manager = watching(&served.site, "50%", LONG);
    let (mut new, mut old) = one_of_each(served.port());
    for visitor in [&mut new, &mut old] {
        for release in ["1", "2"] {
            assert_eq!(visitor.get(&format!("/app.{release}.js")).text(), release);
        }
    }
    manager.signal(Signal::TERM);
    manager.finish().status(143);
    // A page of the canary is still open.
    assert_eq!(new.get("/app.2.js").text(), "2");
}

/// While two releases have a file of the same name, it gets no date. Later its date is from after the canary.
#[test]
fn dates_of_files_do_not_go_back_after_a_canary() {
    let served = served("");
    let manager = watching(&served.site, "50%", LONG);
    let (mut new, mut old) = one_of_each(served.port());
    assert_eq!(new.get("/which.txt").header("last-modified"), None);
    let during = old.get("/which.txt");
    assert_eq!(during.header("last-modified"), None);
    manager.signal(Signal::TERM);
    manager.finish().status(143);
    let time = |text: &str| httpdate::parse_http_date(text).unwrap();
    let after = served.await_date("/which.txt");
    assert!(time(&after) >= time(during.header("date").unwrap()), "{after}");
}
