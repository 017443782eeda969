//! A site with a `[command]` pool behind a gateway.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use harness::served::{Connection, Served};
use harness::{Process, Ran, Site, wait_for};

pub(super) const FILE: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

pub(super) const PHP_CGI: &str =
    "run = [\"php-cgi\"]\nprotocol = \"fastcgi\"\nlisten = \"fd0\"\nprocesses = 2\n";
pub(super) const PYTHON_FD: &str = "run = [\"/usr/bin/python3\", \"server.py\", \"fd\"]\n\
     protocol = \"http\"\nlisten = \"fd3\"\nhealth_path = \"/health\"\n";
pub(super) const PYTHON_SOCKET: &str = "run = [\"/usr/bin/python3\", \"server.py\", \"{socket}\"]\nprotocol = \"http\"\nprocesses = 2\n";
pub(super) const PHP_PORT: &str =
    "run = [\"php\", \"server.php\", \"{port}\"]\nprotocol = \"http\"\nprocesses = 2\n";

/// A site with a pool of two replicas on release 1, not served yet.
pub(super) struct CommandSite {
    pub(super) site: Site,
}

impl CommandSite {
    /// `run`: lines of `[command]`.
    pub(super) fn new(run: &str) -> Self {
        Self::with(run, "", "")
    }

    /// With lines of `[gateway]`, and further tables.
    pub(super) fn with(run: &str, gateway: &str, more: &str) -> Self {
        let site = Served::site("", "");
        site.write(FILE, &settings(run, gateway, more));
        add_release(&site, 1);
        site.switch("r1");
        Self { site }
    }

    pub(super) fn serve(self) -> ServedSite {
        self.site.run(&["start"]).succeeds();
        ServedSite(Served::serve(self.site))
    }
}

pub(super) fn settings(run: &str, gateway: &str, more: &str) -> String {
    format!(
        "[command]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n\
         user = \"www-data\"\n{run}\n[gateway]\n{gateway}\n{more}\n"
    )
}

/// Writes a release whose servers name it.
pub(super) fn add_release(site: &Site, number: u32) {
    let release = format!("www/r{number}");
    site.write(&format!("{release}/release.txt"), &format!("{number}\n"));
    site.write(&format!("{release}/index.php"), &format!("<?php echo {number};"));
    site.write(&format!("{release}/server.py"), include_str!("../servers/server.py"));
    site.write(&format!("{release}/server.php"), include_str!("../servers/server.php"));
}

/// The site with its gateway.
pub(super) struct ServedSite(pub(super) Served);

impl Deref for ServedSite {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl ServedSite {
    pub(super) fn deploy(&self, number: u32, strategy: &str) {
        add_release(&self.site, number);
        self.site.switch(format!("r{number}"));
        self.restart(strategy).succeeds();
    }

    pub(super) fn restart(&self, strategy: &str) -> Ran {
        self.site.run(&["restart", "--strategy", strategy])
    }

    /// Clients that request a page on keep-alive connections until they are stopped.
    pub(super) fn followers(&self, clients: usize, page: &'static str) -> Followers {
        let (enough, newest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let port = self.port();
        let client = |_| {
            let (enough, newest) = (Arc::clone(&enough), Arc::clone(&newest));
            thread::spawn(move || {
                let mut connection = Connection::to(port);
                let mut seen = BTreeSet::new();
                while !enough.load(Ordering::Relaxed) {
                    let answer = connection.get(page).unwrap_or_else(|cut| panic!("{cut:?}"));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let release = answer.text().trim().parse().unwrap();
                    seen.insert(release);
                    newest.fetch_max(release, Ordering::Relaxed);
                    harness::think();
                }
                seen
            })
        };
        let threads = (0..clients).map(client).collect();
        Followers { enough, newest, threads }
    }

    /// The processes of the servers, without their masters.
    pub(super) fn workers(&self) -> Vec<Process> {
        let mut all = self.site.processes();
        all.retain(|it| it.title.contains("server.p") || it.title.contains("php-cgi"));
        all
    }

    /// Both replicas serve this release, and nothing else is there.
    pub(super) fn is_in_order(&self, release: u32) {
        let status = self.site.status();
        assert_eq!(status["pools"][0]["ok"], true, "{status:#}");
        let path = self.site.path(&format!("www/r{release}"));
        let current = path.to_str().unwrap();
        for replica in status["pools"][0]["replicas"].as_array().unwrap() {
            assert_eq!((&replica["current"], &replica["running"]), (&current.into(), &1.into()));
        }
        let masters = masters(&self.site);
        assert_eq!(masters.len(), 2, "{masters:#?}");
        let workers = self.workers();
        let is_child = |it: &Process| masters.iter().any(|master| Some(master.pid) == it.parent);
        assert!(workers.iter().all(is_child), "{workers:#?}");
        let links = fs::read_dir(self.site.path("sockets")).unwrap().flatten();
        let mut names: Vec<_> = links.map(|link| link.file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("www.") && name.contains(".sock"));
        assert_eq!(names.len(), 4, "two public names, two sockets: {names:?}");
        let files = fs::read_dir(self.site.path("pid")).unwrap().flatten();
        let logs = files.filter(|file| file.path().extension() == Some("log".as_ref()));
        for log in logs {
            assert!(log.path().with_extension("conf").exists(), "{log:?} has no record");
        }
    }
}

pub(super) fn masters(site: &Site) -> Vec<Process> {
    let mut all = site.processes();
    all.retain(|process| process.title.starts_with("pools-manager replica-master"));
    all
}

pub(super) struct Followers {
    enough: Arc<AtomicBool>,
    newest: Arc<AtomicU32>,
    threads: Vec<JoinHandle<BTreeSet<u32>>>,
}

impl Followers {
    pub(super) fn await_release(&self, number: u32) {
        wait_for("a response of the release", || {
            let failed = self.threads.iter().any(JoinHandle::is_finished);
            assert!(!failed, "a client has failed");
            (self.newest.load(Ordering::Relaxed) >= number).then_some(())
        });
    }

    /// The releases of the responses.
    pub(super) fn finish(self) -> BTreeSet<u32> {
        self.enough.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}
