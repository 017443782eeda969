//! A replica never runs the code of another release, whatever path the web server sends.

mod through_nginx;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use harness::{Program, Ran, Site, program_path};

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
const CURRENT_DIR: &str = "current_dir = \"www/current\"\n";
/// The release of the code, and the one that is pinned.
const WHERE: &str = "<?php echo trim(file_get_contents(__DIR__ . '/release.txt')), ' ', \
                     trim(file_get_contents(dirname(__DIR__) . '/current/release.txt')), ' ', \
                     basename(__DIR__);";

fn prepared() -> Site {
    let site = Site::prepared();
    site.set_backend("");
    site.add_page("where.php", WHERE);
    site.add_page("unrequested.php", "");
    site
}

/// Without a web server.
fn alone() -> Site {
    let site = prepared();
    site.replace(SETTINGS, "monitor_url =", "# monitor_url =");
    site
}

/// Requests a script from the replica 1, without a web server.
fn ask(site: &Site, script: impl AsRef<Path>) -> Ran {
    let mut request = Command::new(program_path("fcgi-request"));
    request.arg("--script").arg(site.path("").join(script));
    request.arg("/page").arg(site.path("sockets/php-fpm-www1.sock"));
    Program::start(&mut request).finish()
}

fn body(site: &Site, script: &str) -> String {
    let ran = ask(site, script);
    let text = ran.succeeds().stdout.replace("\r\n", "\n");
    text.split_once("\n\n").unwrap().1.to_owned()
}

fn is_not_found(site: &Site, script: &str) {
    let ran = ask(site, script);
    assert!(ran.status(1).stdout.contains("Status: 404"), "{ran}");
}

fn sees_only_its_release(site: &Site) {
    site.write("www/shared/uploads/old", "old");
    site.add_page(
        "shared.php",
        "<?php file_put_contents('../shared/uploads/new', 'new'); \
         echo file_get_contents(__DIR__ . '/../shared/uploads/old'), implode(' ', scandir('..'));",
    );
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(site.path("www/shared/uploads"), everybody).unwrap();
    site.run(&["start"]).succeeds();
    for (script, expected) in [
        ("current/where.php", "1 1 current"),
        ("release1/where.php", "1 1 release1"),
        ("release2/where.php", "1 1 release1"),
        ("current.release/where.php", "1 1 release1"),
    ] {
        assert_eq!(body(site, &format!("www/{script}")), expected, "{script}");
    }
    let seen = "old. .. current current.release release1 release2 shared";
    assert_eq!(body(site, "www/current/shared.php"), seen);
    assert_eq!(site.read("www/shared/uploads/new"), "new");
    // A release that is made later is not there.
    let (from, to) = (site.path("www/release2"), site.path("www/release3"));
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    is_not_found(site, "www/release3/where.php");
    // The mounts keep nobody from removing a release, or a shared directory.
    for dir in ["www/release2", "www/shared"] {
        fs::remove_dir_all(site.path(dir)).unwrap();
    }
    assert_eq!(body(site, "www/current/where.php"), "1 1 current");
    site.switch("release3");
    site.run(&["restart"]).succeeds();
    assert_eq!(body(site, "www/release3/where.php"), "2 2 release3");
    assert_eq!(body(site, "www/release1/where.php"), "2 2 release3");
    fs::remove_dir_all(site.path("www/release1")).unwrap();
    fs::rename(site.path("www/release3"), site.path("www/release9")).unwrap();
    assert_eq!(body(site, "www/release3/where.php"), "2 2 release3");
    fs::remove_dir_all(site.path("www/release9")).unwrap();
    // OPcache runs `where.php` for up to two seconds more (`opcache.revalidate_freq`).
    is_not_found(site, "www/release3/unrequested.php");
}

#[test]
fn replica_sees_only_its_release() {
    sees_only_its_release(&alone());
}

#[test]
fn replica_of_an_ordinary_user_sees_only_its_release() {
    sees_only_its_release(&alone().owned_by_ordinary_user());
}

