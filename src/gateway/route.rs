//! What answers a path: a file of the release, or a script.

use std::fs::File;
use std::sync::Arc;

use hyper::StatusCode;
use rustix::fs::Stat;

use super::lookup::{Found, Lookup};
use super::path::{Path, is_script};
use super::refusal::Refusal;
use super::table::Served;
use crate::config::Gateway;

/// What answers a path.
#[derive(Debug)]
pub(super) enum Target {
    /// A file, as it is.
    File(StaticFile),
    /// PHP.
    Script(Script),
    /// It is a directory: its name ends with a slash.
    AddSlash,
}

/// A file that is sent as it is.
#[derive(Debug)]
pub(super) struct StaticFile {
    /// Its path below the document root.
    pub path: String,
    /// Open for reading.
    pub file: Arc<File>,
    /// What the kernel knows of it.
    pub stat: Box<Stat>,
}

/// A script of the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// Its path below the document root.
    pub path: String,
    /// What follows it in the URL, decoded, with its slash; empty for nothing.
    pub info: Vec<u8>,
}

/// Finds the file or script that answers a path, in a release. A path that `deny` names gets 403,
/// whether it exists or not; so does a path whose file or script `deny` names.
pub(super) fn route(served: &Served, settings: &Gateway, path: &Path) -> Result<Target, Refusal> {
    if !settings.deny.is_empty() && settings.denies(&String::from_utf8_lossy(&path.relative())) {
        return Err(denied());
    }
    let router =
        Router { served, settings, lookup: Lookup { follow_symlinks: settings.follow_symlinks } };
    if let Some(target) = router.find(path)? {
        let is_denied = match &target {
            Target::File(file) => settings.denies(&file.path),
            Target::Script(script) => settings.denies(&script.path) && !is_front(settings, script),
            Target::AddSlash => false,
        };
        return if is_denied { Err(denied()) } else { Ok(target) };
    }
    let front = settings.front_controller.get_ref();
    if front.is_empty() || !served.has_script(router.lookup, front)? {
        return Err(not_found());
    }
    Ok(Target::Script(Script { path: front.clone(), info: Vec::new() }))
}

struct Router<'a> {
    served: &'a Served,
    settings: &'a Gateway,
    lookup: Lookup,
}

impl Router<'_> {
    /// What the path itself names.
    fn find(&self, path: &Path) -> Result<Option<Target>, Refusal> {
        // What follows a script in the path is its own: a name that begins with a dot hides no file
        // there.
        if let Some(script) = self.script(path)? {
            return Ok(Some(script));
        }
        if path.is_hidden() {
            return Err(not_found());
        }
        self.file_or_index(path)
    }

    fn file_or_index(&self, path: &Path) -> Result<Option<Target>, Refusal> {
        let relative = path.relative();
        if path.is_directory {
            return self.index(&relative);
        }
        match self.lookup.open(&self.served.document_root, &relative)? {
            Found::Nothing => Ok(None),
            Found::Directory => Ok(self.index(&relative)?.is_some().then_some(Target::AddSlash)),
            Found::File(file, stat) => {
                // With a name that is not UTF-8 it is sent, but nothing else is known by that name.
                let path = String::from_utf8_lossy(&relative).into_owned();
                if is_code(&path) {
                    return Err(not_found());
                }
                Ok(Some(Target::File(StaticFile { path, file, stat })))
            }
        }
    }

    /// A script, named by the path or by its beginning. One that is there and may not be run is
    /// not passed on to another.
    fn script(&self, path: &Path) -> Result<Option<Target>, Refusal> {
        for (script, info) in path.scripts() {
            if self.served.has_script(self.lookup, &script)? {
                return self.run(script, info).map(Some);
            }
        }
        Ok(None)
    }

    fn run(&self, path: String, info: Vec<u8>) -> Result<Target, Refusal> {
        if self.settings.allows(&path) {
            Ok(Target::Script(Script { path, info }))
        } else {
            Err(not_found())
        }
    }

    /// What answers for a directory.
    fn index(&self, directory: &[u8]) -> Result<Option<Target>, Refusal> {
        for name in self.settings.index.get_ref() {
            let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            let path = [directory, slash, name.as_bytes()].concat();
            let root = &self.served.document_root;
            if is_script(name) {
                let Ok(path) = String::from_utf8(path) else { continue };
                if self.served.has_script(self.lookup, &path)? {
                    return self.run(path, Vec::new()).map(Some);
                }
            } else if let Found::File(file, stat) = self.lookup.open(root, &path)? {
                let path = String::from_utf8_lossy(&path).into_owned();
                return Ok(Some(Target::File(StaticFile { path, file, stat })));
            }
        }
        Ok(None)
    }
}

/// Whether a script is the front controller. It answers other paths even where `deny` names it.
fn is_front(settings: &Gateway, script: &Script) -> bool {
    script.path == *settings.front_controller.get_ref()
}

fn denied() -> Refusal {
    Refusal::plain(StatusCode::FORBIDDEN)
}

fn not_found() -> Refusal {
    Refusal::plain(StatusCode::NOT_FOUND)
}

