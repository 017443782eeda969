//! Requests that take as long as a test wants them to.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use super::http::Answer;
use super::{Site, wait_for};

/// A request that is under way: a script has begun to answer it, and waits for the test.
pub(crate) struct Held {
    /// The php-fpm pool that it runs in: `www1`.
    pub(crate) by: String,
    gate: Gate,
    answer: JoinHandle<Answer>,
}

/// Where the script `hold.php` waits.
pub(crate) struct Gate {
    /// What the names of its files begin with.
    mark: PathBuf,
}

impl Site {
    /// Sends a request, and returns when its script runs.
    pub(crate) fn hold(&self) -> Held {
        let (gate, page) = self.gate();
        let client = self.client();
        let answer = thread::spawn(move || client.get(&page));
        Held { by: gate.reached(), gate, answer }
    }

    /// One request on each of two replicas, the first on replica 1: Apache gives a request to
    /// whoever has fewer.
    pub(crate) fn hold_both(&self) -> [Held; 2] {
        let mut both = [self.hold(), self.hold()];
        both.sort_by(|one, other| one.by.cmp(&other.by));
        assert_eq!([both[0].by.as_str(), &both[1].by], ["www1", "www2"]);
        both
    }

    /// From now on, each new generation has to pass this gate before it may serve.
    pub(crate) fn hold_warm_up(&self) -> Gate {
        let (gate, page) = self.gate();
        self.add_rollout(&format!("warm_up = [{page:?}]"));
        gate
    }

    /// A gate, and the page whose script waits there.
    pub(crate) fn gate(&self) -> (Gate, String) {
        self.add_page("hold.php", include_str!("../pages/hold.php"));
        let dir = tempfile::Builder::new().prefix("gate-").tempdir_in(self.scratch()).unwrap();
        let dir = dir.keep();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        let mark = dir.join("request");
        let page = format!("/hold.php?mark={}", mark.display());
        (Gate { mark }, page)
    }

    /// Where scripts may write.
    pub(crate) fn scratch(&self) -> PathBuf {
        let path = self.path("scratch");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        path
    }
}

impl Gate {
    /// Waits until a script waits here; returns its php-fpm pool.
    pub(crate) fn reached(&self) -> String {
        let begun = self.mark.with_extension("begun");
        wait_for("the held request", || fs::read_to_string(&begun).ok())
    }

    /// Lets it pass, and all that come after it.
    pub(crate) fn open(&self) {
        fs::write(self.mark.with_extension("end"), "").unwrap();
    }
}

impl Held {
    /// Lets the script come to its end. All of its answer must arrive, from one release.
    pub(crate) fn end(self, release: u32) {
        self.gate.open();
        let answer = self.answer.join().unwrap();
        assert_eq!(answer.status, 200);
        let dots = ".".repeat(100_000);
        let text = answer.body.replace(&format!("{dots}\n"), "all dots\n");
        let whole =
            format!("begun on release {release}\nall dots\nall dots\nended on release {release}\n");
        assert!(text == whole, "{} bytes, {}", answer.body.len(), &text[..text.len().min(200)]);
    }
}
