//! php-fpm processes are killed or halted before a rollout, and after each of its steps. Only requests
//! of these processes may fail, and the next command recovers.

use rustix::process::{Signal, kill_process};

use harness::{Load, Process, Program, Site, program_path};

/// The process to kill or halt: of the old generations, or of the new ones.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    OldMaster,
    OldChild,
    NewMaster,
    NewChild,
}

use Victim::{NewChild, NewMaster, OldChild, OldMaster};

#[test]
#[ignore = "a sweep: bin/test --all"]
fn process_killed_after_each_step_of_a_rolling_restart_is_replaced() {
    strike("rolling", Signal::KILL, &[OldMaster, NewMaster, OldChild, NewChild]);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn process_killed_after_each_step_of_a_swap_is_replaced() {
    strike("swap", Signal::KILL, &[OldMaster, NewMaster, OldChild, NewChild]);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn halted_master_does_not_block_any_step_of_a_rolling_restart() {
    strike("rolling", Signal::STOP, &[OldMaster, NewMaster]);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn halted_master_does_not_block_any_step_of_a_swap() {
    strike("swap", Signal::STOP, &[OldMaster, NewMaster]);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn halted_child_does_not_block_any_step_of_a_rolling_restart() {
    strike("rolling", Signal::STOP, &[OldChild, NewChild]);
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn halted_child_does_not_block_any_step_of_a_swap() {
    strike("swap", Signal::STOP, &[OldChild, NewChild]);
}

fn strike(strategy: &str, signal: Signal, victims: &[Victim]) {
    let site = site(strategy);
    let loads = [site.sleepers(2, "0.005"), site.sleepers(1, "0.05")];
    let places = site.places_of(&["restart"]);
    let (mut strikes, mut children) = (0, 0);
    for (n, place) in (1..).zip(&places).filter(|(_, place)| place.starts_with("after: ")) {
        for victim in victims {
            let release = format!("release{}", 1 + strikes % 2);
            site.switch(&release);
            let before = site.generations();
            let manager = site.halt_at(n, &["restart"]);
            let struck = find(&site, *victim, &before, n);
            if let Some(process) = &struck {
                println!("{n}: {place}: {victim:?} {signal:?}: {}", process.title);
                kill_process(process.pid, signal).unwrap();
                strikes += 1;
                children += u64::from(matches!(victim, OldChild | NewChild));
            }
            manager.signal(Signal::CONT);
            let ran = manager.finish();
            println!("{ran}");
            if let Some(process) = &struck {
                // A process that is still halted can hold a request.
                let _ = kill_process(process.pid, Signal::CONT);
            }
            if struck.is_none() {
                ran.status(0);
            } else {
                site.run(&["restart"]).succeeds();
            }
            site.is_in_order_on(&release);
        }
    }
    println!("{strategy}: {strikes} times {signal:?}");
    assert!(strikes >= victims.len() * 5, "{places:#?}");
    let failed: u64 = loads.into_iter().map(Load::failed).sum();
    assert!(failed <= children, "{failed} requests failed, and {children} children were struck");
}

/// With deadlines that are short enough to be waited for.
fn site(strategy: &str) -> Site {
    let site = Site::new();
    site.replace(
        "etc/php/fpm/redundant-pools/php-fpm.conf",
        "process_control_timeout = 60s",
        "process_control_timeout = 1s",
    );
    site.add_rollout(&format!("strategy = {strategy:?}\ndrain_timeout = \"1s\""));
    site.run(&["start"]).succeeds();
    site
}

/// The process to kill or halt. `n` chooses between the replicas.
fn find(site: &Site, victim: Victim, before: &[u64], n: usize) -> Option<Process> {
    let all = site.php_fpm();
    let wants_new = matches!(victim, NewMaster | NewChild);
    let mut masters: Vec<&Process> = all
        .iter()
        .filter(|process| all.iter().all(|other| Some(other.pid) != process.parent))
        .filter(|master| {
            let (replica, generation) = replica_and_generation(&master.title);
            (generation > before[replica - 1]) == wants_new
        })
        .collect();
    let first = n % masters.len().max(1);
    masters.rotate_left(first);
    let master = *masters.first()?;
    let is_child = |process: &&Process| process.parent == Some(master.pid);
    match victim {
        OldMaster | NewMaster => Some(master.clone()),
        OldChild | NewChild => all.iter().find(is_child).cloned(),
    }
}

/// "php-fpm: master process (/root/pid/www.1.g7.conf)"
fn replica_and_generation(title: &str) -> (usize, u64) {
    let mut parts = title.rsplit('.').skip(1);
    let generation = parts.next().unwrap().strip_prefix('g').unwrap();
    (parts.next().unwrap().parse().unwrap(), generation.parse().unwrap())
}

#[test]
fn request_of_a_halted_child_is_cut_at_the_timeout() {
    for strategy in ["rolling", "swap"] {
        let site = site(strategy);
        let request = site.hold();
        let load = site.sleepers(1, "0.005");
        kill_process(request.child, Signal::STOP).unwrap();
        site.switch("release2");
        let ran = site.run(&["restart"]);
        let warning = "is still busy after 1s: 1 request will be cut\n";
        assert!(ran.succeeds().stdout.contains(warning), "{ran}");
        site.is_in_order_on("release2");
        assert_eq!(load.failed(), 0);
    }
}

#[test]
fn halted_process_does_not_block_stop() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.sleepers(2, "0.005");
    for master in site.masters() {
        kill_process(master, Signal::STOP).unwrap();
    }
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
    for replica in 1..=2 {
        // A killed process would write nothing.
        let log = site.read(&format!("pid/php-fpm-www{replica}.log"));
        assert_eq!(log.matches("exiting, bye-bye!").count(), 1, "{log}");
    }
    load.finish();
    site.apache_saw_no_error();
}

/// The slot of the killed child on the status page stays busy: no master frees it.
#[test]
fn killed_child_of_a_dead_master_does_not_block_repair() {
    let site = Site::new();
    site.add_rollout("drain_timeout = \"5m\"");
    site.run(&["start"]).succeeds();
    let (gate, page) = site.gate();
    let mut request = site.command(program_path("fcgi-request"));
    request.args(["--document-root", "www/current", &page, "sockets/php-fpm-www1.sock"]);
    let request = Program::start(&mut request);
    let (_, child) = gate.reached();
    kill_process(site.master(1), Signal::KILL).unwrap();
    kill_process(child, Signal::KILL).unwrap();
    request.finish();
    let load = site.steady_load();
    let ran = site.run(&["repair"]);
    assert!(!ran.succeeds().stdout.contains("is still busy"), "{ran}");
    site.is_in_order_on("release1");
    load.finish();
}

/// A child that was forked just before the death of its master can be in the same state.
#[test]
fn halted_children_of_a_dead_master_do_not_block_repair() {
    let site = Site::new();
    site.add_rollout("drain_timeout = \"5m\"");
    site.run(&["start"]).succeeds();
    let master = site.master(1);
    for child in site.php_fpm().iter().filter(|it| it.parent == Some(master)) {
        child.halt();
    }
    kill_process(master, Signal::KILL).unwrap();
    // The ping of `status` stays in the queue.
    site.run(&["status"]).status(1);
    let load = site.steady_load();
    let ran = site.run(&["repair"]);
    let warning = "generation 1 of replica 1 has no master and accepts no connection";
    assert!(ran.succeeds().stdout.contains(warning), "{ran}");
    site.is_in_order_on("release1");
    load.finish();
}

#[test]
fn status_shows_killed_replicas_and_start_starts_them() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    for replicas in [&[1][..], &[2], &[1, 2]] {
        site.kill_replicas(replicas);
        let ran = site.run(&["status"]);
        for replica in 1..=2 {
            let line = format!("  Status for replica {replica} [");
            let line = ran.stdout.lines().find(|it| it.starts_with(&line)).unwrap();
            let is_dead = replicas.contains(&replica);
            assert_eq!(line.contains("[Error]"), is_dead, "{ran}");
            assert_eq!(line.contains(r#"ping_php="not running", current="""#), is_dead, "{ran}");
        }
        let numbers: Vec<String> = replicas.iter().map(usize::to_string).collect();
        ran.status(1)
            .stderr(&format!("error: pool \"www\": not well: replica {}\n", numbers.join(", ")));
        site.run(&["start"]).succeeds();
        site.is_in_order_on("release1");
    }
}
