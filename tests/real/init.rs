//! `init`: a new pool in an empty directory, from its creation to a rollback.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

use harness::served::Served;
use harness::{Client, Ran, Site, needs_root};

const POOL: &str = "etc/php/fpm/redundant-pools/www";
const GATEWAY: [&str; 6] = ["init", "--yes", "--web-server", "gateway", "--listen", "127.0.0.1:0"];

/// A directory without a pool.
fn empty(site: Site) -> Site {
    for dir in ["etc", "www", "pid", "sockets"] {
        fs::remove_dir_all(site.path(dir)).unwrap();
    }
    site
}

fn init(site: &Site, args: &[&str]) -> Ran {
    site.run(&[&GATEWAY, args].concat())
}

/// All paths below the root, but for what the harness needs.
fn paths(site: &Site) -> Vec<String> {
    let found = Command::new("find").arg(site.root()).output().unwrap();
    let root = format!("{}/", site.root().display());
    let all = String::from_utf8(found.stdout).unwrap();
    let mut all: Vec<_> =
        all.lines().filter_map(|it| it.strip_prefix(&root)).map(str::to_owned).collect();
    all.retain(|it| !it.starts_with("php.d") && !it.starts_with("bin"));
    all.sort();
    all
}

/// Two releases, with `files` in both: `RELEASE` in a text is the name of the release.
fn add_releases(site: &Site, files: &[(&str, &str)]) {
    for release in ["release1", "release2"] {
        for (file, text) in files {
            site.write(&format!("www/{release}/{file}"), &text.replace("RELEASE", release));
        }
    }
}

const PAGE: &str = "<?php echo 'RELEASE ', $_SERVER['REQUEST_URI'];";

