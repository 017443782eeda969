//! Temporary files without space: the script waits for its client, and no response is wrong.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use harness::served::{Connection, Served};
use harness::{Disk, Site, needs_root, wait_for};

/// 20 MB of numbered lines.
const LINES: &str =
    "<?php set_time_limit(0); for ($i = 0; $i < 200000; $i++) printf(\"%099d\\n\", $i);";
const COUNT: usize = 200_000;
/// The available space, in bytes.
const ROOM: u64 = 4 << 20;
/// The same for `prlimit`.
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

/// Reads a response that does not fit, after the space is used up.
fn reads_all_of_it(served: &Served) {
    reads_all_of_it_after(served, || {});
}

/// The same, after `change`.
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

/// Checks that a body that does not fit is refused, and one that fits is accepted.
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
    // A file system may free the space of a deleted file with a delay.
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
fn script_waits_for_its_client_on_a_full_disk() {
    needs_root!();
    let site = site("");
    let _disk = Disk::on(&site, "temp", &format!("size={ROOM}"));
    let served = serve(site);
    reads_all_of_it(&served);
    refuses_a_body(&served, 507);
}

#[test]
fn script_waits_for_its_client_with_a_full_disk_quota() {
    needs_root!();
    let site = site("");
    let disk = Disk::with_quota(&site, "temp", ROOM);
    let served = serve(site);
    reads_all_of_it(&served);
    refuses_a_body(&served, 507);
    // The data that had no space comes in order, and the script ends.
    reads_all_of_it_after(&served, || {
        disk.lift_quota();
        served.await_in_flight(0);
    });
}

/// The kernel also sends a signal that ends a process by default.
#[test]
fn script_waits_for_its_client_at_the_file_size_limit() {
    let site = Served::site("", "");
    site.run(&["start"]).succeeds();
    let served = Served::serve_through(site, "prlimit", &[FILE_SIZE]);
    reads_all_of_it(&served);
    refuses_a_body(&served, 507);
}

#[test]
fn script_waits_for_its_client_at_max_temp() {
    let limits = format!("max_temp = \"64MiB\"\nmax_temp_per_client = \"{}\"", ROOM / 3 * 4);
    let served = Served::with("", &limits);
    reads_all_of_it(&served);
    let served =
        Served::with("", &format!("max_temp = \"64MiB\"\nmax_temp_per_client = \"{ROOM}\""));
    refuses_a_body(&served, 503);
}

/// As if the disk of `temp_dir` were not mounted.
#[test]
fn script_waits_for_its_client_without_temp_dir() {
    let site = Served::site("", "temp_dir = \"missing\"");
    let served = serve(site);
    served.page("lines.php", LINES);
    let body = begin(&served, "/lines.php", "").answer().unwrap().body;
    assert_eq!(body.len(), COUNT * 100);
}

/// Twelve slow readers with one address.
#[test]
fn client_with_many_slow_connections_delays_no_other_client() {
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
