//! The life of a generation: its processes, its master, their ends.

use std::fs;

use harness::{Process, needs_root, wait_for};
use rustix::process::{Signal, kill_process};

use super::site::{
    CommandSite, PHP_CGI, PHP_PORT, PYTHON_FD, PYTHON_SOCKET, ServedSite, add_release, masters,
};

fn pids(processes: &[Process]) -> Vec<i32> {
    processes.iter().map(|it| it.pid.as_raw_nonzero().get()).collect()
}

#[test]
fn process_gets_its_account_directory_and_environment() {
    needs_root!();
    let run = format!(
        "{PYTHON_FD}directory = \"app\"\n\
         environment = {{ ROLE = \"web {{replica}}.{{generation}}.{{process}} {{release}}\", LANG = \"C\" }}\n"
    );
    let site = CommandSite::new(&run);
    for file in ["server.py", "release.txt"] {
        let text = site.site.read(&format!("www/r1/{file}"));
        site.site.write(&format!("www/r1/app/{file}"), &text);
    }
    let served = site.serve();
    let echoed: serde_json::Value = serde_json::from_slice(&served.get("/echo").body).unwrap();
    let release = served.site.path("www/current");
    assert_eq!(echoed["cwd"], release.join("app").to_str().unwrap());
    let uid = nix_uid("www-data");
    assert_eq!(echoed["uid"], uid);
    let environment = echoed["environment"].as_object().unwrap();
    let role = environment["ROLE"].as_str().unwrap();
    let expected = |replica| format!("web {replica}.1.1 {}", release.display());
    assert!([expected(1), expected(2)].contains(&role.to_owned()), "{role}");
    let mut names: Vec<&str> = environment.keys().map(String::as_str).collect();
    names.sort_unstable();
    let known = [
        "HOME",
        "LANG",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LOGNAME",
        "PATH",
        "POOLS_MANAGER_GENERATION",
        "POOLS_MANAGER_POOL",
        "POOLS_MANAGER_REPLICA",
        "POOLS_MANAGER_SOCKET",
        "ROLE",
        "USER",
    ];
    names.retain(|name| !["LC_CTYPE"].contains(name)); // Python sets it
    assert_eq!(names, known);
    assert_eq!((&environment["LANG"], &environment["USER"]), (&"C".into(), &"www-data".into()));
    // The server has no file of the manager open.
    let pid = echoed["pid"].as_i64().unwrap();
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
    let odd: Vec<_> = targets
        .map(|target| target.display().to_string())
        .filter(|it| !["socket:", "/dev/null", "anon_inode:"].iter().any(|ok| it.starts_with(ok)))
        .filter(|it| !it.contains("/pid/www."))
        .collect();
    assert_eq!(odd, Vec::<String>::new());
    let log = served.site.read("pid/www.1.g1.log");
    assert!(log.contains("the server is up"), "{log}");
}

fn nix_uid(name: &str) -> u32 {
    let text = fs::read_to_string("/etc/passwd").unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}

/// Only the requests of a killed process fail.
#[test]
fn killed_process_is_started_again() {
    needs_root!();
    for run in [PHP_CGI, PYTHON_FD, PYTHON_SOCKET, PHP_PORT] {
        let served = CommandSite::new(run).serve();
        let before = served.workers();
        for victim in &before {
            kill_process(victim.pid, Signal::KILL).unwrap();
        }
        // A process that ends loses its title first, and its listening socket later.
        wait_for("their end", || {
            let logs = [1, 2].map(|it| served.site.read(&format!("pid/www.{it}.g1.log"))).concat();
            let is_told = |it: &Process| {
                logs.contains(&format!("(pid {}) was ended by signal 9", it.pid.as_raw_nonzero()))
            };
            before.iter().all(is_told).then_some(())
        });
        // Requests wait until a process accepts them.
        for _ in 0..4 {
            assert_eq!(served.get("/index.php").status, 200, "{run}");
        }
        wait_for("all processes", || (served.workers().len() == before.len()).then_some(()));
        let after = pids(&served.workers());
        assert!(pids(&before).iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
        served.is_in_order(1);
    }
}

/// php-cgi exits after `PHP_FCGI_MAX_REQUESTS`.
#[test]
fn php_cgi_that_recycles_itself_loses_no_request() {
    needs_root!();
    let run = format!("{PHP_CGI}environment = {{ PHP_FCGI_MAX_REQUESTS = \"5\" }}\n");
    let served = CommandSite::new(&run).serve();
    for _ in 0..100 {
        let answer = served.get("/index.php");
        assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
    }
}

#[test]
fn replica_whose_master_was_killed_is_repaired() {
    needs_root!();
    for run in [PYTHON_FD, PHP_PORT] {
        let served = CommandSite::new(run).serve();
        let before = served.workers();
        let victim = masters(&served.site)[0].pid;
        kill_process(victim, Signal::KILL).unwrap();
        wait_for("its end", || (masters(&served.site).len() == 1).then_some(()));
        served.site.run(&["repair"]).succeeds();
        served.is_in_order(1);
        assert_eq!(served.workers().len(), before.len());
        assert_eq!(served.get("/").status, 200);
    }
}

#[test]
fn record_that_was_removed_is_restored() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    let before = pids(&masters(&served.site));
    for file in fs::read_dir(served.site.path("pid")).unwrap().flatten() {
        let path = file.path();
        if path.extension() != Some("log".as_ref()) {
            fs::remove_file(path).unwrap();
        }
    }
    served.site.run(&["repair"]).succeeds();
    assert_eq!(pids(&masters(&served.site)), before);
    served.deploy(2, "rolling");
    served.is_in_order(2);
}

