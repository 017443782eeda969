//! A site with a gateway, for one test.

mod answer;
mod connection;
pub mod http2;
mod tls;

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

pub use answer::Answer;
pub use connection::{Connection, Cut};
pub use tls::{certify, curl, curl_tls, openssl};

use crate::{Program, Ran, Site, wait_for};

const POOL: &str = "etc/php/fpm/redundant-pools/www";
const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
/// Most tests are about the gateway alone: replicas stay as the test leaves them.
pub const UNSUPERVISED: &str = "[supervisor]\nenabled = false\n";
const GLOBAL: &str = "etc/pools-manager.toml";

/// A site with a gateway.
pub struct Served {
    pub site: Site,
    gateway: Option<Program>,
    port: u16,
    tls_port: u16,
}

impl Served {
    /// The sample site with a default gateway.
    pub fn new() -> Self {
        Self::with("", "")
    }

    /// Adds lines to the `[gateway]` of the pool, and to the global one.
    pub fn with(pool: &str, global: &str) -> Self {
        let site = Self::site(pool, global);
        site.run(&["start"]).succeeds();
        Self::serve(site)
    }

    /// With a fixed number of children for each replica.
    pub fn with_children(children: u32, pool: &str, global: &str) -> Self {
        let site = Self::site(pool, global);
        fix_children(&site, children);
        site.run(&["start"]).succeeds();
        Self::serve(site)
    }

    /// The configured site; nothing runs.
    pub fn site(pool: &str, global: &str) -> Site {
        let site = Site::prepared();
        let text = format!(
            "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n\n[gateway]\n{pool}\n"
        );
        site.write(SETTINGS, &text);
        site.write(
            GLOBAL,
            &format!(
                "[gateway]\nlisten = [\"127.0.0.1:0\"]\nthreads = 2\n{global}\n{UNSUPERVISED}"
            ),
        );
        site
    }

    /// Starts a gateway for a site.
    pub fn serve(site: Site) -> Self {
        let mut served = Self { site, gateway: None, port: 0, tls_port: 0 };
        served.start_gateway();
        served
    }

    /// Starts a gateway whose standard error the test does not read.
    pub fn serve_with_stderr(site: Site, stderr: impl Into<Stdio>) -> Self {
        let command = &mut site.manager(&["serve"]);
        let gateway = Program::start_with(command, Stdio::piped(), stderr.into());
        Self::serve_by(site, gateway)
    }

    /// Starts a gateway through another program, which executes the command line of the gateway after `args`.
    pub fn serve_through(site: Site, program: &str, args: &[&str]) -> Self {
        let gateway = site.manager(&["serve"]);
        let mut command = site.command(program);
        command.args(args).arg(gateway.get_program()).args(gateway.get_args());
        let gateway = Program::start(&mut command);
        Self::serve_by(site, gateway)
    }

    /// Takes over a gateway that was started for a site.
    pub fn serve_by(site: Site, gateway: Program) -> Self {
        let mut served = Self { site, gateway: None, port: 0, tls_port: 0 };
        served.await_gateway(gateway);
        served
    }

    pub fn start_gateway(&mut self) {
        self.await_gateway(self.site.spawn(&["serve"]));
    }

    fn await_gateway(&mut self, mut gateway: Program) {
        let is_ready = |line: &str| line.starts_with("Serving on ") || line.contains("\"ready\"");
        let line = gateway.await_line("that it serves", is_ready);
        let (plain, tls) = line.split_once("https://").unwrap_or((&line, ""));
        let port = |address: &str| {
            let port = address.rsplit(':').next().unwrap();
            port.trim_end_matches(|it: char| !it.is_ascii_digit()).parse().unwrap_or(0)
        };
        (self.port, self.tls_port) = (port(plain), port(tls));
        assert!(self.port > 0 || self.tls_port > 0, "{line}");
        self.gateway = Some(gateway);
    }

