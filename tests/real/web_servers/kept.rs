//! Web servers that keep their connections to php-fpm open, which the documentation advises against.
//! An idle kept connection occupies a child of the old generation: it counts as in flight, so the old
//! generation is waited for, and cut with a warning when `drain_timeout` has passed. The tests show
//! what that costs.

use std::time::{Duration, Instant};

use harness::{HAPROXY, Site};

const NGINX: (&str, &str) = ("    least_conn;\n", "    least_conn;\n    keepalive 4;\n");

fn kept(kind: &'static str, changes: &'static [(&str, &str)]) -> Site {
    let site = Site::prepared();
    site.set_backend(if kind == "haproxy" { HAPROXY } else { "" });
    site.add_rollout("drain_timeout = \"2s\"");
    let site = site.serve_changed_snippet(kind, move |text| {
        changes.iter().fold(text, |text, (from, to)| {
            // One of them alone can be without an upstream.
            assert!(text.contains(from), "{text}");
            text.replacen(from, to, 1)
        })
    });
    super::start(site)
}

/// The idle connections of the old generation are told apart from requests: nothing but them is left,
/// the wait for them ends at the drain timeout, and a client that asks meanwhile is served by the new
/// generation.
fn waits_for_idle_connections(site: &Site) {
    for _ in 0..8 {
        assert_eq!(site.get("/ping.php").body, "pong1\n");
    }
    assert!(site.in_flight() > 0, "no connection was kept");
    site.switch("release2");
    let begun = Instant::now();
    let ran = site.run(&["restart", "--strategy", "swap"]);
    assert!(ran.has_succeeded(), "{ran}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{ran}");
    assert!(ran.stdout.contains("is still busy after 2s: "), "{ran}");
    assert_eq!(site.get("/ping.php").body, "pong2\n");
    site.serves("release2");
}

#[test]
fn kept_connections_of_nginx_delay_a_swap_until_the_drain_timeout() {
    let keep = (
        "        fastcgi_next_upstream error;\n",
        "        fastcgi_next_upstream error;\n        fastcgi_keep_conn on;\n",
    );
    let site = kept("nginx", Box::leak(Box::new([NGINX, keep])));
    waits_for_idle_connections(&site);
}

#[test]
fn kept_connections_of_haproxy_delay_a_swap_until_the_drain_timeout() {
    let keep = ("    no option keep-conn\n", "    option keep-conn\n");
    waits_for_idle_connections(&kept("haproxy", Box::leak(Box::new([keep]))));
}

#[test]
fn kept_connections_of_apache_delay_a_swap_until_the_drain_timeout() {
    let keep = (" retry=0\n        Bal", " retry=0 enablereuse=on\n        Bal");
    waits_for_idle_connections(&kept("apache", Box::leak(Box::new([keep]))));
}
