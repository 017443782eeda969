//! Logged-in sessions in a real browser, by HTTPS and HTTP/2, with a release switch in the middle.

use std::fmt::Write as _;

use harness::chromium::Chromium;
use harness::needs_root;

use crate::blog::{Blog, picture};
use crate::phpmyadmin::PhpMyAdmin;

#[test]
#[ignore = "a real application: bin/test --all"]
fn session_in_wordpress_goes_on_through_a_switch() {
    needs_root!();
    let blog = Blog::new();
    let url = |page: &str| blog.url(page);
    let browser = Chromium::start();
    browser.open(&url("/"));
    assert!(browser.url().ends_with("/wp-admin/install.php"), "{}", browser.url());
    browser.fill("#weblog_title", "Pools & Co.");
    browser.fill("#user_login", "admin");
    browser.fill("#pass1", "correct horse battery 7!");
    browser.fill("#admin_email", "admin@example.com");
    browser.click("#submit");
    assert_eq!(browser.text("h1:not(#logo)"), "Success!");
    browser.open(&url("/wp-admin/"));
    browser.fill("#user_login", "admin");
    browser.fill("#user_pass", "correct horse battery 7!");
    browser.click("#wp-submit");
    assert_eq!(browser.text(".wrap > h1"), "Dashboard");
    assert_eq!(browser.protocol(), "h2");
    browser.screenshot("wordpress-dashboard");

    let file = blog.path("dot.png");
    std::fs::write(&file, picture()).unwrap();
    browser.open(&url("/wp-admin/media-new.php?browser-uploader"));
    browser.choose_file("#async-upload", &file);
    browser.click("#html-upload");
    browser.open(&url("/wp-admin/upload.php?mode=list"));
    let shown =
        "[...document.images].filter(it => it.src.includes('/uploads/') && it.naturalWidth).length";
    assert_eq!(browser.value(shown), 1);

    browser.open(&url("/wp-admin/"));
    browser.fill("#title", "Begun on release 1");
    browser.fill("#content", "and saved on release 2");
    blog.deploy("release2");
    browser.click("#save-post");
    assert_eq!(browser.text(".drafts .draft-title a"), "Begun on release 1");
    browser.screenshot("wordpress-after-the-switch");
    browser.open(&url("/release.txt"));
    assert_eq!(browser.text("body"), "2");
    // A long page.
    browser.open(&url("/wp-admin/options.php"));
    assert!(browser.source().len() > 50_000);
    assert_eq!(browser.text(".wrap > h1"), "All Settings");
    browser.open(&url("/?p=1"));
    assert_eq!(browser.text("h1"), "Hello world!");
    browser.screenshot("wordpress-post");
}

#[test]
#[ignore = "a real application: bin/test --all"]
fn session_in_phpmyadmin_goes_on_through_a_switch() {
    needs_root!();
    let admin = PhpMyAdmin::new();
    let url = |page: &str| format!("https://127.0.0.1:{}{page}", admin.served.tls_port());
    let browser = Chromium::start();
    browser.open(&url("/"));
    browser.fill("#input_username", "root");
    browser.fill("#input_password", "any");
    browser.click("#input_go");
    browser.text("#pma_navigation_tree");
    assert_eq!(browser.protocol(), "h2");
    browser.screenshot("phpmyadmin-front");

    let import = |name: &str, sql: &str| {
        let file = admin.served.site.path(name);
        std::fs::write(&file, sql).unwrap();
        browser.open(&url("/index.php?route=/database/import&db=walk"));
        browser.choose_file("#input_import_file", &file);
        // Before the page's script handles the click, the result would go to an invisible frame.
        let events = "jQuery._data(document.querySelector('#buttonGo'), 'events')";
        browser.await_true(&format!("!!(window.jQuery && {events} && {events}.click)"));
        browser.click("#buttonGo");
        let done = browser.text(".alert-success");
        assert!(done.contains("Import has been successfully finished"), "{done}");
    };
    let mut sql = "CREATE TABLE t (id INT PRIMARY KEY, word TEXT);\n".to_owned();
    for id in 0..500 {
        writeln!(sql, "INSERT INTO t VALUES ({id}, '{}');", "word ".repeat(20)).unwrap();
    }
    import("first.sql", &sql);
    admin.served.site.switch("release2");
    admin.served.site.run(&["restart"]).succeeds();
    import("second.sql", "INSERT INTO t VALUES (500, 'after the switch');");
    // A long page: all rows.
    browser.open(&url("/index.php?route=/sql&db=walk&table=t&session_max_rows=1000&pos=0"));
    let rows = "document.querySelectorAll('table.table_results td[data-type=int]').length";
    assert_eq!(browser.value(rows), 501);
    browser.screenshot("phpmyadmin-rows");
    browser.open(&url("/release.txt"));
    assert_eq!(browser.text("body"), "release2");
    browser.open(&url("/"));
    browser.click("a.logout, a[href*='route=/logout']");
    browser.text("#input_username");
}

/// The page of phpMyAdmin replaces itself during an import, and the driver then aborts a search.
#[test]
#[ignore = "starts a browser: bin/test --all"]
fn element_is_found_while_the_page_replaces_itself() {
    const PAGE: &str = "<p>replaced</p><script>
        const count = Number(location.search.slice(1)) + 1;
        if (count < 60) setTimeout(() => location.replace('?' + count), Math.random() * 20);
        else document.querySelector('p').className = 'last';
    </script>";
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    std::fs::write(&page, PAGE).unwrap();
    let browser = Chromium::start();
    browser.open(&format!("file://{}", page.display()));
    assert_eq!(browser.text("p"), "replaced");
    assert_eq!(browser.text("p.last"), "replaced");
}
