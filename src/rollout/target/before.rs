//! The previous release: the target of a rollback.

use std::path::{Path, PathBuf};

use crate::release::Release;
use crate::state::{Entry, Outcome};

/// The newest release in the history that has served the pool, still exists, and is not the one
/// that runs now. Releases whose last rollout failed or was rolled back are skipped. The error says
/// why each release was skipped.
pub(super) fn before(
    history: &[Entry],
    replica_count: u32,
    runs: &[Release],
) -> Result<Release, Vec<String>> {
    let mut skipped = Vec::new();
    for Known { path, bad } in known(history, replica_count) {
        let why = match (bad, Release::at(path)) {
            (Some(why), _) => why,
            (None, Err(_)) => "does not exist any more",
            (None, Ok(release)) if runs.iter().all(|running| *running == release) => "is what runs",
            (None, Ok(release)) => return Ok(release),
        };
        skipped.push(format!("{} {why}", path.display()));
    }
    Err(skipped)
}

struct Known<'a> {
    path: &'a Path,
    /// Why a rollback must skip it.
    bad: Option<&'static str>,
}

/// All releases in the history, newest first.
fn known<'h>(history: &'h [Entry], replica_count: u32) -> Vec<Known<'h>> {
    let mut all: Vec<Known<'h>> = Vec::new();
    let mut add = |path: &'h Option<PathBuf>, bad| {
        if let Some(path) = path.as_deref()
            && all.iter().all(|known| known.path != path)
        {
            all.push(Known { path, bad });
        }
    };
    for entry in history.iter().rev() {
        match &entry.result {
            Outcome::Failed(_) => add(&entry.to, Some("bounced")),
            // A rollout to only some replicas was a trial.
            Outcome::Done if entry.replicas.len() == replica_count as usize => add(&entry.to, None),
            Outcome::Done | Outcome::Interrupted | Outcome::Unfinished => {}
        }
        let left = entry.rollback && entry.result == Outcome::Done;
        add(&entry.from, left.then_some("was rolled back from"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Strategy;
    use std::fs;
    use tempfile::TempDir;

    /// Releases and a history. Each rollout is `from > to`; the sign says how it ended.
    struct Past {
        dir: TempDir,
        history: Vec<Entry>,
    }

    impl Past {
        fn new(rollouts: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let entry = |rollout: &&str| {
                let words: Vec<&str> = rollout.split(' ').collect();
                for release in [words[0], words[2]] {
                    fs::create_dir_all(dir.path().join(release)).unwrap();
                }
                let result = match words[1] {
                    "!" => Outcome::Failed("why".to_owned()),
                    "?" => Outcome::Interrupted,
                    "~" => Outcome::Unfinished,
                    _ => Outcome::Done,
                };
                Entry {
                    when: String::new(),
                    who: String::new(),
                    command: String::new(),
                    from: Some(dir.path().join(words[0])),
                    to: Some(dir.path().join(words[2])),
                    replicas: if words[1] == "one" { vec![1] } else { vec![1, 2] },
                    strategy: Strategy::Swap,
                    ms: 0,
                    result,
                    canary: false,
                    rollback: words[1] == "back",
                }
            };
            let history = rollouts.iter().map(entry).collect();
            Self { dir, history }
        }

        fn before(&self, runs: &[&str]) -> String {
            let at = |name: &&str| Release::at(&self.dir.path().join(name)).unwrap();
            let runs: Vec<Release> = runs.iter().map(at).collect();
            match before(&self.history, 2, &runs) {
                Ok(release) => release.path.file_name().unwrap().to_string_lossy().into_owned(),
                Err(why) => why.join(", ").replace(&format!("{}/", self.dir.path().display()), ""),
            }
        }
    }

    #[test]
    fn previous_release_is_the_last_one_that_served() {
        assert_eq!(Past::new(&["a > b", "b > c"]).before(&["c", "c"]), "b");
        assert_eq!(Past::new(&["a > b", "b > b"]).before(&["b", "b"]), "a");
        // A second rollback goes one release further back, until the release is rolled out again.
        assert_eq!(Past::new(&["a > b", "b > c", "c back b"]).before(&["b", "b"]), "a");
        let again = ["a > b", "b > c", "c back b", "b > c", "c > d"];
        assert_eq!(Past::new(&again).before(&["d", "d"]), "c");
    }

    #[test]
    fn failed_release_is_skipped() {
        assert_eq!(Past::new(&["a > b", "b ! c"]).before(&["b", "b"]), "a");
        assert_eq!(Past::new(&["a > b", "b ! c", "b > d"]).before(&["d", "d"]), "b");
        assert_eq!(Past::new(&["a > b", "b ! c", "b > c", "c > d"]).before(&["d", "d"]), "c");
    }

    #[test]
    fn differing_replicas_go_back_to_their_common_release() {
        assert_eq!(Past::new(&["a > b", "b ! c"]).before(&["c", "b"]), "b");
        assert_eq!(Past::new(&["a > b", "b ? c"]).before(&["c", "b"]), "b");
        assert_eq!(Past::new(&["a one b"]).before(&["b", "a"]), "a");
        // The command was killed, or the history could not be written.
        assert_eq!(Past::new(&["a > b", "b ~ c"]).before(&["c", "b"]), "b");
        let past = Past::new(&["a > b"]);
        fs::create_dir(past.dir.path().join("c")).unwrap();
        assert_eq!(past.before(&["c", "b"]), "b");
    }

    #[test]
    fn missing_previous_release_is_explained() {
        assert_eq!(Past::new(&[]).before(&[]), "");
        let past = Past::new(&["a > b", "b ! c"]);
        fs::remove_dir(past.dir.path().join("a")).unwrap();
        assert_eq!(past.before(&["b"]), "c bounced, b is what runs, a does not exist any more");
    }
}
