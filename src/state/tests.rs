use std::os::unix::fs::{MetadataExt, symlink};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::Strategy;
use crate::fuzz::{Bytes, damaged};

const SAMPLES: &[&str] = &[r#"{
  "version": 1,
  "history": [
    {"when": "2026-01-02T03:04:05Z", "who": "alice", "command": "restart", "from": null,
     "to": "/srv/www/release2", "replicas": [1, 2], "strategy": "rolling", "ms": 131,
     "result": "failed: warm-up", "rollback": true}
  ]
}
"#];
const WORDS: &[&str] = &["{", "}", "[", "]", "{\"a\":", ",", "null", "\"ms\": 7,", "2", "done"];

fn entry(ms: u64, result: Outcome) -> Entry {
    Entry {
        when: "2026-01-02T03:04:05Z".to_owned(),
        who: "alice".to_owned(),
        command: "restart".to_owned(),
        from: Some("/srv/www/release1".into()),
        to: Some("/srv/www/release2".into()),
        replicas: vec![1, 2],
        strategy: Strategy::Rolling,
        ms,
        result,
        canary: false,
        rollback: false,
    }
}

/// A directory, the lock in it, and the path of the state file.
async fn pid_dir() -> (TempDir, Lock, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let lock = Lock::take(&dir.path().join("www.lock"), "www", false, |_| ()).await.unwrap();
    let path = dir.path().join("www.state.json");
    (dir, lock, path)
}

/// Adds a rollout to the history, and returns the warning or error.
fn add(lock: &Lock, path: &Path, entry: Entry) -> Vec<String> {
    match change(lock, path, |state| state.add(entry)) {
        Ok(warning) => warning.into_iter().collect(),
        Err(why) => vec![why],
    }
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn history_is_read_back_and_limited() {
    let (dir, lock, path) = pid_dir().await;
    assert_eq!(State::read(&path).unwrap(), State::default());
    for ms in 0..=200 {
        assert!(add(&lock, &path, entry(ms, Outcome::Failed("why".to_owned()))).is_empty());
    }
    let history = State::read(&path).unwrap().history;
    assert_eq!(
        history.iter().map(|entry| entry.ms).collect::<Vec<_>>(),
        (1..=200).collect::<Vec<_>>()
    );
    assert_eq!(history[0], entry(1, Outcome::Failed("why".to_owned())));
    assert_eq!(names(&dir), ["www.lock", "www.state.json"]);
}

#[tokio::test]
async fn damaged_file_is_moved_away_unchanged() {
    for bad in ["", "{\"version\":1,\"history\":[{\"wh", "null", "{\"version\":0,\"history\":[]}"] {
        let (dir, lock, path) = pid_dir().await;
        for seen in 1..=2 {
            fs::write(&path, bad).unwrap();
            let warnings = add(&lock, &path, entry(7, Outcome::Done));
            assert!(warnings[0].contains("is no state file"), "{warnings:?}");
            assert_eq!(State::read(&path).unwrap().history, [entry(7, Outcome::Done)]);
            let moved: Vec<_> = names(&dir).into_iter().filter(|it| it.contains(".bad-")).collect();
            assert_eq!(moved.len(), seen);
            assert_eq!(fs::read_to_string(dir.path().join(&moved[seen - 1])).unwrap(), bad);
        }
    }
}

#[tokio::test]
async fn file_of_a_newer_version_is_not_changed() {
    let (dir, lock, path) = pid_dir().await;
    let newer = "{\"version\":2,\"history\":\"somewhere else\"}";
    fs::write(&path, newer).unwrap();
    let warnings = add(&lock, &path, entry(7, Outcome::Done));
    assert!(warnings[0].ends_with("newer pools-manager (version 2 of the format)"), "{warnings:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    assert_eq!(names(&dir), ["www.lock", "www.state.json"]);
}

#[tokio::test]
async fn links_are_not_followed() {
    let (dir, lock, path) = pid_dir().await;
    let precious = dir.path().join("precious");
    fs::write(&precious, "{\"version\":1,\"history\":[]}").unwrap();
    symlink(&precious, &path).unwrap();
    symlink(&precious, with_suffix(&path, ".new")).unwrap();
    assert!(matches!(State::read(&path), Err(Trouble::Bad(_))));
    assert_eq!(add(&lock, &path, entry(7, Outcome::Done)).len(), 1);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "{\"version\":1,\"history\":[]}");
    assert_eq!(State::read(&path).unwrap().history.len(), 1);
    assert!(names(&dir).iter().any(|name| name.contains(".bad-")));
}

#[tokio::test]
async fn failed_write_keeps_the_old_file() {
    let (dir, lock, path) = pid_dir().await;
    assert!(add(&lock, &path, entry(1, Outcome::Done)).is_empty());
    fs::create_dir(with_suffix(&path, ".new")).unwrap();
    let warnings = add(&lock, &path, entry(2, Outcome::Done));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(State::read(&path).unwrap().history, [entry(1, Outcome::Done)]);
    fs::remove_dir(with_suffix(&path, ".new")).unwrap();
    fs::remove_file(&path).unwrap();
    drop(dir);
    // The directory itself is gone.
    assert_eq!(add(&lock, &path, entry(3, Outcome::Done)).len(), 1);
}

#[test]
fn fifo_and_huge_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("www.state.json");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(State::read(&path), Err(Trouble::Bad(_))));
    fs::remove_file(&path).unwrap();
    fs::File::create(&path).unwrap().set_len(BYTES_MAX + 1).unwrap();
    assert!(matches!(State::read(&path), Err(Trouble::Bad(_))));
}

