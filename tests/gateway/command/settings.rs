//! Mistakes in `[command]`.

use harness::needs_root;
use harness::served::Served;

use super::site::{CommandSite, FILE, PYTHON_FD, add_release, settings};

/// The error of `start` and of `check` for these lines of `[command]`.
fn refused(run: &str) -> String {
    let site = Served::site("", "");
    site.write(FILE, &settings(run, "", ""));
    add_release(&site, 1);
    site.switch("r1");
    let ran = site.run(&["start"]);
    ran.status(2);
    let checked = site.run(&["check"]);
    let first = ran.stderr.lines().next().unwrap().trim_start_matches("error: ").to_owned();
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains(&first), "check says something else than {first:?}: {said}");
    assert!(ran.stderr.contains("\n  help: "), "{}", ran.stderr);
    let root = format!("{}/", site.root().display());
    ran.stderr.replace(&root, "")
}

#[test]
fn mistakes_are_errors_with_file_and_help() {
    needs_root!();
    let http = "protocol = \"http\"\n";
    let cases = [
        (
            "run = [\"nosuchprogram\"]\nlisten = \"fd3\"\n",
            "the program nosuchprogram is not in PATH",
        ),
        (
            "run = [\"{release}/release.txt\"]\nlisten = \"fd3\"\n",
            "www/r1/release.txt is no program",
        ),
        ("run = [\"{release}/x\"]\nlisten = \"fd3\"\n", "www/r1/x does not exist"),
        (
            "run = [\"php\", \"{prot}\"]\n",
            "unknown placeholder {prot} in \"{prot}\"\n  help: did you mean `{port}`?",
        ),
        ("run = [\"php\"]\n", "[command] does not say how the server gets its connections"),
        ("run = []\nlisten = \"fd3\"\n", "run names no program"),
        ("run = [\"php\"]\nlisten = \"port\"\n", "listen is \"port\", but {port} is nowhere"),
        ("run = [\"php\", \"{port}\"]\nlisten = \"fd3\"\n", "{port} is for listen = \"port\""),
        ("run = [\"php\", \"{port}{socket}\"]\n", "[command] has {socket} and {port}"),
        ("run = [\"php\"]\nlisten = \"fd4\"\n", "unknown value `fd4`"),
        ("run = [\"php\"]\nlisten = \"fd3\"\nreplicas = 0\n", "replicas is 0"),
        (
            "run = [\"php\"]\nlisten = \"fd3\"\nsocket = \"sockets/www.sock\"\n",
            "all replicas would have the same public socket name",
        ),
        ("run = [\"php\"]\nlisten = \"fd3\"\nsocket_mode = \"abc\"\n", "\"abc\" is not a mode"),
        (
            "run = [\"php\"]\nlisten = \"fd3\"\nhealth_path = \"health\"\n",
            "the health_path \"health\" is not a path",
        ),
        (
            "run = [\"php\"]\nlisten = \"fd3\"\nstop_signal = \"KILL\"\n",
            "\"KILL\" is not a signal that ends a server",
        ),
        (
            "run = [\"php\"]\nlisten = \"fd3\"\ndirectory = \"../x\"\n",
            "\"../x\" is not a path below the release",
        ),
        (
            "run = [\"php\"]\nlisten = \"fd3\"\ndirectory = \"nowhere\"\n",
            "www/r1/nowhere does not exist",
        ),
        (
            "run = [\"php\"]\nlisten = \"fd3\"\nproceses = 2\n",
            "unknown key `proceses`\n  help: did you mean `processes`?",
        ),
    ];
    for (run, expected) in cases {
        let said = refused(&format!("{run}{http}"));
        assert!(said.contains(FILE), "{said}");
        assert!(said.contains(expected), "{run}: {said}");
    }
    let long = "x".repeat(80);
    let long =
        format!("run = [\"php\"]\nlisten = \"fd3\"\nsocket = \"sockets/{long}{{replica}}\"\n");
    let said = refused(&format!("{long}{http}"));
    assert!(said.contains("bytes, and the kernel takes 107 at most"), "{said}");
    assert!(said.contains("shorten `socket` in [command]"), "{said}");
    let said = refused("run = [\"php\"]\nlisten = \"fd3\"\n");
    assert!(said.contains("missing key `protocol`"), "{said}");
    let limits = "[limits]\nmax_requests = 5\n";
    let said = refused(&format!("run = [\"php\"]\nlisten = \"fd3\"\n{http}{limits}"));
    assert!(said.contains("max_requests has no effect in a pool with [command]"), "{said}");
}

#[test]
fn account_must_exist_and_be_named() {
    needs_root!();
    let text = settings(PYTHON_FD, "", "");
    for (from, to, expected) in [
        ("user = \"www-data\"\n", "", "[command] names no user, and you are root"),
        ("\"www-data\"", "\"nosuchuser\"", "there is no user \"nosuchuser\""),
        ("user = \"www-data\"\n", "group = \"www-data\"\n", "[command] has group but no user"),
    ] {
        let site = Served::site("", "");
        site.write(FILE, &text.replace(from, to));
        add_release(&site, 1);
        site.switch("r1");
        let ran = site.run(&["start"]);
        ran.status(2);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(site.run(&["check"]).stdout.contains(expected));
    }
}

#[test]
fn pool_has_one_kind_of_server() {
    needs_root!();
    let site = CommandSite::new(PYTHON_FD).site;
    let text = site.read(FILE);
    site.write(FILE, &format!("{text}\n[php]\n"));
    let ran = site.run(&["start"]);
    ran.status(2);
    assert!(ran.stderr.contains("there are both [php] and [command]"), "{}", ran.stderr);
    site.write(FILE, "[gateway]\n");
    let ran = site.run(&["start"]);
    ran.status(2);
    assert!(ran.stderr.contains("there is no table [php]"), "{}", ran.stderr);
}
