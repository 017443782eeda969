//! nginx with `$realpath_root`, which follows the symlink itself and sends the real path of the
//! release that it names now.

use std::process::Command;

use harness::{Site, Visitors, wait_for};

use super::prepared;

/// What `snippet` prints, with the advice that is often given for other setups.
fn behind_realpath_root(site: Site) -> Site {
    let site = site.serve_changed_snippet("nginx", |text| {
        let text = text.replace("/www/current;", "/www/current.release;");
        let text = text.replace("FILENAME $document_root", "FILENAME $realpath_root");
        assert!(text.contains("FILENAME $realpath_root$fastcgi_script_name;"), "{text}");
        text
    });
    site.run(&["start"]).succeeds();
    wait_for("nginx", || (site.get("/ping.php").status == 200).then_some(()));
    site
}

fn visitors(site: &Site) -> Visitors {
    site.visitors(3, |client, number| {
        let answer = client.get(&format!("/where.php?{number}"));
        let words: Vec<&str> = answer.body.split(' ').collect();
        assert!(answer.status == 200 && words[0] == words[1], "{answer:?}");
    })
}

/// No request runs the code of another release than that of its replica, and no request is lost.
fn swaps_mix_nothing(swaps: usize) {
    let site = behind_realpath_root(prepared());
    let visitors = visitors(&site);
    for release in [2, 1].into_iter().cycle().take(swaps) {
        site.switch(format!("release{release}"));
        site.run(&["restart", "--strategy", "swap"]).succeeds();
        assert_eq!(site.get("/ping.php").body, format!("pong{release}\n"));
    }
    assert!(visitors.finish() > 10);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn swaps_behind_realpath_root_mix_no_releases() {
    swaps_mix_nothing(4);
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn many_swaps_behind_realpath_root_mix_no_releases() {
    swaps_mix_nothing(25);
}

/// The replicas do not see the name of a new release. The rollout adds it before the symlink moves.
fn switches_to_new_releases_lose_nothing(site: Site) {
    let site = behind_realpath_root(site);
    let visitors = visitors(&site);
    for (number, from) in [(3, 2), (4, 1), (5, 2)] {
        let (from_dir, to) = (format!("www/release{from}"), format!("www/release{number}"));
        let mut copy = Command::new("cp");
        copy.arg("-a").args([site.path(&from_dir), site.path(&to)]);
        assert!(copy.status().unwrap().success());
        site.run(&["switch", "www", &format!("release{number}")]).succeeds();
        assert_eq!(site.get("/ping.php").body, format!("pong{from}\n"));
    }
    assert!(visitors.finish() > 10);
}

#[test]
fn switches_to_new_releases_behind_realpath_root_lose_nothing() {
    switches_to_new_releases_lose_nothing(prepared());
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn switches_of_an_ordinary_user_behind_realpath_root_lose_nothing() {
    switches_to_new_releases_lose_nothing(prepared().owned_by_ordinary_user());
}

#[test]
fn check_names_the_paths_that_the_web_server_sends() {
    let site = behind_realpath_root(prepared());
    for _ in 0..20 {
        site.get("/where.php");
    }
    let found = format!(
        "the web server sends it scripts of {}, not of {}",
        site.path("www/release1").display(),
        site.path("www/current").display()
    );
    let ran = site.run(&["check"]);
    let said = ran.succeeds().stdout.clone();
    assert!(said.contains(&found), "{ran}");
    assert!(
        said.contains("help: take PHP scripts from current_dir: `pools-manager snippet`"),
        "{ran}"
    );
    let site = prepared().serve_snippet("nginx");
    site.run(&["start"]).succeeds();
    for _ in 0..20 {
        wait_for("nginx", || (site.get("/where.php").status == 200).then_some(()));
    }
    let ran = site.run(&["check"]);
    assert!(!ran.succeeds().stdout.contains("sends it scripts of"), "{ran}");
}
