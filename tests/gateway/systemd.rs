//! Where systemd runs, each generation has a scope of its own.

mod machine;

use std::thread;

use harness::served::Connection;
use harness::{Site, needs_root, wait_for};

use super::supervisor::site;
use machine::Machine;

const UNIT: &str = "pools-manager.service";

fn limited() -> Site {
    let limits = "memory_max = \"512MiB\"\ncpu_quota = \"250%\"\ntasks_max = 321";
    site(&format!("[systemd]\nslice = \"php.slice\"\n{limits}"), "")
}

/// The unit of each replica's master, as `REPLICA UNIT`.
fn units_of_masters(machine: &Machine, site: &Site) -> Vec<String> {
    let status = machine.run(site, &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let unit = |replica: &serde_json::Value| {
        let groups = machine.output("cat", &[&format!("/proc/{}/cgroup", replica["pid"])]);
        let group = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        format!("{} {}", replica["replica"], group.rsplit('/').next().unwrap())
    };
    status["pools"][0]["replicas"].as_array().unwrap().iter().map(unit).collect()
}

/// Whether each of these units is the scope of a generation with this number.
fn are_scopes(units: &[String], generation: u32) -> bool {
    let is_scope = |(replica, unit): (usize, &String)| {
        let prefix = format!("{0} pools-manager-www-{0}-g{generation}-", replica + 1);
        unit.starts_with(&prefix) && unit.strip_suffix(".scope").is_some()
    };
    units.iter().enumerate().all(is_scope)
}

#[test]
fn scope_has_the_limits_of_the_pool_and_ends_with_its_generation() {
    needs_root!();
    let site = limited();
    let machine = Machine::boot(&site);
    machine.run(&site, &["start"]).succeeds();
    let first = units_of_masters(&machine, &site);
    assert!(are_scopes(&first, 1), "{first:?}");
    let unit = first[0].split(' ').nth(1).unwrap();
    let shown = machine.output("systemctl", &["show", unit]);
    for property in [
        "Slice=php.slice",
        "MemoryMax=536870912",
        "CPUQuotaPerSecUSec=2.500000s",
        "TasksMax=321",
        "KillSignal=3",
        "Description=Replica 1 of the pool www, generation 1",
    ] {
        assert!(shown.lines().any(|line| line == property), "{property}: {shown}");
    }
    machine.run(&site, &["restart"]).succeeds();
    let second = units_of_masters(&machine, &site);
    assert!(are_scopes(&second, 2), "{second:?}");
    wait_for("two scopes", || (machine.scopes().len() == 2).then_some(()));
    assert!(!machine.run(&site, &["check"]).stdout.contains("scope"));
    machine.run(&site, &["stop"]).succeeds();
    wait_for("no scope", || machine.scopes().is_empty().then_some(()));
}

#[test]
fn replica_outlives_the_session_of_its_command() {
    needs_root!();
    let site = site("", "");
    let machine = Machine::boot(&site);
    let session = ["systemd-run", "--scope", "--quiet", "--unit=session-9", "sh", "-c"];
    let script = "\"$@\"; result=$?; sleep 1000 >/dev/null 2>&1 & exit $result";
    let before = [&session[..], &[script, "sh"]].concat();
    machine.run_after(&before, &site, &["start"]).succeeds();
    assert!(are_scopes(&units_of_masters(&machine, &site), 1));
    machine.output("systemctl", &["kill", "--signal=KILL", "session-9.scope"]);
    assert!(are_scopes(&units_of_masters(&machine, &site), 1));
}

#[test]
fn without_an_answer_of_systemd_the_replica_has_no_scope_and_serves() {
    needs_root!();
    let site = limited();
    let machine = Machine::boot(&site);
    machine.output("systemctl", &["stop", "dbus.socket", "dbus.service"]);
    machine.run(&site, &["start"]).succeeds();
    let units = units_of_masters(&machine, &site);
    assert!(!are_scopes(&units, 1), "{units:?}");
    let said = machine.run(&site, &["check"]).stdout;
    assert!(said.contains("replica 1 has no scope of its own"), "{said}");
    machine.output("systemctl", &["start", "dbus.socket"]);
    machine.run(&site, &["restart"]).succeeds();
    assert!(are_scopes(&units_of_masters(&machine, &site), 2));
    site.replace(POOL, "[systemd]\n", "[systemd]\nscope = false\n");
    machine.run(&site, &["restart"]).succeeds();
    assert!(machine.scopes().is_empty());
    let said = machine.run(&site, &["check"]).stdout;
    assert!(said.contains("the limits in [systemd] have no effect: scope = false"), "{said}");
}

const POOL: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// Installs the service of this repository with the test's program and root.
fn install_service(machine: &Machine, site: &Site) {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/systemd/pools-manager.service");
    site.write(UNIT, &std::fs::read_to_string(unit).unwrap());
    let serve = site.manager(&["serve"]);
    let scan = site.command("x").get_envs().find_map(|(name, value)| {
        (name == "PHP_INI_SCAN_DIR").then(|| value.unwrap().to_str().unwrap().to_owned())
    });
    let lines = format!(
        "[Service]\nEnvironment=POOLS_MANAGER_ROOT={} PHP_INI_SCAN_DIR={}\nExecStart=\nExecStart={} serve\n",
        site.root().display(),
        scan.unwrap_or_default(),
        serve.get_program().to_str().unwrap(),
    );
    site.write("override.conf", &lines);
    let install = format!(
        "cd {}; cp {UNIT} /run/systemd/system/; mkdir /run/systemd/system/{UNIT}.d; cp override.conf /run/systemd/system/{UNIT}.d/",
        site.root().display()
    );
    machine.output("sh", &["-euc", &install]);
    machine.output("systemctl", &["daemon-reload"]);
}

/// Starts the service, and returns its port.
fn start_service(machine: &Machine, site: &Site) -> u16 {
    install_service(machine, site);
    machine.output("systemctl", &["start", UNIT]);
    wait_for("the port", || {
        let log = machine.output("journalctl", &["-u", UNIT, "-o", "cat"]);
        let line = log.lines().find(|line| line.contains("Serving on "))?;
        line.trim_end().rsplit(':').next().unwrap().parse().ok()
    })
}

#[test]
fn service_is_ready_reloads_and_leaves_its_replicas_running() {
    needs_root!();
    let site = site("", "");
    let machine = Machine::boot(&site);
    start_service(&machine, &site);
    wait_for("the replicas", || machine.run(&site, &["status"]).has_succeeded().then_some(()));
    let units = units_of_masters(&machine, &site);
    assert!(are_scopes(&units, 1), "{units:?}");
    machine.output("systemctl", &["reload", UNIT]);
    let unit = units[0].split(' ').nth(1).unwrap();
    let shown = machine.output("systemctl", &["show", unit, "-p", "Before"]);
    assert!(shown.contains(UNIT), "{shown}");
    machine.output("systemctl", &["stop", UNIT]);
    assert_eq!(units_of_masters(&machine, &site), units);
    let log = machine.output("journalctl", &["-u", UNIT, "-o", "cat"]);
    // systemd would complain about processes that are left in the group of the service.
    assert!(!log.contains("left-over") && !log.contains("remains running"), "{log}");
    machine.output("systemctl", &["start", UNIT]);
    assert_eq!(units_of_masters(&machine, &site), units);
}

/// A property of the service.
fn property(machine: &Machine, name: &str) -> String {
    machine.output("systemctl", &["show", "--value", "--property", name, UNIT]).trim().to_owned()
}

fn upgrade(machine: &Machine) {
    let before = property(machine, "MainPID");
    machine.output("systemctl", &["kill", "--kill-who=main", "--signal=USR2", UNIT]);
    wait_for("another main process", || {
        let now = property(machine, "MainPID");
        (now != before && now != "0").then_some(())
    });
    // The previous process ends, because it has no connection.
    let process = format!("/proc/{before}");
    wait_for("the end of the previous one", || {
        (!machine.inside("test").args(["-e", &process]).status().unwrap().success()).then_some(())
    });
}

#[test]
fn main_process_of_the_service_moves_with_an_upgrade() {
    needs_root!();
    let site = site("", "");
    let machine = Machine::boot(&site);
    let port = start_service(&machine, &site);
    wait_for("the replicas", || machine.run(&site, &["status"]).has_succeeded().then_some(()));
    let units = units_of_masters(&machine, &site);
    for _ in 0..3 {
        upgrade(&machine);
        assert_eq!(Connection::to(port).get("/ping.php").unwrap().text(), "pong1\n");
        assert_eq!(property(&machine, "ActiveState"), "active");
        assert_eq!(property(&machine, "NRestarts"), "0");
    }
    machine.run(&site, &["serve", "--upgrade"]).succeeds();
    assert_eq!(units_of_masters(&machine, &site), units);
    machine.output("systemctl", &["reload", UNIT]);
    // The service manager watches over the new process.
    machine.output("systemctl", &["kill", "--kill-who=main", "--signal=KILL", UNIT]);
    wait_for("the restart", || (property(&machine, "NRestarts") == "1").then_some(()));
    wait_for("that it is active", || (property(&machine, "ActiveState") == "active").then_some(()));
    machine.output("systemctl", &["stop", UNIT]);
    assert_eq!(property(&machine, "Result"), "success");
    let log = machine.output("journalctl", &["-u", UNIT, "-o", "cat"]);
    for complaint in ["reception only permitted", "left-over", "remains running", "refusing"] {
        assert!(!log.contains(complaint), "{complaint}: {log}");
    }
}

/// As in production: the unit of the package, and a gateway of another user.
#[test]
fn service_with_a_gateway_of_another_user_is_upgraded_and_outlives_kills() {
    needs_root!();
    let site = site("", "");
    site.replace("etc/pools-manager.toml", "threads = 2\n", "threads = 2\nuser = \"nobody\"\n");
    let machine = Machine::boot(&site);
    let port = start_service(&machine, &site);
    wait_for("the replicas", || machine.run(&site, &["status"]).has_succeeded().then_some(()));
    let get = || Connection::to(port).get("/ping.php").unwrap().text();
    let child = |what: &str| {
        let parent = property(&machine, "MainPID");
        machine.output("ps", &["-o", what, "--ppid", &parent]).trim().to_owned()
    };
    assert_eq!(child("user="), "nobody");
    upgrade(&machine);
    assert_eq!((get(), property(&machine, "NRestarts")), ("pong1\n".to_owned(), "0".to_owned()));
    machine.output("systemctl", &["reload", UNIT]);
    machine.output("kill", &["-KILL", &child("pid=")]);
    assert_eq!((get(), property(&machine, "NRestarts")), ("pong1\n".to_owned(), "0".to_owned()));
    machine.output("systemctl", &["kill", "--kill-who=main", "--signal=KILL", UNIT]);
    wait_for("the restart", || (property(&machine, "NRestarts") == "1").then_some(()));
    wait_for("that it is active", || (property(&machine, "ActiveState") == "active").then_some(()));
    machine.output("systemctl", &["stop", UNIT]);
    assert_eq!(property(&machine, "Result"), "success");
}

#[test]
fn connections_wait_in_the_socket_unit_while_the_service_restarts() {
    needs_root!();
    let site = site("", "");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    site.replace("etc/pools-manager.toml", "127.0.0.1:0", &format!("127.0.0.1:{port}"));
    let machine = Machine::boot(&site);
    machine.run(&site, &["start"]).succeeds();
    let socket = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/systemd/pools-manager.socket");
    let socket = std::fs::read_to_string(socket).unwrap();
    let lines = socket.lines().filter(|line| !line.starts_with("ListenStream="));
    let lines: Vec<&str> = lines.collect();
    let listen = format!("[Socket]\nListenStream=127.0.0.1:{port}");
    let unit = lines.join("\n").replace("[Socket]", &listen);
    site.write("pools-manager.socket", &unit);
    let path = site.path("pools-manager.socket");
    machine.output("cp", &[path.to_str().unwrap(), "/run/systemd/system/"]);
    install_service(&machine, &site);
    machine.output("systemctl", &["start", "pools-manager.socket"]);
    assert_eq!(property(&machine, "MainPID"), "0");
    // This connection starts the service, and waits.
    assert_eq!(Connection::to(port).get("/ping.php").unwrap().text(), "pong1\n");
    upgrade(&machine);
    assert_eq!(Connection::to(port).get("/ping.php").unwrap().text(), "pong1\n");
    machine.output("systemctl", &["kill", "--kill-who=main", "--signal=KILL", UNIT]);
    // No connection is refused at any moment.
    assert_eq!(Connection::to(port).get("/ping.php").unwrap().text(), "pong1\n");
    machine.output("systemctl", &["restart", UNIT]);
    assert_eq!(Connection::to(port).get("/ping.php").unwrap().text(), "pong1\n");
}

#[test]
fn request_completes_while_the_machine_shuts_down() {
    needs_root!();
    let site = site("", "stop_replicas = true");
    let mut machine = Machine::boot(&site);
    let port = start_service(&machine, &site);
    wait_for("the replicas", || machine.run(&site, &["status"]).has_succeeded().then_some(()));
    let request = thread::spawn(move || {
        Connection::to(port).get("/sleep-long.php?seconds=2").unwrap().text()
    });
    wait_for("the request", || (site.in_flight() > 0).then_some(()));
    // systemd may end the connection before it has answered.
    machine.inside("systemctl").args(["--no-block", "poweroff"]).status().unwrap();
    let answer = request.join().unwrap();
    assert!(answer.contains("ver1: Success"), "{answer}");
    machine.await_end();
}

#[test]
fn ordinary_user_who_lingers_has_scopes_of_its_own_systemd() {
    needs_root!();
    let site = site("", "").owned_by_ordinary_user();
    let machine = Machine::boot(&site);
    machine.run(&site, &["start"]).succeeds();
    assert!(!are_scopes(&units_of_masters(&machine, &site), 1));
    let uid = site.uid();
    let lingers = format!(
        "mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/$(id -un {uid})
        install -d -o {uid} -m 700 /run/user/{uid}
        systemd-run --quiet --unit=manager-of-user --uid={uid} --property=Delegate=yes \\
            --setenv=XDG_RUNTIME_DIR=/run/user/{uid} /lib/systemd/systemd --user --unit=sockets.target"
    );
    machine.output("sh", &["-euc", &lingers]);
    wait_for("the user's bus", || {
        let bus = format!("/run/user/{uid}/bus");
        machine.inside("test").args(["-S", &bus]).status().unwrap().success().then_some(())
    });
    machine.run(&site, &["restart"]).succeeds();
    let units = units_of_masters(&machine, &site);
    assert!(are_scopes(&units, 2), "{units:?}");
}

#[test]
fn replica_does_not_outlive_a_manager_that_is_killed_while_systemd_hangs() {
    needs_root!();
    let site = site("", "");
    let machine = Machine::boot(&site);
    // The bus has to run before it can hang.
    machine.output("busctl", &["list"]);
    machine.output("systemctl", &["kill", "--signal=STOP", "dbus.service"]);
    let manager = site.manager(&["start"]);
    let root = site.root().to_str().unwrap();
    let script = "cd \"$1\"; shift; \"$@\" >/dev/null 2>&1 & echo $!";
    let args = ["-euc", script, "sh", root, manager.get_program().to_str().unwrap(), "start"];
    let pid = machine.output("sh", &args);
    let runs = |pattern: &str| {
        machine.inside("pgrep").args(["-f", pattern]).output().unwrap().status.success()
    };
    wait_for("the call", || runs("StartTransientUnit").then_some(()));
    machine.output("kill", &["-KILL", pid.trim()]);
    wait_for("the end of the held process", || (!runs("pools-manager start")).then_some(()));
    machine.output("systemctl", &["kill", "--signal=CONT", "dbus.service"]);
    machine.run(&site, &["repair"]).succeeds();
    assert_eq!(units_of_masters(&machine, &site).len(), 2);
}
