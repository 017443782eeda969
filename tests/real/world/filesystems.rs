//! A root whose directories are on several filesystems: no file is renamed or linked across them.

use std::fs;

use harness::{Disk, Site, needs_root};

#[test]
fn each_directory_can_be_on_its_own_filesystem() {
    needs_root!();
    let mut site = Site::prepared();
    let _pid = Disk::on(&site, "pid", "size=1m");
    let _sockets = Disk::on(&site, "sockets", "size=1m");
    // As in: current.release -> /srv/releases/3
    let _releases = Disk::on(&site, "releases", "size=1m");
    fs::create_dir(site.path("releases/3")).unwrap();
    for file in ["index.php", "ping.php", "release.txt"] {
        fs::copy(
            site.path(&format!("www/release1/{file}")),
            site.path(&format!("releases/3/{file}")),
        )
        .unwrap();
    }
    site = site.serve();
    site.start_by_hand(1); // which is adopted by a link beside its socket
    site.run(&["start"]).succeeds();
    let load = site.pings(2);
    for strategy in ["rolling", "swap"] {
        site.run(&["switch", "www", "releases/3", "--strategy", strategy]).succeeds();
        site.is_in_order_on("../releases/3");
        site.run(&["rollback", "--strategy", strategy]).succeeds();
        site.is_in_order_on("release1");
    }
    load.finish();
    site.run(&["stop"]).succeeds();
    site.run(&["start"]).succeeds();
}
