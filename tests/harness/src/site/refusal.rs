//! Commands that must change nothing.

use rustix::process::Pid;
use serde_json::Value;

use super::files::Files;
use super::{Ran, Site};

/// All that a refused command must leave as it is.
#[derive(Debug, PartialEq)]
struct Standing {
    files: Files,
    masters: Vec<Pid>,
    members: Vec<String>,
}

impl Site {
    /// Runs a command that must be refused with exactly this error. It must change nothing, and
    /// fail no request. In `stderr`, ROOT stands for the root, and PORT for Apache's port.
    pub fn refuses(&self, args: &[&str], stderr: &str) {
        let ran = self.unchanged_by(|| self.run(args));
        assert_eq!(self.shown(&ran.stderr), stderr, "standard error\n{ran}");
        ran.status(2);
        // No step has begun.
        assert!(ran.stdout.lines().all(|line| line.starts_with("Redundant pool ")), "{ran}");
        let names_a_pool = args.get(1).is_some_and(|word| !word.starts_with('-') && *word != "all");
        let is_of_all = !names_a_pool && !args.contains(&"--root");
        if matches!(args[0], "start" | "restart") && is_of_all {
            self.check_refuses(stderr);
        }
    }

    /// Runs `check`, which must report this error of a command, and change nothing.
    pub fn check_refuses(&self, stderr: &str) {
        let ran = self.unchanged_by(|| self.run(&["check", "--json"]));
        ran.status(2);
        if ran.stdout.is_empty() {
            // A mistake in the command line, or in the root.
            assert_eq!(self.shown(&self.run(&["check"]).stderr), stderr);
            return;
        }
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        let pools = document["pools"].as_array().unwrap();
        let topics = [&document].into_iter().chain(pools).filter_map(|it| it["topics"].as_array());
        let findings = topics.flatten().filter_map(|topic| topic["findings"].as_array()).flatten();
        let errors = findings.filter(|finding| finding["level"] == "error");
        let shown = |error: &Value| {
            let text = |key: &str| self.shown(error[key].as_str().unwrap_or_default());
            format!("error: {}\n  help: {}\n", text("message"), text("help"))
        };
        let found: Vec<String> = errors.map(shown).collect();
        assert!(
            found.iter().any(|it| it == stderr),
            "check does not say\n{stderr}\nbut\n{}",
            found.concat()
        );
    }

    /// Runs something that must change nothing, on a site that serves release 1, or is stopped.
    pub fn unchanged_by(&self, run: impl FnOnce() -> Ran) -> Ran {
        let before = self.standing();
        let ran = run();
        assert_eq!(self.standing(), before, "{ran}");
        if !before.masters.is_empty() && self.apache.is_some() {
            for _ in 0..2 {
                assert_eq!(self.get("/ping.php").body, "pong1\n", "{ran}");
            }
        }
        ran
    }

    /// A text without what differs from site to site.
    pub fn shown(&self, text: &str) -> String {
        let text = text.replace(&self.root().display().to_string(), "ROOT");
        match &self.apache {
            Some(apache) => text.replace(&format!(":{}/", apache.port()), ":PORT/"),
            None => text,
        }
    }

    /// Not read by way of the manager: its configuration may be what is wrong.
    fn standing(&self) -> Standing {
        Standing {
            files: self.files(),
            masters: self.all_masters(),
            members: self.members_of_apache(),
        }
    }

    fn members_of_apache(&self) -> Vec<String> {
        let Some(apache) = &self.apache else { return Vec::new() };
        let page = "/balancer-manager";
        let referer = format!("Referer: http://localhost:{}{page}\r\n", apache.port());
        let answer = self.client().get_as(&referer, &format!("{page}?xml=1"));
        let statuses = answer.body.split("<httpd:status>").skip(1);
        statuses.filter_map(|rest| Some(rest.split_once('<')?.0.to_owned())).collect()
    }

    /// Changes a file while `then` runs.
    pub fn while_changed(&self, file: &str, from: &str, to: &str, then: impl FnOnce()) {
        let text = self.read(file);
        self.replace(file, from, to);
        then();
        self.write(file, &text);
    }

    /// Moves a file or a directory away while `then` runs.
    pub fn while_moved_away(&self, below: &str, then: impl FnOnce()) {
        let (path, away) = (self.path(below), self.path("moved-away"));
        std::fs::rename(&path, &away).unwrap();
        then();
        std::fs::rename(&away, &path).unwrap();
    }
}
