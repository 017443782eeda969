//! Children that die with a request, and connections that php-fpm closes: no script runs twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use harness::served::{Connection, Served, fix_children};
use harness::wait_for;

/// A script that records each run.
const NOTE: &str = "<?php file_put_contents($_GET['list'], \"x\\n\", FILE_APPEND | LOCK_EX);";
const POOL_CONF: &str = "etc/php/fpm/redundant-pools/www/pool.conf";

/// The number of runs of a script.
struct Runs(PathBuf);

impl Runs {
    fn of(served: &Served, name: &str) -> Self {
        Self(served.site.scratch().join(name))
    }

    fn of_page(&self, page: &str) -> String {
        format!("{page}?list={}", self.0.display())
    }

    fn count(&self) -> usize {
        fs::read_to_string(&self.0).unwrap_or_default().lines().count()
    }
}

fn begin(served: &Served, method: &str, page: &str) -> Connection {
    let mut connection = served.connect();
    connection.send(&format!("{method} {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    connection
}

/// The number of connections that no child has accepted yet.
fn queued(served: &Served) -> usize {
    let table = String::from_utf8_lossy(&fs::read("/proc/net/unix").unwrap()).into_owned();
    let is_queued = |line: &&str| {
        let mut fields = line.split_ascii_whitespace();
        fields.nth(5) == Some("02")
            && fields.nth(1).is_some_and(|path| Path::new(path).starts_with(served.site.root()))
    };
    table.lines().filter(is_queued).count()
}

/// Each cause of death, before any output and after some.
fn script_whose_child_dies_runs_once(served: &Served) {
    let deaths = [
        ("killed", "posix_kill(getmypid(), 9);"),
        ("segfault", "posix_kill(getmypid(), 11);"),
        ("ended", "posix_kill(getmypid(), 15);"),
    ];
    let outputs =
        [("silent", ""), ("begun", "echo 'x'; while (ob_get_level()) ob_end_flush(); flush();")];
    for (death, die) in deaths {
        for (output, print) in outputs {
            for method in ["GET", "HEAD", "DELETE"] {
                let case = format!("{death}-{output}-{method}");
                let page = format!("{case}.php");
                served.page(&page, &format!("{NOTE} {print} {die} while (true) usleep(1000);"));
                // With keep-alive, leaves an idle connection on each replica.
                for _ in 0..2 {
                    assert_eq!(served.get("/ping.php").status, 200, "{case}");
                }
                let runs = Runs::of(served, &case);
                let mut connection = begin(served, method, &runs.of_page(&format!("/{page}")));
                match connection.answer_to(method) {
                    Ok(answer) if output == "silent" => assert_eq!(answer.status, 502, "{case}"),
                    // The response to HEAD is complete with its head.
                    Ok(answer) if method == "HEAD" => assert!([200, 502].contains(&answer.status)),
                    Ok(answer) => assert_eq!(answer.status, 502, "{case}"),
                    Err(_) => connection.is_closed(),
                }
                assert_eq!(runs.count(), 1, "{case}");
            }
        }
    }
}

#[test]
fn script_whose_child_dies_runs_once_on_a_new_connection() {
    script_whose_child_dies_runs_once(&Served::with("fastcgi_keep_alive = \"off\"", ""));
}

#[test]
fn script_whose_child_dies_runs_once_on_an_idle_connection() {
    script_whose_child_dies_runs_once(&Served::with_children(3, "", ""));
}

/// A child that has served `pm.max_requests` shuts the connection down, and discards what arrives
/// meanwhile.
#[test]
fn request_on_a_connection_that_php_fpm_closes_runs_once() {
    let site = Served::site("", "");
    fix_children(&site, 3);
    site.write(POOL_CONF, &format!("{}\npm.max_requests = 3\n", site.read(POOL_CONF)));
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    served.page("note.php", &format!("{NOTE} echo 'noted';"));
    let runs = Runs::of(&served, "noted");
    thread::scope(|scope| {
        for _ in 0..4 {
            let (mut connection, page) = (served.connect(), runs.of_page("/note.php"));
            scope.spawn(move || {
                for _ in 0..100 {
                    assert_eq!(connection.get(&page).unwrap().text(), "noted");
                }
            });
        }
    });
    assert_eq!(runs.count(), 400);
}

#[test]
fn idle_connection_whose_child_has_ended_costs_no_request() {
    let served = Served::with_children(3, "", "");
    served.page("note.php", &format!("{NOTE} echo 'noted';"));
    let runs = Runs::of(&served, "noted");
    for round in 0..10 {
        for _ in 0..2 {
            assert_eq!(served.get(&runs.of_page("/note.php")).text(), "noted");
        }
        let masters = served.site.masters();
        let mut children = served.site.php_fpm();
        children.retain(|it| !masters.contains(&it.pid));
        served.site.kill(&children.iter().map(|it| it.pid).collect::<Vec<_>>());
        assert_eq!(runs.count(), (round + 1) * 2);
    }
}

/// A request waits in the backlog of a replica that dies. No child has accepted it, so the other replica
/// gets it. Requests that children had accepted are lost, and do not run again.
#[test]
fn request_that_no_child_accepted_goes_to_the_other_replica() {
    let served =
        Served::with_children(4, "fastcgi_keep_alive = \"off\"\nqueue_timeout = \"10m\"", "");
    served.page(
        "hold.php",
        &format!(
            "{NOTE} file_put_contents($_GET['begun'], file_get_contents('/proc/self/cmdline'));
            while (!file_exists($_GET['end'])) usleep(1000);
            echo preg_replace('/^php-fpm: pool (\\w+).*/s', '$1', file_get_contents('/proc/self/cmdline'));"
        ),
    );
    let scratch = served.site.scratch();
    let runs = Runs::of(&served, "noted");
    let page = |number: usize| {
        let file = |what: &str| scratch.join(format!("{what}{number}")).display().to_string();
        let end = scratch.join("end").display().to_string();
        format!("{}&begun={}&end={end}", runs.of_page("/hold.php"), file("begun"))
    };
    // All children of both replicas are busy; one more request waits in each backlog.
    let mut held: Vec<Connection> =
        (0..10).map(|number| begin(&served, "GET", &page(number))).collect();
    wait_for("the two that wait", || (queued(&served) == 2).then_some(()));
    let titles = wait_for("the children", || {
        let title = |number| fs::read_to_string(scratch.join(format!("begun{number}")));
        let titles: Vec<String> = (0..10).map(|number| title(number).unwrap_or_default()).collect();
        (titles.iter().filter(|title| !title.is_empty()).count() == 8).then_some(titles)
    });
    let in_first = |number: &usize| titles[*number].starts_with("php-fpm: pool www1");
    let lost: Vec<usize> = (0..10).filter(in_first).collect();
    assert_eq!(lost.len(), 4);
    served.site.kill_replica(1);
    for number in lost.iter().rev() {
        assert_eq!(held.remove(*number).answer().unwrap().status, 502);
    }
    fs::write(scratch.join("end"), "").unwrap();
    for mut connection in held {
        assert_eq!(connection.answer().unwrap().text(), "www2");
    }
    assert_eq!(runs.count(), 10);
}

#[test]
fn script_reads_an_empty_body_of_a_request_without_one() {
    let served = Served::with_children(2, "", "");
    served.page(
        "input.php",
        "<?php echo $_SERVER['REQUEST_METHOD'], ' [', file_get_contents('php://input'), '] ', count($_POST);",
    );
    let mut connection = served.connect();
    let types = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "a/b"];
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "GET"] {
        for kind in types {
            for length in ["", "Content-Length: 0\r\n"] {
                connection.send(&format!(
                    "{method} /input.php HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n{length}\r\n"
                ));
                assert_eq!(connection.answer().unwrap().text(), format!("{method} [] 0"));
            }
        }
    }
}
