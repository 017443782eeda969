//! A broken pool: its hosts get 503 until it is corrected, and the other pools are served.

use std::fs;

use harness::served::Served;
use harness::{Site, wait_for};

const POOLS: &str = "etc/php/fpm/redundant-pools";
const SHOP: &str = "etc/php/fpm/redundant-pools/shop/pools-manager.toml";

/// The pools "www" with `www.test` and "shop" with `shop.test`, with one running replica each.
fn two_pools() -> Site {
    let site = Served::site("hosts = [\"www.test\"]", "");
    add_pool(&site, "shop", "hosts = [\"shop.test\"]");
    fs::remove_file(site.path(&format!("{POOLS}/www/2.conf"))).unwrap();
    site.run(&["start"]).succeeds();
    site
}

/// Adds a pool with its own release.
fn add_pool(site: &Site, name: &str, gateway: &str) {
    let conf = site.read(&format!("{POOLS}/www/1.conf"));
    site.write(&format!("{POOLS}/{name}/1.conf"), &conf.replace("www", name));
    for file in ["php-fpm.conf", "pool.conf"] {
        let text = site.read(&format!("{POOLS}/www/{file}"));
        site.write(&format!("{POOLS}/{name}/{file}"), &text);
    }
    let release = format!("srv/{name}.release1");
    site.write(&format!("{release}/ping.php"), &format!("<?php echo '{name}';"));
    fs::create_dir_all(site.path(&format!("srv/{name}"))).unwrap();
    site.point(&format!("srv/{name}.release"), format!("{name}.release1"));
    let settings = format!(
        "[php]\ncurrent_release_symlink = \"srv/{name}.release\"\ncurrent_dir = \"srv/{name}\"\n\n[gateway]\n{gateway}\n"
    );
    site.write(&format!("{POOLS}/{name}/pools-manager.toml"), &settings);
}

fn status(served: &Served, host: &str) -> u16 {
    served.get_from(host, "/ping.php").status
}

#[test]
fn pool_with_a_broken_configuration_does_not_stop_the_others() {
    let mut served = Served::serve(two_pools());
    let good = served.site.read(SHOP);
    assert_eq!((status(&served, "www.test"), status(&served, "shop.test")), (200, 200));
    let broken = [
        (good.replace("[php]", "[php]\nx = 3"), 503, "its hosts get 503: shop.test"),
        (format!("{good}[rollout\n"), 503, "its hosts get 503: shop.test"),
        (
            good.replace("hosts = [\"shop.test\"]", "hosts = 3"),
            421,
            "its hosts cannot be read from the file",
        ),
    ];
    for (text, expected, said) in broken {
        served.stop_gateway().status(0);
        served.site.write(SHOP, &text);
        served.start_gateway();
        let line = served.await_log(said);
        assert!(line.contains("ERROR pool \"shop\": ") && line.contains(SHOP), "{line}");
        assert_eq!((status(&served, "www.test"), status(&served, "shop.test")), (200, expected));
        served.site.write(SHOP, &good);
        served.reload();
        assert_eq!((status(&served, "www.test"), status(&served, "shop.test")), (200, 200));
    }
}

#[test]
fn pool_is_served_when_its_document_root_exists() {
    let site = two_pools();
    site.replace(SHOP, "[gateway]\n", "[gateway]\ndocument_root = \"public\"\n");
    let served = Served::serve(site);
    let line = served.await_log("ERROR pool \"shop\": cannot serve ");
    assert!(line.contains("/shop.release1/public: No such file"), "{line}");
    assert_eq!((status(&served, "www.test"), status(&served, "shop.test")), (200, 503));
    served.site.write("srv/shop.release1/public/ping.php", "<?php echo 'here';");
    wait_for("the pool", || (status(&served, "shop.test") == 200).then_some(()));
    served.await_log("INFO pool \"shop\": it can be served again");
}

