//! The files for systemd and logrotate, checked by the programs that read them.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{needs_root, program_path};
use rustix::process::Signal;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc").join(name)
}

/// The output of a program, which has to succeed.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}\n{text}", output.status);
    text
}

#[test]
fn unit_is_accepted_by_systemd() {
    let dir = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(sample("systemd/pools-manager.service")).unwrap();
    let program = program_path("pools-manager");
    let installed = unit.replace("/usr/bin/pools-manager", program.to_str().unwrap());
    assert_ne!(installed, unit);
    let path = dir.path().join("pools-manager.service");
    fs::write(&path, installed).unwrap();
    let socket = dir.path().join("pools-manager.socket");
    fs::copy(sample("systemd/pools-manager.socket"), &socket).unwrap();
    for unit in [path, socket] {
        assert_eq!(run("systemd-analyze", &["verify", "--man=no", unit.to_str().unwrap()]), "");
    }
}

#[test]
fn account_and_directories_are_created() {
    needs_root!();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/group"), "root:x:0:\nadm:x:4:\n").unwrap();
    let root = format!("--root={}", dir.path().display());
    let accounts = sample("sysusers.d/pools-manager.conf");
    run("systemd-sysusers", &[&root, accounts.to_str().unwrap()]);
    let passwd = fs::read_to_string(dir.path().join("etc/passwd")).unwrap();
    assert!(passwd.contains("pools-manager:x:"), "{passwd}");
    let directories = sample("tmpfiles.d/pools-manager.conf");
    run("systemd-tmpfiles", &[&root, "--create", directories.to_str().unwrap()]);
    let root = dir.path().join("var/lib/pools-manager");
    assert!(root.join("sockets").is_dir() && root.join("www/current").is_dir());
    assert_eq!(fs::read_link(root.join("etc")).unwrap(), Path::new("/etc/pools-manager"));
}

#[test]
fn logs_are_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let conf = fs::read_to_string(sample("logrotate.d/pools-manager")).unwrap();
    let (pid, logs) = (dir.path().join("pid"), dir.path().join("logs"));
    let conf = conf.replace("/var/lib/pools-manager/pid", pid.to_str().unwrap());
    let conf = conf.replace("/var/log/pools-manager", logs.to_str().unwrap());
    assert!(!conf.contains("/var/"), "{conf}");
    let conf = conf.replace("systemctl try-reload-or-restart", "echo reload; true");
    fs::create_dir(&pid).unwrap();
    fs::create_dir(&logs).unwrap();
    let output = pid.join("shop.1.g1.log");
    for log in [&logs.join("php-fpm-www1.log"), &logs.join("access.log"), &output] {
        fs::write(log, "a line\n").unwrap();
    }
    // `sleep` stands for a master: this signal ends it.
    let mut master = Command::new("sleep").arg("60").spawn().unwrap();
    fs::write(pid.join("www.1.g1.pid"), master.id().to_string()).unwrap();
    let path = dir.path().join("logrotate.conf");
    fs::write(&path, conf).unwrap();
    let state = dir.path().join("state");
    run("logrotate", &["-f", "-s", state.to_str().unwrap(), path.to_str().unwrap()]);
    assert_eq!(master.wait().unwrap().signal(), Some(Signal::USR1.as_raw()));
    assert!(logs.join("php-fpm-www1.log.1").exists() && logs.join("access.log.1").exists());
    assert_eq!(fs::read_to_string(output).unwrap(), "");
    assert!(pid.join("shop.1.g1.log.1.gz").exists());
}
