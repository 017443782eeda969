//! What `serve` refuses of `user`, `check` refuses in the same words.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use harness::served::Served;
use harness::{Site, needs_root};

use super::{GLOBAL, USER, separate, served};

const POOL: &str = "etc/php/fpm/redundant-pools/www";

/// `serve` and `check` print this message.
fn refuses(site: &Site, message: &str) {
    let file = site.path(GLOBAL).display().to_string();
    let message = message.replace("FILE", &file);
    let ran = site.run(&["serve"]);
    ran.status(2);
    assert!(ran.stderr.contains(&message), "{message}: {ran}");
    let said = site.run(&["check"]).stdout;
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&said).contains(&words(&message)), "{message}: {said}");
}

#[test]
fn unknown_account_and_root_are_refused() {
    needs_root!();
    let site = Served::site("", "");
    let before = site.read(GLOBAL);
    for (lines, message) in [
        ("user = \"no-such-user\"", "there is no user \"no-such-user\" (user in FILE)"),
        ("user = \"4123456789\"", "there is no user \"4123456789\" (user in FILE)"),
        ("user = \"root\"", "the gateway cannot be of the user root (user in FILE)"),
        ("user = \"0\"", "the gateway cannot be of the user root (user in FILE)"),
        (
            "user = \"nobody\"\ngroup = \"no-such-group\"",
            "there is no group \"no-such-group\" (group in FILE)",
        ),
        ("user = \"nobody\"\ngroup = \"root\"", "the gateway cannot be of the group root"),
        ("group = \"nogroup\"", "group in FILE needs a user"),
    ] {
        site.write(GLOBAL, &before.replace("threads = 2\n", &format!("threads = 2\n{lines}\n")));
        refuses(&site, message);
    }
}

#[test]
fn configuration_that_the_account_cannot_read_is_refused() {
    needs_root!();
    let site = separate("", "");
    let settings = format!("{POOL}/pools-manager.toml");
    for (path, mode) in [(GLOBAL, 0o600), ("etc", 0o700), ("pid", 0o700), (&*settings, 0o600)] {
        let before = fs::metadata(site.path(path)).unwrap().permissions();
        fs::set_permissions(site.path(path), Permissions::from_mode(mode)).unwrap();
        let shown = site.path(path).display().to_string();
        refuses(&site, &format!("the user {USER} (user in FILE) cannot read {shown}"));
        fs::set_permissions(site.path(path), before).unwrap();
    }
}

#[test]
fn ordinary_user_may_name_itself_only() {
    let site = separate("", "").owned_by_ordinary_user();
    let own = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(site.uid())).unwrap().unwrap();
    site.replace(GLOBAL, &format!("user = \"{USER}\""), &format!("user = \"{}\"", own.name));
    let served = Served::serve(site);
    super::await_release(&served, "release1");
    assert_eq!(served.get("/ping.php").status, 200);
    let mut served = served;
    served.stop_gateway().status(0);
    let text = served.site.read(GLOBAL);
    served.site.write(GLOBAL, &text.replace(&own.name, "daemon"));
    let message =
        format!("only root can become another user, and serve was started by {}", own.name);
    refuses(&served.site, &message);
}

#[test]
fn sockets_and_releases_that_the_account_cannot_reach_are_reported() {
    needs_root!();
    let site = separate("", "");
    site.replace(&format!("{POOL}/pool.conf"), "listen.mode = 0666", "listen.mode = 0600");
    site.replace(GLOBAL, "threads = 2\n", "threads = 2\ntemp_dir = \"temp\"\n");
    fs::create_dir(site.path("temp")).unwrap();
    let served = Served::serve(site);
    super::await_release(&served, "release1");
    let said = served.site.run(&["check"]).stdout;
    assert!(said.contains("temp (temp_dir): large uploads get 503"), "{said}");
    let socket = served.site.path("sockets/php-fpm-www1.g1.sock").display().to_string();
    assert!(said.contains("cannot connect to") && said.contains(&socket), "{said}");
    assert!(said.contains("listen.mode"), "{said}");
    let release = served.site.path("www/release1");
    fs::set_permissions(&release, Permissions::from_mode(0o700)).unwrap();
    let said = served.site.run(&["check"]).stdout;
    assert!(said.contains(&format!("cannot read {}", release.display())), "{said}");
}

#[test]
fn account_that_can_read_all_files_is_no_finding() {
    needs_root!();
    let served = served("", "");
    let said = served.site.run(&["check"]).stdout;
    assert!(!said.contains("the user nobody (user in"), "{said}");
}