    /// Sends TERM to the gateway, and waits for its end.
    pub fn stop_gateway(&mut self) -> Ran {
        self.gateway().signal(Signal::TERM);
        self.gateway.take().unwrap().finish()
    }

    /// Waits for the end of the gateway, after a signal.
    pub fn finish_gateway(&mut self) -> Ran {
        self.gateway.take().unwrap().finish()
    }

    /// Kills the gateway.
    pub fn kill_gateway(&mut self) {
        self.gateway().signal(Signal::KILL);
        self.gateway.take().unwrap().finish().killed_by(Signal::KILL);
    }

    pub fn gateway(&self) -> &Program {
        self.gateway.as_ref().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port for HTTPS; 0: there is none.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// A connection to the gateway.
    pub fn connect(&self) -> Connection {
        Connection::to(self.port)
    }

    /// Waits for a log line with this text.
    pub fn await_log(&self, part: &str) -> String {
        loop {
            let line = self.gateway().await_complaint();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends HUP, and waits for the end of the reload.
    pub fn reload(&self) -> String {
        self.gateway().signal(Signal::HUP);
        let mut said = String::new();
        while !said.contains("reload done") && !said.contains("reload failed") {
            said += &self.gateway().await_complaint();
        }
        said
    }

    /// GET of a page of a host.
    pub fn get_from(&self, host: &str, page: &str) -> Answer {
        let mut connection = self.connect();
        connection.send(&format!("GET {page} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        connection.answer().unwrap_or_else(|cut| panic!("GET {page}: {cut:?}"))
    }

    /// GET of a page on a new connection.
    pub fn get(&self, page: &str) -> Answer {
        self.get_with(page, "")
    }

    /// With more header lines, each with its line end.
    pub fn get_with(&self, page: &str, headers: &str) -> Answer {
        let mut connection = self.connect();
        connection.send(&format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        connection.answer().unwrap_or_else(|cut| panic!("GET {page}: {cut:?}"))
    }

    /// Waits for the `Last-Modified` of a file. At first, responses may not have this header.
    pub fn await_date(&self, page: &str) -> String {
        wait_for(&format!("a date of {page}"), || {
            self.get(page).header("last-modified").map(str::to_owned)
        })
    }

    /// Sends these bytes, and reads the response.
    pub fn raw(&self, request: &[u8]) -> Result<Answer, Cut> {
        let mut connection = self.connect();
        connection.send_bytes(request);
        connection.answer()
    }

    /// Adds a page to both releases.
    pub fn page(&self, name: &str, text: &str) {
        self.site.add_page(name, text);
    }

    /// Waits until php-fpm has this many requests.
    pub fn await_in_flight(&self, count: usize) {
        wait_for(&format!("{count} requests in flight"), || {
            (self.site.in_flight() == count).then_some(())
        });
    }

    /// The size of the gateway's temporary files, in bytes.
    pub fn in_temporary_files(&self) -> u64 {
        let pid = self.gateway().pid().as_raw_nonzero();
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let files = files.filter_map(|file| Some(file.ok()?.path()));
        let deleted = files.filter(|file| {
            fs::read_link(file).is_ok_and(|it| it.to_string_lossy().ends_with(" (deleted)"))
        });
        deleted.filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum()
    }

    /// The resident memory of the gateway, in bytes.
    pub fn memory(&self) -> u64 {
        let pid = self.gateway().pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

/// Sets a fixed number of children for each replica.
pub fn fix_children(site: &Site, children: u32) {
    let conf = format!("{POOL}/pool.conf");
    let lines = site.read(&conf);
    let kept =
        lines.lines().filter(|line| !line.starts_with("pm.m") && !line.starts_with("pm.start"));
    let text: String = kept.flat_map(|line| [line, "\n"]).collect();
    let text = text.replace("pm = dynamic", &format!("pm = static\npm.max_children = {children}"));
    site.write(&conf, &text);
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.gateway.is_some() {
            let ran = self.stop_gateway();
            if std::thread::panicking() {
                eprintln!("{ran}");
            }
        }
    }
}
