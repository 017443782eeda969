//! Tests of the routes.

use super::*;
use crate::release::Release;
use std::fs;
use tempfile::TempDir;

fn release(files: &[&str]) -> (TempDir, ServedRelease) {
    release_by("document_root = ''", files)
}

/// A release. These settings choose its document root.
fn release_by(toml: &str, files: &[&str]) -> (TempDir, ServedRelease) {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    let release = Release::at(dir.path()).unwrap();
    let served = ServedRelease::open(&release, &settings(toml), "/srv").unwrap();
    (dir, served)
}

fn settings(toml: &str) -> Gateway {
    toml::from_str(toml).unwrap()
}

fn routed(served: &ServedRelease, settings: &Gateway, path: &str) -> String {
    shown(route(served, settings, &UrlPath::parse(path.as_bytes()).unwrap()))
}

fn shown(routed: Result<Routed, HttpError>) -> String {
    let route = routed.and_then(|routed| match routed {
        Routed::Found(route) => Ok(route),
        Routed::Missing(other) => other,
    });
    match route {
        Ok(Route::File(file)) => format!("file {}", file.path),
        Ok(Route::Script(script)) => {
            format!("script {} {}", script.path, String::from_utf8_lossy(&script.info))
        }
        Ok(Route::AddSlash) => "slash".to_owned(),
        Ok(Route::Server) => "server".to_owned(),
        Err(error) => error.status.as_u16().to_string(),
    }
}

#[test]
fn path_leads_to_script_file_index_or_front_controller() {
    let (_dir, served) = release(&[
        "index.php",
        "app.php",
        "a.css",
        "x.jpg",
        "docs/index.html",
        "empty/.keep",
        "b.php~",
        "c.PHP",
        "d.phtml",
        ".env",
        ".well-known/acme",
        "sub/index.php",
    ]);
    let settings = settings("");
    let routed = |path| routed(&served, &settings, path);
    assert_eq!(routed("/"), "script index.php ");
    assert_eq!(routed("/a.css"), "file a.css");
    assert_eq!(routed("/app.php"), "script app.php ");
    assert_eq!(routed("/app.php/x/y"), "script app.php /x/y");
    assert_eq!(routed("/docs/"), "file docs/index.html");
    assert_eq!(routed("/docs"), "slash");
    assert_eq!(routed("/sub/"), "script sub/index.php ");
    assert_eq!(routed("/pretty/url"), "script index.php ");
    assert_eq!(routed("/empty/"), "script index.php ");
    assert_eq!(routed("/empty"), "script index.php ");
    assert_eq!(routed("/missing.php"), "script index.php ");
    assert_eq!(routed("/a%2fb"), "script index.php ");
    assert_eq!(routed("/.well-known/acme"), "file .well-known/acme");
    // A picture is not run as a script, and the source of a script is not sent.
    assert_eq!(routed("/x.jpg/y.php"), "script index.php ");
    assert_eq!(routed("/docs/../a.css"), "file a.css");
    assert_eq!(routed("/docs%2f..//a.css"), "file a.css");
    assert_eq!(routed("/docs/../sub/./"), "script sub/index.php ");
    assert_eq!(routed("/app.php/../a.css"), "file a.css");
    assert_eq!(routed("/app.php/a%2fb/.c"), "script app.php /a/b/.c");
    assert_eq!(routed("/missing.php/.c"), "404");
    for hidden in [
        "/.well-known/../.env",
        "/docs/../.env",
        "/.x/.env",
        "/empty/.keep",
        "/b.php~",
        "/c.PHP",
        "/d.phtml",
    ] {
        assert_eq!(routed(hidden), "404", "{hidden}");
    }
}

#[test]
fn server_gets_all_but_files_below_a_document_root() {
    let files = ["a.css", "x.php", ".env", "sub/index.html", "no/a.txt"];
    let files = files.map(|file| format!("public/{file}"));
    let files = files.each_ref().map(String::as_str);
    let routed = |toml: &str, path: &str, may_be_file| {
        let path = UrlPath::parse(path.as_bytes()).unwrap();
        let (_dir, served) = release_by(toml, &files);
        shown(route_to_server(&served, &settings(toml), &path, may_be_file))
    };
    let root = "document_root = 'public'\ndeny = ['/no/']";
    assert_eq!(routed(root, "/a.css", true), "file a.css");
    assert_eq!(routed(root, "/sub/../a.css", true), "file a.css");
    for path in ["/", "/x.php", "/.env", "/sub", "/sub/", "/missing", "/a.css/"] {
        assert_eq!(routed(root, path, true), "server", "{path}");
    }
    assert_eq!(routed(root, "/a.css", false), "server");
    assert_eq!(routed("", "/a.css", true), "server");
    for (path, may_be_file) in [("/no/a.txt", true), ("/no/x", false), ("/%6eo/x", false)] {
        assert_eq!(routed(root, path, may_be_file), "403", "{path}");
    }
}