#[test]
fn stop_ends_all_processes_and_removes_their_files() {
    needs_root!();
    for run in [PHP_CGI, PYTHON_SOCKET, PHP_PORT] {
        let served = CommandSite::with(run, "queue_timeout = \"100ms\"", "").serve();
        served.site.run(&["stop"]).succeeds();
        assert_eq!(masters(&served.site).len() + served.workers().len(), 0);
        let left = fs::read_dir(served.site.path("sockets")).unwrap().flatten();
        let left: Vec<_> = left.map(|it| it.file_name().into_string().unwrap()).collect();
        assert_eq!(left, ["pools-manager.sock"]);
        assert_eq!(served.get("/").status, 503);
        served.site.run(&["start"]).succeeds();
        assert_eq!(served.get("/index.php").status, 200);
        served.is_in_order(1);
    }
}

/// A process that ignores its signal, with a child that has left its group.
#[test]
fn process_that_ignores_the_stop_signal_is_killed_with_its_children() {
    needs_root!();
    let script =
        "trap '' TERM; setsid sleep 1000 & while :; do /usr/bin/python3 server.py fd; done";
    let run = format!(
        "run = [\"bash\", \"-c\", \"{script}\"]\nprotocol = \"http\"\nlisten = \"fd3\"\nreplicas = 1\n"
    );
    // LISTEN_PID names bash, not Python, so the check in server.py would fail.
    let site = CommandSite::with(&run, "", "[rollout]\ndrain_timeout = \"100ms\"");
    let code = site.site.read("www/r1/server.py").replace("    assert os", "    # assert os");
    site.site.write("www/r1/server.py", &code);
    let served = site.serve();
    assert_eq!(served.get("/").text(), "1");
    served.site.run(&["stop"]).succeeds();
    let left = served.site.processes();
    let left: Vec<_> = left.iter().filter(|it| !it.title.contains(" serve")).collect();
    assert!(left.is_empty(), "{left:#?}");
}

fn bounces(served: &ServedSite, strategies: &[&str], said: &str) {
    for strategy in strategies {
        let ran = served.restart(strategy);
        let ran = ran.status(1);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains(said), "{all}");
        assert_eq!(served.get("/").text(), "1");
    }
    served.is_in_order(1);
}

#[test]
fn release_whose_server_does_not_start_bounces_with_its_log() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    add_release(&served.site, 2);
    served.site.write("www/r2/server.py", "raise SystemExit('no such module: shop')");
    served.site.switch("r2");
    bounces(&served, &["swap", "rolling"], "no such module: shop");
}

#[test]
fn release_whose_health_page_fails_bounces() {
    needs_root!();
    let lines = "[rollout]\nready_timeout = \"5s\"";
    let served = CommandSite::with(PYTHON_FD, "", lines).serve();
    add_release(&served.site, 2);
    let code = served.site.read("www/r2/server.py");
    let code = code.replace("if url.path == \"/echo\"", "if url.path == \"/health\":\n            self.answer(\"sick\", 503)\n        elif url.path == \"/echo\"");
    served.site.write("www/r2/server.py", &code);
    served.site.switch("r2");
    bounces(&served, &["swap"], "/health answers with status 503");
}

#[test]
fn release_whose_front_page_fails_bounces() {
    needs_root!();
    let served = CommandSite::new(PYTHON_FD).serve();
    add_release(&served.site, 2);
    let code =
        served.site.read("www/r2/server.py").replace("url.path == \"/bad\"", "url.path == \"/\"");
    served.site.write("www/r2/server.py", &code);
    served.site.switch("r2");
    bounces(&served, &["swap", "rolling"], "status 500");
}

#[test]
fn server_outlives_the_manager_and_the_gateway() {
    needs_root!();
    let mut served = CommandSite::new(PYTHON_FD).serve();
    let before = pids(&served.workers());
    served.0.kill_gateway();
    assert_eq!(pids(&served.workers()), before);
    served.0.start_gateway();
    assert_eq!(served.get("/").text(), "1");
    assert_eq!(pids(&served.workers()), before);
}
