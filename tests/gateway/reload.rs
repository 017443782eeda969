//! HUP: the gateway opens its access log again, and reads its configuration again.

use std::fs;

use harness::served::Served;
use harness::wait_for;

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
const GLOBAL: &str = "etc/pools-manager.toml";

fn lines(served: &Served, file: &str) -> usize {
    fs::read_to_string(served.site.path(file)).unwrap_or_default().lines().count()
}

#[test]
fn hup_reopens_the_access_log_without_losing_a_line() {
    let mut served = Served::with("", "access_log = \"pid/access.log\"");
    let (log, old) = (served.site.path("pid/access.log"), served.site.path("pid/access.log.1"));
    served.get("/ping.php");
    wait_for("the first line", || (lines(&served, "pid/access.log") == 1).then_some(()));
    fs::rename(&log, &old).unwrap();
    served.get("/ping.php");
    served.reload();
    served.get("/ping.php");
    served.stop_gateway().status(0);
    assert!(lines(&served, "pid/access.log") >= 1);
    assert_eq!(lines(&served, "pid/access.log") + lines(&served, "pid/access.log.1"), 3);
}

#[test]
fn hup_keeps_the_access_log_if_the_new_file_cannot_be_opened() {
    let mut served = Served::with("", "access_log = \"pid/one.log\"");
    served.get("/ping.php");
    served.site.replace(GLOBAL, "pid/one.log", "no/such/directory.log");
    let said = served.reload();
    assert!(said.contains("ERROR the previous access log stays in use: "), "{said}");
    served.get("/ping.php");
    wait_for("both lines", || (lines(&served, "pid/one.log") == 2).then_some(()));
    served.site.replace(GLOBAL, "no/such/directory.log", "pid/two.log");
    served.reload();
    served.get("/ping.php");
    served.stop_gateway().status(0);
    assert_eq!((lines(&served, "pid/one.log"), lines(&served, "pid/two.log")), (2, 1));
}

#[test]
fn hup_applies_settings_and_logs_those_that_need_a_restart() {
    let served = Served::with("", "max_body = \"10\"");
    let post =
        "POST /ping.php HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n12345678901234567890";
    assert_eq!(served.raw(post.as_bytes()).unwrap().status, 413);
    // A connection that was opened before the reload.
    let mut kept = served.connect();
    assert_eq!(kept.get("/none").unwrap().status, 200);
    served.site.replace(GLOBAL, "max_body = \"10\"", "max_body = \"20\"\nmax_connections = 77");
    served.site.replace(GLOBAL, "127.0.0.1:0", "127.0.0.2:0");
    served.site.replace(SETTINGS, "[gateway]\n", "[gateway]\nfront_controller = \"\"\n");
    let said = served.reload();
    for key in ["listen", "max_connections"] {
        assert!(said.contains(&format!("WARN [gateway] {key} in ")), "{said}");
    }
    assert!(!said.contains("threads"), "{said}");
    assert_eq!(served.raw(post.as_bytes()).unwrap().status, 200);
    assert_eq!(kept.get("/none").unwrap().status, 404);
}

#[test]
fn hup_applies_a_new_document_root_at_once() {
    let served = Served::new();
    served.page("public/where.txt", "below");
    served.page("where.txt", "above");
    assert_eq!(served.get("/where.txt").text(), "above");
    served.site.replace(SETTINGS, "[gateway]\n", "[gateway]\ndocument_root = \"public\"\n");
    served.reload();
    assert_eq!(served.get("/where.txt").text(), "below");
}

#[test]
fn hup_with_a_broken_configuration_keeps_the_old_one() {
    let served = Served::with("front_controller = \"\"", "");
    let (global, settings) = (served.site.read(GLOBAL), served.site.read(SETTINGS));
    let refused = |file: &str, text: &str, part: &str| {
        served.site.write(file, text);
        let said = served.reload();
        assert!(said.contains(part), "{said}");
        assert_eq!(served.get("/ping.php").status, 200);
        assert_eq!(served.get("/none").status, 404);
        served.site.write(GLOBAL, &global);
        served.site.write(SETTINGS, &settings);
    };
    let kept = "ERROR reload failed, the previous configuration stays in use: ";
    refused(
        GLOBAL,
        "[gateway]\nlsten = []\n",
        &format!("{kept}{}", served.site.path(GLOBAL).display()),
    );
    refused(GLOBAL, "", kept);
    let kept = "ERROR pool \"www\": the previous configuration stays in use: ";
    refused(
        SETTINGS,
        "[gateway]\nx = 3\n",
        &format!("{kept}{}", served.site.path(SETTINGS).display()),
    );
    let elsewhere = settings.replace("[gateway]\n", "[gateway]\ndocument_root = \"none\"\n");
    refused(SETTINGS, &elsewhere, &format!("{kept}cannot serve "));
    refused(
        SETTINGS,
        &settings.replace("[gateway]", "[rollout]").replace("front", "#"),
        "no pool has a [gateway]",
    );
    assert!(!served.reload().contains("ERROR"));
    // A rollout works as before.
    served.site.switch("release2");
    served.site.run(&["restart"]).succeeds();
    assert_eq!(served.get("/ping.php").status, 200);
}

/// A request that waits for a child, and one that runs.
#[test]
fn running_and_waiting_requests_survive_a_hup() {
    let served = Served::with_children(1, "", "");
    served.page("hold.php", include_str!("../real/pages/hold.php"));
    let mark = served.site.scratch().join("mark");
    let request = format!("GET /hold.php?mark={} HTTP/1.1\r\nHost: a\r\n\r\n", mark.display());
    let mut held: Vec<_> = (0..4).map(|_| served.connect()).collect();
    for connection in &mut held {
        connection.send(&request);
    }
    served.await_in_flight(2);
    served.site.replace(SETTINGS, "[gateway]\n", "[gateway]\nqueue = 0\n");
    served.reload();
    fs::write(mark.with_extension("end"), "").unwrap();
    for connection in &mut held {
        assert_eq!(connection.answer().unwrap().status, 200);
    }
}
