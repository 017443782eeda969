use super::*;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

const PATH: &str = "site/pid/www.1.g1.conf";

/// A directory of the user who runs the tests, in the sticky `/tmp`.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    fs::create_dir_all(dir.path().join("site/pid")).unwrap();
    fs::write(dir.path().join(PATH), "").unwrap();
    for below in ["site", "site/pid"] {
        set_mode(&dir.path().join(below), 0o755);
    }
    set_mode(&dir.path().join(PATH), 0o644);
    dir
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn found(dir: &tempfile::TempDir) -> Vec<(String, String)> {
    let shown = |text: String| text.replace(&dir.path().display().to_string(), "DIR");
    let problems = problems([dir.path().join(PATH)]);
    problems.into_iter().map(|it| (shown(it.message), shown(it.hint.unwrap_or_default()))).collect()
}

fn messages(dir: &tempfile::TempDir) -> Vec<String> {
    found(dir)
        .into_iter()
        .map(|(message, _)| message.split_once(": ").unwrap().0.to_owned())
        .collect()
}

#[test]
fn private_path_has_no_problem() {
    let dir = site();
    assert_eq!(found(&dir), []);
    assert!(problems([dir.path().join("absent/pid")]).is_empty());
    assert!(problems([PathBuf::from("/tmp")]).len() == 1, "the directory itself is not above");
}

#[test]
fn each_writable_place_is_reported_with_help() {
    let dir = site();
    let name = user_name(geteuid());
    let end = format!(": others can decide what {name} starts, stops and deletes");
    for (below, mode) in [("site", 0o777), ("site/pid", 0o757), (PATH, 0o646)] {
        let before = fs::metadata(dir.path().join(below)).unwrap().mode();
        set_mode(&dir.path().join(below), mode);
        let message = format!("DIR/{below} can be written by every user (mode 0{mode:o}){end}");
        assert_eq!(found(&dir), [(message, format!("chmod o-w DIR/{below}"))]);
        set_mode(&dir.path().join(below), before & 0o7777);
    }
    assert_eq!(found(&dir), []);
}

#[test]
fn sticky_directory_protects_its_entries() {
    let dir = site();
    set_mode(&dir.path().join("site"), 0o1777);
    assert_eq!(found(&dir), []);
    assert_eq!(problems([dir.path().join("site")]).len(), 1);
}

#[test]
fn path_of_another_user_is_refused() {
    if !geteuid().is_root() {
        return; // only root can give a file to another user
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    for below in ["site", "site/pid", PATH] {
        let dir = site();
        chown(dir.path().join(below), Some(nobody.uid.as_raw()), None).unwrap();
        let (message, help) = found(&dir).remove(0);
        let owner = format!("DIR/{below} belongs to nobody (uid {})", nobody.uid);
        assert!(message.starts_with(&owner), "{message}");
        assert_eq!(help, format!("chown root DIR/{below}"));
        // The file is no problem for its owner, but it is one for another ordinary user.
        let as_user = |uid| {
            let checker = Checker { euid: uid };
            places(&dir.path().join(PATH)).iter().filter_map(|it| checker.problem(it)).count()
        };
        assert_eq!(as_user(nobody.uid), 0);
        assert_eq!(as_user(Uid::from_raw(nobody.uid.as_raw() - 1)), 1);
    }
}

#[test]
fn group_with_other_members_is_not_trusted() {
    if !geteuid().is_root() {
        return;
    }
    let dir = site();
    set_mode(&dir.path().join("site/pid"), 0o775);
    assert_eq!(found(&dir), []);
    let www_data = Group::from_name("www-data").unwrap().unwrap();
    chown(dir.path().join("site/pid"), None, Some(www_data.gid.as_raw())).unwrap();
    assert_eq!(messages(&dir), ["DIR/site/pid can be written by the group www-data (mode 0775)"]);
}

#[test]
fn places_on_the_way_of_a_symlink_are_checked() {
    let dir = site();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("open")).unwrap();
    fs::rename(at(PATH), at("open/conf")).unwrap();
    symlink("../../open/conf", at(PATH)).unwrap();
    assert_eq!(messages(&dir), [""; 0]);
    set_mode(&at("open"), 0o777);
    assert_eq!(messages(&dir), ["DIR/open can be written by every user (mode 0777)"]);
    set_mode(&at("open"), 0o755);
    symlink("loop", at("loop")).unwrap();
    assert!(problems([at("loop/x")]).is_empty(), "a loop ends");
    if geteuid().is_root() {
        // In a sticky directory, the owner of a link can replace it.
        std::os::unix::fs::lchown(at(PATH), Some(65_534), None).unwrap();
        assert_eq!(messages(&dir), [""; 0]);
        set_mode(&at("site/pid"), 0o1777);
        let message = messages(&dir).remove(0);
        assert!(
            message.starts_with("the symlink DIR/site/pid/www.1.g1.conf belongs to"),
            "{message}"
        );
    }
}

/// An access control list of `acl(5)`, as the kernel stores it.
#[test]
fn access_control_list_is_checked() {
    let dir = site();
    let pid = dir.path().join("site/pid");
    let mut list = 2_u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    let entries = [(1, 7, none), (2, 7, 65_534), (4, 5, none), (0x10, 7, none), (0x20, 5, none)];
    for (tag, rights, id) in entries {
        list.extend(u16::to_le_bytes(tag));
        list.extend(u16::to_le_bytes(rights));
        list.extend(u32::to_le_bytes(id));
    }
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(&pid, "system.posix_acl_access", &list, flags).is_err() {
        return; // the filesystem has no access control lists
    }
    let message = "DIR/site/pid can be written by others: its access control list says so: others \
                   can decide what";
    let (text, help) = found(&dir).remove(0);
    assert!(text.starts_with(message), "{text}");
    assert_eq!(help, "setfacl -b DIR/site/pid; chmod g-w DIR/site/pid");
}
