use std::os::unix::fs::symlink;

use super::*;

fn read(
    dirs: &[&str],
    links: &[(&str, &str)],
    own: &str,
) -> std::result::Result<Siblings, Obstacle> {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    for dir in dirs {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (link, to) in links {
        symlink(to, root.join(link)).unwrap();
    }
    let release = Release::at(&root.join(own)).unwrap();
    let found = Siblings::read(&release, &root.join("current.release"), &root.join("current"));
    fs::remove_dir_all(root).unwrap();
    found.map(|mut it| {
        it.others.sort();
        it.shared.sort();
        it
    })
}

#[test]
fn releases_differ_in_their_numbers_only() {
    let dirs = ["v1.2", "v1.10", "v2.0.1", "shared", "current", "release-data1"];
    let links = [("current.release", "v1.2"), ("newest", "v1.10"), ("config", "shared/config")];
    let found = read(&dirs, &links, "v1.2").unwrap();
    assert_eq!(found.others, ["current.release", "newest", "v1.10"]);
    assert_eq!(found.shared, ["release-data1", "shared", "v2.0.1"]);
    assert_eq!(found.links, [("config".into(), "shared/config".into())]);
    assert_eq!(
        (found.own.as_ref(), found.mount_point),
        (OsStr::new("v1.2"), Some("current".into()))
    );
}

#[test]
fn commit_hashes_of_one_length_are_releases() {
    let found = read(&["ab12cd3", "1234567", "ab12cd34", "uploads"], &[], "1234567").unwrap();
    assert_eq!((found.others, found.shared.len()), (vec!["ab12cd3".into()], 2));
    let found = read(&["deadbee", "ab12cd3", "images"], &[], "deadbee").unwrap();
    assert_eq!((found.others, found.shared.len()), (vec!["ab12cd3".into()], 1));
}

#[test]
fn directory_with_the_name_releases_holds_only_releases() {
    let found =
        read(&["releases/blue", "releases/green"], &[("releases/shared", "../x")], "releases/blue");
    let found = found.unwrap();
    assert_eq!(found.others, ["green"]);
    assert_eq!(found.links, [("shared".into(), "../x".into())]);
}

#[test]
fn mount_point_below_a_directory_beside_the_releases_stays() {
    let found = read(&["release1", "release2", "current"], &[], "release1").unwrap();
    assert_eq!((found.others, found.shared.len()), (vec!["release2".into()], 0));
    let found = read(&["2", "current/3", "current/4"], &[], "current/3").unwrap();
    assert_eq!((found.others, found.mount_point), (vec!["4".into()], None));
}

#[test]
fn layout_without_recognizable_releases_is_an_obstacle() {
    let why = |dirs: &[&str], own: &str| read(dirs, &[], own).unwrap_err().why;
    assert!(why(&["blue", "green"], "blue").ends_with("its siblings may be anything"));
    let many: Vec<String> = (0..70).map(|it| format!("site{}", char::from(b'0' + it))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["release1"]).collect();
    assert!(why(&many, "release1").ends_with(" directories that are no releases"));
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("release1")).unwrap();
    fs::write(root.path().join("config.php"), "").unwrap();
    let release = Release::at(&root.path().join("release1")).unwrap();
    let obstacle = Siblings::read(&release, root.path(), root.path()).unwrap_err();
    assert!(obstacle.why.ends_with("config.php is no directory and stands beside the releases"));
}
