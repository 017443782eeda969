//! The logs of the replicas in the log of `serve`.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use harness::served::{Served, UNSUPERVISED};
use harness::{Disk, Site, needs_root, wait_for};
use serde_json::Value;

const POOL: &str = "etc/php/fpm/redundant-pools/www";
const GLOBAL: &str = "etc/pools-manager.toml";
/// Writes N lines to the log of PHP, which is a file of its own.
const WRITE: &str = "<?php for ($i = 0; $i < $_GET['n']; $i++) \
    error_log($_GET['text'] . $i . str_repeat('x', (int) ($_GET['more'] ?? 0))); echo 'done';";

/// A site whose replicas are supervised. PHP logs to `logs/php.log`, where its user can write.
fn site(log: &str) -> Site {
    let site = Served::site("[watch]\ndebounce = \"20ms\"\n", "");
    site.replace(GLOBAL, UNSUPERVISED, &format!("[log]\n{log}\n"));
    let file = format!("{POOL}/pool.conf");
    let php = site.path("logs/php.log");
    fs::create_dir(site.path("logs")).unwrap();
    fs::set_permissions(site.path("logs"), Permissions::from_mode(0o777)).unwrap();
    let conf = format!(
        "php_admin_value[error_log] = {}\nphp_admin_flag[log_errors] = on\n",
        php.display()
    );
    site.write(&file, &format!("{}\n{conf}", site.read(&file)));
    site.add_page("write.php", WRITE);
    site.add_page(
        "trace.php",
        "<?php file_put_contents('php://stderr', \"said\\n\"); throw new Exception(\"a\\nb\");",
    );
    site
}

fn await_pool(served: &Served) {
    wait_for("the replicas", || served.site.look().running().get(1).map(drop));
    wait_for("the gateway", || (served.get("/ping.php").status == 200).then_some(()));
}

fn await_document(served: &Served, message: &str) -> Value {
    let line = served.await_log(message);
    serde_json::from_str(&line).unwrap()
}

#[test]
fn lines_have_their_pool_replica_generation_and_release() {
    let mut served = Served::serve(site("format = \"json\""));
    for (generation, release) in [(1, "release1"), (2, "release2")] {
        served.site.switch(release);
        await_generation(&served, generation);
        // The gateway changes its routing table only after the public names have moved.
        wait_for("the release", || {
            (served.get("/release.txt").text() == format!("{generation}\n")).then_some(())
        });
        served.get("/trace.php");
        // Either log may be read first.
        let mut found = [None, None];
        while found.iter().any(Option::is_none) {
            let line = await_document(&served, "\"log\":\"");
            match line["log"].as_str() {
                Some("output") => found[0] = Some(line),
                Some("php") if line["message"].as_str().unwrap().contains("Uncaught") => {
                    found[1] = Some(line);
                }
                _ => {}
            }
        }
        let [said, trace] = found.map(Option::unwrap);
        assert_eq!(said["message"], "said");
        let replica = said["replica"].as_u64().unwrap();
        assert!([1, 2].contains(&replica), "{said}");
        assert_eq!((&said["pool"], &said["generation"]), (&"www".into(), &generation.into()));
        assert_eq!(
            said["release"],
            served.site.path(&format!("www/{release}")).display().to_string()
        );
        // Both replicas write to this file, so that the replica is not known.
        assert_eq!((&trace["pool"], &trace["replica"]), (&"www".into(), &Value::Null), "{trace}");
        assert_eq!(trace["level"], "ERROR");
        let message = trace["message"].as_str().unwrap();
        assert!(message.starts_with("PHP Fatal error:  Uncaught Exception: a\nb in "), "{trace}");
        assert!(message.contains("\nStack trace:\n#0 {main}\n  thrown in "), "{trace}");
    }
    served.stop_gateway().status(0);
}

fn await_generation(served: &Served, generation: u64) {
    await_pool(served);
    wait_for("the generation", || {
        (served.site.generations() == [generation, generation]).then_some(())
    });
}

/// One file for both replicas: each line is read once, and belongs to the replica of its process.
#[test]
fn shared_error_log_is_read_once() {
    let site = site("format = \"json\"");
    for replica in 1..=2 {
        let file = format!("{POOL}/{replica}.conf");
        site.replace(&file, &format!("pid/php-fpm-www{replica}.log"), "pid/shared.log");
    }
    let mut served = Served::serve(site);
    await_pool(&served);
    for _ in 0..20 {
        served.get("/trace.php");
    }
    served.site.run(&["stop"]).succeeds();
    let said = served.stop_gateway();
    let documents = said.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut all: Vec<Value> = documents.filter(|it| it["message"] == "said").collect();
    assert_eq!(all.len(), 20, "{said}");
    all.retain(|it| it["replica"].is_u64() && it["generation"] == 1);
    assert_eq!(all.len(), 20, "{said}");
}

/// Lines `TEXT0x`, `TEXT1x`, ... in a text.
fn numbers(text: &str, said: &str) -> Vec<u32> {
    let text = format!(": {text}");
    let parts = said.split(&text).skip(1);
    let digits = |part: &str| part.split(|it: char| !it.is_ascii_digit()).next().unwrap().parse();
    parts.filter_map(|part| digits(part).ok()).collect()
}

