//! Symlinks, FIFOs and directories in place of each file that is written, read, renamed or removed.
//! Their targets stay unchanged, including the time of the last change.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use harness::Site;

/// Names that a restart of generation 1 makes. Some of these files get another name later.
const NEXT: [&str; 12] = [
    "pid/www.1.g2.conf",
    "pid/www.2.g2.conf",
    "pid/www.1.g2.pid",
    "pid/www.2.g2.pid",
    "pid/php-fpm-www1.pid.new",
    "pid/php-fpm-www2.pid.new",
    "pid/www.state.json.new",
    "sockets/php-fpm-www1.g2.sock",
    "sockets/php-fpm-www2.g2.sock",
    "sockets/php-fpm-www1.sock.new",
    "sockets/php-fpm-www2.sock.new",
    "www/.current.release.pools-manager",
];

/// Files that exist already, and are read or replaced.
const THERE: [&str; 5] = [
    "pid/www.1.g1.pid",
    "pid/www.2.g1.pid",
    "pid/php-fpm-www1.pid",
    "pid/php-fpm-www2.pid",
    "pid/www.state.json",
];

/// What a link may lead to, outside of the site.
struct Outside {
    dir: tempfile::TempDir,
    before: String,
}

impl Outside {
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        fs::write(dir.path().join("file"), "precious\n").unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();
        let before = told(dir.path());
        Self { dir, before }
    }

    fn targets(&self) -> Vec<PathBuf> {
        let names = ["file", "directory", "fifo", "dangling", "directory/dangling"];
        names.map(|name| self.dir.path().join(name)).to_vec()
    }

    fn is_unharmed(&self, how: &str) {
        assert_eq!(told(self.dir.path()), self.before, "{how}");
    }
}

/// The contents of a directory, with everything that a change of a file would alter.
fn told(dir: &Path) -> String {
    let metadata = fs::symlink_metadata(dir).unwrap();
    let change = |it: &fs::Metadata| {
        let (second, nano) = (it.mtime(), it.mtime_nsec());
        format!("{:o} {} {} {second}.{nano}", it.mode(), it.uid(), it.nlink())
    };
    let mut lines = vec![format!("{} {}", dir.display(), change(&metadata))];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        lines.push(match () {
            () if metadata.is_dir() => told(&path),
            () if metadata.is_file() => {
                let text = fs::read_to_string(&path).unwrap();
                format!("{} {} {text}", path.display(), change(&metadata))
            }
            () => format!("{} {}", path.display(), change(&metadata)),
        });
    }
    lines.sort();
    lines.join("\n")
}

fn put(site: &Site, name: &str, make: impl Fn(&Path)) {
    let path = site.path(name);
    let _ = fs::remove_file(&path);
    make(&path);
}

/// Runs the commands while other kinds of files stand in place of the names.
fn goes_through(site: &Site, strategy: &str, how: &str) {
    site.run(&["status", "-q"]).succeeds();
    let _ = site.run(&["check", "-q"]); // it must not hang
    let ran = site.run(&["switch", "www", "release2", "--strategy", strategy]);
    assert!(ran.succeeds().stdout.contains("release2"), "{how}");
    assert!(site.releases().iter().all(|it| *it == site.path("www/release2")), "{how}");
    site.run(&["status", "-q"]).succeeds();
    // The file in place of the history was moved aside.
    for entry in fs::read_dir(site.path("pid")).unwrap() {
        let path = entry.unwrap().path();
        if path.display().to_string().contains(".json.bad-") {
            fs::remove_file(path).unwrap();
        }
    }
    site.is_in_order_on("release2");
}

#[test]
fn symlinks_in_place_of_files_are_replaced_and_not_followed() {
    let outside = Outside::new();
    replaces_symlinks(&outside, &outside.dir.path().join("file"), "rolling");
    replaces_symlinks(&outside, &outside.dir.path().join("dangling"), "swap");
}

#[test]
#[ignore = "a sweep: bin/test --all"]
fn symlinks_to_each_kind_of_file_are_replaced_and_not_followed() {
    let outside = Outside::new();
    for target in outside.targets() {
        for strategy in ["rolling", "swap"] {
            replaces_symlinks(&outside, &target, strategy);
        }
    }
}

fn replaces_symlinks(outside: &Outside, target: &Path, strategy: &str) {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    for name in NEXT.into_iter().chain(THERE) {
        put(&site, name, |path| symlink(target, path).unwrap());
    }
    let how = format!("{strategy}, links to {}", target.display());
    goes_through(&site, strategy, &how);
    outside.is_unharmed(&how);
    load.finish();
}

