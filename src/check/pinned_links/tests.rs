use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::*;
use crate::pool::Isolate;

struct Tree {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl Tree {
    fn new(dirs: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for dir in dirs {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        Self { _dir: dir, root }
    }

    fn link(&self, link: &str, target: impl AsRef<Path>) {
        symlink(target, self.root.join(link)).unwrap();
    }

    /// The findings for a release, with ROOT in place of the root.
    fn findings(&self, current_dir: &str, release: &str) -> Vec<Finding> {
        let pinning = Pinning {
            symlink: self.root.join("current.release"),
            current_dir: self.root.join(current_dir),
            isolate: Isolate::WherePossible,
        };
        let root = self.root.to_str().unwrap();
        let release = Release::at(&self.root.join(release)).unwrap();
        let (mut findings, note) = check(&pinning, &release, &pinning.beside(&release));
        assert_eq!(note, None);
        for finding in &mut findings {
            finding.message = finding.message.replace(root, "ROOT");
            finding.help = finding.help.take().map(|help| help.replace(root, "ROOT"));
        }
        findings
    }

    fn messages(&self, current_dir: &str, release: &str) -> Vec<String> {
        self.findings(current_dir, release).into_iter().map(|it| it.message).collect()
    }
}

#[test]
fn relative_symlink_leads_elsewhere_if_the_depth_differs() {
    let tree = Tree::new(&[
        "app/releases/1/public/a",
        "app/shared/uploads",
        "app/pin",
        "app/pinned/current",
    ]);
    tree.link("app/releases/1/public/uploads", "../../../shared/uploads");
    tree.link("app/releases/1/public/a/inside", "../../public");
    tree.link("app/releases/1/loop", "loop");
    tree.link("app/releases/1/dangling", "nowhere");
    let [finding] = tree.findings("app/pin", "app/releases/1").try_into().unwrap();
    assert_eq!(
        finding.message,
        "the symlink ROOT/app/releases/1/public/uploads -> ../../../shared/uploads leads to ROOT/app/shared/uploads for the web server, and to nothing for PHP, which sees the release at ROOT/app/pin"
    );
    assert_eq!(
        finding.help.unwrap(),
        "put current_dir as deep as the releases, such as ROOT/app/pinned/current, or make the symlink absolute"
    );
    assert!(tree.messages("app/pinned/current", "app/releases/1").is_empty());
    // Another file of the same name.
    fs::create_dir_all(tree.root.join("shared/uploads")).unwrap();
    let [message] = tree.messages("app/pin", "app/releases/1").try_into().unwrap();
    assert!(message.contains("and to ROOT/shared/uploads for PHP"), "{message}");
}

#[test]
fn symlink_out_of_the_release_that_leads_to_nothing_is_named() {
    let tree = Tree::new(&["release1", "release2/x", "current"]);
    tree.link("release1/cache", "../shared/cache");
    tree.link("release1/a\nb", "/none/of them");
    let expected = [
        "the symlink ROOT/release1/a\\nb leads to nothing: /none/of them",
        "the symlink ROOT/release1/cache leads to nothing: ../shared/cache",
    ];
    assert_eq!(tree.messages("current", "release1"), expected);
    assert_eq!(
        tree.findings("current", "release1")[0].help.as_deref().unwrap(),
        "make what it leads to, or remove it"
    );
}

/// In a generation, the name of another release leads to the generation's own release.
#[test]
fn symlink_into_another_release_leads_elsewhere() {
    let tree = Tree::new(&["release1/x", "release2/x", "release2/y", "current", "shared"]);
    tree.link("release1/x-of-2", tree.root.join("release2/x"));
    tree.link("release1/y-of-2", "../release2/y");
    tree.link("release1/own", tree.root.join("release1/x"));
    tree.link("release1/shared", "../shared");
    tree.link("shared/back", "../release1/x");
    let messages = tree.messages("current", "release1");
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages[0]
            .contains("to ROOT/release2/x for the web server, and to ROOT/release1/x for PHP"),
        "{messages:?}"
    );
    assert!(messages[1].contains("and to nothing for PHP"), "{messages:?}");
}

#[test]
fn many_symlinks_are_counted() {
    let tree = Tree::new(&["release1", "current"]);
    (0..12).for_each(|number| tree.link(&format!("release1/{number:02}"), "../none"));
    let messages = tree.messages("current", "release1");
    assert_eq!(
        (messages.len(), messages[5].as_str()),
        (6, "7 more symlinks lead elsewhere, or to nothing")
    );
}

#[test]
fn large_release_is_walked_at_once() {
    let tree = Tree::new(&["release1", "current", "shared"]);
    for dir in 0..20 {
        let dir = tree.root.join(format!("release1/{dir}"));
        fs::create_dir(&dir).unwrap();
        (0..900).for_each(|file| fs::write(dir.join(file.to_string()), "").unwrap());
        (0..20).for_each(|link| symlink("../../shared", dir.join(format!("l{link}"))).unwrap());
    }
    let begun = Instant::now();
    assert!(tree.messages("current", "release1").is_empty());
    assert!(begun.elapsed() < Duration::from_secs(20));
}
