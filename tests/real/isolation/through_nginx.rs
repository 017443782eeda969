//! nginx with `$realpath_root`, which follows the symlink itself and sends the real path of the
//! release that it names now.

use harness::{Site, wait_for};

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

/// No request runs the code of another release than its replica is pinned to, and none is lost.
fn swaps_mix_nothing(swaps: usize) {
    let site = behind_realpath_root(prepared());
    let visitors = site.visitors(3, |client, number| {
        let page = format!("/where.php?{number}");
        let answer = client.get(&page);
        let words: Vec<&str> = answer.body.split(' ').collect();
        assert!(answer.status == 200 && words[0] == words[1], "{answer:?}");
    });
    for release in [2, 1].into_iter().cycle().take(swaps) {
        site.switch(format!("release{release}"));
        site.run(&["restart", "--strategy", "swap"]).succeeds();
        assert_eq!(site.get("/ping.php").body, format!("pong{release}\n"));
    }
    assert!(visitors.finish() > 10);
}

#[test]
fn swaps_behind_realpath_root_mix_no_releases() {
    swaps_mix_nothing(4);
}

#[test]
#[ignore = "a soak: bin/test --all"]
fn many_swaps_behind_realpath_root_mix_no_releases() {
    swaps_mix_nothing(25);
}
