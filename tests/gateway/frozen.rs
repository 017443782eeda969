//! Replicas whose processes are stopped (SIGSTOP): the kernel still accepts connections for them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;

use harness::served::{Connection, Served, fix_children};
use harness::wait_for;

const WHO: &str = "<?php file_put_contents($_GET['list'], \"x\\n\", FILE_APPEND | LOCK_EX);
    echo preg_replace('/^php-fpm: pool (\\w+).*/s', '$1', file_get_contents('/proc/self/cmdline'));";

fn begin(served: &Served, page: &str) -> Connection {
    let mut connection = served.connect();
    connection.send(&format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    connection
}

/// The processes of a replica, its master first.
fn processes(served: &Served, replica: usize) -> Vec<Pid> {
    let master = served.site.master(replica);
    let all = served.site.php_fpm();
    let children = all.iter().filter(|it| it.parent == Some(master)).map(|it| it.pid);
    [master].into_iter().chain(children).collect()
}

fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        kill_process(*pid, signal).unwrap();
    }
}

/// The replicas that the gateway has ejected, by its control socket: `status` would ask php-fpm, too.
fn aside(served: &Served) -> Vec<bool> {
    aside_on(&mut control(served))
}

/// A connection to the gateway's control socket.
fn control(served: &Served) -> BufReader<UnixStream> {
    BufReader::new(UnixStream::connect(served.site.path("sockets/pools-manager.sock")).unwrap())
}

fn aside_on(control: &mut BufReader<UnixStream>) -> Vec<bool> {
    control.get_mut().write_all(b"{\"show\":\"www\"}\n").unwrap();
    let mut line = String::new();
    control.read_line(&mut line).unwrap();
    let shown: Value = serde_json::from_str(&line).unwrap();
    let replicas = shown["shown"]["replicas"].as_array().unwrap();
    let mut aside: Vec<_> =
        replicas.iter().map(|it| (it["socket"].as_str().unwrap(), &it["aside"])).collect();
    aside.sort_by_key(|(socket, _)| *socket);
    aside.iter().map(|(_, aside)| aside.as_bool().unwrap()).collect()
}

/// Without a descriptor the gateway cannot connect to php-fpm. That is not an error of the replicas.
#[test]
fn gateway_without_descriptors_ejects_no_replica() {
    let served = Served::with("queue_timeout = \"300ms\"", "");
    let gateway = served.gateway().pid();
    let limit = |current| {
        let limit = Rlimit { current: Some(current), maximum: getrlimit(Resource::Nofile).maximum };
        prlimit(Some(gateway), Resource::Nofile, limit).unwrap().current.unwrap()
    };
    // Opened before: without a descriptor, no connection is accepted.
    let (mut connection, mut control) = (served.connect(), control(&served));
    assert_eq!(connection.get("/ping.php").unwrap().status, 200);
    assert_eq!(aside_on(&mut control), [false, false]);
    let before = limit(3);
    for _ in 0..4 {
        assert_eq!(connection.get("/ping.php").unwrap().status, 503);
    }
    assert_eq!(aside_on(&mut control), [false, false]);
    limit(before);
    assert_eq!(connection.get("/ping.php").unwrap().status, 200);
}

fn frozen_replica_is_ejected_until_it_goes_on(served: &Served) {
    served.page("who.php", WHO);
    let list = served.site.scratch().join("list");
    let page = format!("/who.php?list={}", list.display());
    let frozen = processes(served, 1);
    signal(&frozen, Signal::STOP);
    // Some requests go to the frozen replica, and stay there.
    let held: Vec<Connection> = (0..4).map(|_| begin(served, &page)).collect();
    wait_for("that it is ejected", || (aside(served) == [true, false]).then_some(()));
    for _ in 0..20 {
        assert_eq!(served.get(&page).text(), "www2");
    }
    signal(&frozen, Signal::CONT);
    let mut by: Vec<String> = held.into_iter().map(|mut it| it.answer().unwrap().text()).collect();
    by.sort();
    assert!(by.first().unwrap() == "www1" && by.last().unwrap() == "www2", "{by:?}");
    wait_for("that it comes back", || (aside(served) == [false, false]).then_some(()));
    let more = (0..4).map(|_| served.get(&page).text());
    assert!(more.collect::<Vec<_>>().contains(&"www1".to_owned()));
    assert_eq!(fs::read_to_string(list).unwrap().lines().count(), 28);
}

#[test]
fn frozen_replica_gets_no_requests_until_it_goes_on() {
    frozen_replica_is_ejected_until_it_goes_on(&Served::with("request_timeout = \"10m\"", ""));
}

#[test]
fn frozen_replica_with_idle_connections_gets_no_requests_until_it_goes_on() {
    let served = Served::with_children(3, "request_timeout = \"10m\"", "");
    for _ in 0..6 {
        assert_eq!(served.get("/ping.php").status, 200);
    }
    frozen_replica_is_ejected_until_it_goes_on(&served);
}

/// The requests wait, and are answered when the processes go on.
#[test]
fn no_replica_is_ejected_while_all_are_frozen() {
    let served = Served::with("request_timeout = \"10m\"", "");
    served.page("who.php", WHO);
    let list = served.site.scratch().join("list");
    let page = format!("/who.php?list={}", list.display());
    let (first, second) = (processes(&served, 1), processes(&served, 2));
    signal(&first, Signal::STOP);
    let mut held = begin(&served, &page);
    let mut other = begin(&served, &page);
    // The first replica is frozen and ejected.
    wait_for("that it is ejected", || (aside(&served) == [true, false]).then_some(()));
    signal(&second, Signal::STOP);
    let mut more: Vec<Connection> = (0..3).map(|_| begin(&served, &page)).collect();
    signal(&first, Signal::CONT);
    // The first replica goes on, and the second is stopped: now the second is ejected.
    assert_eq!(held.answer().unwrap().status, 200);
    wait_for("that they are exchanged", || (aside(&served) == [false, true]).then_some(()));
    assert_eq!(served.get(&page).text(), "www1");
    signal(&second, Signal::CONT);
    assert_eq!(other.answer().unwrap().status, 200);
    for connection in &mut more {
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    wait_for("that both are back", || (aside(&served) == [false, false]).then_some(()));
}

/// A slow script causes a probe, and the ping succeeds.
#[test]
fn slow_scripts_eject_no_replica() {
    let site = Served::site("request_timeout = \"10m\"", "");
    fix_children(&site, 2);
    let conf = "etc/php/fpm/redundant-pools/www/pool.conf";
    let log = site.scratch().join("access.log");
    let lines = format!("access.log = {}\naccess.format = \"%n %r\"\n", log.display());
    site.write(conf, &format!("{}\n{lines}", site.read(conf)));
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    served.page("slow.php", "<?php while (!file_exists($_GET['end'])) usleep(2000);");
    let end = served.site.scratch().join("end");
    let page = format!("/slow.php?end={}", end.display());
    let mut held = [begin(&served, &page), begin(&served, &page)];
    let pings = |pool: &str| {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| line.starts_with(pool) && line.contains("ping")).count()
    };
    let before = (pings("www1"), pings("www2"));
    wait_for("two pings of each", || {
        assert_eq!(aside(&served), [false, false]);
        (pings("www1") >= before.0 + 2 && pings("www2") >= before.1 + 2).then_some(())
    });
    fs::write(end, "").unwrap();
    for connection in &mut held {
        assert_eq!(connection.answer().unwrap().status, 200);
    }
}
