//! What the kernel counts on a site's sockets: whatever balancer or client there is.

use std::fs;
use std::path::Path;

use super::Site;

impl Site {
    /// How many requests php-fpm has accepted and not finished, by all replicas.
    pub(crate) fn in_flight(&self) -> usize {
        self.connections("03")
    }

    /// How many requests no child has accepted yet.
    #[allow(dead_code, reason = "for tests/gateway")]
    pub(crate) fn queued(&self) -> usize {
        self.connections("02")
    }

    fn connections(&self, state: &str) -> usize {
        let table = fs::read("/proc/net/unix").unwrap();
        let table = String::from_utf8_lossy(&table);
        let is_in_it = |line: &&str| {
            let mut fields = line.split_ascii_whitespace();
            fields.nth(5) == Some(state)
                && fields.nth(1).is_some_and(|path| Path::new(path).starts_with(self.root()))
        };
        table.lines().filter(is_in_it).count()
    }
}