#[test]
fn only_listed_scripts_run() {
    let (_dir, served) = release(&["index.php", "up/evil.php", "ok/a.php"]);
    let settings = settings("scripts = ['index.php', 'ok/a.php']");
    let routed = |path| routed(&served, &settings, path);
    assert_eq!(routed("/ok/a.php/x"), "script ok/a.php /x");
    assert_eq!(routed("/up/evil.php"), "404");
    assert_eq!(routed("/up/evil.php/x.css"), "404");
    assert_eq!(routed("/x"), "script index.php ");
}

#[test]
fn denied_path_gets_403_for_files_and_scripts() {
    let files = [
        "index.php",
        "app.php",
        "private/a.txt",
        "private/index.php",
        "docs/b.SQL",
        "admin/index.php",
        "pages/index.html",
    ];
    let (_dir, served) = release(&files);
    let deny = [
        "/private/",
        "/app.php",
        "*.sql",
        "/admin/index.php",
        "/index.php",
        "/none",
        "/pages/index.html",
    ];
    let settings = settings(&format!("deny = {deny:?}"));
    let routed = |path| routed(&served, &settings, path);
    for path in [
        "/private",
        "/private/",
        "/private/a.txt",
        "/%70rivate/a.txt",
        "//private/a.txt",
        "/private%2Fa.txt",
        "/private/x/y",
        "/app.php",
        "/app.php/x",
        "/docs/b.SQL",
        "/x.sql",
        "/admin/",
        "/admin/index.php",
        "/index.php",
        "/index.php/x",
        "/none",
        "/pages/",
    ] {
        assert_eq!(routed(path), "403", "{path}");
    }
    assert_eq!(routed("/"), "script index.php ");
    assert_eq!(routed("/pretty/private"), "script index.php ");
    assert_eq!(routed("/private.txt"), "script index.php ");
    assert_eq!(routed("/.env"), "404");
}

#[test]
fn only_the_front_controller_of_a_usual_document_root_runs() {
    let files =
        ["public/index.php", "public/up.php", "public/a/index.php", "public/a.css", "b.css"];
    let (_dir, served) = release_by("", &files);
    assert_eq!(served.script_root, "/srv/public");
    let routed = |path| routed(&served, &settings(""), path);
    assert_eq!(routed("/a.css"), "file a.css");
    assert_eq!(routed("/index.php/x"), "script index.php /x");
    for path in ["/up.php", "/up.php/x", "/a/", "/a/index.php", "/.env"] {
        assert_eq!(routed(path), "404", "{path}");
    }
    for path in ["/", "/b.css", "/public/a.css"] {
        assert_eq!(routed(path), "script index.php ", "{path}");
    }
}

#[test]
fn private_files_of_a_release_are_denied_if_they_exist() {
    let files = [
        "index.php",
        "vendor/bin/tool.php",
        "vendor/a.json",
        "composer.json",
        "dump.SQL",
        "a/b.bak",
        "plugins/vendor/a.js",
        "wp-content/uploads/x.php",
        "wp-content/uploads/x.jpg",
    ];
    let (_dir, served) = release(&files);
    let by = |toml, path| routed(&served, &settings(toml), path);
    for path in [
        "/vendor/a.json",
        "/%76endor/a.json",
        "/vendor/bin/tool.php",
        "/vendor/bin/tool.php/x",
        "/composer.json",
        "/dump.SQL",
        "/a/b.bak",
        "/wp-content/uploads/x.php",
    ] {
        assert_eq!(by("", path), "403", "{path}");
        assert_ne!(by("deny_defaults = false", path), "403", "{path}");
    }
    assert_eq!(by("", "/wp-content/uploads/x.jpg"), "file wp-content/uploads/x.jpg");
    assert_eq!(by("", "/plugins/vendor/a.js"), "file plugins/vendor/a.js");
    // An application may use such paths for its pages.
    for path in ["/vendor/", "/vendor/acme", "/backup.sql", "/composer.lock"] {
        assert_eq!(by("", path), "script index.php ", "{path}");
    }
    let listed = "scripts = ['index.php', 'wp-content/uploads/x.php']";
    assert_eq!(by(listed, "/wp-content/uploads/x.php"), "script wp-content/uploads/x.php ");
}

#[test]
fn missing_file_is_404_without_a_front_controller() {
    let (_dir, served) = release(&["a.html"]);
    assert_eq!(routed(&served, &settings(""), "/b"), "404");
    assert_eq!(routed(&served, &settings("front_controller = ''"), "/"), "404");
}