/// As Capistrano and Deployer lay it out: `releases/N`, `shared`, and the symlink beside them.
#[test]
fn releases_beside_shared_directories_are_hidden() {
    let site = alone();
    for (number, name) in [(1, "20260101120000"), (2, "20260102120000")] {
        fs::create_dir_all(site.path("www/app/releases")).unwrap();
        let to = site.path(&format!("www/app/releases/{name}"));
        fs::rename(site.path(&format!("www/release{number}")), to).unwrap();
    }
    site.write("www/app/shared/file", "");
    site.point("www/current.release", "app/releases/20260101120000");
    site.point("www/app/releases/20260102120000/link", "../../shared/file");
    site.run(&["start"]).succeeds();
    let page = "<?php echo file_exists('/srv') ? '' : 'x', implode(' ', scandir(__DIR__ . '/..')), \
                ' ', file_exists(dirname(__DIR__) . '/../shared/file') ? 'shared' : 'not shared';";
    site.write("www/app/releases/20260101120000/page.php", page);
    let seen = ". .. 20260101120000 20260102120000 shared";
    assert_eq!(body(&site, "www/app/releases/20260101120000/page.php"), seen);
    // The other name leads to the same release.
    assert_eq!(body(&site, "www/app/releases/20260102120000/page.php"), seen);
}

/// Without the isolation, the replica runs the code that it does not run in the other tests.
#[test]
fn isolation_can_be_turned_off() {
    let site = alone();
    site.replace(SETTINGS, CURRENT_DIR, &format!("{CURRENT_DIR}isolate = false\n"));
    site.run(&["start"]).succeeds();
    assert_eq!(body(&site, "www/release2/where.php"), "2 1 release2");
}

#[test]
fn layout_without_recognizable_releases_is_not_isolated() {
    let site = alone();
    site.write("www/config.php", "<?php");
    let why = format!(
        "{} is no directory and stands beside the releases",
        site.path("www/config.php").display()
    );
    site.run(&["start"]).succeeds();
    assert_eq!(body(&site, "www/release2/where.php"), "2 1 release2");
    let note = format!("the other releases are not hidden from its replicas: {why}");
    let ran = site.run(&["check"]);
    assert!(ran.succeeds().stdout.contains(&note), "{ran}");
    // With `isolate = true`, this is an error, before anything is changed.
    let before = site.files();
    site.replace(SETTINGS, CURRENT_DIR, &format!("{CURRENT_DIR}isolate = true\n"));
    let line = site.read(SETTINGS).lines().position(|line| line.starts_with("isolate")).unwrap();
    let place = format!("{}:{}", site.path(SETTINGS).display(), line + 1);
    for command in ["restart", "check"] {
        let ran = site.run(&[command]);
        let error = format!("{place}: isolate cannot hide the other releases: {why}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!ran.has_succeeded() && said.contains(&error), "{ran}");
        assert!(said.contains("directory of their own; or set isolate = false"), "{ran}");
    }
    assert_eq!(site.files(), before);
    fs::remove_file(site.path("www/config.php")).unwrap();
    site.run(&["restart"]).succeeds();
    assert_eq!(body(&site, "www/release2/where.php"), "1 1 release1");
}

/// As in a deploy with shared uploads, where `current_dir` is not as deep as the releases.
#[test]
fn check_names_symlinks_that_lead_elsewhere_under_the_pin() {
    let site = alone();
    for release in ["release1", "release2"] {
        let to = format!("www/app/releases/{release}");
        fs::create_dir_all(site.path("www/app/releases")).unwrap();
        fs::rename(site.path(&format!("www/{release}")), site.path(&to)).unwrap();
        site.point(&format!("{to}/uploads"), "../../shared/uploads");
    }
    site.write("www/app/shared/uploads/file", "shared");
    site.point("www/current.release", "app/releases/release1");
    site.write("www/app/releases/release1/page.php", "<?php readfile('uploads/file');");
    site.run(&["start"]).succeeds();
    let message = format!(
        "the symlink {} -> ../../shared/uploads leads to {} for the web server, and to nothing for PHP",
        site.path("www/app/releases/release1/uploads").display(),
        site.path("www/app/shared/uploads").display()
    );
    let place = site.path("www/app/pinned/current");
    let ran = site.run(&["check"]);
    assert!(ran.succeeds().stdout.contains(&message), "{ran}");
    assert!(ran.stdout.contains(&format!("such as {}", place.display())), "{ran}");
    assert_eq!(body(&site, "www/app/releases/release1/page.php"), "shared");
    // As the help says.
    fs::create_dir_all(&place).unwrap();
    site.replace(SETTINGS, "\"www/current\"", "\"www/app/pinned/current\"");
    site.run(&["restart"]).succeeds();
    let ran = site.run(&["check"]);
    assert!(!ran.succeeds().stdout.contains("the symlink "), "{ran}");
    assert_eq!(body(&site, "www/app/pinned/current/page.php"), "shared");
}
