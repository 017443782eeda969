//! Canaries that are worse than the old release.

use std::time::{Duration, Instant};

use harness::Ran;
use harness::served::Served;

use super::{LONG, Seen, Visitor, Visitors, drawn, served, watching};

/// A switch to a release that bounces, although its canary would have much more time. Returns what the
/// command said, and what each visitor has seen.
fn bounces(served: &Served) -> (Ran, Vec<Vec<Seen>>) {
    let visitors = Visitors::start(served, 6);
    let args = ["switch", "www", "release2", "--canary", "30%", "--for", LONG];
    let began = Instant::now();
    let ran = served.site.run(&args);
    assert!(began.elapsed() < Duration::from_secs(60));
    let seen = visitors.finish();
    ran.status(1);
    let bounced =
        "release2 bounced: pool \"www\" is back on release1. Visitors may have had the new";
    assert!(ran.stderr.contains(bounced), "{ran}");
    assert!(ran.stdout.contains("www/current.release leads to release1 again"), "{ran}");
    assert_eq!(served.site.releases(), vec![served.site.path("www/release1"); 2]);
    assert_eq!(served.site.all_masters().len(), 2);
    assert!(!served.site.path("pid/www.canary.json").exists());
    assert_eq!(drawn(served), "1");
    (ran, seen)
}

#[test]
fn release_that_fails_sometimes_bounces() {
    let served = served("if (mt_rand(1, 100) <= 30) { http_response_code(500); exit; }");
    let (ran, seen) = bounces(&served);
    let reason = "generation 2 of replica 1 fails more often than the old release: ";
    assert!(ran.stdout.contains(reason), "{ran}");
    let history = served.site.run(&["history", "www"]);
    assert!(history.stdout.contains(reason), "{history}");
    let of = |visit: &[Seen], side: &str| {
        let of_side = visit.iter().filter(|it| it.side.as_deref() == Some(side));
        of_side.map(|it| it.release.clone()).collect::<Vec<_>>()
    };
    let mut failures = 0;
    for visit in &seen {
        assert!(of(visit, "old").iter().all(|it| it == "1"), "{visit:?}");
        // Until the canary is over, a visitor of the new release gets the new release or its error.
        let new = of(visit, "new");
        let end = new.iter().position(|it| it == "1").unwrap_or(new.len());
        assert!(new[end..].iter().all(|it| it == "1"), "{visit:?}");
        assert!(new[..end].iter().all(|it| it == "2" || it == "500"), "{visit:?}");
        failures += new.iter().filter(|it| *it == "500").count();
    }
    assert!(failures > 0);
}

#[test]
fn slow_release_bounces() {
    let served = served("usleep(100_000);");
    let (ran, seen) = bounces(&served);
    let reason = "generation 2 of replica 1 is slower than the old release: ";
    assert!(ran.stdout.contains(reason), "{ran}");
    assert!(seen.iter().flatten().all(|it| it.release == "1" || it.release == "2"));
}

/// The requests of the canary never get a response, so only their age says how slow they are.
#[test]
fn release_that_hangs_bounces() {
    let served = served("if (mt_rand(1, 2) == 1) { sleep(20); }");
    served.site.add_rollout("canary_min_requests = 5\ndrain_timeout = \"1s\"");
    let visitors = Visitors::start(&served, 8);
    let ran = served.site.run(&["switch", "www", "release2", "--canary", "20%", "--for", LONG]);
    ran.status(1);
    assert!(ran.stdout.contains("is slower than the old release: "), "{ran}");
    visitors.finish();
}

#[test]
fn canary_whose_master_dies_ends_and_its_visitors_go_on() {
    let served = served("");
    let masters = served.site.masters();
    let manager = watching(&served.site, "50%", LONG);
    let (mut new, _) = super::one_of_each(served.port());
    let canary = served.site.all_masters().into_iter().find(|it| !masters.contains(it)).unwrap();
    rustix::process::kill_process(canary, rustix::process::Signal::KILL).unwrap();
    let ran = manager.finish();
    ran.status(1);
    assert!(ran.stdout.contains("the master of generation 2 of replica 1 has ended"), "{ran}");
    assert_eq!(new.release(), "1");
    assert_eq!(served.site.masters(), masters);
}

/// Requests in flight on the canary finish before the canary ends.
#[test]
fn request_of_a_canary_that_ends_is_finished() {
    let served = served("");
    served.site.write(
        "www/release2/long.php",
        "<?php touch('/tmp/' . $_GET['mark']); while (!file_exists('/tmp/' . $_GET['end'])) { usleep(1000); clearstatcache(); } echo 'done';",
    );
    let manager = watching(&served.site, "50%", LONG);
    let (new, _) = super::one_of_each(served.port());
    let dir = served.site.scratch();
    let (mark, end) = (dir.join("mark"), dir.join("end"));
    let below = |path: &std::path::Path| format!("..{}", path.display());
    let (port, cookie) = (served.port(), new.cookie.clone());
    let page = format!("/long.php?mark={}&end={}", below(&mark), below(&end));
    let long = std::thread::spawn(move || {
        let mut visitor = Visitor::new(port);
        visitor.cookie = cookie;
        visitor.get(&page).text()
    });
    harness::wait_for("the long request", || mark.exists().then_some(()));
    manager.signal(rustix::process::Signal::TERM);
    let mut new = new;
    harness::wait_for("the end of the canary", || (new.release() == "1").then_some(()));
    assert!((0..20).all(|_| drawn(&served) == "1"));
    assert_eq!(served.site.all_masters().len(), 3, "the canary waits for its request");
    std::fs::write(&end, "").unwrap();
    assert_eq!(long.join().unwrap(), "done");
    manager.finish().status(143);
}
