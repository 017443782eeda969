//! Checks that a site is in order: its processes and files belong to one generation of each
//! replica, and there are no others.

use rustix::process::Pid;

use super::{Site, processes::Process};
use crate::wait_for;

impl Site {
    /// All replicas are healthy and serve this release. No process and no file is left of an older
    /// generation, or of one that came to nothing.
    pub fn is_in_order_on(&self, release: &str) {
        let status = self.look();
        assert_eq!(status.document["pools"][0]["ok"], true, "{:#}", status.document);
        let release = std::fs::canonicalize(self.path("www").join(release)).unwrap();
        for current in status.releases() {
            assert_eq!(current, release);
        }
        let generations = status.generations();
        let mut files: Vec<String> = Vec::new();
        for (replica, generation) in (1..).zip(&generations) {
            files.extend([
                format!("pid/php-fpm-www{replica}.pid"),
                format!("pid/www.{replica}.g{generation}.conf"),
                format!("pid/www.{replica}.g{generation}.pid"),
                format!("sockets/php-fpm-www{replica}.g{generation}.sock"),
                format!("sockets/php-fpm-www{replica}.sock"),
            ]);
        }
        files.sort();
        assert_eq!(self.file_names(), files);
        self.has_only(&status.running());
    }

    /// All replicas are healthy, serve this release, and no other process runs. A record may be
    /// left of a generation that came to nothing.
    pub fn serves(&self, release: &str) {
        let status = self.look();
        assert_eq!(status.document["pools"][0]["ok"], true, "{:#}", status.document);
        let release = std::fs::canonicalize(self.path("www").join(release)).unwrap();
        assert!(status.releases().iter().all(|current| *current == release));
        self.has_only(&status.running());
    }

    /// Apache has logged no error of a member. After an error it sends the request to another
    /// member, so that a client need not see the error; but the body of a request can be lost.
    pub fn apache_saw_no_error(&self) {
        let log = self.read("pid/apache2-error.log");
        let errors: Vec<&str> = log.lines().filter(|line| !line.contains(":notice] ")).collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    }

    /// All replicas are healthy, on any release, and no other process runs.
    pub fn serves_and_runs_nothing_else(&self) {
        let status = self.look();
        for replica in status.document["pools"][0]["replicas"].as_array().unwrap() {
            let is_well = replica["ok"] == true && replica["running"] == 1;
            assert!(is_well, "{:#}", status.document);
        }
        self.has_only(&status.running());
        let mut names = self.file_names();
        names.retain(|name| name.ends_with(".sock.new") || name.ends_with(".pid.new"));
        assert_eq!(names, [""; 0]);
        assert!(!self.path("www/.current.release.pools-manager").is_symlink());
    }

    /// All replicas that should run serve one release. Replicas that the operator has stopped do not run,
    /// and have no public name. No other process runs.
    pub fn is_repaired(&self) {
        let status = self.look();
        let mut releases = Vec::new();
        for replica in status.document["pools"][0]["replicas"].as_array().unwrap() {
            if replica["stopped"] == true {
                assert_eq!(replica["running"], 0, "{:#}", status.document);
                let name = format!("sockets/php-fpm-www{}.sock", replica["replica"]);
                assert!(!self.path(&name).is_symlink(), "{name}");
            } else {
                let is_well = replica["ok"] == true && replica["running"] == 1;
                assert!(is_well, "{:#}", status.document);
                releases.push(&replica["current"]);
            }
        }
        releases.dedup();
        assert!(releases.len() <= 1, "{:#}", status.document);
        self.has_only(&status.running());
    }

    /// Each php-fpm process is one of these masters or a child of one, and the pid files name these masters.
    fn has_only(&self, running: &[(u64, Pid)]) {
        let masters: Vec<Pid> = running.iter().map(|(_, master)| *master).collect();
        let is_one_of = |pid| masters.contains(&pid);
        let belongs =
            |process: &Process| is_one_of(process.pid) || process.parent.is_some_and(is_one_of);
        // The process that has started a master ends a moment after the master is up.
        wait_for(&format!("the end of all but the masters {masters:?}"), || {
            self.php_fpm().iter().all(belongs).then_some(())
        });
        for (replica, master) in running {
            let pid_file = self.path(&format!("pid/php-fpm-www{replica}.pid"));
            let pid = std::fs::read_to_string(pid_file).unwrap();
            assert_eq!(pid.trim(), master.as_raw_nonzero().to_string());
        }
    }
}
