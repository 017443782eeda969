//! A session of the tool that pools-manager replaces, with its kind of configuration: PHP by a handler
//! on `*.php`, all other paths rewritten to the current release, no `retry=` on the members, a
//! `monitor_url` that Apache does not route, php-fpm by sudo, its log in syslog, no status page.

use std::fs;

use harness::{Site, php_fpm};

const POOL: &str = "etc/php/fpm/redundant-pools/www";

/// A site of an ordinary user, written as the original's documentation has it.
fn original() -> Site {
    let site = Site::prepared();
    let root = site.root().display().to_string();
    let settings = format!(
        "[apache]\n\n\
         manager_url = \"http://localhost:82/balancer-manager\"\n\
         balancer_name = \"phpfpmlb\"\n\
         member_urls = [\"fcgi://pool-1\", \"fcgi://pool-2\"]\n\n\
         [php]\n\n\
         monitor_url = \"http://localhost:82/ping-php-fpm\"\n\n\
         php_fpm_cmd = [\n\t\"sudo\", \"-u\", \"%CURRENT_USER%\",\n\t\"{}\",\n\t\"-p\", \"%CURRENT_DIR%\"\n]\n\n\
         current_dir = \"{root}/www/current\"\n\
         current_release_symlink = \"{root}/www/current.release\"\n",
        php_fpm().display()
    );
    site.write(&format!("{POOL}/pools-manager.toml"), &settings);
    site.write("etc/php/fpm/redundant-pools/php-fpm.conf", "[global]\nerror_log = syslog\n");
    site.write(&format!("{POOL}/php-fpm.conf"), "[global]\nerror_log = syslog\n");
    for replica in [1, 2] {
        let conf = format!(
            "include={POOL}/php-fpm.conf\n\n\
             [global]\npid = pid/php-fpm-www{replica}.pid\nsyslog.ident = php-fpm-www{replica}\n\n\
             [www{replica}]\n\ninclude={POOL}/pool.conf\n"
        );
        site.write(&format!("{POOL}/{replica}.conf"), &conf);
    }
    site.write(
        &format!("{POOL}/pool.conf"),
        "listen = sockets/php-fpm-$pool.sock\n\
         pm = dynamic\npm.max_children = 5\npm.start_servers = 2\n\
         pm.min_spare_servers = 1\npm.max_spare_servers = 3\n\
         ping.path = /ping-php-fpm\n",
    );
    serve_as_the_original(&site, &root);
    for release in ["release1", "release2"] {
        fs::remove_file(site.path(&format!("www/{release}/index.php"))).unwrap();
    }
    fs::remove_file(site.path("www/current/.gitkeep")).unwrap();
    site.owned_by_ordinary_user().serve()
}

fn serve_as_the_original(site: &Site, root: &str) {
    site.replace(
        "etc/apache2/apache2.conf",
        "LoadModule dir_module",
        "LoadModule rewrite_module ${APACHE_MODULES}/mod_rewrite.so\nLoadModule dir_module",
    );
    let virtual_host = format!(
        "Listen ${{POOLS_MANAGER_LISTEN}}\n\
         <VirtualHost ${{POOLS_MANAGER_LISTEN}}>\n\
         ServerName ubuntu.local\n\
         DocumentRoot {root}/www/current\n\
         <Directory {root}/www>\n  Require all granted\n  Options FollowSymLinks\n</Directory>\n\
         RewriteEngine On\n\
         RewriteCond %{{REQUEST_FILENAME}} !\\.php$\n\
         RewriteRule ^/(.+) \"{root}/www/current.release/$1\"\n\
         <FilesMatch \"\\.php$\">\n  SetHandler \"proxy:balancer://phpfpmlb/\"\n</FilesMatch>\n\
         <Proxy balancer://phpfpmlb>\n\
         BalancerMember unix:{root}/sockets/php-fpm-www1.sock|fcgi://pool-1\n\
         BalancerMember unix:{root}/sockets/php-fpm-www2.sock|fcgi://pool-2\n\
         ProxySet lbmethod=bybusyness\n\
         </Proxy>\n\
         <Location \"/balancer-manager\">\n  SetHandler balancer-manager\n</Location>\n\
         </VirtualHost>\n"
    );
    site.write("etc/apache2/sites-enabled/82-php-fpm.conf", &virtual_host);
}

const HEAD: &str = "Redundant pool \"www\"...\n";

fn restarted(site: &Site) -> String {
    let lines = |replica: u32| {
        format!(
            "  Deactivating the load balancer for replica {replica}  [OK]\n  \
             Stopping replica {replica}  [OK]\n  \
             Starting replica {replica}  [OK]\n  \
             Activating the load balancer for replica {replica}  [OK]\n"
        )
    };
    format!("{HEAD}{}{}{}", lines(1), lines(2), unmonitored(site))
}

/// The page that Apache never routed.
fn unmonitored(site: &Site) -> String {
    format!(
        "  Warning: http://localhost:{}/ping-php-fpm answers 404 Not Found; \
         it was no better before the rollout\n",
        site.port()
    )
}

