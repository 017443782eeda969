//! Finds the file or the script of the release for a path.

use hyper::StatusCode;

use super::file_lookup::{FileLookup, Found, OpenFile};
use super::http_error::HttpError;
use super::routing_table::ServedRelease;
use super::url_path::{UrlPath, is_script};
use crate::config::{Gateway, is_code};

/// The route of a request.
#[derive(Debug)]
pub(super) enum Route {
    /// A static file.
    File(OpenFile),
    /// A PHP script.
    Script(Script),
    /// A directory: the client is redirected to the path with a slash at its end.
    AddSlash,
    /// The server, which speaks HTTP.
    Server,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Routed {
    /// The route that the release has for the path.
    Found(Route),
    /// The release has nothing of that name. The value is the route that is used instead, or the error 404.
    Missing(Result<Route, HttpError>),
}

/// A script of the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// Its path below the document root.
    pub path: String,
    /// The path info: what follows the script in the path, decoded, with its slash. May be empty.
    pub info: Vec<u8>,
}

/// Routes a path. Error 403: `deny` names the path, whether it exists or not, or the file or script that
/// it leads to.
pub(super) fn route(
    served: &ServedRelease,
    settings: &Gateway,
    path: &UrlPath,
) -> Result<Routed, HttpError> {
    if !settings.deny.is_empty() && settings.denies(&String::from_utf8_lossy(path.relative())) {
        return Err(denied());
    }
    let router = Router {
        served,
        settings,
        lookup: FileLookup { follow_symlinks: settings.follow_symlinks },
    };
    if let Some(target) = router.find(path)? {
        let denies =
            |path: &str| settings.denies(path) || settings.denies_by_default(&served.root, path);
        let is_denied = match &target {
            Route::File(file) => denies(&file.path),
            Route::Script(script) => {
                let path = &script.path;
                (denies(path) || settings.denies_script_by_default(path))
                    && !is_front(settings, script)
            }
            Route::AddSlash | Route::Server => false,
        };
        return if is_denied { Err(denied()) } else { Ok(Routed::Found(target)) };
    }
    Ok(Routed::Missing(router.front()))
}

/// Routes a path of a pool whose server speaks HTTP: to a file below the document root, if a document root is
/// configured and the method can get a file, else to the server. Error 403: `deny` names the path or the
/// file.
pub(super) fn route_to_server(
    served: &ServedRelease,
    settings: &Gateway,
    path: &UrlPath,
    may_be_file: bool,
) -> Result<Routed, HttpError> {
    let relative = path.relative();
    if settings.denies(&String::from_utf8_lossy(relative)) {
        return Err(denied());
    }
    let has_files = !served.root.is_release();
    if !may_be_file || !has_files || path.is_directory || path.is_hidden() {
        return Ok(Routed::Found(Route::Server));
    }
    let lookup = FileLookup { follow_symlinks: settings.follow_symlinks };
    let Found::File(file, stat) = lookup.open(&served.document_root, relative)? else {
        return Ok(Routed::Missing(Ok(Route::Server)));
    };
    let path = String::from_utf8_lossy(relative).into_owned();
    match path {
        path if is_code(&path) => Ok(Routed::Found(Route::Server)),
        path if settings.denies(&path) => Err(denied()),
        path => Ok(Routed::Found(Route::File(OpenFile { path, file, stat }))),
    }
}

struct Router<'a> {
    served: &'a ServedRelease,
    settings: &'a Gateway,
    lookup: FileLookup,
}

impl Router<'_> {
    /// The front controller. Error 404: there is none.
    fn front(&self) -> Result<Route, HttpError> {
        let front = self.settings.front_controller.get_ref();
        if front.is_empty() || !self.served.has_script(self.lookup, front)? {
            return Err(not_found());
        }
        Ok(Route::Script(Script { path: front.clone(), info: Vec::new() }))
    }

    /// The route without the front controller.
    fn find(&self, path: &UrlPath) -> Result<Option<Route>, HttpError> {
        // First scripts: the path info of a script may have names that begin with a dot.
        if let Some(script) = self.script(path)? {
            return Ok(Some(script));
        }
        if path.is_hidden() {
            return Err(not_found());
        }
        self.file_or_index(path)
    }

    fn file_or_index(&self, path: &UrlPath) -> Result<Option<Route>, HttpError> {
        let relative = path.relative();
        if path.is_directory {
            return self.index(relative);
        }
        match self.lookup.open(&self.served.document_root, relative)? {
            Found::Nothing => Ok(None),
            Found::Directory => Ok(self.index(relative)?.is_some().then_some(Route::AddSlash)),
            Found::File(file, stat) => {
                // A name that is not UTF-8 matches no setting.
                let path = String::from_utf8_lossy(relative).into_owned();
                if is_code(&path) {
                    return Err(not_found());
                }
                Ok(Some(Route::File(OpenFile { path, file, stat })))
            }
        }
    }

    /// The script that the path, or its beginning, names. If it exists and must not run, the result is
    /// 404, and not another script.
    fn script(&self, path: &UrlPath) -> Result<Option<Route>, HttpError> {
        for (script, info) in path.scripts() {
            if self.served.has_script(self.lookup, &script)? {
                return self.run(script, info).map(Some);
            }
        }
        Ok(None)
    }

    fn run(&self, path: String, info: Vec<u8>) -> Result<Route, HttpError> {
        let is_spare = self.served.root.only_front_controller
            && path != *self.settings.front_controller.get_ref();
        if self.settings.allows(&path) && !is_spare {
            Ok(Route::Script(Script { path, info }))
        } else {
            Err(not_found())
        }
    }

    /// The index of a directory.
    fn index(&self, directory: &[u8]) -> Result<Option<Route>, HttpError> {
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
                return Ok(Some(Route::File(OpenFile { path, file, stat })));
            }
        }
        Ok(None)
    }
}

/// Whether a script is the front controller, which serves other paths even if `deny` names it.
fn is_front(settings: &Gateway, script: &Script) -> bool {
    script.path == *settings.front_controller.get_ref()
}

fn denied() -> HttpError {
    HttpError::unlogged(StatusCode::FORBIDDEN)
}

fn not_found() -> HttpError {
    HttpError::unlogged(StatusCode::NOT_FOUND)
}

#[cfg(test)]
mod tests;
