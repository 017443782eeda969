//! Apache resends a request that a replica has dropped to another replica. Then no client sees an error,
//! but the script has run twice. So these tests count how often each script runs.

use std::collections::BTreeMap;
use std::fs;

use harness::Site;

#[test]
fn rollouts_run_no_script_twice_and_lose_no_form() {
    let site = Site::new();
    site.add_page("once.php", include_str!("pages/once.php"));
    site.run(&["start"]).succeeds();
    let list = site.scratch().join("list");
    let page = format!("/once.php?list={}", list.display());
    let visitors = site.visitors(8, move |client, n| {
        let answer = client.post(&page, &n.to_string());
        assert_eq!((answer.status, answer.body), (200, format!("noted {n}\n")));
    });
    for strategy in ["rolling", "swap"].into_iter().cycle().take(4) {
        site.run(&["restart", "--strategy", strategy]).succeeds();
    }
    for replica in ["1", "2"] {
        site.run(&["stop", "single", "www", replica]).succeeds();
        site.run(&["start", "single", "www", replica]).succeeds();
    }
    let sent = visitors.finish();
    site.apache_saw_no_error();

    let mut times = BTreeMap::<u64, u64>::new();
    for line in fs::read_to_string(list).unwrap().lines() {
        *times.entry(line.parse().unwrap()).or_default() += 1;
    }
    assert_eq!(times.len() as u64, sent);
    times.retain(|_, times| *times != 1);
    assert_eq!(times, BTreeMap::new(), "these ran more than once");
}
