//! Requests in flight on a site's sockets, as the kernel counts them: independent of balancer and
//! client.

use std::fs;

use super::Site;

impl Site {
    /// How many requests php-fpm has accepted and not finished, by all replicas.
    pub fn in_flight(&self) -> usize {
        self.connections("")
    }

    /// How many connections one replica has accepted.
    pub fn in_flight_on(&self, replica: u32) -> usize {
        self.connections(&format!("sockets/php-fpm-www{replica}."))
    }

    fn connections(&self, below: &str) -> usize {
        let socket = self.path(below);
        let table = fs::read("/proc/net/unix").unwrap();
        let table = String::from_utf8_lossy(&table);
        let accepted = |line: &&str| {
            let mut fields = line.split_ascii_whitespace();
            let is_accepted = fields.nth(5) == Some("03");
            is_accepted
                && fields.nth(1).is_some_and(|path| path.starts_with(socket.to_str().unwrap()))
        };
        table.lines().filter(accepted).count()
    }
}
