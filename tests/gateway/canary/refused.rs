//! What is refused before anything is changed.

use harness::Site;
use harness::served::Served;

use super::SETTINGS;

fn says(site: &Site, args: &[&str], part: &str) {
    let ran = site.unchanged_by(|| site.run(args));
    assert!(ran.stderr.contains(part), "{args:?}: {ran}");
    ran.status(2);
}

const SHARE: [&str; 5] = ["switch", "www", "release2", "--canary", "10%"];

#[test]
fn canary_by_share_needs_a_gateway_and_a_pool_that_runs() {
    let site = Served::site("", "");
    let nothing =
        "--canary 10%: no replica of the pool runs, so there is nothing to compare a canary with";
    let no_gateway =
        "--canary 10%: no gateway runs, and only that can send a share of the visitors to a canary";
    says(&site, &SHARE, no_gateway);
    site.run(&["start"]).succeeds();
    says(&site, &SHARE, no_gateway);
    says(&site, &["restart", "--canary", "10%", "--dry-run"], no_gateway);
    let served = Served::serve(site);
    served.site.run(&["stop"]).succeeds();
    says(&served.site, &SHARE, nothing);
    served.site.run(&["start"]).succeeds();
    served.site.replace(SETTINGS, "[gateway]\n", "");
    let by_path = "--canary 10%: only the gateway can send a share of the visitors to a canary, and the backend of the pool is: none";
    says(&served.site, &SHARE, by_path);
    says(&served.site, &["restart", "--canary", "10%", "--dry-run"], by_path);
}

#[test]
fn share_and_its_time_have_limits() {
    let site = Served::site("", "");
    let share = "expected a share from 1% to 50%, with two decimals at most";
    for odd in ["0.5%", "51%", "100%", "-1%", "%", "x%", "10.123%"] {
        says(&site, &["restart", &format!("--canary={odd}")], share);
    }
    let both = "--canary 30s is a time already, so --for 1m has no meaning";
    says(&site, &["restart", "--canary", "30s", "--for", "1m"], both);
    says(&site, &["restart", "--for", "1m"], "--canary <TIME|SHARE>");
    says(&site, &["restart", "--canary", "10%", "--for", "0s"], "it must be more than 0");
    for (line, part) in [
        ("canary_error_margin = \"1\"", "a percentage like \"1%\" or \"0.5%\""),
        ("canary_error_margin = \"101%\"", "a percentage like \"1%\" or \"0.5%\""),
        ("canary_latency_factor = 0.9", "it must be 1 or more"),
        ("canary_latency_factor = nan", "it must be 1 or more"),
        ("canary_min_requests = -1", "canary_min_requests"),
    ] {
        let site = Served::site("", "");
        site.add_rollout(line);
        says(&site, &["restart", "--canary", "10%"], part);
    }
}

#[test]
fn dry_run_shows_the_plan() {
    let served = Served::new();
    let ran = served.site.run(&["switch", "www", "release2", "--canary", "2.5%", "--dry-run"]);
    ran.succeeds();
    let plan = "  Starting replica 1\n    start generation 2 of replica 1\n    await that generation 2 of replica 1 is ready\n    warm up generation 2 of replica 1\n  Watching replica 1\n    send new visitors to generation 2 of replica 1\n    watch generation 2 of replica 1\n  Starting replica 2\n";
    assert!(ran.stdout.contains(plan), "{ran}");
}
