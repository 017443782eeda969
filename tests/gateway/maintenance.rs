//! The maintenance page.

use std::fs;

use harness::served::Served;
use serde_json::Value;

use super::hold::await_held;

fn maintenance(served: &Served, args: &[&str]) {
    let all = [&["maintenance"], args].concat();
    served.site.run(&all).succeeds();
}

#[test]
fn visitors_get_503_and_a_page_until_it_is_switched_off() {
    let served = Served::new();
    maintenance(&served, &["on", "www", "--retry-after", "2m"]);
    for page in ["/ping.php", "/release.txt", "/none"] {
        let answer = served.get(page);
        let headers =
            ["retry-after", "content-type", "cache-control"].map(|it| answer.header(it).unwrap());
        assert_eq!(answer.status, 503, "{page}");
        assert_eq!(headers, ["120", "text/html; charset=utf-8", "no-store"], "{page}");
        assert!(answer.text().contains("<h1>Maintenance</h1>"), "{page}");
    }
    assert_eq!(served.get("/.pools-manager/health").status, 200);
    // PHP runs on, and `status` says why visitors do not reach it.
    let ran = served.site.run(&["status"]);
    assert!(ran.stdout.contains("  Under maintenance since 20"), "{ran}");
    ran.succeeds();
    let mut head = served.connect();
    head.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.answer_to("HEAD").unwrap().status, 503);
    maintenance(&served, &["off", "www"]);
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
}

#[test]
fn own_page_is_copied_with_its_media_type() {
    let served = Served::with("headers = { X-Own = \"yes\" }", "");
    served.site.write("soon.json", "{\"error\":\"soon\"}");
    let page = served.site.path("soon.json").display().to_string();
    maintenance(&served, &["on", "www", "--page", &page]);
    fs::remove_file(page).unwrap();
    let answer = served.get("/ping.php");
    assert_eq!((answer.status, answer.text().as_str()), (503, "{\"error\":\"soon\"}"));
    let headers = ["content-type", "x-own"].map(|it| answer.header(it).unwrap());
    assert_eq!(headers, ["application/json", "yes"]);
}

#[test]
fn allowed_clients_are_served_as_usual() {
    let served = Served::with("", "trusted_proxies = [\"127.0.0.1\"]");
    maintenance(&served, &["on", "www", "--allow", "192.0.2.0/24,2001:db8::1"]);
    let from = |client: &str| {
        let header = format!("X-Forwarded-For: {client}\r\n");
        served.get_with("/ping.php", &header).status
    };
    assert_eq!(["192.0.2.7", "2001:db8::1"].map(from), [200, 200]);
    // Addresses that the client wrote do not count: the proxy's address is on the right.
    assert_eq!(["192.0.3.7", "192.0.2.7, 198.51.100.1", "2001:db8::2"].map(from), [503, 503, 503]);
    assert_eq!(served.get("/ping.php").status, 503);
    let ran = served.site.run(&["list", "--json"]).stdout;
    let pool = &serde_json::from_str::<Value>(&ran).unwrap()["pools"][0];
    assert_eq!(pool["maintenance"]["allow"][1], "2001:db8::1/128", "{pool}");
}

#[test]
fn maintenance_outlives_the_gateway_and_a_rollout() {
    let mut served = Served::new();
    maintenance(&served, &["on", "www"]);
    served.kill_gateway();
    served.start_gateway();
    assert_eq!(served.get("/ping.php").status, 503);
    served.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(served.get("/ping.php").status, 503);
    served.reload();
    assert_eq!(served.get("/ping.php").status, 503);
    served.stop_gateway().succeeds();
    let ran = served.site.run(&["maintenance", "off", "www"]);
    assert!(ran.status(0).stderr.contains("no gateway runs"), "{ran}");
    served.start_gateway();
    assert_eq!(served.get("/ping.php").text(), "pong2\n");
}

/// Requests that wait when the maintenance begins get the maintenance page when the hold ends.
#[test]
fn maintenance_and_hold_work_together() {
    let served = Served::with("", "trusted_proxies = [\"127.0.0.1\"]");
    let ask = |client: &str| {
        let mut connection = served.connect();
        let request = "GET /ping.php HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ";
        connection.send(&format!("{request}{client}\r\n\r\n"));
        connection
    };
    served.site.run(&["hold", "www", "--for", "60s"]).succeeds();
    let mut stranger = ask("198.51.100.1");
    let mut office = ask("192.0.2.1");
    await_held(&served, 2);
    maintenance(&served, &["on", "www", "--allow", "192.0.2.0/24"]);
    assert_eq!(ask("198.51.100.2").answer().unwrap().status, 503);
    await_held(&served, 2);
    served.site.run(&["resume", "www"]).succeeds();
    assert_eq!(stranger.answer().unwrap().status, 503);
    assert_eq!(office.answer().unwrap().text(), "pong1\n");
}
