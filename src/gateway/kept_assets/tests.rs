//! Tests of the releases that are kept, and of what is an asset.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::Strategy;
use crate::state::Outcome;

struct Releases(TempDir);

impl Releases {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(&self, name: &str, files: &[&str]) -> Arc<ServedRelease> {
        for file in files {
            let path = self.path(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let release = Release::at(&self.path(name)).unwrap();
        Arc::new(ServedRelease::open(&release, &Gateway::default(), "").unwrap())
    }
}

fn settings(toml: &str) -> Gateway {
    toml::from_str(toml).unwrap()
}

const KEEP: &str = "keep_assets = '10m'\n";

fn found(
    kept: &KeptAssets,
    settings: &Gateway,
    table: &[&Arc<ServedRelease>],
    path: &str,
) -> Option<String> {
    let live: Vec<_> = table.iter().map(|it| Arc::clone(it)).collect();
    let path = UrlPath::parse(path.as_bytes()).unwrap();
    let asset = kept.find(settings, &live, None, &live[0], &Method::GET, &path).unwrap()?;
    Some(asset.served.release.path.file_name().unwrap().to_str().unwrap().to_owned())
}

fn none() -> PathBuf {
    "/none".into()
}

#[test]
fn asset_comes_from_the_newest_release_that_was_replaced_within_the_time() {
    let releases = Releases::new();
    let one = releases.with("1", &["a.js", "b.js", "d.js"]);
    let two = releases.with("2", &["b.js"]);
    let three = releases.with("3", &["c.js"]);
    let (kept, settings) = (KeptAssets::default(), settings(KEEP));
    kept.update(&settings, &[], &[&one], none);
    assert_eq!(found(&kept, &settings, &[&one], "/b.js"), None);
    kept.update(&settings, &[Arc::clone(&one)], &[&two, &two], none);
    kept.update(&settings, &[Arc::clone(&two)], &[&three], none);
    let asset = |path| found(&kept, &settings, &[&three], path);
    assert_eq!(asset("/a.js").as_deref(), Some("1"));
    assert_eq!(asset("/b.js").as_deref(), Some("2"));
    assert_eq!(asset("/none.js"), None);
    // A rollback: a release that is served again is not a past release.
    kept.update(&settings, &[Arc::clone(&three)], &[&one], none);
    assert_eq!(found(&kept, &settings, &[&one], "/c.js").as_deref(), Some("3"));
    assert_eq!(kept.past.load().len(), 2);
    // The release was removed.
    fs::remove_dir_all(releases.path("3")).unwrap();
    assert_eq!(found(&kept, &settings, &[&one], "/c.js"), None);
    kept.update(&self::settings(""), &[], &[&one], none);
    assert!(kept.past.load().is_empty());
}

#[test]
fn release_is_closed_when_its_time_is_over() {
    let releases = Releases::new();
    let (one, two) = (releases.with("1", &["a.js"]), releases.with("2", &["b.js"]));
    let (kept, short) = (KeptAssets::default(), settings("keep_assets = '1ms'"));
    kept.update(&settings(KEEP), &[Arc::clone(&one)], &[&two], none);
    kept.close_stale(&settings(KEEP));
    assert_eq!(kept.past.load().len(), 1);
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(found(&kept, &short, &[&two], "/a.js"), None);
    kept.close_stale(&short);
    assert!(kept.past.load().is_empty());
}

#[test]
fn other_release_of_a_rolling_restart_is_asked_first() {
    let releases = Releases::new();
    let names = ["1", "2", "3"];
    let [one, two, three] = names.map(|name| releases.with(name, &[&format!("{name}.js"), "x.js"]));
    let (kept, settings) = (KeptAssets::default(), settings(KEEP));
    kept.update(&settings, &[Arc::clone(&one)], &[&two, &three], none);
    let asset = |path| found(&kept, &settings, &[&two, &three], path);
    assert_eq!(asset("/3.js").as_deref(), Some("3"));
    assert_eq!(asset("/x.js").as_deref(), Some("3"));
    assert_eq!(asset("/1.js").as_deref(), Some("1"));
}

#[test]
fn pages_code_hidden_and_denied_files_are_not_kept() {
    let files = [
        "a.css",
        "i/b.woff2",
        "data.json",
        "page.html",
        "page.HTM",
        "p.xhtml",
        "x.php",
        "x.php.bak",
        "x.tpl",
        ".env",
        ".git/a.css",
        "plain",
        "dot.",
        "private/a.css",
        "b.sql",
        ".well-known/a.txt",
    ];
    let releases = Releases::new();
    let (one, two) = (releases.with("1", &files), releases.with("2", &["index.php"]));
    let kept = KeptAssets::default();
    let toml = format!(
        "{KEEP}deny = ['/private/', '*.sql']\ntypes = {{ tpl = 'text/html; charset=utf-8' }}"
    );
    let settings = settings(&toml);
    kept.update(&settings, &[Arc::clone(&one)], &[&two], none);
    let asset = |path: &str| found(&kept, &settings, &[&two], path).is_some();
    for path in ["/a.css", "/i/b.woff2", "/data.json", "/i/../a.css", "/.well-known/a.txt"] {
        assert!(asset(path), "{path}");
    }
    for file in &files[3..files.len() - 1] {
        assert!(!asset(&format!("/{file}")), "{file}");
    }
    for path in ["/", "/i", "/i/", "/a.css/"] {
        assert!(!asset(path), "{path}");
    }
    let live = [Arc::clone(&two)];
    let path = UrlPath::parse(b"/a.css").unwrap();
    let found = kept.find(&settings, &live, None, &two, &Method::POST, &path).unwrap();
    assert!(found.is_none());
}

#[test]
fn started_gateway_knows_the_releases_from_the_history() {
    let releases = Releases::new();
    let names = ["1", "2", "3", "old"];
    let [_, _, three, _] = names.map(|name| releases.with(name, &[&format!("{name}.js")]));
    let entry = |from: &str, to: &str, ago: u64| Entry {
        when: humantime::format_rfc3339(SystemTime::now() - Duration::from_secs(ago)).to_string(),
        who: String::new(),
        command: String::new(),
        from: Some(releases.path(from)),
        to: Some(releases.path(to)),
        replicas: vec![1],
        strategy: Strategy::Swap,
        ms: 1000,
        result: Outcome::Done,
        canary: false,
        rollback: false,
    };
    let entries =
        [entry("old", "1", 3600), entry("gone", "2", 50), entry("1", "2", 30), entry("2", "3", 20)];
    let all = from_history(&entries, &settings(KEEP));
    let names: Vec<_> = all.iter().map(|it| it.served.release.path.clone()).collect();
    assert_eq!(names, ["3", "2", "2", "1", "2"].map(|name| releases.path(name)));
    let mut state = State::default();
    for entry in entries {
        state.add(entry);
    }
    let file = releases.path("state.json");
    fs::write(&file, serde_json::to_vec(&state).unwrap()).unwrap();
    let (kept, settings) = (KeptAssets::default(), settings(KEEP));
    kept.update(&settings, &[], &[&three], || file.clone());
    let past: Vec<_> = kept.past.load().iter().map(|it| it.served.release.path.clone()).collect();
    assert_eq!(past, ["2", "1"].map(|name| releases.path(name)));
    // With a damaged history, the kept assets are lost, and nothing else.
    fs::write(&file, "{").unwrap();
    let kept = KeptAssets::default();
    kept.update(&settings, &[], &[&three], || file.clone());
    assert!(kept.past.load().is_empty());
}