#[tokio::test]
async fn result_replaces_only_its_own_entry() {
    let (_dir, lock, path) = pid_dir().await;
    let begun = entry(0, Outcome::Unfinished);
    let end = |state: &mut State| {
        state.take_back(&begun);
        state.add(entry(7, Outcome::Done));
    };
    for _ in 0..2 {
        add(&lock, &path, begun.clone());
    }
    // The command of the first rollout was killed.
    change(&lock, &path, end).unwrap();
    let killed_then_done = [begun.clone(), entry(7, Outcome::Done)];
    assert_eq!(State::read(&path).unwrap().history, killed_then_done);
    // The unfinished entry could not be written.
    change(&lock, &path, end).unwrap();
    assert_eq!(State::read(&path).unwrap().history[..2], killed_then_done);
    assert_eq!(State::read(&path).unwrap().history.len(), 3);
}

#[tokio::test]
async fn unchanged_state_is_not_written() {
    let (dir, lock, path) = pid_dir().await;
    let stop = |state: &mut State| state.stopped.extend([2]);
    change(&lock, &path, |_| ()).unwrap();
    assert_eq!(names(&dir), ["www.lock"]);
    change(&lock, &path, stop).unwrap();
    let written = fs::metadata(&path).unwrap().ino();
    change(&lock, &path, stop).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), written);
    assert_eq!(State::read(&path).unwrap().stopped, BTreeSet::from([2]));
}

proptest! {
    #[test]
    fn fuzz_damaged_file_is_refused_or_read_as_written(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let Ok(state) = State::parse(&bytes) else { return Ok(()) };
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(state.history.iter().all(|entry| text.contains(&entry.ms.to_string())));
        prop_assert_eq!(State::parse(&serde_json::to_vec(&state).unwrap()).unwrap(), state);
    }

    #[test]
    fn truncated_file_is_refused(cut in 0..300_usize) {
        let state = State { history: vec![entry(1, Outcome::Interrupted)], ..State::default() };
        let text = serde_json::to_vec(&state).unwrap();
        let cut = cut.min(text.len() - 1);
        prop_assert!(matches!(State::parse(&text[..cut]), Err(Trouble::Bad(_))));
        prop_assert_eq!(State::parse(&text).unwrap(), state);
    }
}
