//! What a person sees on a terminal: its width, colours, names in place of paths.

use std::io::Read;
use std::process::Stdio;
use std::thread;

use harness::Site;

/// What a command shows on a terminal of this width, as `script` of util-linux records it.
fn shown(site: &Site, width: u32, args: &str, environment: &[(&str, &str)]) -> (String, i32) {
    let program = harness::program_path("pools-manager");
    let mut script = site.command("script");
    let line = format!("stty cols {width} rows 50; {} {args}", program.display());
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env("TERM", "xterm").envs(environment.iter().copied());
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    // The input of `script` stays open, because `script` ends the program at the end of its input.
    let _input = child.stdin.take();
    let text = thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let status = child.wait().unwrap().code().unwrap();
    (text.join().unwrap().replace("\r\n", "\n"), status)
}

const LONG: &str = "2026-11-22-153000-abcdef1";

#[test]
fn status_fits_the_terminal_and_names_the_release() {
    let site = Site::new();
    std::fs::rename(site.path("www/release2"), site.path("www").join(LONG)).unwrap();
    site.switch(LONG);
    site.run(&["start"]).succeeds();
    site.run(&["stop", "www", "2"]).succeeds();
    let plain = [("NO_COLOR", "1")];
    for width in [60, 80, 120] {
        let helps = ["restart --help", "hold --help", "maintenance on --help", "serve --help"];
        for command in ["status", "list", "history", "check", "releases www"].iter().chain(&helps) {
            let (text, status) = shown(&site, width, command, &plain);
            assert_eq!(status, 0, "{text}");
            let root = site.root().display().to_string();
            // A path stays whole.
            let is_long =
                |line: &&str| line.chars().count() > width as usize && !line.contains(&root);
            assert_eq!(text.lines().find(is_long), None, "{width} {text}");
            assert!(!text.contains('\x1b'), "{text:?}");
        }
    }
    let (text, _) = shown(&site, 120, "status", &plain);
    let one = format!(
        "  Status for replica 1 [OK]  (LB=\"Init Ok\", ping_php=\"pong\", current=\"{LONG}\")\n"
    );
    let two = "  Status for replica 2 [Stopped]  (LB=\"Init Drn Ok\", ping_php=\"not running\", current=\"\")\n";
    assert_eq!(text, format!("Redundant pool \"www\"...\n{one}{two}"));
    let (text, _) = shown(&site, 200, "status --paths", &plain);
    let path = site.path("www").join(LONG).display().to_string();
    assert!(text.contains(&format!("current=\"{path}\"")), "{text}");
    // Another program reads the lines of the original.
    let ran = site.run(&["status"]);
    assert!(ran.succeeds().stdout.contains(&format!("current=\"{path}\")\n")), "{ran}");
}

#[test]
fn colours_are_for_terminals() {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    let green = "\x1b[32m[OK]\x1b[0m";
    let is_green = |args: &str, environment: &[(&str, &str)]| {
        shown(&site, 120, args, environment).0.contains(green)
    };
    assert!(is_green("status", &[]));
    assert!(is_green("status --color always", &[("NO_COLOR", "1")]));
    assert!(!is_green("status", &[("NO_COLOR", "1")]));
    assert!(!is_green("--color=never status", &[]));
    assert!(!is_green("status", &[("TERM", "dumb")]));
    let plain = |args: &[&str]| site.run(args);
    assert!(!plain(&["status"]).stdout.contains('\x1b'));
    assert!(plain(&["status", "--color", "always"]).stdout.contains(green));
    assert!(plain(&["restart", "--color", "always"]).stdout.contains(green));
    for args in
        [&["status", "--json", "--color", "always"][..], &["stat", "--json", "--color=always"]]
    {
        assert!(!plain(args).to_string().contains('\x1b'));
    }
    // clap follows the same rule.
    let red = "\x1b[1m\x1b[31merror:\x1b[0m";
    assert!(plain(&["stat", "--color", "always"]).stderr.contains(red));
    assert!(!plain(&["stat"]).stderr.contains('\x1b'));
    assert!(plain(&["status", "wwww", "--color", "always"]).stderr.starts_with(red));
}

#[test]
fn live_lines_end_as_the_classic_ones() {
    let site = Site::new();
    let (text, status) = shown(&site, 60, "start", &[("NO_COLOR", "1")]);
    assert_eq!(status, 0, "{text}");
    for replica in [1, 2] {
        assert!(text.contains(&format!("  Starting replica {replica} ")), "{text:?}");
    }
    assert!(text.contains("[OK]"), "{text:?}");
    site.is_in_order_on("release1");
}
