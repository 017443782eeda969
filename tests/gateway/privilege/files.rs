//! Files that only root may read or write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use harness::served::{Served, certify};
use harness::{needs_root, wait_for};

use super::super::supervisor::await_release;
use super::{USER, separate};

fn only_for_root(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn key_of_root_is_used_and_followed() {
    needs_root!();
    let certificates = "[[gateway.certificates]]\ncertificate = \"tls/a.pem\"\nkey = \"tls/a.key\"";
    let site = separate("", &format!("listen_tls = [\"127.0.0.1:0\"]\n{certificates}"));
    let tls = site.path("tls");
    fs::create_dir(&tls).unwrap();
    only_for_root(&tls, 0o700);
    let renew = |site: &harness::Site| {
        certify(site, "a", "DNS:a.test", "90");
        for file in ["a.key", "a.pem"] {
            fs::rename(site.path(file), site.path("tls").join(file)).unwrap();
        }
    };
    renew(&site);
    let served = Served::serve(site);
    await_release(&served, "release1");
    let shown = || served.handshake(&["-servername", "a.test"]);
    assert_eq!(served.curl_tls("a.test", "/release.txt", &[]), "1\n");
    let before = shown();
    let serial = |said: &str| {
        let from = said.find("-----BEGIN CERTIFICATE").unwrap();
        said[from..].split("-----END").next().unwrap().to_owned()
    };
    renew(&served.site);
    wait_for("the new certificate", || (serial(&shown()) != serial(&before)).then_some(()));
    assert_eq!(served.curl_tls("a.test", "/release.txt", &[]), "1\n");
    // A reload reads the certificate too.
    assert!(served.reload().contains("reload done"));
    assert_eq!(served.curl_tls("a.test", "/release.txt", &[]), "1\n");
}

#[test]
fn passwords_of_root_are_verified_and_read_again() {
    needs_root!();
    let site = separate("[gateway.access]\nauth_file = \"etc/users\"", "");
    let users = site.path("etc/users");
    let write = |password: &str| {
        let args = ["-nbB", "-C", "4", "anna", password];
        let made = Command::new("htpasswd").args(args).output().unwrap();
        fs::write(&users, made.stdout).unwrap();
        only_for_root(&users, 0o600);
    };
    write("one");
    let served = Served::serve(site);
    await_release(&served, "release1");
    let status = |basic: &str| {
        let header = format!("Authorization: Basic {basic}\r\n");
        served.get_with("/release.txt", &header).status
    };
    // anna:one, anna:two
    assert_eq!((status("YW5uYTpvbmU="), status("YW5uYTp0d28=")), (200, 401));
    write("two");
    wait_for("the new password", || (status("YW5uYTp0d28=") == 200).then_some(()));
    assert_eq!(status("YW5uYTpvbmU="), 401);
}

#[test]
fn access_log_in_a_directory_of_root_is_rotated() {
    needs_root!();
    let site = separate("", "access_log = \"logs/access.log\"\n[log]\noutput = \"logs/serve.log\"");
    let logs = site.path("logs");
    fs::create_dir(&logs).unwrap();
    only_for_root(&logs, 0o750);
    let served = Served::serve(site);
    let lines = |name: &str| fs::read_to_string(logs.join(name)).unwrap_or_default();
    wait_for("the user in the log", || {
        lines("serve.log").contains(&format!("serves as the user {USER}")).then_some(())
    });
    await_release(&served, "release1");
    served.get("/release.txt?one");
    wait_for("the first line", || lines("access.log").contains("?one").then_some(()));
    fs::rename(logs.join("access.log"), logs.join("access.log.1")).unwrap();
    fs::rename(logs.join("serve.log"), logs.join("serve.log.1")).unwrap();
    served.gateway().signal(rustix::process::Signal::HUP);
    wait_for("the reload", || lines("serve.log").contains("reload done").then_some(()));
    served.get("/release.txt?two");
    wait_for("the second line", || lines("access.log").contains("?two").then_some(()));
    assert!(!lines("access.log").contains("?one") && lines("access.log.1").contains("?one"));
}

/// Root opens nothing for the gateway where another user could put any file.
#[test]
fn file_that_others_can_replace_is_not_opened_with_the_rights_of_root() {
    needs_root!();
    let site = separate("[gateway.access]\nauth_file = \"shared/users\"", "");
    let shared = site.path("shared");
    fs::create_dir(&shared).unwrap();
    only_for_root(&shared, 0o777);
    std::os::unix::fs::symlink("/etc/shadow", shared.join("users")).unwrap();
    let ran = site.run(&["serve"]);
    ran.status(2);
    assert!(ran.stderr.contains("cannot read the auth_file"), "{ran}");
    assert!(ran.stderr.contains("can be written by every user"), "{ran}");
}
