//! Web servers that keep their connections to php-fpm open, which the documentation advises against.
//! An idle kept connection occupies a child of the old generation. The kernel counts it like a request, so
//! the command waits for the old generation until `drain_timeout` has passed. The tests show what that
//! costs, and that the warning counts idle connections apart from requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::served::fix_children;
use harness::{HAPROXY, Ran, Site, needs_root};

const NGINX: [(&str, &str); 2] = [
    ("    least_conn;\n", "    least_conn;\n    keepalive 4;\n"),
    (
        "        fastcgi_next_upstream error;\n",
        "        fastcgi_next_upstream error;\n        fastcgi_keep_conn on;\n",
    ),
];

/// A site behind a web server that keeps its connections, with this many children for each replica.
fn kept(kind: &'static str, children: u32) -> Site {
    let changes: &[(&str, &str)] = match kind {
        "nginx" => &NGINX,
        "haproxy" => &[("    no option keep-conn\n", "    option keep-conn\n")],
        "apache" => &[(" retry=0\n        Bal", " retry=0 enablereuse=on\n        Bal")],
        _ => panic!("{kind} keeps no connections to php-fpm"),
    };
    let site = Site::prepared();
    fix_children(&site, children);
    site.set_backend(if kind == "haproxy" { HAPROXY } else { "" });
    site.add_rollout("drain_timeout = \"3s\"");
    let site = site.serve_changed_snippet(kind, move |text| {
        changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{text}");
            text.replacen(from, to, 1)
        })
    });
    super::start(site)
}

/// Swaps to release 2 while connections are idle, and returns what the command printed.
fn swap(site: &Site, args: &[&str]) -> Ran {
    assert!(site.in_flight() > 0, "no connection was kept");
    site.switch("release2");
    let begun = Instant::now();
    let ran = site.run(&[&["restart", "--strategy", "swap"], args].concat());
    assert!(ran.has_succeeded(), "{ran}");
    assert!(begun.elapsed() >= Duration::from_secs(3), "{ran}");
    ran
}

/// At the drain timeout, only idle connections are left: the wait and its warning say so. The new generation
/// serves a client that sends a request meanwhile.
fn waits_for_idle_connections(kind: &'static str) {
    let site = kept(kind, 5);
    for _ in 0..8 {
        assert_eq!(site.get("/ping.php").body, "pong1\n");
    }
    let ran = swap(&site, &["--json"]);
    let events = || ran.stdout.lines().map(|it| serde_json::from_str(it).unwrap());
    let warnings = events().filter(|it: &serde_json::Value| it["event"] == "warning");
    let warnings: Vec<String> = warnings.map(|it| it["text"].as_str().unwrap().into()).collect();
    assert!(!warnings.is_empty(), "{ran}");
    for warning in warnings {
        let is_it = warning.contains(" has no request in flight after 3s, only ")
            && warning.contains(" idle kept connection")
            && warning.ends_with(", which the stop closes");
        assert!(is_it, "{ran}");
    }
    let is_idle =
        |it: &serde_json::Value| it["event"] == "progress" && it["idle"] == it["accepted"];
    assert!(events().any(|it| is_idle(&it)), "{ran}");
    assert_eq!(site.get("/ping.php").body, "pong2\n");
    site.serves("release2");
}

#[test]
fn idle_connections_of_nginx_delay_a_swap_and_are_no_requests() {
    waits_for_idle_connections("nginx");
}

#[test]
fn idle_connections_of_haproxy_delay_a_swap_and_are_no_requests() {
    waits_for_idle_connections("haproxy");
}

#[test]
fn idle_connections_of_apache_delay_a_swap_and_are_no_requests() {
    waits_for_idle_connections("apache");
}

/// A request is longer than the drain timeout, on a replica with an idle connection.
#[test]
fn request_beside_idle_connections_is_counted_alone() {
    let site = kept("nginx", 5);
    for _ in 0..4 {
        assert_eq!(site.get("/ping.php").body, "pong1\n");
    }
    let replica = (1..=2).find(|replica| site.in_flight_on(*replica) > 0).unwrap();
    let cut = site.hold_on(replica);
    let ran = swap(&site, &[]);
    let begin = format!("replica {replica} is still busy after 3s: 1 request will be cut, and ");
    let is_it = |line: &str| {
        let rest = line.split_once(&begin).and_then(|(_, rest)| rest.strip_suffix(" closed"));
        rest.is_some_and(|rest| rest.contains(" idle kept connection"))
    };
    assert!(ran.stdout.lines().any(is_it), "{ran}");
    drop(cut); // its client fails
    site.serves("release2");
}

/// No child is free to answer the status page. The kernel shows that all wait for the web server.
#[test]
fn idle_connections_of_all_children_are_no_requests() {
    needs_root!(); // others may not trace the children everywhere
    let site = kept("nginx", 1);
    for _ in 0..4 {
        assert_eq!(site.get("/ping.php").body, "pong1\n");
    }
    let ran = swap(&site, &[]);
    let only = " has no script at work after 3s, only 1 idle kept connection (or stalled upload), \
                which the stop closes";
    assert!(ran.stdout.contains(only), "{ran}");
    assert!(!ran.stdout.contains("will be cut"), "{ran}");
    site.serves("release2");
}

/// The same, with a child that works: only its request is counted.
#[test]
fn request_that_occupies_the_only_child_is_counted() {
    let site = kept("nginx", 1);
    let long = site.hold();
    let ran = swap(&site, &[]);
    assert!(ran.stdout.contains("is still busy after 3s: 1 request will be cut\n"), "{ran}");
    drop(long); // its client fails
    site.serves("release2");
}

/// What clients get while connections are kept: the figures of the documentation. A connection in use
/// may be closed just when its web server sends the next request on it.
#[test]
#[ignore = "a soak: bin/test --all"]
fn few_requests_on_kept_connections_are_lost() {
    for kind in ["nginx", "haproxy", "apache"] {
        let site = kept(kind, 5);
        let visitors = ["GET", "POST"].map(|method| {
            let lost = Arc::new(AtomicU64::new(0));
            let counter = Arc::clone(&lost);
            let visitors = site.visitors(2, move |client, _| {
                let length = if method == "POST" { "Content-Length: 3\r\n" } else { "" };
                let body = if method == "POST" { "a=b" } else { "" };
                let answer = client.ask(method, "/ping.php", length, body);
                let is_good = answer.is_ok_and(|it| it.status == 200 && it.body.len() == 6);
                counter.fetch_add(u64::from(!is_good), Ordering::Relaxed);
            });
            (method, visitors, lost)
        });
        for release in ["release2", "release1"].into_iter().cycle().take(6) {
            site.switch(release);
            let ran = site.run(&["restart", "--strategy", "swap"]);
            assert!(ran.has_succeeded(), "{ran}");
            println!("{kind}: {}", ran.stdout);
        }
        for (method, visitors, lost) in visitors {
            let sent = visitors.finish();
            let lost = lost.load(Ordering::Relaxed);
            println!("{kind}: {lost} of {sent} {method} were lost");
            assert!(lost * 1000 < sent, "{kind}: {lost} of {sent} {method}");
            // nginx repeats these on a new connection.
            assert!((kind, method) != ("nginx", "GET") || lost == 0);
        }
    }
}
