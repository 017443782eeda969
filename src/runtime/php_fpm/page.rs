//! Requests for the application's pages, as a web server would send them: warm-up paths, and the
//! front page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::USUAL_ROOTS;
use crate::fastcgi::{self, Request, Response};
use crate::http;
use crate::pool::{Pool, Settings};
use crate::runtime::{FrontPage, Generation};

/// The usual front controller. A `[gateway]` names its own.
const FRONT_CONTROLLER: &str = "index.php";

/// How PHP marks a fatal error in its log, and on a page if `display_errors` is on (php-src,
/// `php_error_cb` of main/main.c).
const FATAL: [&str; 6] = [
    "PHP Fatal error: ",
    "PHP Parse error: ",
    "<b>Fatal error</b>: ",
    "<b>Parse error</b>: ",
    "\nFatal error: ",
    "\nParse error: ",
];

/// Requests a page. Fails with the reason, in one or more lines, if the answer is a server error, or
/// does not come within `timeout`.
pub(in crate::runtime) async fn request_page(
    pool: &Pool,
    generation: &Generation,
    path: &str,
    timeout: Duration,
) -> Result<(), String> {
    let below = pool.settings.current_dir().unwrap_or(pool.root.path());
    let outside = generation.release.as_ref().map_or(below, |release| &release.path);
    let script = below.join(script(&pool.settings, outside, path));
    let request = Request::get(path).script(script.display().to_string());
    let response = fastcgi::send(&generation.socket, &request, timeout).await;
    match response {
        Ok(response) if response.status >= 500 => Err(server_error(&response)),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a release has a script for a path.
pub(in crate::runtime) fn has_script(settings: &Settings, release: &Path, path: &str) -> bool {
    release.join(script(settings, release, path)).is_file()
}

/// The file of a release that answers a path: the one below the document root, else the one below the
/// release, else the front controller.
fn script(settings: &Settings, release: &Path, path: &str) -> PathBuf {
    let file = path.split('?').next().unwrap_or(path).trim_start_matches('/');
    let gateway = settings.backend.gateway();
    let root = gateway.map(|it| it.document_root_at(release).below).unwrap_or_default();
    let is_there = |script: &PathBuf| release.join(script).is_file();
    let front = || match gateway {
        Some(gateway) => Path::new(&root).join(gateway.front_controller.get_ref()),
        None => PathBuf::from(FRONT_CONTROLLER),
    };
    let named = [Path::new(&root).join(file), PathBuf::from(file)];
    named.into_iter().find(is_there).unwrap_or_else(front)
}

/// Requests the front page. `release` is the directory that the generation's processes see as
/// their release.
pub(in crate::runtime) async fn front_page(
    pool: &Pool,
    generation: &Generation,
    release: &Path,
    timeout: Duration,
) -> FrontPage {
    let Some(script) = front_script(&pool.settings, release) else { return FrontPage::None };
    let inside = pool.settings.current_dir().unwrap_or(pool.root.path());
    fetch(&generation.socket, &request(pool, &inside.join(script)), timeout).await
}

/// The script of a release that answers requests for its front page, below the release.
pub(in crate::runtime) fn front_script(settings: &Settings, release: &Path) -> Option<PathBuf> {
    candidates(settings, release).into_iter().find(|script| release.join(script).is_file())
}

/// Paths below a release, the likeliest first.
fn candidates(settings: &Settings, release: &Path) -> Vec<PathBuf> {
    let Some(gateway) = settings.backend.gateway() else {
        let roots = [""].into_iter().chain(USUAL_ROOTS);
        return roots.map(|root| Path::new(root).join(FRONT_CONTROLLER)).collect();
    };
    let root = PathBuf::from(gateway.document_root_at(release).below);
    let front = Some(gateway.front_controller.get_ref()).filter(|front| !front.is_empty());
    let index = gateway.index.get_ref().iter().filter(|name| is_script(name));
    front.into_iter().chain(index).map(|script| root.join(script)).collect()
}

/// As in the gateway: `X.PHP` is no script.
fn is_script(name: &str) -> bool {
    name.as_bytes().ends_with(b".php")
}

/// A GET of `/`, as a web server would send it to the front controller.
fn request(pool: &Pool, script: &Path) -> Request {
    let name = script.file_name().unwrap_or_default().display();
    let request = Request::get(&format!("/{name}"))
        .script(script.display().to_string())
        .header("User-Agent", concat!("pools-manager/", env!("CARGO_PKG_VERSION"), " (probe)"))
        .param("REQUEST_URI", "/");
    let request = match host(&pool.settings) {
        Some(host) => request.header("Host", host),
        None => request,
    };
    let url = pool.settings.monitor_url.as_deref().unwrap_or_default();
    if url.starts_with("https:") { request.param("HTTPS", "on") } else { request }
}

/// A host for which the application answers, if the settings name one.
pub(in crate::runtime) fn host(settings: &Settings) -> Option<String> {
    let hosts = settings.backend.gateway().into_iter().flat_map(|gateway| gateway.hosts.get_ref());
    let named = hosts.into_iter().find(|host: &&String| !host.starts_with('*')).cloned();
    named.or_else(|| {
        let url = http::page(settings.monitor_url.as_deref()?).ok()?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}{port}", url.host_str()?))
    })
}

async fn fetch(socket: &Path, request: &Request, timeout: Duration) -> FrontPage {
    match fastcgi::send(socket, request, timeout).await {
        Ok(response) => problem(&response).map_or(FrontPage::Good, FrontPage::Bad),
        Err(error) => FrontPage::Bad(error.to_string()),
    }
}

/// The status of a response, and its error stream. If that stream is empty, the beginning of the page:
/// WordPress says only there that its database does not answer.
fn server_error(response: &Response) -> String {
    let said = String::from_utf8_lossy(&response.stderr);
    let said = match said.trim() {
        "" => visible_text(&String::from_utf8_lossy(&response.body)),
        said => said.to_owned(),
    };
    format!("status {}\n{said}", response.status).trim_end().to_owned()
}

/// The most characters of a page in an error.
const PAGE_TEXT: usize = 200;

/// The beginning of what a browser would show of a page, in one line.
fn visible_text(page: &str) -> String {
    let body = page.find("<body").map_or(page, |at| &page[at..]);
    let mut is_tag = false;
    let visible = body.chars().map(|it| match it {
        '<' => {
            is_tag = true;
            ' '
        }
        '>' if is_tag => {
            is_tag = false;
            ' '
        }
        _ if is_tag || it.is_control() => ' ',
        it => it,
    });
    let visible: String = visible.collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    words.join(" ").chars().take(PAGE_TEXT).collect()
}

/// The problem with a response: a server error, or a fatal error of PHP. A response with a fatal error
/// has status 200 if `display_errors` is on, or if output had begun before.
fn problem(response: &Response) -> Option<String> {
    if response.status >= 500 {
        return Some(server_error(response));
    }
    let stderr = String::from_utf8_lossy(&response.stderr);
    let body = String::from_utf8_lossy(&response.body);
    let lines = [&stderr, &body].into_iter().flat_map(|text| text.lines());
    let marked = |line: &&str| {
        let line = format!("\n{line}");
        FATAL.iter().any(|mark| line.contains(mark))
    };
    let line = lines.into_iter().find(marked)?.trim();
    Some(format!("status {}, and a fatal error:\n{line}", response.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str, stderr: &str) -> Option<String> {
        let (body, stderr) = (body.as_bytes().to_vec(), stderr.as_bytes().to_vec());
        problem(&Response { status, headers: Vec::new(), body, stderr })
    }

    #[test]
    fn server_errors_and_fatal_errors_are_problems() {
        let fatal = "PHP message: PHP Fatal error:  Uncaught Error: no such function";
        assert_eq!(answer(200, "fine", "PHP message: PHP Warning:  odd"), None);
        assert_eq!(answer(404, "File not found.", "Primary script unknown"), None);
        assert_eq!(answer(503, "", "").unwrap(), "status 503");
        let page = "<html><head><title>x</title></head>\n<body id=\"e\"><h1>Error: a <b>b</b></h1>\n</body>";
        assert_eq!(answer(500, page, "").unwrap(), "status 500\nError: a b");
        assert_eq!(answer(500, page, "PHP message: c\n").unwrap(), "status 500\nPHP message: c");
        assert_eq!(answer(500, &"é<".repeat(9999), "").unwrap(), "status 500\né");
        assert!(answer(200, "begun", fatal).unwrap().ends_with(fatal));
        let html = "<br />\n<b>Parse error</b>:  syntax error in <b>/x.php</b> on line <b>1</b>";
        assert!(answer(200, html, "").is_some());
        assert!(answer(200, "x\nFatal error: Uncaught in /x.php on line 1\n", "").is_some());
        assert_eq!(answer(200, "<p>What a fatal error: none is shown</p>", ""), None);
    }
}
