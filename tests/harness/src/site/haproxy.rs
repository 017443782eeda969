//! HAProxy in front of a site, with the repository's sample or another configuration.

use super::Site;
use super::samples::HAPROXY;

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
const SOCKET: &str = "sockets/haproxy.sock";

impl Site {
    /// The sample, with HAProxy in place of Apache.
    pub fn with_haproxy() -> Self {
        let site = Self::prepared();
        site.set_backend(HAPROXY);
        site.serve_sample("haproxy")
    }

    /// Puts another table, or none, in place of the sample's `[apache]`.
    pub fn set_backend(&self, table: &str) {
        let text = self.read(SETTINGS);
        let (before, after) = text.split_once("[apache]\n").unwrap();
        let (_, after) = after.split_once("\n\n").unwrap();
        self.write(SETTINGS, &format!("{before}{table}\n{after}"));
    }

    /// Reloads HAProxy: a new process takes over, and the old one finishes its requests. In the new
    /// process, no server is drained.
    pub fn reload_haproxy(&mut self) {
        let old = self.web_server_pid().as_raw_nonzero().to_string();
        self.replace_web_server(&["-x", SOCKET, "-sf", &old]);
    }

    /// Sends a command to HAProxy's stats socket, as an operator does.
    pub fn tell_haproxy(&self, command: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(self.path(SOCKET)).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}
