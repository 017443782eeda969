//! HAProxy in front of a site, with the repository's sample or another configuration.

use std::path::Path;
use std::process::Command;

use super::{Site, server};

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
const SOCKET: &str = "sockets/haproxy.sock";

impl Site {
    /// The sample, with HAProxy in place of Apache.
    pub fn with_haproxy() -> Self {
        Self::prepared().serve_haproxy("etc/haproxy/haproxy.cfg")
    }

    /// Starts HAProxy with this file, and sets `[haproxy]`.
    pub fn serve_haproxy(self, file: &str) -> Self {
        self.set_backend(&format!(
            "[haproxy]\nsocket = \"{SOCKET}\"\nbackend = \"www\"\nservers = [\"www1\", \"www2\"]\n"
        ));
        let file = file.to_owned();
        self.serve_by(move |site, port| haproxy(site, Path::new(&file), port))
    }

    /// Puts another table, or none, in place of the sample's `[apache]`.
    pub fn set_backend(&self, table: &str) {
        let text = self.read(SETTINGS);
        let (before, after) = text.split_once("[apache]\n").unwrap();
        let (_, after) = after.split_once("\n\n").unwrap();
        self.write(SETTINGS, &format!("{before}{table}\n{after}"));
    }

    /// Reloads HAProxy: a new process takes over, and the old one finishes its requests. The new
    /// one knows of no drain.
    pub fn reload_haproxy(&mut self) {
        let old = self.web_server_pid().as_raw_nonzero().to_string();
        self.replace_web_server(&["-sf", &old]);
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

fn haproxy(site: &Site, file: &Path, port: u16) -> Command {
    let mut command = site.command(server("haproxy"));
    command
        .args(["-db", "-f"])
        .arg(file)
        .env("POOLS_MANAGER_ROOT", site.root())
        .env("POOLS_MANAGER_LISTEN", format!("127.0.0.1:{port}"));
    command
}
