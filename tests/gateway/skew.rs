//! Assets of releases that were replaced.

use std::fs;

use harness::Site;
use harness::chromium::Chromium;
use harness::served::Served;
use serde_json::Value;

/// Two releases of an application whose assets have names of their own, with a front controller.
fn releases(site: &Site) {
    for release in ["1", "2"] {
        let at = |file: &str| format!("www/release{release}/{file}");
        site.write(&at(&format!("app.{release}.js")), &format!("release {release}"));
        site.write(&at("same.js"), &format!("same {release}"));
        site.write(&at(&format!("about{release}.html")), "a page");
        site.write(&at(&format!("only{release}.php")), "<?php echo 'code';");
        site.write(&at(&format!(".secret{release}.js")), "secret");
        site.write(&at(&format!("no/{release}.js")), "denied");
        site.write(&at("index.php"), &format!("<?php echo 'front {release}';"));
    }
}

fn served(settings: &str) -> Served {
    let site = Served::site(&format!("deny = [\"/no/\"]\n{settings}"), "");
    releases(&site);
    site.run(&["start"]).succeeds();
    Served::serve(site)
}

fn text(served: &Served, path: &str) -> String {
    served.get(path).text()
}

#[test]
fn assets_come_from_the_replaced_release_and_pages_from_the_new_one() {
    for strategy in ["swap", "rolling"] {
        let served = served("keep_assets = \"10m\"\ncache = { \"/app\" = \"max-age=60\" }");
        let before = served.get("/app.1.js");
        served.site.run(&["switch", "www", "release2", "--strategy", strategy]).succeeds();
        let after = served.get("/app.1.js");
        assert_eq!((after.status, after.text().as_str()), (200, "release 1"));
        // It is the same representation: a browser that has it gets 304.
        let headers = |name: &str| {
            (before.header(name).unwrap().to_owned(), after.header(name).unwrap().to_owned())
        };
        for name in ["etag", "cache-control", "content-type"] {
            let (before, after) = headers(name);
            assert_eq!(before, after, "{name}");
        }
        let condition = format!("If-None-Match: {}\r\n", after.header("etag").unwrap());
        assert_eq!(served.get_with("/app.1.js", &condition).status, 304);
        let part = served.get_with("/app.1.js", "Range: bytes=0-6\r\n");
        assert_eq!((part.status, part.text().as_str()), (206, "release"));
        // Files that the new release has come from the new release.
        assert_eq!(text(&served, "/app.2.js"), "release 2");
        assert_eq!(text(&served, "/same.js"), "same 2");
        assert_eq!(text(&served, "/"), "front 2");
        for page in ["/about1.html", "/only1.php", "/missing.js", "/missing", "/app.1.js/"] {
            assert_eq!(text(&served, page), "front 2", "{page}");
        }
        let status = |path: &str| served.get(path).status;
        assert_eq!((status("/.secret1.js"), status("/no/1.js")), (404, 403));
        let mut post = served.connect();
        post.send("POST /app.1.js HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(post.answer().unwrap().text(), "front 2");
    }
}

#[test]
fn assets_are_not_kept_by_default_nor_after_their_time() {
    let plain = served("");
    plain.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(text(&plain, "/app.1.js"), "front 2");
    let short = served("keep_assets = \"1s\"");
    short.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(text(&short, "/app.1.js"), "release 1");
    harness::wait_for("the end of the time", || {
        (text(&short, "/app.1.js") == "front 2").then_some(())
    });
}

#[test]
fn assets_of_a_release_that_was_rolled_back_are_kept() {
    let served = served("keep_assets = \"10m\"");
    served.site.run(&["switch", "www", "release2"]).succeeds();
    served.site.run(&["rollback", "www"]).succeeds();
    assert_eq!(text(&served, "/app.2.js"), "release 2");
    assert_eq!(text(&served, "/app.1.js"), "release 1");
    assert_eq!(text(&served, "/same.js"), "same 1");
}

#[test]
fn started_gateway_keeps_the_assets_of_the_history() {
    let mut served = served("keep_assets = \"10m\"");
    served.site.run(&["switch", "www", "release2"]).succeeds();
    served.kill_gateway();
    served.start_gateway();
    assert_eq!(text(&served, "/app.1.js"), "release 1");
    assert_eq!(text(&served, "/app.2.js"), "release 2");
}

#[test]
fn removed_release_has_no_assets_and_keeps_no_files() {
    let served = served("keep_assets = \"10m\"");
    served.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(text(&served, "/app.1.js"), "release 1");
    fs::remove_dir_all(served.site.path("www/release1")).unwrap();
    assert_eq!(text(&served, "/app.1.js"), "front 2");
    // A directory of the same name is another release.
    served.site.write("www/release1/app.1.js", "another");
    assert_eq!(text(&served, "/app.1.js"), "front 2");
    assert_eq!(served.in_temporary_files(), 0);
}

/// A link out of the old release leads nowhere, as in the present one.
#[test]
fn link_out_of_the_old_release_is_not_followed() {
    let served = served("keep_assets = \"10m\"");
    std::os::unix::fs::symlink("/etc/hostname", served.site.path("www/release1/out.txt")).unwrap();
    assert_eq!(text(&served, "/out.txt"), "front 1");
    served.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(text(&served, "/out.txt"), "front 2");
}

/// A page whose script loads another script when the test calls `later`, as the pages of bundlers do.
fn page(release: &str) -> String {
    format!(
        "<!DOCTYPE html><title>release {release}</title>\n\
         <link rel=\"stylesheet\" href=\"/style.{release}.css\">\n\
         <script src=\"/app.{release}.js\"></script>\n\
         <?php echo '<p>release {release}</p>';"
    )
}

fn write_pages(site: &Site) {
    for release in ["1", "2"] {
        let at = |file: &str| format!("www/release{release}/{file}");
        site.write(&at("index.php"), &page(release));
        site.write(&at(&format!("other.{release}.js")), "export const text = 'other';");
        site.write(&at(&format!("style.{release}.css")), "p { color: green }");
        site.write(
            &at(&format!("app.{release}.js")),
            &format!("const later = () => import('/lazy.{release}.js');"),
        );
        site.write(
            &at(&format!("lazy.{release}.js")),
            &format!("export const text = 'lazy {release}';"),
        );
    }
}

const LATER: &str =
    "const done = arguments[0]; later().then(it => done(it.text), error => done('' + error));";
const NAMES: &str = "arguments[0]([document.title, ...performance.getEntriesByType('resource').map(it => new URL(it.name).pathname)]);";

/// What the browser got: the title, and the paths of all that the page has loaded.
fn loaded(browser: &Chromium) -> Vec<String> {
    let names = browser.run(NAMES);
    let names = names.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
    // The browser requests the icon at any time.
    names.filter(|name| name != "/favicon.ico").collect()
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn page_in_a_browser_still_loads_its_assets_after_the_switch() {
    let served = served("keep_assets = \"10m\"");
    write_pages(&served.site);
    let browser = Chromium::start();
    let url = format!("http://127.0.0.1:{}/", served.port());
    browser.open(&url);
    served.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(browser.run(LATER), "lazy 1");
    assert_eq!(loaded(&browser), ["release 1", "/style.1.css", "/app.1.js", "/lazy.1.js"]);
    browser.open(&url);
    assert_eq!(browser.run(LATER), "lazy 2");
    assert_eq!(loaded(&browser), ["release 2", "/style.2.css", "/app.2.js", "/lazy.2.js"]);
    // Without `keep_assets`, the same page fails.
    browser.open(&url);
    let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
    served.site.replace(settings, "keep_assets = \"10m\"\n", "");
    served.site.run(&["switch", "www", "release1"]).succeeds();
    // Another file than the one that the browser has.
    let other = LATER.replace("later()", "import('/other.2.js')");
    let failed: Value = browser.run(&other);
    assert!(failed.as_str().unwrap().contains("TypeError"), "{failed}");
}
