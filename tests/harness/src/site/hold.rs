//! Requests that end when the test says so.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use rustix::process::Pid;

use super::{Program, Site, program_path, wait_for};

/// A request in flight: its script has begun the answer and waits for the test.
pub struct Held {
    /// The php-fpm pool that runs the script: `www1`.
    pub by: String,
    /// The process that runs it.
    pub child: Pid,
    gate: Gate,
    /// Gives the body of the answer.
    body: JoinHandle<String>,
}

/// Where the script `hold.php` waits.
pub struct Gate {
    /// What the names of its files begin with.
    mark: PathBuf,
}

impl Site {
    /// Sends a request to Apache, and returns when its script runs on either replica.
    pub fn hold(&self) -> Held {
        let (gate, page) = self.gate();
        let client = self.client();
        let body = thread::spawn(move || {
            let answer = client.get(&page);
            assert_eq!(answer.status, 200);
            answer.body
        });
        let (by, child) = gate.reached();
        Held { by, child, gate, body }
    }

    /// Sends a request to a replica's own socket, and returns when its script runs. Apache spreads
    /// requests as it likes, and two of them may share a replica.
    pub fn hold_on(&self, replica: u32) -> Held {
        let (gate, page) = self.gate();
        let socket = format!("sockets/php-fpm-www{replica}.sock");
        let mut request = self.command(program_path("fcgi-request"));
        request.args(["--timeout", "60s", "--document-root", "www/current", &page, &socket]);
        let request = Program::start(&mut request);
        let body = thread::spawn(move || {
            let ran = request.finish();
            let (_, body) = ran.succeeds().stdout.split_once("\r\n\r\n").unwrap();
            body.to_owned()
        });
        let (by, child) = gate.reached();
        assert_eq!(by, format!("www{replica}"));
        Held { by, child, gate, body }
    }

    /// One request on each of two replicas.
    pub fn hold_both(&self) -> [Held; 2] {
        [1, 2].map(|replica| self.hold_on(replica))
    }

    /// From now on, each new generation has to pass this gate before it may serve.
    pub fn hold_warm_up(&self) -> Gate {
        let (gate, page) = self.gate();
        self.add_rollout(&format!("warm_up = [{page:?}]"));
        gate
    }

    /// A gate, and the page whose script waits there.
    pub fn gate(&self) -> (Gate, String) {
        self.add_page("hold.php", include_str!("../../../real/pages/hold.php"));
        let dir = tempfile::Builder::new().prefix("gate-").tempdir_in(self.scratch()).unwrap();
        let dir = dir.keep();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        let mark = dir.join("request");
        let page = format!("/hold.php?mark={}", mark.display());
        (Gate { mark }, page)
    }

    /// Where scripts may write.
    pub fn scratch(&self) -> PathBuf {
        let path = self.path("scratch");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        path
    }
}

impl Gate {
    /// Waits until a script waits here; returns its php-fpm pool and its process.
    pub fn reached(&self) -> (String, Pid) {
        let begun = self.mark.with_extension("begun");
        let said = wait_for("the held request", || fs::read_to_string(&begun).ok());
        let (pool, pid) = said.split_once(' ').unwrap();
        (pool.to_owned(), Pid::from_raw(pid.parse().unwrap()).unwrap())
    }

    /// Lets the waiting script pass, and all scripts that come after it.
    pub fn open(&self) {
        fs::write(self.mark.with_extension("end"), "").unwrap();
    }
}

impl Held {
    /// Lets the script come to its end. All of its answer must arrive, from one release.
    pub fn end(self, release: u32) {
        self.gate.open();
        let body = self.body.join().unwrap();
        let dots = ".".repeat(100_000);
        let text = body.replace(&format!("{dots}\n"), "all dots\n");
        let whole =
            format!("begun on release {release}\nall dots\nall dots\nended on release {release}\n");
        assert!(text == whole, "{} bytes, {}", body.len(), &text[..text.len().min(200)]);
    }
}
