//! `[limits]`: the supervisor renews replicas that exceed one, and no request is lost.

use std::sync::atomic::AtomicBool;
use std::thread;

use harness::served::{Connection, Served, fix_children};
use harness::wait_for;

use super::supervisor::{Visits, await_release, site, supervised, visit_until};

const POOL_CONF: &str = "etc/php/fpm/redundant-pools/www/pool.conf";

/// The number of the running generation of each replica; 0: none runs.
fn generations(served: &Served) -> Vec<u64> {
    let status = served.site.look().document;
    let replicas = status["pools"][0]["replicas"].as_array().unwrap();
    replicas.iter().map(|it| it["generation"].as_u64().unwrap_or_default()).collect()
}

/// Waits until both replicas are renewed.
fn await_renewal(served: &Served, before: &[u64]) {
    wait_for("newer generations of both replicas", || {
        let now = generations(served);
        now.iter().zip(before).all(|(now, before)| now > before).then_some(())
    });
    await_release(served, "release1");
}

/// Visits a page while `work` goes on; all visits have to succeed.
fn while_visited(served: &Served, work: impl FnOnce()) {
    let (port, enough) = (served.port(), AtomicBool::new(false));
    thread::scope(|scope| {
        let visits = Visits(&enough);
        let visitors: Vec<_> = (0..2).map(|_| scope.spawn(|| visit_until(port, &enough))).collect();
        work();
        drop(visits);
        for visitor in visitors {
            assert_eq!(visitor.join().unwrap().1, 0);
        }
    });
}

/// The limit of the memory, in KiB.
const LIMIT: u64 = 150 << 10;

/// The script leaks 4 MB with each request, outside of PHP's own memory.
#[test]
#[ignore = "takes long: bin/test --all"]
fn leaking_replicas_are_renewed_without_loss() {
    let site = site("[limits]\ninterval = \"100ms\"\nmax_memory = \"150MiB\"\n", "");
    site.replace(POOL_CONF, "pm = dynamic", "php_admin_value[ffi.enable] = 1\npm = dynamic");
    site.load_all_php_modules();
    let served = Served::serve(site);
    await_release(&served, "release1");
    served.page(
        "leak.php",
        "<?php $c = FFI::cdef('void *malloc(size_t); void *memset(void *, int, size_t);'); \
         $c->memset($c->malloc(4 << 20), 1, 4 << 20); echo 'leaked';",
    );
    let history = served.site.run(&["history"]).stdout;
    let before = generations(&served);
    while_visited(&served, || {
        while generations(&served).iter().zip(&before).any(|(now, before)| now <= before) {
            assert_eq!(served.get("/leak.php").text(), "leaked");
            wait_for("a renewal", || (memory(&served) < 2 * LIMIT).then_some(()));
        }
    });
    let said = served.await_log("more than max_memory (153600 KiB): it is renewed");
    assert!(said.contains("pool \"www\": replica "), "{said}");
    // The renewal is no rollout.
    assert_eq!(served.site.run(&["history"]).stdout, history);
}

/// The memory of all php-fpm processes, in KiB.
fn memory(served: &Served) -> u64 {
    let pss = served.site.php_fpm().into_iter().map(|process| {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid));
        let text = text.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap())
    });
    pss.sum()
}

#[test]
fn replicas_are_renewed_after_their_requests() {
    let served = supervised("[limits]\ninterval = \"100ms\"\nmax_requests = 200\n");
    let before = generations(&served);
    while_visited(&served, || await_renewal(&served, &before));
    served.await_log("requests, and max_requests is 200: it is renewed");
}

#[test]
fn old_replicas_are_renewed_one_after_the_other() {
    let served = supervised("[limits]\ninterval = \"100ms\"\nmax_age = \"4s\"\n");
    let before = generations(&served);
    while_visited(&served, || await_renewal(&served, &before));
    served.await_log("longer than max_age (4s): it is renewed");
}

#[test]
fn replica_with_a_long_request_is_renewed_and_the_request_completes() {
    let served = supervised("[limits]\ninterval = \"100ms\"\nmax_request_time = \"1s\"\n");
    let before = generations(&served)[0];
    let held = served.site.hold_on(1);
    wait_for("a renewal", || (generations(&served)[0] > before).then_some(()));
    let mut other = Connection::to(served.port());
    assert_eq!(other.get("/ping.php").unwrap().status, 200);
    held.end(1);
    await_release(&served, "release1");
}

/// No child is free to answer the status page.
#[test]
fn replica_whose_children_are_all_busy_is_renewed() {
    let site = site("[limits]\ninterval = \"100ms\"\nmax_request_time = \"1s\"\n", "");
    fix_children(&site, 2);
    let served = Served::serve(site);
    await_release(&served, "release1");
    let before = generations(&served)[0];
    let held = [served.site.hold_on(1), served.site.hold_on(1)];
    wait_for("a renewal", || (generations(&served)[0] > before).then_some(()));
    for request in held {
        request.end(1);
    }
    await_release(&served, "release1");
}
