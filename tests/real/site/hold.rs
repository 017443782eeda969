//! Requests that take as long as a test wants them to.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use super::http::{self, Answer};
use super::{Site, wait_for};

/// A request that is under way: a script has begun to answer it, and waits for the test.
pub(crate) struct Held {
    /// The php-fpm pool that it runs in: `www1`.
    pub(crate) by: String,
    mark: PathBuf,
    answer: JoinHandle<io::Result<Answer>>,
}

impl Site {
    /// Puts one of the pages of the tests into both releases.
    pub(crate) fn add_page(&self, name: &str, text: &str) {
        for release in ["release1", "release2"] {
            self.write(&format!("www/{release}/{name}"), text);
        }
    }

    /// Sends a request, and returns when its script runs.
    pub(crate) fn hold(&self) -> Held {
        self.add_page("hold.php", include_str!("../pages/hold.php"));
        let mark = tempfile::Builder::new().prefix("held-").tempdir_in(self.scratch()).unwrap();
        let mark = mark.keep();
        fs::set_permissions(&mark, Permissions::from_mode(0o777)).unwrap();
        let (port, page) = (self.port(), format!("/hold.php?mark={}/request", mark.display()));
        let mark = mark.join("request");
        let answer = thread::spawn(move || http::get(port, &page, ""));
        let by =
            wait_for("the held request", || fs::read_to_string(mark.with_extension("begun")).ok());
        Held { by, mark, answer }
    }

    /// One request on each of two replicas, the first on replica 1: Apache gives a request to
    /// whoever has fewer.
    pub(crate) fn hold_both(&self) -> [Held; 2] {
        let mut both = [self.hold(), self.hold()];
        both.sort_by(|one, other| one.by.cmp(&other.by));
        assert_eq!([both[0].by.as_str(), &both[1].by], ["www1", "www2"]);
        both
    }

    /// Where scripts may write.
    pub(crate) fn scratch(&self) -> PathBuf {
        let path = self.path("scratch");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        path
    }
}

impl Held {
    /// Lets the script come to its end. All of its answer must arrive, from one release.
    pub(crate) fn end(self, release: u32) {
        fs::write(self.mark.with_extension("end"), "").unwrap();
        let answer = self.answer.join().unwrap().unwrap();
        assert_eq!(answer.status, 200);
        let dots = ".".repeat(100_000);
        let text = answer.body.replace(&format!("{dots}\n"), "all dots\n");
        let whole =
            format!("begun on release {release}\nall dots\nall dots\nended on release {release}\n");
        assert!(text == whole, "{} bytes, {}", answer.body.len(), &text[..text.len().min(200)]);
    }
}