fn well(site: &Site, release: &str) -> String {
    let release = site.path("www").join(release);
    let line = |replica: u32| {
        format!(
            "  Status for replica {replica} [OK]  (LB=\"Init Ok\", ping_php=\"pong\", current=\"{}\")\n",
            release.display()
        )
    };
    format!("{HEAD}{}{}", line(1), line(2))
}

#[test]
fn commands_of_the_original_work_on_its_configuration() {
    let site = original();
    let port = site.port();
    site.run(&["list"]).prints(&format!(
        "www -> (replica_count=\"2\" backend=\"apache\" balancer_name=\"phpfpmlb\" \
         manager_url=\"http://localhost:{port}/balancer-manager\" \
         member_urls=\"['fcgi://pool-1', 'fcgi://pool-2']\")\n"
    ));
    site.run(&["list", "-q"]).prints("www\n");
    let started = format!("{HEAD}  Starting replica 1  [OK]\n  Starting replica 2  [OK]\n");
    site.run(&["start"]).prints(&started);
    site.run(&["status"]).prints(&well(&site, "release1"));
    let quiet = "  Status for replica 1 [OK]\n  Status for replica 2 [OK]\n";
    site.run(&["status", "-q"]).prints(&format!("{HEAD}{quiet}"));
    site.run(&["stop", "single", "www", "2"])
        .prints(&format!("{HEAD}  Stopping replica 2  [OK]\n"));
    site.run(&["start", "single", "www", "2"])
        .prints(&format!("{HEAD}  Starting replica 2  [OK]\n"));
    let second = format!(
        "{HEAD}  Deactivating the load balancer for replica 2  [OK]\n  \
         Stopping replica 2  [OK]\n  \
         Starting replica 2  [OK]\n  \
         Activating the load balancer for replica 2  [OK]\n{}",
        unmonitored(&site)
    );
    site.run(&["restart", "single", "www", "2"]).prints(&second);
    site.run(&["restart"]).prints(&restarted(&site));

    // The release changes: static files with the link, PHP with the restart.
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    site.switch(site.path("www/release2"));
    assert_eq!(site.get("/release.txt").body, "2\n");
    assert_eq!(site.get("/ping.php").body, "pong1\n");
    site.run(&["restart"]).prints(&restarted(&site));
    assert_eq!(site.get("/ping.php").body, "pong2\n");
    site.run(&["status"]).prints(&well(&site, "release2"));

    // Commands that the original does not have also succeed.
    for command in [&["rollback"][..], &["switch", "www", "release2"]] {
        let ran = site.run(command);
        assert!(ran.succeeds().stdout.ends_with(&unmonitored(&site)), "{ran}");
    }
    // Under the load of the original's stress programs.
    let (pings, sleepers) = (site.pings(2), site.sleepers(2, "0.2"));
    site.switch(site.path("www/release1"));
    let ran = site.run(&["restart"]);
    assert!(ran.succeeds().stdout.ends_with(&unmonitored(&site)), "{ran}");
    pings.finish();
    sleepers.finish();

    let stopped = format!("{HEAD}  Stopping replica 1  [OK]\n  Stopping replica 2  [OK]\n");
    site.run(&["stop", "all", "--timeout", "60"]).prints(&stopped);
    let unknown = "error: there is no pool \"web\"\n  help: the pools are: www\n";
    site.run(&["start", "single", "web"]).status(2).stdout("").stderr(unknown);
}

/// The `start` of the original does not change the balancer.
#[test]
fn replicas_started_by_the_original_get_requests() {
    let site = original();
    site.run(&["start"]).succeeds();
    // One by one, and all at once.
    for stop in [&["stop", "single", "www", "2"][..], &["stop"]] {
        site.run(stop).succeeds();
    }
    for replica in [1, 2] {
        site.start_by_hand(replica);
    }
    assert_eq!(site.members(), ["Init Ok", "Init Ok"]);
    for _ in 0..4 {
        assert_eq!(site.get("/ping.php").body, "pong1\n");
    }
    site.run(&["restart"]).prints(&restarted(&site));
}

/// The site has no clients, and no request of the manager goes through the balancer.
#[test]
fn member_in_error_of_an_idle_site_comes_back() {
    let site = original();
    site.run(&["start"]).succeeds();
    for (broken, strategy) in [(2, "rolling"), (1, "rolling"), (2, "swap")] {
        site.kill_replica(broken);
        // Until Apache has tried that member.
        site.status_when(|status| {
            assert_eq!(site.get("/ping.php").status, 200);
            status["pools"][0]["replicas"][broken - 1]["lb"] == "Init Err"
        });
        let ran = site.run(&["restart", "--strategy", strategy]);
        assert!(!ran.succeeds().stdout.contains("considers it broken"), "{ran}");
        assert_eq!(site.members(), ["Init Ok", "Init Ok"]);
        site.is_in_order_on("release1");
    }
}
