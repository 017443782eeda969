//! An Apache and a php-fpm with a minimal configuration, without the sample site: for tests of one
//! protocol.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Instant;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::wait::{DEADLINE, POLL, wait_for};
use crate::{php_fpm, server};

/// A temporary directory that the account of the servers may read.
pub fn root() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    root
}

/// The result of a program.
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    /// Standard output. Panics unless the exit status is 0.
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    /// Standard error. Panics unless the exit status is `code`.
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}", self.stderr);
        self.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A server in the foreground. Drop ends it.
struct Server(Child);

impl Server {
    fn start(mut command: Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        // Its own process group: some servers signal their whole group when they end.
        command.process_group(0).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap_or_else(|error| panic!("this test needs {command:?}: {error}")))
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + DEADLINE;
        while !self.has_ended() && Instant::now() < deadline {
            sleep(POLL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The line if the test runs as root, else nothing.
fn as_root(line: &'static str) -> &'static str {
    if geteuid().is_root() { line } else { "" }
}

/// A running Apache.
pub struct Apache {
    pub port: u16,
    config: PathBuf,
    log: PathBuf,
    server: Option<Server>,
}

impl Apache {
    /// Starts an Apache with a minimal configuration and `extra`.
    pub fn start(root: &Path, extra: &str) -> Self {
        // Another test may bind the port before Apache does.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let (config, log) = (root.join("apache2.conf"), root.join("apache2.out"));
            fs::write(&config, Self::config(root, port, extra)).unwrap();
            let mut apache = Self { port, config, log, server: None };
            if apache.run() {
                return apache;
            }
        }
        panic!("Apache does not start: {}", fs::read_to_string(root.join("apache2.out")).unwrap());
    }

    fn config(root: &Path, port: u16, extra: &str) -> String {
        let modules = "mpm_event authz_core authz_host alias dir rewrite proxy proxy_fcgi \
                       proxy_balancer lbmethod_bybusyness slotmem_shm";
        let load =
            |name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
        let modules: String = modules.split_whitespace().map(load).collect();
        let root = root.display();
        let user = as_root("User www-data\nGroup www-data");
        format!(
            "{modules}{user}
            ServerRoot {root}
            ServerName localhost
            DefaultRuntimeDir {root}
            Mutex file:{root} default
            PidFile {root}/apache2.pid
            ErrorLog {root}/apache2.log
            DocumentRoot {root}
            Listen 127.0.0.1:{port}
            StartServers 1
            {extra}\n"
        )
    }

    /// Starts it. Returns whether it listens.
    fn run(&mut self) -> bool {
        let mut command = Command::new(server("apache2"));
        command.arg("-f").arg(&self.config).arg("-DFOREGROUND");
        let mut server = Server::start(command, &self.log);
        let id = server.0.id().to_string();
        // The pid file is checked too: another server may listen on that port.
        let is_up = || {
            fs::read_to_string(self.config.with_extension("pid")).is_ok_and(|pid| pid.trim() == id)
                && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        };
        let mut ended = false;
        wait_for("Apache", || {
            ended = server.has_ended();
            (ended || is_up()).then_some(())
        });
        self.server = Some(server);
        !ended
    }

    /// Ends it and starts it again.
    pub fn restart(&mut self) {
        self.server = None;
        assert!(self.run(), "Apache does not start again");
    }

    /// The URL of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// A running PHP-FPM with one pool on a unix socket.
pub struct Fpm {
    _server: Server,
    pub socket: PathBuf,
}

impl Fpm {
    /// Starts a php-fpm that listens on this name below the root, with `/ping` and `/status`.
    pub fn start(root: &Path, socket: &str) -> Self {
        let socket = root.join(socket);
        let config = socket.with_extension("conf");
        let user = as_root("user = www-data\ngroup = www-data");
        let text = format!(
            "[global]\nerror_log = /dev/stderr\n[pool]\n{user}\nlisten = {}\nlisten.mode = 0666\n\
             pm = static\npm.max_children = 2\nping.path = /ping\npm.status_path = /status\n",
            socket.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(php_fpm());
        command.args(["--nodaemonize", "--fpm-config"]).arg(&config);
        let log = socket.with_extension("log");
        let mut server = Server::start(command, &log);
        wait_for("php-fpm", || {
            assert!(!server.has_ended(), "{}", fs::read_to_string(&log).unwrap());
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        Self { _server: server, socket }
    }
}