#[test]
fn fifos_in_place_of_files_are_replaced_and_do_not_block() {
    for strategy in ["rolling", "swap"] {
        let site = Site::new();
        site.run(&["start"]).succeeds();
        let load = site.steady_load();
        // `switch` does not take a FIFO for a file of its own: see the next test.
        for name in NEXT.into_iter().filter(|it| !it.starts_with("www/")).chain(THERE) {
            put(&site, name, |path| mkfifo(path, Mode::S_IRWXU).unwrap());
        }
        goes_through(&site, strategy, "FIFOs");
        load.finish();
    }
}

#[test]
fn unknown_file_beside_the_release_link_is_kept() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let name = "www/.current.release.pools-manager";
    site.write(name, "precious");
    let what = "cannot move ROOT/www/current.release: File exists (os error 17)";
    let help = "nothing was changed; its directory has to be writable for you";
    site.refuses(&["switch", "www", "release2"], &format!("error: {what}\n  help: {help}\n"));
    assert_eq!(site.read(name), "precious");
}

#[test]
fn hard_links_of_files_are_not_written_through() {
    let outside = Outside::new();
    let file = outside.dir.path().join("file");
    let site = Site::new();
    site.run(&["start"]).succeeds();
    // A changed number of links is a change of the file too.
    let files = NEXT.into_iter().filter(|it| !it.starts_with("www/")).chain(THERE);
    for name in files {
        put(&site, name, |path| fs::hard_link(&file, path).unwrap());
    }
    goes_through(&site, "rolling", "hard links");
    outside.is_unharmed("hard links");
}

/// A directory cannot be replaced, so the command has to find it before it stops anything.
#[test]
#[ignore = "takes long: bin/test --all"]
fn directories_in_place_of_files_are_refused() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let load = site.steady_load();
    for name in NEXT.into_iter().filter(|it| !it.starts_with("www/") && !it.contains(".json")) {
        fs::create_dir(site.path(name)).unwrap();
        let replica = if name.contains("www1") || name.contains("www.1") { 1 } else { 2 };
        let stderr = format!(
            "error: ROOT/{name} is a directory\n  \
             help: generation 2 of replica {replica} needs that name: move it away\n"
        );
        for strategy in ["rolling", "swap"] {
            site.refuses(&["restart", "--strategy", strategy], &stderr);
        }
        fs::remove_dir(site.path(name)).unwrap();
    }
    // These fail only when they are removed.
    for name in ["pid/www.1.g1.pid", "pid/www.2.g1.pid"] {
        fs::remove_file(site.path(name)).unwrap();
        fs::create_dir(site.path(name)).unwrap();
    }
    let ran = site.run(&["restart"]);
    let told = format!(
        "  Warning: cannot remove what generation 1 of replica 1 has left: {}: Is a directory (os error 21)\n",
        site.path("pid/www.1.g1.pid").display()
    );
    assert!(ran.succeeds().stdout.contains(&told), "{ran}");
    for name in ["pid/www.1.g1.pid", "pid/www.2.g1.pid"] {
        fs::remove_dir(site.path(name)).unwrap();
    }
    // Files that could not be removed still have a record.
    site.run(&["repair"]).succeeds();
    site.is_in_order_on("release1");
    load.finish();
}

/// Without a valid record, the running master counts as another program, and is not ended.
#[test]
fn symlink_in_place_of_a_record_is_ignored() {
    let outside = Outside::new();
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let record = site.path("pid/www.1.g1.conf");
    // Its content is valid, but its owner is unknown.
    let copy = outside.dir.path().join("copy");
    fs::rename(&record, &copy).unwrap();
    symlink(&copy, &record).unwrap();
    let ran = site.unchanged_by(|| site.run(&["restart"]));
    assert!(ran.stderr.contains("this pool has no record of that process"), "{ran}");
    ran.status(2);
    fs::remove_file(&record).unwrap();
    mkfifo(&record, Mode::S_IRWXU).unwrap();
    let ran = site.unchanged_by(|| site.run(&["restart"]));
    assert!(ran.stderr.contains("this pool has no record of that process"), "{ran}");
    fs::remove_file(&record).unwrap();
    fs::rename(&copy, &record).unwrap();
    site.run(&["restart"]).succeeds();
    site.is_in_order_on("release1");
}
