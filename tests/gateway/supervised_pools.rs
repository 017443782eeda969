//! Pools that come, go, or change their names while `serve` supervises.

use std::fs;

use harness::wait_for;

use super::supervisor::supervised;

const POOLS: &str = "etc/php/fpm/redundant-pools";
const POOL: &str = "etc/php/fpm/redundant-pools/www";

#[test]
fn hup_starts_new_pools_stops_removed_ones_and_keeps_broken_ones() {
    let served = supervised("");
    let site = &served.site;
    fs::create_dir(site.path(&format!("{POOLS}/api"))).unwrap();
    let conf = site.read(&format!("{POOL}/1.conf")).replace("www", "api");
    site.write(&format!("{POOLS}/api/1.conf"), &conf);
    for file in ["php-fpm.conf", "pool.conf"] {
        site.write(&format!("{POOLS}/api/{file}"), &site.read(&format!("{POOL}/{file}")));
    }
    let settings = site.read(&format!("{POOL}/pools-manager.toml"));
    let settings = settings.replace("[gateway]", "[gateway]\nhosts = [\"api\"]");
    site.write(&format!("{POOLS}/api/pools-manager.toml"), &settings);
    let running = |pool: &str| {
        let status = site.status();
        let pools = status["pools"].as_array().unwrap().clone();
        let found = pools.into_iter().find(|it| it["pool"] == pool);
        found.is_some_and(|it| it["ok"] == true)
    };
    served.reload();
    wait_for("the new pool", || running("api").then_some(()));
    fs::rename(site.path(&format!("{POOLS}/api")), site.path("api.away")).unwrap();
    served.reload();
    wait_for("the removed pool's end", || (site.all_masters().len() == 2).then_some(()));
    // A broken pool: its replicas go on, and dead ones are started again.
    site.replace(&format!("{POOL}/pools-manager.toml"), "[php]", "[phpp]");
    assert!(served.reload().contains("unknown key `phpp`"));
    let dead = site.all_masters()[0];
    site.kill(&[dead]);
    wait_for("two masters", || {
        let masters = site.all_masters();
        (masters.len() == 2 && !masters.contains(&dead)).then_some(())
    });
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}

#[test]
fn pool_that_a_command_starts_is_kept_running() {
    let served = supervised("");
    let site = &served.site;
    let init = ["init", "api", "--yes", "--release", "www/release1", "--host", "api"];
    let ran = site.run(&[&init[..], &["--web-server", "gateway"]].concat());
    // `check` warns that `serve` does not know the pool yet.
    assert!(ran.succeeds().stdout.contains("Balancer  [Warning]"), "{ran}");
    assert!(ran.stdout.contains("\nNext:\n  kill -HUP "), "{ran}");
    site.run(&["start", "api"]).succeeds();
    let dead = *site.all_masters().iter().find(|pid| !site.masters().contains(pid)).unwrap();
    site.kill(&[dead]);
    wait_for("another master", || {
        let masters = site.all_masters();
        (masters.len() == 4 && !masters.contains(&dead)).then_some(())
    });
    wait_for("the check to be content", || {
        let ran = site.run(&["check", "api"]);
        (!ran.stdout.contains("[Warning]") && !ran.stdout.contains("[Error]")).then_some(())
    });
}

/// The pool `site` takes over what the pool `www` had: its socket names and its host.
#[test]
fn hup_moves_a_renamed_pool_to_its_new_name() {
    let served = supervised("");
    let site = &served.site;
    for file in ["1.conf", "2.conf"] {
        let conf = site.read(&format!("{POOL}/{file}"));
        site.write(
            &format!("{POOL}/{file}"),
            &conf.replace("redundant-pools/www/", "redundant-pools/site/"),
        );
    }
    fs::rename(site.path(POOL), site.path(&format!("{POOLS}/site"))).unwrap();
    served.reload();
    wait_for("the pool under its new name", || {
        let pools = site.status()["pools"].as_array().unwrap().clone();
        (pools.len() == 1 && pools[0]["pool"] == "site" && pools[0]["ok"] == true).then_some(())
    });
    wait_for("the end of the old replicas", || (site.all_masters().len() == 2).then_some(()));
    wait_for("the page", || (served.get("/ping.php").text() == "pong1\n").then_some(()));
    site.switch("release2");
    wait_for("the other release", || (served.get("/ping.php").text() == "pong2\n").then_some(()));
}