/// Whether a file is code, or a copy of some (`index.php.bak`), which nobody is to read.
pub(super) fn is_code(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.contains(".php") || [".phtml", ".phar", ".phps"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Release;
    use std::fs;
    use tempfile::TempDir;

    fn release(files: &[&str]) -> (TempDir, Served) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let served = Served::open(&Release::at(dir.path()).unwrap(), "").unwrap();
        (dir, served)
    }

    fn settings(toml: &str) -> Gateway {
        toml::from_str(toml).unwrap()
    }

    fn routed(served: &Served, settings: &Gateway, path: &str) -> String {
        match route(served, settings, &Path::parse(path.as_bytes()).unwrap()) {
            Ok(Target::File(file)) => format!("file {}", file.path),
            Ok(Target::Script(script)) => {
                format!("script {} {}", script.path, String::from_utf8_lossy(&script.info))
            }
            Ok(Target::AddSlash) => "slash".to_owned(),
            Err(refusal) => refusal.status.as_u16().to_string(),
        }
    }

    #[test]
    fn a_file_then_a_script_then_an_index_then_the_front_controller() {
        let (_dir, served) = release(&[
            "index.php",
            "app.php",
            "a.css",
            "x.jpg",
            "docs/index.html",
            "empty/.keep",
            "b.php~",
            "c.PHP",
            "d.phtml",
            ".env",
            ".well-known/acme",
            "sub/index.php",
        ]);
        let settings = settings("");
        let routed = |path| routed(&served, &settings, path);
        assert_eq!(routed("/"), "script index.php ");
        assert_eq!(routed("/a.css"), "file a.css");
        assert_eq!(routed("/app.php"), "script app.php ");
        assert_eq!(routed("/app.php/x/y"), "script app.php /x/y");
        assert_eq!(routed("/docs/"), "file docs/index.html");
        assert_eq!(routed("/docs"), "slash");
        assert_eq!(routed("/sub/"), "script sub/index.php ");
        assert_eq!(routed("/pretty/url"), "script index.php ");
        assert_eq!(routed("/empty/"), "script index.php ");
        assert_eq!(routed("/empty"), "script index.php ");
        assert_eq!(routed("/missing.php"), "script index.php ");
        assert_eq!(routed("/a%2fb"), "script index.php ");
        assert_eq!(routed("/.well-known/acme"), "file .well-known/acme");
        // Nobody runs a picture, and nobody reads code.
        assert_eq!(routed("/x.jpg/y.php"), "script index.php ");
        assert_eq!(routed("/docs/../a.css"), "file a.css");
        assert_eq!(routed("/docs%2f..//a.css"), "file a.css");
        assert_eq!(routed("/docs/../sub/./"), "script sub/index.php ");
        assert_eq!(routed("/app.php/../a.css"), "file a.css");
        assert_eq!(routed("/app.php/a%2fb/.c"), "script app.php /a/b/.c");
        assert_eq!(routed("/missing.php/.c"), "404");
        for hidden in [
            "/.well-known/../.env",
            "/docs/../.env",
            "/.x/.env",
            "/empty/.keep",
            "/b.php~",
            "/c.PHP",
            "/d.phtml",
        ] {
            assert_eq!(routed(hidden), "404", "{hidden}");
        }
    }

    #[test]
    fn only_listed_scripts_are_run() {
        let (_dir, served) = release(&["index.php", "up/evil.php", "ok/a.php"]);
        let settings = settings("scripts = ['index.php', 'ok/a.php']");
        let routed = |path| routed(&served, &settings, path);
        assert_eq!(routed("/ok/a.php/x"), "script ok/a.php /x");
        assert_eq!(routed("/up/evil.php"), "404");
        assert_eq!(routed("/up/evil.php/x.css"), "404");
        assert_eq!(routed("/x"), "script index.php ");
    }

    #[test]
    fn what_is_denied_is_neither_read_nor_run() {
        let files = [
            "index.php",
            "app.php",
            "private/a.txt",
            "private/index.php",
            "docs/b.SQL",
            "admin/index.php",
            "pages/index.html",
        ];
        let (_dir, served) = release(&files);
        let deny = [
            "/private/",
            "/app.php",
            "*.sql",
            "/admin/index.php",
            "/index.php",
            "/none",
            "/pages/index.html",
        ];
        let settings = settings(&format!("deny = {deny:?}"));
        let routed = |path| routed(&served, &settings, path);
        for path in [
            "/private",
            "/private/",
            "/private/a.txt",
            "/%70rivate/a.txt",
            "//private/a.txt",
            "/private%2Fa.txt",
            "/private/x/y",
            "/app.php",
            "/app.php/x",
            "/docs/b.SQL",
            "/x.sql",
            "/admin/",
            "/admin/index.php",
            "/index.php",
            "/index.php/x",
            "/none",
            "/pages/",
        ] {
            assert_eq!(routed(path), "403", "{path}");
        }
        assert_eq!(routed("/"), "script index.php ");
        assert_eq!(routed("/pretty/private"), "script index.php ");
        assert_eq!(routed("/private.txt"), "script index.php ");
        assert_eq!(routed("/.env"), "404");
    }

    #[test]
    fn without_a_front_controller_what_is_not_there_is_not_found() {
        let (_dir, served) = release(&["a.html"]);
        assert_eq!(routed(&served, &settings(""), "/b"), "404");
        assert_eq!(routed(&served, &settings("front_controller = ''"), "/"), "404");
    }
}
