//! Pools of other servers than php-fpm: php-cgi, a PHP server, a Python server, a Go server.

mod compression;
mod http;
mod lives;
mod settings;
mod site;
mod world;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use harness::needs_root;

use site::{CommandSite, PHP_CGI, PHP_PORT, PYTHON_FD, PYTHON_SOCKET};

/// Restarts under load: every response is complete, and of a release that was current.
fn rolls_and_swaps(run: &str, page: &'static str) {
    let served = CommandSite::new(run).serve();
    let followers = served.followers(4, page);
    for (number, strategy) in (2..).zip(["rolling", "swap", "rolling", "swap"]) {
        served.deploy(number, strategy);
        followers.await_release(number);
    }
    let seen = followers.finish();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    served.is_in_order(5);
}

#[test]
fn php_cgi_is_restarted_without_loss() {
    needs_root!();
    rolls_and_swaps(PHP_CGI, "/index.php");
}

#[test]
fn http_server_with_an_inherited_socket_is_restarted_without_loss() {
    needs_root!();
    rolls_and_swaps(PYTHON_FD, "/");
}

#[test]
fn http_server_with_its_own_socket_is_restarted_without_loss() {
    needs_root!();
    rolls_and_swaps(PYTHON_SOCKET, "/");
}

#[test]
fn http_server_whose_processes_share_a_port_is_restarted_without_loss() {
    needs_root!();
    rolls_and_swaps(PHP_PORT, "/");
}

#[test]
#[ignore = "builds a Go program: bin/test --all"]
fn http_server_in_go_is_restarted_without_loss() {
    needs_root!();
    let dir =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let program = dir.path().join("go-server");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/servers/server.go");
    let built = Command::new("go")
        .args(["build", "-o", program.to_str().unwrap(), source])
        .env("GOCACHE", dir.path().join("cache"))
        .env("GO111MODULE", "off")
        .status();
    assert!(built.unwrap().success());
    let run =
        format!("run = [{program:?}]\nprotocol = \"http\"\nlisten = \"fd3\"\nprocesses = 2\n");
    rolls_and_swaps(&run, "/");
}

#[test]
fn all_processes_of_a_shared_port_get_requests() {
    needs_root!();
    let served = CommandSite::new(PHP_PORT).serve();
    let mut pids = std::collections::HashSet::new();
    // Two replicas of two processes each: the kernel chooses by the client's port.
    harness::wait_for("an answer of each process", || {
        pids.insert(served.get("/pid").text());
        (pids.len() == 4).then_some(())
    });
}

/// For a server, the names of the other releases lead to the release that it runs.
#[test]
fn server_sees_only_its_release() {
    needs_root!();
    let site = CommandSite::new(PYTHON_FD);
    site::add_release(&site.site, 2);
    let served = site.serve();
    let www = served.site.path("www");
    for worker in served.workers() {
        let seen = format!("/proc/{}/root{}", worker.pid.as_raw_nonzero(), www.display());
        assert_eq!(std::fs::read_link(format!("{seen}/r2")).unwrap().to_str(), Some("r1"));
        assert_eq!(std::fs::read_to_string(format!("{seen}/r2/release.txt")).unwrap(), "1\n");
    }
    assert_eq!(served.workers().len(), 2);
}
