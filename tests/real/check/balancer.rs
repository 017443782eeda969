//! What `check` finds in Apache.

use std::os::unix::fs::symlink;

use super::{APACHE, POOL, document, found, topic};
use harness::Site;

/// The sample behind an Apache whose balancer has this setting in addition.
fn with_proxy_set(text: &str) -> Site {
    let site = Site::prepared();
    site.replace(APACHE, "lbmethod=bybusyness", &format!("lbmethod=bybusyness {text}"));
    site.serve()
}

#[test]
fn check_finds_a_read_only_balancer() {
    let site = with_proxy_set("nonce=None");
    let told = "error: balancer \"phpfpmlb\" is read-only: it has no nonce\n  \
                help: remove nonce=None from its ProxySet in Apache's configuration, or use a \
                strategy that does not drain (--strategy swap)";
    assert_eq!(found(&site, "balancer"), [told]);
    site.add_rollout("strategy = \"swap\"");
    assert_eq!(found(&site, "balancer"), [told.replace("error:", "warning:")]);
}

#[test]
fn check_finds_sticky_sessions_that_prevent_a_drain() {
    let site = with_proxy_set("stickysession=ROUTEID nofailover=On");
    let told = "error: balancer \"phpfpmlb\" has sticky sessions and nofailover=On: draining a \
                member would fail its sessions' requests\n  \
                help: set nofailover=Off, or use a strategy that does not drain (--strategy swap)";
    assert_eq!(found(&site, "balancer"), [told]);
}

#[test]
fn check_finds_a_retry_time_in_apache() {
    let site = Site::prepared();
    site.replace(APACHE, "pool-2\" retry=0", "pool-2\"");
    let told = "warning: member fcgi://pool-2 has retry=60: after one failure Apache leaves it out \
                for 60 seconds, and no command can change that\n  \
                help: add retry=0 to its BalancerMember in Apache's configuration";
    assert_eq!(found(&site.serve(), "balancer"), [told]);
}

#[test]
fn check_finds_members_with_other_sockets() {
    let site = Site::new();
    let settings = &format!("{POOL}/pools-manager.toml");
    site.replace(
        settings,
        "\"fcgi://pool-1\", \"fcgi://pool-2\"",
        "\"fcgi://pool-2\", \"fcgi://pool-1\"",
    );
    let told = |replica, member| {
        format!(
            "error: member fcgi://pool-{member} connects to ROOT/sockets/php-fpm-www{member}.sock, \
             which is not the socket of replica {replica}\n  \
             help: its socket is ROOT/sockets/php-fpm-www{replica}.sock: correct the \
             BalancerMember, or the order of member_urls"
        )
    };
    assert_eq!(found(&site, "balancer"), [told(1, 2), told(2, 1)]);
    site.replace(settings, "\"fcgi://pool-1\"", "\"fcgi://pool-7\"");
    let told = "error: balancer \"phpfpmlb\" has no member \"fcgi://pool-7\"\n  \
                help: the members there are: unix:ROOT/sockets/php-fpm-www1.sock|fcgi://pool-1, \
                unix:ROOT/sockets/php-fpm-www2.sock|fcgi://pool-2";
    assert_eq!(found(&site, "balancer"), [told]);
    site.replace(settings, "/balancer-manager", "/release.txt");
    let url = format!("http://localhost:{}/release.txt", site.port());
    let told = format!(
        "error: {url} answers, but is not balancer-manager\n  \
         help: the URL's <Location> in Apache needs: SetHandler balancer-manager"
    );
    assert_eq!(found(&site, "balancer"), [told]);
}

#[test]
fn check_finds_a_drained_member_of_a_running_replica() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let program = harness::program_path("balancer-manager");
    let url = format!("http://localhost:{}/balancer-manager", site.port());
    let mut drain = site.command(program);
    drain.args([&url, "phpfpmlb", "set-drain", "on", "fcgi://pool-2"]);
    assert!(drain.status().unwrap().success());
    let told = "warning: member fcgi://pool-2 is drained (Init Drn Ok), though replica 2 runs\n  \
                help: run pools-manager start";
    assert_eq!(found(&site, "balancer"), [told]);
    site.run(&["start"]).succeeds();
    site.run(&["check", "-q"]).prints("");
}

#[test]
fn check_accepts_a_member_stopped_by_the_operator() {
    let site = Site::prepared();
    site.replace(APACHE, "pool-2\" retry=0", "pool-2\" retry=0 status=+S");
    let site = site.serve();
    site.run(&["start", "single", "www", "1"]).succeeds();
    assert!(found(&site, "balancer").is_empty());
    let document = document(&site);
    let notes = &topic(&document["pools"][0], "balancer")["notes"];
    assert_eq!(notes[1], "member fcgi://pool-2 is taken out: Init Stop");
    site.run(&["stop"]).succeeds();
    site.run(&["start", "single", "www", "2"]).succeeds();
    let told = "error: no member of a replica that runs is in use: visitors get 503\n  \
                help: run pools-manager start; enable members that you have taken out yourself in \
                balancer-manager";
    assert_eq!(found(&site, "balancer"), [told]);
}

#[test]
fn check_finds_a_monitor_url_without_a_response() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let settings = &format!("{POOL}/pools-manager.toml");
    site.replace(settings, "/ping-php-fpm\"", "/none\"");
    let url = format!("http://localhost:{}/none", site.port());
    let told = format!(
        "warning: {url} answers 404 Not Found\n  \
         help: a rollout cannot be verified with it: look at the web server, or correct monitor_url"
    );
    assert_eq!(found(&site, "monitor"), [told]);
    site.replace(settings, &url, "localhost/ping");
    let found = found(&site, "configuration");
    assert!(found[0].contains("\"localhost/ping\" is not the URL of a page"), "{found:?}");
}

#[test]
fn check_accepts_other_spellings_of_a_socket() {
    let site = Site::prepared();
    symlink("sockets", site.path("run")).unwrap();
    site.replace(APACHE, "/sockets/php-fpm-www1.sock", "/run/php-fpm-www1.sock");
    site.replace(APACHE, "/sockets/php-fpm-www2.sock", "/elsewhere/www2.sock");
    let site = site.serve();
    let told = "warning: member fcgi://pool-2 connects to ROOT/elsewhere/www2.sock, whose \
                directory is not here\n  \
                help: the socket of replica 2 is ROOT/sockets/php-fpm-www2.sock: correct the \
                BalancerMember, unless Apache runs where that has another path";
    assert_eq!(found(&site, "balancer"), [told]);
}
