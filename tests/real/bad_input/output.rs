//! Standard output and error that are closed or full do not affect a rollout.

use std::fs::File;
use std::process::{Command, Stdio};

use super::{SETTINGS, running};
use harness::Site;

/// Makes a program write to something odd.
type Output = fn(&mut Command);

const ODD: [(&str, Output); 4] = [
    ("a full disk", |command| {
        command.stdout(full()).stderr(full());
    }),
    ("a reader that has gone", |command| {
        command.stdout(nobody()).stderr(nobody());
    }),
    ("nothing at all", |command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }),
    ("files that can only be read", |command| {
        command.stdout(readable()).stderr(readable());
    }),
];

#[test]
fn rollout_does_not_depend_on_its_output() {
    let site = running();
    let mut generation = 1;
    for (what, output) in ODD {
        for json in [&[][..], &["--json"]] {
            assert_eq!(status_of(&site, &[&["restart"], json].concat(), output), 0, "{what}");
            generation += 1;
            assert_eq!(site.generations(), [generation; 2], "{what}");
        }
    }
    site.is_in_order_on("release1");
}

#[test]
fn exit_status_does_not_depend_on_standard_error() {
    let site = running();
    for (what, output) in ODD {
        assert_eq!(status_of(&site, &["status"], output), 0, "{what}");
        assert_eq!(status_of(&site, &["list"], output), 0, "{what}");
        assert_eq!(status_of(&site, &["restart", "single", "nope"], output), 2, "{what}");
        assert_eq!(status_of(&site, &["restrat"], output), 2, "{what}");
        site.while_changed(SETTINGS, "[apache]", "[apachee]", || {
            assert_eq!(status_of(&site, &["status"], output), 2, "{what}");
        });
    }
    site.kill_replica(2);
    for (what, output) in ODD {
        assert_eq!(status_of(&site, &["status"], output), 1, "{what}");
    }
}

/// As with `pools-manager restart | head -1`: the reader ends when it has its line.
#[test]
fn closed_standard_output_does_not_end_a_rollout() {
    let site = running();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut head =
        Command::new("head").arg("-1").stdin(reader).stdout(Stdio::null()).spawn().unwrap();
    let mut restart = site.manager(&["restart"]);
    let status = restart.stdout(writer).status().unwrap();
    drop(restart); // and with it our end of the pipe
    assert!(head.wait().unwrap().success());
    assert!(status.success());
    site.is_in_order_on("release1");
}

fn status_of(site: &Site, args: &[&str], output: Output) -> i32 {
    let mut command = site.manager(args);
    output(&mut command);
    command.stdin(Stdio::null()).status().unwrap().code().unwrap()
}

fn full() -> File {
    File::create("/dev/full").unwrap()
}

fn readable() -> File {
    File::open("/dev/null").unwrap()
}

fn nobody() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}
