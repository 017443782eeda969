//! What a pool serves without settings for it: the document root of each release, and what is denied.

use harness::served::Served;

const FRONT: &str =
    "<?php echo 'front of ', basename(__DIR__), ' ', $_SERVER['DOCUMENT_ROOT'], ' ',
    $_SERVER['SCRIPT_FILENAME'];";
const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// A release without a front page of its own gets the directory that has one.
fn site_with_public(release: &str) -> harness::Site {
    let site = Served::site("", "");
    make_public(&site, release);
    site
}

fn make_public(site: &harness::Site, release: &str) {
    std::fs::remove_file(site.path(&format!("www/{release}/index.php"))).unwrap();
    let at = |file: &str| format!("www/{release}/{file}");
    site.write(&at("public/index.php"), FRONT);
    site.write(&at("public/app.css"), "p {}");
    site.write(&at("public/uploaded.php"), "<?php echo 'evil';");
    site.write(&at("vendor/autoload.php"), "<?php echo 'vendor';");
    site.write(&at("config.txt"), "secret");
}

#[test]
fn release_with_public_directory_is_served_from_there() {
    let site = site_with_public("release1");
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    let inside = served.site.path("www/current/public").display().to_string();
    let front = format!("front of public {inside} {inside}/index.php");
    for path in ["/", "/a/page", "/index.php", "/config.txt", "/vendor/autoload.php", "/public/"] {
        assert_eq!(served.get(path).text(), front, "{path}");
    }
    assert_eq!(served.get("/app.css").text(), "p {}");
    assert_eq!(served.get("/uploaded.php").status, 404);
    let told = served.site.run(&["check"]).stdout.clone();
    let reason = "document root: the release has public/index.php, the only script that may run";
    assert!(told.contains(reason), "{told}");
    assert!(told.contains("do not run, because document_root is not set: uploaded.php"), "{told}");
    let shown = served.site.run(&["config", "show", "www"]).stdout.clone();
    let line = shown.lines().skip_while(|line| !line.starts_with("document_root")).take(3);
    let line = line.collect::<Vec<_>>().join(" ");
    assert!(line.contains("\"public\"") && line.contains("derived:"), "{shown}");
}

/// Files and scripts change together, in one step.
#[test]
fn document_root_changes_with_the_release() {
    let served = Served::new();
    make_public(&served.site, "release2");
    assert_eq!(served.get("/public/app.css").status, 200, "it is a path of the front controller");
    served.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(served.get("/app.css").text(), "p {}");
    assert!(served.get("/").text().starts_with("front of public "));
    assert!(served.get("/config.txt").text().starts_with("front of public "));
    served.site.run(&["rollback", "www"]).succeeds();
    assert!(served.get("/").text().contains("<h1>Release 1</h1>"));
    assert!(served.get("/app.css").text().contains("<h1>Release 1</h1>"));
}

#[test]
fn private_files_of_a_release_get_403_unless_the_operator_wants_them() {
    let mut served = Served::new();
    served.page("vendor/tool.php", "<?php echo 'ran';");
    served.page("vendor/composer/installed.json", "{}");
    served.page("composer.lock", "{}");
    served.page("dump.sql", "secret");
    served.page("settings.ini.bak", "secret");
    served.page("wp-content/uploads/shell.php", "<?php echo 'ran';");
    served.page("wp-content/uploads/photo.txt", "photo");
    let private = [
        "/vendor/tool.php",
        "/vendor/composer/installed.json",
        "/composer.lock",
        "/dump.sql",
        "/settings.ini.bak",
        "/wp-content/uploads/shell.php",
    ];
    for path in private {
        assert_eq!(served.get(path).status, 403, "{path}");
    }
    assert_eq!(served.get("/wp-content/uploads/photo.txt").text(), "photo");
    // Paths of the application still reach the application.
    assert!(served.get("/vendor/acme").text().contains("<h1>Release 1</h1>"));
    let told = served.site.run(&["check"]).stdout.clone();
    assert!(told.contains("deny_defaults denies composer.lock, dump.sql"), "{told}");
    served.site.replace(SETTINGS, "[gateway]\n", "[gateway]\ndeny_defaults = false\n");
    let told = served.site.run(&["check"]).stdout.clone();
    assert!(told.contains("visitors can get files that look private"), "{told}");
    served.stop_gateway().status(0);
    served.start_gateway();
    for path in private {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
}