#[test]
fn slow_reader_blocks_no_replica_and_loses_nothing() {
    let (mut reader, stderr) = io::pipe().unwrap();
    let mut served = Served::serve_with_stderr(site(""), stderr);
    await_pool(&served);
    // More than the pipe and the queue hold.
    for round in 0..4 {
        let page = format!("/write.php?n=10000&more=400&text=round{round}line");
        assert_eq!(served.get(&page).text(), "done");
    }
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    let last = "round3line9999";
    let mut all = read_until(&mut reader, last);
    let rest = std::thread::spawn(move || {
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).map(|_| rest)
    });
    served.stop_gateway().status(0);
    all.extend(rest.join().unwrap().unwrap());
    let all = String::from_utf8(all).unwrap();
    for round in 0..4 {
        let found = numbers(&format!("round{round}line"), &all);
        assert_eq!(found, (0..10_000).collect::<Vec<_>>(), "round {round}");
    }
}

/// Reads until a text is there.
fn read_until(reader: &mut impl Read, text: &str) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let length = reader.read(&mut buffer).unwrap();
        assert!(length > 0, "the end before {text}");
        let from = all.len().saturating_sub(text.len());
        all.extend_from_slice(&buffer[..length]);
        if all[from..].windows(text.len()).any(|part| part == text.as_bytes()) {
            return all;
        }
    }
}

#[test]
fn long_lines_and_binary_bytes_are_one_safe_line() {
    let served = Served::serve(site(""));
    await_pool(&served);
    let page = "/write.php?n=1&more=1048576&text=%1b[2J%ffline";
    assert_eq!(served.get(page).text(), "done");
    assert_eq!(served.get("/write.php?n=1&text=after").text(), "done");
    let long = served.await_log("\\x1b[2J\\xffline0xxx");
    assert!(long.trim_end().ends_with(" bytes left out]") && long.len() < 70_000, "{}", long.len());
    served.await_log(" php: after0");
}

#[test]
fn full_disk_costs_only_lines() {
    needs_root!();
    let site = site("output = \"small/log\"");
    let disk = Disk::on(&site, "small", "size=1m");
    let mut served = Served::serve(site);
    await_pool(&served);
    disk.fill();
    for _ in 0..5 {
        assert_eq!(served.get("/write.php?n=1000&more=100&text=lost").text(), "done");
    }
    served.await_log("the log cannot be written: No space left on device");
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    disk.make_room();
    let log = served.site.path("small/log");
    wait_for("the count of lost lines", || {
        served.get("/write.php?n=1&text=kept");
        let said = String::from_utf8_lossy(&fs::read(&log).ok()?).into_owned();
        (said.contains("WARN the log lost ") && said.contains(" php: kept0")).then_some(())
    });
    served.stop_gateway().status(0);
    drop(disk); // before the site's directory, in which it is mounted
}

#[test]
fn log_file_is_created_again_after_a_rename() {
    let mut served = Served::serve(site("output = \"pid/all.txt\""));
    await_pool(&served);
    let [log, old] = ["pid/all.txt", "pid/all.old"].map(|name| served.site.path(name));
    for round in 0..3 {
        served.get(&format!("/write.php?n=1&text=round{round}line"));
        let text = format!(" php: round{round}line0\n");
        wait_for(&text, || {
            fs::read_to_string(&log).is_ok_and(|it| it.contains(&text)).then_some(())
        });
        fs::rename(&log, &old).unwrap();
    }
    let mode = fs::metadata(&old).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let said = served.stop_gateway();
    assert_eq!(said.status(0).stderr, "");
}

/// Settings are read again and again while lines come.
#[test]
fn reload_neither_loses_nor_doubles_a_line() {
    let mut served = Served::serve(site(""));
    await_pool(&served);
    for round in 0..5 {
        served.get(&format!("/write.php?n=200&text=round{round}line"));
        served.gateway().signal(rustix::process::Signal::HUP);
    }
    served.get("/write.php?n=1&text=last");
    let said = served.stop_gateway();
    for round in 0..5 {
        let found = numbers(&format!("round{round}line"), &said.stderr);
        assert_eq!(found, (0..200).collect::<Vec<_>>(), "{said}");
    }
    assert_eq!(numbers("last", &said.stderr), [0]);
}

#[test]
fn syslog_gets_a_datagram_for_each_line() {
    let site = site("output = \"syslog\"\nsyslog_socket = \"pid/syslog\"");
    let refused = site.run(&["serve"]);
    assert!(refused.status(2).stderr.contains("cannot log to "), "{refused}");
    let path = site.path("pid/syslog");
    let bind = || {
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket
    };
    let receive = |socket: &UnixDatagram, part: &str| loop {
        let mut bytes = vec![0; 1 << 20];
        let length = socket.recv(&mut bytes).unwrap();
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        if text.contains(part) {
            return text;
        }
    };
    let socket = bind();
    let mut served = Served::serve(site);
    let own = receive(&socket, "Starting replica 1");
    assert!(own.starts_with("<30>") && own.contains(" pools-manager["), "{own}");
    await_pool(&served);
    served.get("/trace.php");
    let trace = receive(&socket, "Uncaught Exception");
    assert!(trace.starts_with("<27>") && trace.contains("\\nStack trace:\\n#0"), "{trace}");
    // The receiver restarts. Meanwhile it does not exist, and nothing waits for it.
    drop(socket);
    fs::remove_file(&path).unwrap();
    assert_eq!(served.get("/write.php?n=100&text=lost").text(), "done");
    served.await_log("the log cannot be written: ");
    let socket = bind();
    served.get("/write.php?n=1&text=kept");
    receive(&socket, "the log lost ");
    served.stop_gateway().status(0);
}

#[test]
fn logs_of_replicas_are_left_out_if_replicas_is_false() {
    let mut served = Served::serve(site("replicas = false"));
    await_pool(&served);
    served.get("/write.php?n=1&text=written");
    wait_for("the log", || File::open(served.site.path("logs/php.log")).ok());
    let said = served.stop_gateway();
    assert!(!said.status(0).stderr.contains("written"), "{said}");
}