#[test]
fn pool_whose_release_was_deleted_is_served_after_its_next_restart() {
    let site = two_pools();
    fs::remove_dir_all(site.path("srv/shop.release1")).unwrap();
    site.write("srv/shop.release2/ping.php", "<?php echo 'shop';");
    let served = Served::serve(site);
    served.await_log("ERROR pool \"shop\": cannot serve ");
    assert_eq!((status(&served, "www.test"), status(&served, "shop.test")), (200, 503));
    served.site.point("srv/shop.release", "shop.release2");
    served.site.run(&["restart", "single", "shop"]).succeeds();
    assert_eq!((status(&served, "www.test"), status(&served, "shop.test")), (200, 200));
}

#[test]
fn host_of_two_pools_gets_503_and_their_other_hosts_are_served() {
    let site = two_pools();
    site.replace(SHOP, "\"shop.test\"", "\"shop.test\", \"www.test\"");
    let text = site.read(SHOP);
    let served = Served::serve(site);
    served.await_log("the pools \"shop\" and \"www\" all configure www.test: its requests get 503");
    assert_eq!((status(&served, "www.test"), status(&served, "shop.test")), (503, 200));
    served.site.write(SHOP, &text.replace(", \"www.test\"", ""));
    served.reload();
    assert_eq!((status(&served, "www.test"), status(&served, "shop.test")), (200, 200));
    // The pool that had the host keeps it.
    served.site.write(SHOP, &text);
    let said = served.reload();
    assert!(said.contains("all configure www.test: \"www\" keeps it"), "{said}");
    assert_eq!(served.get_from("www.test", "/ping.php").text(), "pong1\n");
}

#[test]
fn two_pools_without_hosts_get_503_until_one_configures_hosts() {
    let site = Served::site("", "");
    add_pool(&site, "shop", "");
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    served
        .await_log("the pools \"shop\" and \"www\" all configure every host: its requests get 503");
    assert_eq!(status(&served, "any.test"), 503);
    served.site.replace(SHOP, "[gateway]\n", "[gateway]\nhosts = [\"shop.test\"]\n");
    served.reload();
    assert_eq!((status(&served, "any.test"), status(&served, "shop.test")), (200, 200));
}

#[test]
fn pool_with_a_deleted_release_does_not_stop_a_restart_of_its_other_replica() {
    let site = Served::site("", "");
    site.add_rollout("strategy = \"rolling\"");
    site.run(&["start"]).succeeds();
    site.switch("release2");
    site.run(&["restart", "single", "www", "1"]).succeeds();
    fs::remove_dir_all(site.path("www/release1")).unwrap();
    let served = Served::serve(site);
    served.await_log("gets no requests: cannot serve ");
    assert_eq!(served.get("/ping.php").status, 200);
    served.site.run(&["restart", "single", "www", "1"]).succeeds();
    served.site.run(&["restart"]).succeeds();
    served.site.run(&["status", "-q"]).succeeds();
}

#[test]
fn pool_that_was_added_is_served_by_the_next_command() {
    let served = Served::serve(two_pools());
    add_pool(&served.site, "news", "hosts = [\"news.test\"]\nqueue_timeout = \"100ms\"");
    served.site.run(&["start", "single", "news"]).succeeds();
    assert_eq!(status(&served, "news.test"), 200);
    served.site.run(&["stop", "single", "news"]).succeeds();
    assert_eq!(status(&served, "news.test"), 503);
}

/// The command and the gateway use the same settings, or the command fails.
#[test]
fn changed_settings_are_applied_by_the_next_command() {
    let served = Served::serve(two_pools());
    let site = &served.site;
    let elsewhere =
        site.read(SHOP).replace("current_dir = \"srv/shop\"", "current_dir = \"srv/else\"");
    fs::create_dir(site.path("srv/else")).unwrap();
    site.write(SHOP, &elsewhere);
    site.run(&["restart", "single", "shop"]).succeeds();
    assert_eq!(served.get_from("shop.test", "/ping.php").text(), "shop");
    // The command makes the gateway apply the file that the command has read.
    site.replace(SHOP, "[gateway]", "[gateway]\nindex = [\"other.php\"]");
    site.write("srv/shop.release1/other.php", "<?php echo 'other';");
    site.run(&["restart", "single", "shop"]).succeeds();
    assert_eq!(served.get_from("shop.test", "/").text(), "other");
}
