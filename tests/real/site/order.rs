//! Whether a site is in order: what runs and what stands in its directories is what belongs to
//! one generation of each replica, and nothing else.

use super::{Site, processes::Process};

impl Site {
    /// All replicas are well and serve this release; no process and no file is left of an older
    /// generation, or of one that came to nothing.
    pub(crate) fn is_in_order_on(&self, release: &str) {
        self.run(&["status", "-q"]).succeeds();
        let release = std::fs::canonicalize(self.path("www").join(release)).unwrap();
        for current in self.releases() {
            assert_eq!(current, release);
        }
        let generations = self.generations();
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
        self.has_no_orphans();
    }

    /// All replicas are well, serve this release, and nothing runs beside them. A record may be
    /// left of a generation that came to nothing.
    pub(crate) fn serves(&self, release: &str) {
        self.run(&["status", "-q"]).succeeds();
        let release = std::fs::canonicalize(self.path("www").join(release)).unwrap();
        assert!(self.releases().iter().all(|current| *current == release));
        self.has_no_orphans();
    }

    /// Apache has found every member well whenever it asked it for something. Where one is not, it
    /// asks another one, so that a visitor need not notice; and a form may be lost all the same.
    pub(crate) fn apache_saw_no_error(&self) {
        let log = self.read("pid/apache2-error.log");
        let errors: Vec<&str> = log.lines().filter(|line| !line.contains(":notice] ")).collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    }

    fn has_no_orphans(&self) {
        let masters = self.masters();
        let all = self.php_fpm();
        let belongs = |process: &Process| {
            let is_one_of = |pid| masters.contains(&pid);
            is_one_of(process.pid) || process.parent.is_some_and(is_one_of)
        };
        assert!(all.iter().all(belongs), "masters {masters:?} among {all:#?}");
        for (replica, master) in (1..).zip(masters) {
            let pid_file = self.path(&format!("pid/php-fpm-www{replica}.pid"));
            let pid = std::fs::read_to_string(pid_file).unwrap();
            assert_eq!(pid.trim(), master.as_raw_nonzero().to_string());
        }
    }
}
