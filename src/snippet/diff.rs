//! `snippet --diff`: settings in an existing configuration of a web server that would lose requests, run
//! a form twice, or give a replica a script of another release.
//!
//! Each web server's file is read as its own parser reads it, as far as lines, words, quotes, comments
//! and blocks go. Included files are named, and not read.

mod apache;
mod blocks;
mod caddy;
mod haproxy;
mod lines;
mod nginx;

use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::Kind;

/// A setting that would lose requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trap {
    /// The line of the file, from 1.
    pub line: usize,
    /// What happens, in one sentence without a final full stop.
    pub message: String,
    /// What to write there.
    pub help: String,
}

/// A file that the configuration includes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Include {
    /// The line of the file, from 1.
    pub line: usize,
    /// The file or the pattern, as it is written.
    pub file: String,
}

/// What was found in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// By line.
    pub traps: Vec<Trap>,
    /// By line.
    pub includes: Vec<Include>,
}

/// What the pools need of a web server.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The root of the pools. Relative paths are relative to it. A socket outside of it belongs to no pool.
    pub root: PathBuf,
    /// Where replicas see their releases. Empty: no pool pins its releases.
    pub current_dirs: Vec<PathBuf>,
}

/// Looks through the text of a configuration.
pub fn diff(kind: Kind, text: &str, wanted: &Wanted) -> Found {
    let mut found = Found::default();
    match kind {
        Kind::Apache => apache::look(text, wanted, &mut found),
        Kind::Haproxy => haproxy::look(text, wanted, &mut found),
        Kind::Nginx => nginx::look(text, wanted, &mut found),
        Kind::Caddy => caddy::look(text, wanted, &mut found),
    }
    found.traps.sort_by_key(|trap| trap.line);
    found.traps.dedup();
    found
}

/// The web server whose words a configuration has; None: those of none, or of several.
pub fn recognize(text: &str) -> Option<Kind> {
    const WORDS: [(Kind, &[&str]); 4] = [
        (Kind::Nginx, &["fastcgi_pass", "fastcgi_param", "server_name", "proxy_pass"]),
        (Kind::Haproxy, &["fcgi-app", "frontend", "backend", "use-fcgi-app", "default_backend"]),
        (
            Kind::Apache,
            &["BalancerMember", "ProxyPass", "ProxyPassMatch", "SetHandler", "<VirtualHost"],
        ),
        (Kind::Caddy, &["php_fastcgi", "reverse_proxy", "file_server"]),
    ];
    let firsts: Vec<&str> =
        text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let is_one = |words: &[&str]| firsts.iter().any(|first| words.contains(first));
    let mut kinds = WORDS.iter().filter(|(_, words)| is_one(words));
    let kind = kinds.next()?.0;
    kinds.next().is_none().then_some(kind)
}

impl Found {
    fn trap(&mut self, line: usize, message: impl Into<String>, help: impl Into<String>) {
        self.traps.push(Trap { line, message: message.into(), help: help.into() });
    }

    fn include(&mut self, line: usize, file: &str) {
        self.includes.push(Include { line, file: file.to_owned() });
    }

    /// Checks a directory of scripts, as written.
    fn scripts(&mut self, line: usize, what: &str, dir: &str, wanted: &Wanted) {
        if wanted.is_right(dir) {
            return;
        }
        let dirs: Vec<String> =
            wanted.current_dirs.iter().map(|dir| dir.display().to_string()).collect();
        self.trap(
            line,
            format!("{what} takes scripts from {dir}, which is not current_dir: a replica runs whatever release that leads to at the moment"),
            format!("take scripts from {} or a directory below it; static files can stay where they are", dirs.join(" or ")),
        );
    }
}

impl Wanted {
    /// Whether a directory of scripts is `current_dir` of a pool, or below it. True if that is not
    /// known: no pool pins its releases, or the path contains a variable.
    fn is_right(&self, dir: &str) -> bool {
        if self.current_dirs.is_empty() || dir.contains(['$', '{', '%']) {
            return true;
        }
        let dir = normal(&self.root.join(dir));
        self.current_dirs.iter().any(|right| dir.starts_with(normal(right)))
    }

    /// Whether a socket belongs to an application that is not one of these pools.
    fn is_elsewhere(&self, socket: &str) -> bool {
        !normal(&self.root.join(socket)).starts_with(&self.root)
    }
}

/// A path without `.` and `..`, by its words alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            component => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests;
