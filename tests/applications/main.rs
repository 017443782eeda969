//! Real applications, as Debian packages them, behind the gateway: installed, used, and deployed under
//! load.
//!
//! The tests need the packages `wordpress`, `wordpress-theme-twentytwentythree`, `phpmyadmin`,
//! `mariadb-server`, `php8.2-mysql` and `chromium-driver` (`bin/test` installs them). Each test starts its own
//! database on a unix socket, uses the loopback interface only, and sends no mail.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod blog;
mod browser;
mod database;
mod packaged;
mod phpmyadmin;
mod sessions;
mod visitors;

use std::time::Duration;

use blog::Blog;
use browser::Browser;
use harness::needs_root;
use visitors::Visitors;

/// The life of a small site. Each step needs the step before.
#[test]
#[ignore = "a real application: bin/test --all"]
fn wordpress_installs_and_switches_releases_under_load() {
    needs_root!();
    let blog = Blog::new();
    let mut admin = Browser::new(blog.port());
    install(&mut admin);
    log_in(&mut admin);
    let picture = upload(&mut admin);
    let post = choose_permalinks(&mut admin);
    let pages = [
        post,
        picture,
        "/release.txt".to_owned(),
        "/wp-includes/css/buttons.css".to_owned(),
        "/?p=1".to_owned(),
    ];
    let visitors = Visitors::start(blog.port(), &pages);
    visitors.await_requests(30);
    for release in ["release2", "release1"] {
        blog.deploy(release);
        let seen = visitors.served();
        visitors.await_requests(seen + 30);
        let page = admin.get("/wp-admin/");
        assert_eq!(page.status, 200, "the session goes on");
        assert_eq!(page.header("x-release"), Some(&release["release".len()..]));
    }
    visitors.end(&["1", "2", "1"]);
}

fn install(admin: &mut Browser) {
    let front = admin.get("/");
    assert_eq!(front.status, 302, "{}", front.text());
    assert!(front.header("location").unwrap().ends_with("/wp-admin/install.php"));
    assert!(admin.get("/wp-admin/install.php").text().contains("WordPress &rsaquo; Installation"));
    let fields = [
        ("weblog_title", "Pools & Co."),
        ("user_name", "admin"),
        ("admin_password", "correct horse"),
        ("admin_password2", "correct horse"),
        ("pw_weak", "on"),
        ("admin_email", "admin@example.com"),
        ("blog_public", "0"),
        ("language", ""),
    ];
    let done = admin.post("/wp-admin/install.php?step=2", &fields);
    assert_eq!(done.status, 200);
    assert!(done.text().contains("Success!"), "{}", done.text());
}

fn log_in(admin: &mut Browser) {
    // Without a login, the dashboard redirects to the form.
    let away = admin.get("/wp-admin/");
    assert_eq!(away.status, 302);
    assert!(away.header("location").unwrap().contains("/wp-login.php?redirect_to="));
    assert_eq!(admin.get("/wp-login.php").status, 200);
    let fields = [
        ("log", "admin"),
        ("pwd", "wrong"),
        ("wp-submit", "Log In"),
        ("testcookie", "1"),
        ("redirect_to", "/wp-admin/"),
    ];
    let refused = admin.post("/wp-login.php", &fields);
    assert!(refused.status == 200 && refused.text().contains("is incorrect"), "{}", refused.text());
    let fields =
        fields.map(|(name, value)| (name, if name == "pwd" { "correct horse" } else { value }));
    assert_eq!(admin.post("/wp-login.php", &fields).status, 302);
    let dashboard = admin.get("/wp-admin/");
    assert_eq!(dashboard.status, 200);
    assert!(dashboard.text().contains("Howdy"), "{}", dashboard.text());
    // The styles of the dashboard, which a script concatenates.
    let script = admin.get("/wp-admin/load-styles.php?load%5Bchunk_0%5D=common,forms");
    assert_eq!(
        (script.status, script.header("content-type")),
        (200, Some("text/css; charset=UTF-8"))
    );
}

/// Uploads a picture and returns its path.
fn upload(admin: &mut Browser) -> String {
    let nonce = admin.nonce("/wp-admin/media-new.php?browser-uploader");
    let picture = blog::picture();
    let sent = admin.upload("/wp-admin/media-new.php", &nonce, "dot.png", &picture);
    assert_eq!(sent.status, 302, "{}", sent.text());
    let library = admin.get("/wp-admin/upload.php?mode=list").text();
    let (_, path) = library.split_once("/wp-content/uploads/").unwrap();
    let path = format!("/wp-content/uploads/{}", path.split(['"', '\'']).next().unwrap());
    let seen = admin.get(&path);
    assert_eq!((seen.status, seen.header("content-type")), (200, Some("image/png")), "{path}");
    assert!(seen.body == picture);
    path
}

/// Turns on permalinks with the title, and returns the path of the first post.
fn choose_permalinks(admin: &mut Browser) -> String {
    let page = "/wp-admin/options-permalink.php";
    let form = admin.get(page).text();
    assert!(form.contains("value=\"/%year%/%monthnum%/%postname%/\""), "{form}");
    assert!(!form.contains("/index.php/%year%"), "permalinks are offered without index.php");
    let nonce = admin.nonce(page);
    let fields = [
        ("_wpnonce", nonce.as_str()),
        ("selection", "custom"),
        ("permalink_structure", "/articles/%postname%/"),
        ("category_base", ""),
        ("tag_base", ""),
        ("submit", "Save Changes"),
    ];
    let saved = admin.post(page, &fields);
    assert_eq!(saved.status, 302, "{}", saved.text());
    // WordPress writes the rules when the browser follows the redirect.
    assert_eq!(admin.get(&format!("{page}?settings-updated=true")).status, 200);
    let post = "/articles/hello-world/";
    let mut visitor = Browser::new(admin.port());
    let seen = visitor.get(post);
    assert_eq!(seen.status, 200, "{}", seen.text());
    assert!(seen.text().contains("Hello world!") && seen.text().contains("Pools &amp; Co."));
    let canonical = visitor.get("/?p=1");
    assert_eq!(canonical.status, 301);
    assert!(canonical.header("location").unwrap().ends_with(post));
    let missing = visitor.get("/articles/no-such-post/");
    assert!(
        missing.status == 404 && missing.text().contains("Pools &amp; Co."),
        "{}",
        missing.text()
    );
    // Private files.
    assert_eq!(visitor.get("/wp-config.php.bak").status, 404);
    assert_eq!(visitor.get("/.htaccess").status, 404);
    assert_eq!(visitor.get("/wp-content/uploads/evil.php").status, 403);
    post.to_owned()
}

/// Far longer than any step takes, so that a hang fails.
const DEADLINE: Duration = Duration::from_secs(120);
