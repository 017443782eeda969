//! Two pools in one root that share nothing: neither the release, nor the balancer, nor the command of
//! php-fpm.

use std::fs;

use serde_json::Value;

use harness::{Site, php_fpm};

const POOLS: &str = "etc/php/fpm/redundant-pools";

#[test]
fn list_and_status_show_both_pools() {
    let site = two_pools();
    let port = site.port();
    site.run(&["list", "-q"]).prints("api\nwww\n");
    let line = |pool: &str, balancer: &str, member: &str| {
        format!(
            "{pool} -> (replica_count=\"2\" backend=\"apache\" balancer_name=\"{balancer}\" \
             manager_url=\"http://localhost:{port}/balancer-manager\" \
             member_urls=\"['fcgi://{member}-1', 'fcgi://{member}-2']\")\n"
        )
    };
    site.run(&["list"])
        .prints(&[line("api", "apilb", "api"), line("www", "phpfpmlb", "pool")].concat());

    let shown = |pool: &str, word: &str| {
        format!(
            "Redundant pool \"{pool}\"...\n  \
             Status for replica 1 [{word}]\n  \
             Status for replica 2 [{word}]\n"
        )
    };
    site.run(&["start", "single", "api"]).succeeds();
    site.run(&["status", "-q"])
        .stdout(&[shown("api", "OK"), shown("www", "Error")].concat())
        .stderr("error: pool \"www\": not well: replica 1, 2\n")
        .status(1);
    site.run(&["status", "single", "api", "-q"]).prints(&shown("api", "OK"));
    site.run(&["start"]).succeeds();
    site.run(&["status", "-q"]).prints(&[shown("api", "OK"), shown("www", "OK")].concat());
}

#[test]
fn each_pool_has_its_own_command_and_release() {
    let site = two_pools();
    site.run(&["start"]).succeeds();
    assert_eq!(site.get("/limit.php").body, "www, release 1, 128M\n");
    assert_eq!(site.get("/api/limit.php").body, "api, release 7, 99M\n");

    let www = [site.steady_load(), site.sleepers(1, "0.2")];
    let before = both(&site);
    site.switch("release2");
    switch_api(&site, "release8");
    site.run(&["restart", "single", "api"]).succeeds();
    let after = both(&site);
    assert_eq!(after["www"], before["www"]);
    assert_eq!(generations(&after["api"]), [2, 2]);
    assert_eq!(site.get("/limit.php").body, "www, release 1, 128M\n");
    assert_eq!(site.get("/api/limit.php").body, "api, release 8, 99M\n");

    site.run(&["restart", "single", "api", "2"]).succeeds();
    site.run(&["restart", "all"]).succeeds();
    let after = both(&site);
    assert_eq!(generations(&after["www"]), [2, 2]);
    assert_eq!(generations(&after["api"]), [3, 4]);
    assert_eq!(site.get("/limit.php").body, "www, release 2, 128M\n");
    assert_eq!(site.get("/api/limit.php").body, "api, release 8, 99M\n");
    for load in www {
        load.finish();
    }
    site.apache_saw_no_error();
}

#[test]
fn locked_pool_does_not_block_another_pool() {
    let site = two_pools();
    site.run(&["start"]).succeeds();
    let request = site.hold();
    let mut www = site.spawn(&["restart", "single", "www", "--json"]);
    www.await_event("that it waits", |event| event["event"] == "progress");
    site.run(&["restart", "single", "api", "--no-wait"]).succeeds();
    request.end(1);
    www.finish().succeeds();
}

/// The sample, and a pool "api" beside it.
fn two_pools() -> Site {
    let site = Site::prepared();
    for replica in [1, 2] {
        let text = site.read(&format!("{POOLS}/www/{replica}.conf"));
        site.write(&format!("{POOLS}/api/{replica}.conf"), &text.replace("www", "api"));
    }
    site.write(&format!("{POOLS}/api/php-fpm.conf"), &site.read(&format!("{POOLS}/php-fpm.conf")));
    site.write(&format!("{POOLS}/api/pool.conf"), &site.read(&format!("{POOLS}/www/pool.conf")));
    site.write(&format!("{POOLS}/api/pools-manager.toml"), &api_settings());
    serve_api(&site);
    site.add_page("limit.php", include_str!("pages/limit.php"));
    for release in [7, 8] {
        site.write(&format!("srv/release{release}/limit.php"), include_str!("pages/limit.php"));
        site.write(&format!("srv/release{release}/release.txt"), &release.to_string());
    }
    fs::create_dir(site.path("srv/now")).unwrap();
    switch_api(&site, "release7");
    site.serve()
}

fn api_settings() -> String {
    format!(
        r#"
[php]
current_release_symlink = "srv/current"
current_dir = "srv/now"
php_fpm_cmd = ["{}", "-d", "memory_limit=99M", "-p", "%CURRENT_DIR%"]

[apache]
manager_url = "http://localhost:82/balancer-manager"
balancer_name = "apilb"
member_urls = ["fcgi://api-1", "fcgi://api-2"]
"#,
        php_fpm().display()
    )
}

/// Has Apache send what is below /api/ to the pool "api".
fn serve_api(site: &Site) {
    let balancer = r#"
    <Proxy "balancer://apilb">
        BalancerMember "unix:${POOLS_MANAGER_ROOT}/sockets/php-fpm-api1.sock|fcgi://api-1" retry=0
        BalancerMember "unix:${POOLS_MANAGER_ROOT}/sockets/php-fpm-api2.sock|fcgi://api-2" retry=0
        ProxySet lbmethod=bybusyness
    </Proxy>
    ProxyPassMatch "^/api/(.+\.php)$" "balancer://apilb${POOLS_MANAGER_ROOT}/srv/now/$1"
"#;
    let file = "etc/apache2/sites-enabled/82-php-fpm.conf";
    site.replace(file, "    # PHP. Note", &format!("{balancer}\n    # PHP. Note"));
}

fn switch_api(site: &Site, release: &str) {
    site.point("srv/current", release);
}

/// The status of both pools, by name.
fn both(site: &Site) -> Value {
    let status = site.status();
    let pools = status["pools"].as_array().unwrap();
    pools.iter().map(|pool| (pool["pool"].as_str().unwrap().to_owned(), pool.clone())).collect()
}

fn generations(pool: &Value) -> Vec<u64> {
    let replicas = pool["replicas"].as_array().unwrap();
    replicas.iter().map(|replica| replica["generation"].as_u64().unwrap()).collect()
}