/// From an empty directory to a rollback, through the gateway.
fn walk(site: Site, files: &[(&str, &str)], page: &str) {
    add_releases(&site, files);
    let ran = init(&site, &["--release", "www/release1"]);
    assert!(ran.succeeds().stdout.contains("\nNext:\n  pools-manager serve "), "{ran}");
    assert!(!ran.stdout.contains("[Warning]") && !ran.stdout.contains("[Error]"), "{ran}");
    assert_eq!(fs::read_link(site.path("www/current.release")).unwrap().to_str(), Some("release1"));
    site.run(&["start"]).succeeds();
    let mut served = Served::serve(site);
    let get = |served: &Served| {
        let answer = Client::to(served.port()).get(page);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    assert_eq!(get(&served), format!("release1 {page}"));
    served.site.run(&["switch", "www", "release2"]).succeeds();
    assert_eq!(get(&served), format!("release2 {page}"));
    served.site.run(&["rollback"]).succeeds();
    assert_eq!(get(&served), format!("release1 {page}"));
    served.stop_gateway();
    served.site.run(&["stop"]).succeeds();
}

#[test]
fn plain_php_goes_from_an_empty_directory_to_a_rollback() {
    walk(empty(Site::prepared()), &[("index.php", PAGE), ("page.php", PAGE)], "/page.php");
}

#[test]
fn front_controller_goes_from_an_empty_directory_to_a_rollback() {
    let files = [("public/index.php", PAGE), ("bin/console", ""), ("index.php", "<?php exit(1);")];
    walk(empty(Site::prepared()), &files, "/blog/2?x=1");
}

#[test]
fn layout_of_wordpress_goes_from_an_empty_directory_to_a_rollback() {
    let files = [("index.php", PAGE), ("wp-load.php", ""), ("wp-admin/index.php", PAGE)];
    walk(empty(Site::prepared()), &files, "/wp-admin/index.php");
}

#[test]
fn ordinary_user_goes_from_an_empty_directory_to_a_rollback() {
    let site = empty(Site::prepared());
    add_releases(&site, &[("public/index.php", PAGE)]);
    walk(site.owned_by_ordinary_user(), &[], "/page");
}

#[test]
fn release_can_be_linked_later() {
    let site = empty(Site::prepared());
    add_releases(&site, &[("index.php", PAGE)]);
    let ran = init(&site, &[]);
    let link = site.path("www/current.release");
    assert!(
        ran.succeeds().stdout.contains(&format!("  ln -s RELEASE {}\n", link.display())),
        "{ran}"
    );
    symlink("release1", link).unwrap();
    site.run(&["check"]).succeeds();
    site.run(&["start"]).succeeds();
    site.run(&["stop"]).succeeds();
}

#[test]
fn files_are_for_the_owner_alone_to_write_whatever_the_umask_is() {
    for umask in ["000", "077"] {
        let site = empty(Site::prepared());
        add_releases(&site, &[("index.php", PAGE)]);
        let script = format!("umask {umask}; exec \"$@\"");
        let mut command = site.command("sh");
        command.args(["-c", &script, "sh"]).arg(harness::program_path("pools-manager"));
        let output = command.args(GATEWAY).args(["--release", "www/release1"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for path in paths(&site).iter().filter(|it| !it.starts_with("www/release")) {
            let metadata = fs::symlink_metadata(site.path(path)).unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            let expected = if metadata.is_dir() { 0o755 } else { 0o644 };
            assert!(
                metadata.is_symlink() || mode == expected || path.contains(".lock"),
                "{path}: {mode:o}"
            );
        }
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_is_half_written() {
    let site = empty(Site::prepared());
    add_releases(&site, &[("index.php", PAGE)]);
    let refused = |site: &Site, args: &[&str], message: &str| {
        let before = paths(site);
        let ran = init(site, args);
        assert!(ran.stderr.contains(message), "{ran}");
        assert_eq!(ran.status.code(), Some(2), "{ran}");
        assert_eq!(paths(site), before);
    };
    for (file, message) in [
        ("www/current/file", "www/current is not empty"),
        ("www/current.release", "www/current.release exists, and it is no symlink"),
        ("sockets", "sockets exists, and it is not a directory"),
        ("etc/pools-manager.toml", "etc/pools-manager.toml:1: unknown key `what`"),
        (
            "etc/php/fpm/redundant-pools/www/1.conf",
            "redundant-pools/www exists, and init overwrites nothing",
        ),
    ] {
        site.write(file, "what = 1\n");
        refused(&site, &["--release", "www/release1"], message);
        fs::remove_file(site.path(file)).unwrap();
        let _ = fs::remove_dir(site.path("www/current"));
        let _ = fs::remove_dir(site.path(POOL));
    }
    // `init` finds this file only in the middle of its work.
    site.write("etc/php/fpm/.init", "");
    let before = paths(&site);
    let ran = init(&site, &["--release", "www/release1"]);
    assert!(ran.status(1).stderr.contains("cannot open"), "{ran}");
    assert_eq!(paths(&site), before);
    fs::remove_file(site.path("etc/php/fpm/.init")).unwrap();
    symlink("release2", site.path("www/current.release")).unwrap();
    refused(
        &site,
        &["--release", "www/release1"],
        "www/current.release exists, and leads to another release",
    );
    // The existing symlink names the release.
    let ran = init(&site, &[]);
    assert!(ran.succeeds().stdout.contains("www/release2 (plain PHP)"), "{ran}");
    assert!(init(&site, &[]).status(2).stderr.contains("init overwrites nothing"));
}

#[test]
fn killed_init_is_finished_by_the_next_one() {
    for at in 1..=3 {
        let site = empty(Site::prepared());
        add_releases(&site, &[("index.php", PAGE)]);
        let args = [&GATEWAY, &["--release", "www/release1"][..]].concat();
        let killed = site.run_with(&args, |it| {
            it.env("POOLS_MANAGER_TEST_AT", format!("KILL {at}"));
        });
        killed.killed_by(rustix::process::Signal::KILL);
        assert!(!site.path(POOL).exists(), "{killed}");
        site.run(&args).succeeds();
        let left: Vec<_> = paths(&site).into_iter().filter(|it| it.contains("/.init")).collect();
        assert!(left.is_empty(), "{left:?}");
        site.run(&["start"]).succeeds();
        site.run(&["stop"]).succeeds();
    }
}

#[test]
fn one_of_several_simultaneous_inits_creates_the_pool() {
    let site = empty(Site::prepared());
    add_releases(&site, &[("index.php", PAGE)]);
    let args = [&GATEWAY, &["--release", "www/release1"][..]].concat();
    let all: Vec<_> = (0..3).map(|_| site.spawn(&args)).collect();
    let all: Vec<Ran> = all.into_iter().map(harness::Program::finish).collect();
    let status = |expected| all.iter().filter(|ran| ran.status.code() == Some(expected)).count();
    assert_eq!((status(0), status(2) + status(3)), (1, 2), "{all:#?}");
    site.run(&["start"]).succeeds();
    site.run(&["stop"]).succeeds();
}

#[test]
fn full_disk_leaves_nothing_behind() {
    needs_root!();
    let site = empty(Site::prepared());
    let disk = harness::Disk::on(&site, "small", "size=16k");
    site.write("small/release/index.php", "<?php");
    let root = site.path("small");
    let before = paths(&site);
    let ran = site.run(
        &[&["--root", root.to_str().unwrap()], &GATEWAY[..], &["--release", "small/release"]]
            .concat(),
    );
    assert!(ran.status(1).stderr.contains("No space left on device"), "{ran}");
    assert_eq!(paths(&site), before);
    drop(disk);
}

#[test]
fn second_pool_has_its_own_directory() {
    let site = empty(Site::prepared());
    add_releases(&site, &[("index.php", PAGE)]);
    init(&site, &["--release", "www/release1"]).succeeds();
    let ran = init(&site, &["blog", "--release", "www/release2", "--host", "blog.example"]);
    ran.succeeds();
    let release = fs::canonicalize(site.path("blog/current.release")).unwrap();
    assert!(release.ends_with("www/release2"));
    site.run(&["start"]).succeeds();
    site.run(&["stop"]).succeeds();
    let ran = init(&site, &["shop", "--dir", "blog"]);
    assert!(ran.status(2).stderr.contains("another pool has"), "{ran}");
}

#[test]
fn releases_of_a_deploy_tool_keep_their_layout() {
    let site = empty(Site::prepared());
    site.write("app/releases/1/public/index.php", PAGE);
    init(&site, &["--release", "app/releases/1"]).succeeds();
    let settings = site.read(&format!("{POOL}/pools-manager.toml"));
    assert!(settings.contains("\ncurrent_release_symlink = \"app/current\"\n"), "{settings}");
    assert!(settings.contains("\ncurrent_dir = \"app/pinned/current\"\n"), "{settings}");
    assert_eq!(fs::read_link(site.path("app/current")).unwrap().to_str(), Some("releases/1"));
    site.run(&["start"]).succeeds();
    site.run(&["stop"]).succeeds();
}

#[test]
fn existing_pool_is_taken_over() {
    needs_root!();
    let site = empty(Site::prepared());
    add_releases(
        &site,
        &[(
            "index.php",
            "<?php echo getenv('WORDS'), '|', getenv('NO'), '|', ini_get('memory_limit');",
        )],
    );
    let old = "[old]\nuser = nobody\ngroup = nogroup\nlisten = /run/old.sock\nlisten.owner = www-data\nlisten.mode = 0600\n\
               pm = static\npm.max_children = 3\npm.max_requests = 77\naccess.log = ROOT/old.access\n\
               access.format = \"%R \\\"%m\\\" %{mili}d\"\nslowlog = ROOT/old.slow\nrequest_slowlog_timeout = 5s\n\
               env[WORDS] = \"a; b = 'c'\"\nenv[NO] = \"no\"\nphp_admin_value[memory_limit] = 77M\nphp_flag[display_errors] = off\n";
    site.write("old.conf", &old.replace("ROOT", &site.root().display().to_string()));
    let from = site.path("old.conf");
    let ran = init(&site, &["--release", "www/release1", "--from", from.to_str().unwrap()]);
    for line in [
        "  listen = /run/old.sock: each replica listens on a socket of its own\n",
        "access: each replica has a file of its own in\n",
        "  PHP runs as: nobody, group nogroup\n",
    ] {
        assert!(ran.succeeds().stdout.contains(line), "{line}{ran}");
    }
    let conf = site.read(&format!("{POOL}/pool.conf"));
    for line in [
        "user = nobody",
        "group = nogroup",
        "listen.owner = www-data",
        "listen.mode = 0600",
        "pm = static",
        "pm.max_children = 3",
        "pm.max_requests = 77",
        "access.log = pid/php-fpm-$pool.access.log",
        "slowlog = pid/php-fpm-$pool.slow.log",
        "request_slowlog_timeout = 5s",
        ";   listen = /run/old.sock: each replica listens on a socket of its own",
    ] {
        assert!(conf.lines().any(|it| it == line), "{line}\n{conf}");
    }
    for default in ["clear_env", "rlimit", "log_limit", "process.dumpable", "pm.start_servers"] {
        assert!(!conf.contains(default), "{default}\n{conf}");
    }
    let mut served = Served::serve(site);
    let answer = Client::to(served.port()).get("/");
    assert_eq!(answer.body, "a; b = 'c'|no|77M");
    served.stop_gateway();
    served.site.run(&["stop"]).succeeds();
    assert!(served.site.path("pid/php-fpm-www1.access.log").exists());
}

#[test]
fn bad_options_are_refused_before_anything_is_created() {
    let site = empty(Site::prepared());
    add_releases(&site, &[("index.php", PAGE)]);
    site.write("two.conf", "[a]\nuser=nobody\nlisten=/a\npm=static\npm.max_children=1\n[b]\nuser=nobody\nlisten=/b\npm=static\npm.max_children=1\n");
    site.write("bad.conf", "[a]\npmm = 3\n");
    let before = paths(&site);
    for (args, message) in [
        (&["a b"][..], "\"a b\" is no name for a pool"),
        (&["all"], "\"all\" is a word of the command line"),
        (&["--php", "1.1"], "php-fpm1.1 is not installed"),
        (&["--release", "none"], "the release none: No such file"),
        (&["--release", "two.conf"], "two.conf is not a directory"),
        (&["--release", "www/release1", "--document-root", "public"], "there is no "),
        (&["--release", "www"], "holds current_dir"),
        (&["--dir", "etc"], "etc/ is no directory for releases"),
        (&["--from", "none"], "cannot read none: No such file"),
        (&["--from", "/dev/null"], "cannot read /dev/null: it is not a file"),
        (&["--from", "two.conf"], "it has [a], [b]"),
        (&["--from", "bad.conf"], "unknown entry 'pmm'"),
    ] {
        let ran = init(&site, args);
        assert!(ran.status(2).stderr.contains(message), "{message}\n{ran}");
    }
    let ran = site.run(&["init", "--yes", "--web-server", "nginx", "--document-root", "x"]);
    assert!(ran.status(2).stderr.contains("are for the gateway"), "{ran}");
    assert_eq!(paths(&site), before);
}

/// Runs `init` on a terminal, with these lines as its input.
fn on_a_terminal(site: &Site, args: &str, input: &str) -> Output {
    let program = site.manager(&[]).get_program().to_owned();
    let line = format!("{} init {args}", program.display());
    let mut command = site.command("timeout");
    command.args(["50", "script", "-qec", &line, "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn questions_are_asked_on_a_terminal() {
    let site = empty(Site::prepared());
    add_releases(&site, &[("public/index.php", PAGE), ("public/sub/index.php", PAGE)]);
    let site = site.owned_by_ordinary_user();
    let answers =
        "a b\nshop\nnowhere\nwww/release1\nno-root\npublic/sub\nUPPER\na.example b.example\ny\n";
    let done = on_a_terminal(&site, "--web-server gateway --listen 127.0.0.1:0", answers);
    let shown = String::from_utf8_lossy(&done.stdout);
    for text in [
        "Name of the pool [www]: ",
        "\"a b\" is no name for a pool",
        "the release nowhere: No such file",
        "Document root, below the release (/: the release itself) [public/]: ",
        "\"UPPER\" is not a host name",
        "Create this pool? [Y]: ",
        "pools-manager serve",
    ] {
        assert!(shown.contains(text), "{text}\n{shown}");
    }
    let settings = site.read("etc/php/fpm/redundant-pools/shop/pools-manager.toml");
    assert!(settings.contains("\nhosts = [\"a.example\", \"b.example\"]\n"), "{settings}");
    assert!(settings.contains("\ndocument_root = \"public/sub\"\n"), "{settings}");
}

#[test]
fn answer_no_or_end_of_input_creates_nothing() {
    let site = empty(Site::prepared());
    add_releases(&site, &[("index.php", PAGE)]);
    let site = site.owned_by_ordinary_user();
    let before = paths(&site);
    for (input, message) in [
        ("n\n", "not created, as you wish"),
        ("what\nn\n", "answer y or n"),
        ("\u{4}", "there is no answer: the input has ended"),
    ] {
        let done = on_a_terminal(&site, "www --web-server nginx --release www/release1", input);
        let shown = String::from_utf8_lossy(&done.stdout);
        assert!(shown.contains(message), "{message}\n{shown}");
        assert_eq!(done.status.code(), Some(2), "{shown}");
        assert_eq!(paths(&site), before);
    }
}
