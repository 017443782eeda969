//! Temporary files that have no room: a script waits for its client, and no answer is wrong.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::served::{Connection, Served};
use harness::{Disk, Site, needs_root, wait_for};

/// 20 MB, in lines that tell their place.
const LINES: &str =
    "<?php set_time_limit(0); for ($i = 0; $i < 200000; $i++) printf(\"%099d\\n\", $i);";
const COUNT: usize = 200_000;
/// The room that there is.
const ROOM: u64 = 4 << 20;
/// As `prlimit` takes it.
const FILE_SIZE: &str = "--fsize=4194304";

fn begin(served: &Served, page: &str, headers: &str) -> Connection {
    let mut connection = served.connect();
    connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
    connection
}

fn site(global: &str) -> Site {
    Served::site("", &format!("temp_dir = \"temp\"\n{global}"))
}

fn serve(site: Site) -> Served {
    site.run(&["start"]).succeeds();
    Served::serve(site)
}

/// Reads an answer that did not fit, once there is no room for more of it.
fn reads_all_of_it(served: &Served) {
    reads_all_of_it_after(served, || {});
}

/// The same, after something has been changed.
fn reads_all_of_it_after(served: &Served, change: impl FnOnce()) {
    served.page("lines.php", LINES);
    let mut slow = begin(served, "/lines.php", "");
    wait_for("a file that is full", || (served.in_temporary_files() > ROOM / 8 * 7).then_some(()));
    change();
    let body = slow.answer().unwrap().text();
    assert_eq!(body.len(), COUNT * 100);
    let wrong = body.lines().enumerate().find(|(place, line)| line.parse() != Ok(*place));
    assert_eq!(wrong, None);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}

/// A body that does not fit is refused; one that does is taken.
fn refuses_a_body(served: &Served, status: u16) {
    served.page("count.php", "<?php echo strlen(file_get_contents('php://input'));");
    let post = |size: usize| {
        let mut connection = served.connect();
        let head = "POST /count.php HTTP/1.1\r\nHost: a\r\n";
        connection.send(&format!("{head}Content-Length: {size}\r\n\r\n"));
        connection.send_bytes(&vec![b'x'; size]);
        connection.answer().unwrap()
    };
    assert_eq!(post((ROOM + (64 << 10)).try_into().unwrap()).status, status);
    // A filesystem gives the room of a deleted file back when it has the time.
    wait_for("room for a body", || {
        let answer = post(1 << 20);
        if answer.status == status {
            return None;
        }
        assert_eq!(answer.text(), (1 << 20).to_string());
        Some(())
    });
}

#[test]
fn a_full_disk_slows_the_script_down() {
    needs_root!();
    let site = site("");
    let _disk = Disk::on(&site, "temp", &format!("size={ROOM}"));
    let served = serve(site);
    reads_all_of_it(&served);
    refuses_a_body(&served, 507);
}

#[test]
fn a_full_quota_slows_the_script_down() {
    needs_root!();
    let site = site("");
    let disk = Disk::with_quota(&site, "temp", ROOM);
    let served = serve(site);
    reads_all_of_it(&served);
    refuses_a_body(&served, 507);
    // What could not be written in the middle comes in its place, and the script is let go.
    reads_all_of_it_after(&served, || {
        disk.lift_quota();
        served.await_in_flight(0);
    });
}

/// The kernel's limit for the size of a file comes with a signal that ends a process.
#[test]
fn a_limit_for_the_size_of_files_slows_the_script_down() {
    let site = Served::site("", "");
    site.run(&["start"]).succeeds();
    let served = Served::serve_through(site, "prlimit", &[FILE_SIZE]);
    reads_all_of_it(&served);
    refuses_a_body(&served, 507);
}

#[test]
fn the_limit_of_the_gateway_slows_the_script_down() {
    let limits = format!("max_temp = \"64MiB\"\nmax_temp_per_client = \"{}\"", ROOM / 3 * 4);
    let served = Served::with("", &limits);
    reads_all_of_it(&served);
    let served =
        Served::with("", &format!("max_temp = \"64MiB\"\nmax_temp_per_client = \"{ROOM}\""));
    refuses_a_body(&served, 503);
}

/// A directory that is not there: it may be on a disk that is not mounted.
#[test]
fn without_a_directory_the_script_is_slowed_down() {
    let site = Served::site("", "temp_dir = \"missing\"");
    let served = serve(site);
    served.page("lines.php", LINES);
    let body = begin(&served, "/lines.php", "").answer().unwrap().body;
    assert_eq!(body.len(), COUNT * 100);
}

/// Twelve slow readers, who come from one address, hold neither all children nor all the room.
#[test]
fn a_client_with_many_slow_connections_is_in_nobodys_way() {
    let global = "trusted_proxies = [\"127.0.0.1\"]\nmax_temp = \"32MiB\"";
    let served = Served::with_children(4, "queue_timeout = \"5s\"", global);
    served.page("lines.php", LINES);
    served.page("count.php", "<?php echo strlen(file_get_contents('php://input'));");
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let slow: Vec<_> = (0..12)
            .map(|_| begin(&served, "/lines.php", "X-Forwarded-For: 10.0.0.1\r\n"))
            .collect();
        wait_for("a client whose share is used up", || {
            (served.in_temporary_files() > 2 << 20).then_some(())
        });
        let enough = &enough;
        scope.spawn(move || {
            while !enough.load(Relaxed) {
                thread::yield_now();
            }
            drop(slow);
        });
        let body = "x".repeat(1 << 20);
        for _ in 0..10 {
            let other = served.get_with("/ping.php", "X-Forwarded-For: 10.0.0.2\r\n");
            let mut upload = served.connect();
            upload.send(&format!(
                "POST /count.php HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.2\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            let uploaded = upload.answer().unwrap();
            enough.store(other.status != 200 || uploaded.status != 200, Relaxed);
            assert_eq!((other.status, other.text().as_str()), (200, "pong1\n"));
            assert_eq!((uploaded.status, uploaded.text()), (200, body.len().to_string()));
        }
        enough.store(true, Relaxed);
    });
}
