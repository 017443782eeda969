//! Invalid state files: no history is lost without a warning.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use harness::{Ran, Site};

const STATE: &str = "pid/www.state.json";

/// A site with a history.
fn running(site: Site) -> (Site, String) {
    site.run(&["start"]).succeeds();
    site.switch("release2");
    site.run(&["restart"]).succeeds();
    let history = site.read(STATE);
    (site, history)
}

fn warns(ran: &Ran, what: &str) {
    let warned = |line: &str| line.starts_with("  Warning: ") && line.contains(what);
    assert!(ran.succeeds().stdout.lines().any(warned), "{ran}");
}

/// What was set aside, if it was.
fn aside(site: &Site) -> Option<std::path::PathBuf> {
    let mut names = fs::read_dir(site.path("pid")).unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.display().to_string().contains("/www.state.json.bad-"))
}

#[test]
fn truncated_state_file_is_an_error() {
    truncated(20);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn state_file_truncated_at_any_length_is_an_error() {
    truncated(1);
}

fn truncated(step: usize) {
    let (site, history) = running(Site::new());
    // Without its last line end, the file has the same content.
    for length in (0..history.trim_end().len()).step_by(step) {
        site.write(STATE, &history[..length]);
        for command in [&["history"][..], &["rollback"]] {
            let ran = site.run(command);
            assert!(ran.stderr.contains(" is no state file: "), "{length}: {ran}");
            ran.status(1);
        }
        assert_eq!(site.read(STATE), history[..length]);
    }
    site.write(STATE, history.trim_end());
    site.run(&["history"]).succeeds();
    site.is_in_order_on("release2");
}

#[test]
fn other_files_in_place_of_the_state_file_are_moved_or_kept() {
    let (site, history) = running(Site::new());
    let path = site.path(STATE);
    let nested = "[".repeat(100_000);
    let texts = ["\0\0\0\0", "\u{feff}{}", "null", "{\"version\":1,\"history\":{}}", &nested];
    for text in texts {
        site.write(STATE, text);
        site.run(&["history"]).status(1);
        warns(&site.run(&["restart"]), " is no state file (");
        let aside = aside(&site).unwrap();
        assert_eq!(fs::read_to_string(&aside).unwrap(), text);
        fs::remove_file(aside).unwrap();
    }
    // A file that is too long to be read, and a FIFO that has no writer.
    fs::remove_file(&path).unwrap();
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    site.run(&["history"]).status(1);
    warns(&site.run(&["restart"]), "it has 1099511627776 bytes");
    fs::remove_file(aside(&site).unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    site.run(&["rollback"]).status(1);
    warns(&site.run(&["restart"]), "it is not a regular file");
    fs::remove_file(aside(&site).unwrap()).unwrap();
    // A newer version wrote it.
    let newer = history.replacen("\"version\": ", "\"version\": 9", 1);
    site.write(STATE, &newer);
    warns(&site.run(&["restart"]), "was written by a newer pools-manager");
    assert_eq!(site.read(STATE), newer);
    assert_eq!(aside(&site), None);
    site.is_in_order_on("release2");
}

/// To root every file is readable.
#[test]
fn unreadable_state_file_is_not_changed() {
    let (site, history) = running(Site::prepared().owned_by_ordinary_user().serve());
    let set_mode =
        |mode| fs::set_permissions(site.path(STATE), Permissions::from_mode(mode)).unwrap();
    set_mode(0);
    let path = site.path(STATE);
    let cannot = format!("cannot read {}: Permission denied (os error 13)", path.display());
    for command in ["history", "rollback"] {
        let ran = site.run(&[command]);
        assert!(ran.status(1).stderr.contains(&cannot), "{ran}");
    }
    warns(&site.run(&["restart"]), &format!("no history is written: {cannot}"));
    set_mode(0o644);
    assert_eq!(site.read(STATE), history);
    site.run(&["restart"]).succeeds();
    assert!(site.read(STATE).len() > history.len());
}
