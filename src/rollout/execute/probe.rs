//! The probe: where the operator lists no `warm_up`, a new generation has to answer its front page
//! before it is published.
//!
//! Nobody has said that this page works, so a bad answer counts only if another generation gives a
//! good one. That one runs the release before, as a rule. An application whose front page always
//! fails, or that has none, is rolled out as if there were no probe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Execution;
use super::warm_up::server_error;
use crate::error::{Error, Result};
use crate::fastcgi::{self, Request, Response};
use crate::http;
use crate::php_fpm::Running;
use crate::pool::{Pool, Settings};
use crate::process::Process;
use crate::step::Id;

/// Where frameworks keep their front controller, below a release. The first one that is there is
/// the one of that release; a `[gateway]` names its own.
const FRONT_CONTROLLERS: [&str; 6] = [
    "index.php",
    "public/index.php",
    "web/index.php",
    "webroot/index.php",
    "pub/index.php",
    "htdocs/index.php",
];

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

/// What a generation makes of its front page.
enum Answer {
    /// Its release has none.
    NoPage,
    Good,
    /// Why the answer is bad.
    Bad(String),
}

impl Execution<'_> {
    /// Requests the front page of a new generation. Fails if the answer is bad, and another
    /// generation gives a good one.
    pub(super) async fn probe(&mut self, id: Id) -> Result<()> {
        let Answer::Bad(why) = self.front_page(self.running(id)?).await else { return Ok(()) };
        let release = self.running(id)?.generation.release.as_ref();
        let on = release.map(|it| format!(" on {}", it.path.display())).unwrap_or_default();
        let what = format!("the front page of {id}{on}: {why}");
        let Some(other) = self.reference(id) else {
            self.warn(format!("{what}\nthere is no other generation to compare it with"));
            return Ok(());
        };
        let (other, answer) = (other.generation.to_string(), self.front_page(other).await);
        if let Answer::Good = answer {
            return Err(Error::failed(format!("{what}\n{other} answers it well"))
                .hint("`warm_up` in [rollout] names other pages to ask, or none: warm_up = []"));
        }
        self.warn(format!("{what}\n{other} does not answer it well either"));
        Ok(())
    }

    /// Another generation: one of those that were there before, if one of them still runs.
    fn reference(&self, id: Id) -> Option<&Running> {
        let old = self.observation.replicas.iter().flat_map(|replica| &replica.running);
        old.chain(self.done.fresh.values())
            .filter(|it| {
                (it.generation.replica, it.generation.number) != (id.replica, id.generation)
            })
            .filter(|it| it.reachable && it.master.as_ref().is_some_and(Process::is_alive))
            .min_by_key(|it| !it.generation.is_published().unwrap_or(false))
    }

    async fn front_page(&self, running: &Running) -> Answer {
        let Some(script) = self.front_controller(running) else { return Answer::NoPage };
        let timeout = self.pool.settings.rollout.ready_timeout;
        ask(&running.generation.socket, &request(self.pool, &script), timeout).await
    }

    /// The front controller of a generation's release, as its processes see it.
    fn front_controller(&self, running: &Running) -> Option<PathBuf> {
        let (outside, inside) = match self.pool.settings.current_dir() {
            Some(current_dir) => (self.release_of(running)?.path, current_dir),
            None => (self.pool.root.path().to_owned(), self.pool.root.path()),
        };
        let known = candidates(&self.pool.settings);
        let script = known.into_iter().find(|script| outside.join(script).is_file())?;
        Some(inside.join(script))
    }
}

/// Paths below a release, the likeliest first.
fn candidates(settings: &Settings) -> Vec<PathBuf> {
    let Some(gateway) = settings.backend.gateway() else {
        return FRONT_CONTROLLERS.iter().map(PathBuf::from).collect();
    };
    let root = Path::new(gateway.document_root.get_ref());
    let front = Some(gateway.front_controller.get_ref()).filter(|front| !front.is_empty());
    let index = gateway.index.get_ref().iter().filter(|name| is_script(name));
    front.into_iter().chain(index).map(|script| root.join(script)).collect()
}

/// As the gateway decides it: `X.PHP` is no script.
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

/// A host for which the application answers, as far as the settings tell one.
fn host(settings: &Settings) -> Option<String> {
    let hosts = settings.backend.gateway().into_iter().flat_map(|gateway| gateway.hosts.get_ref());
    let named = hosts.into_iter().find(|host: &&String| !host.starts_with('*')).cloned();
    named.or_else(|| {
        let url = http::page(settings.monitor_url.as_deref()?).ok()?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}{port}", url.host_str()?))
    })
}

async fn ask(socket: &Path, request: &Request, timeout: Duration) -> Answer {
    match fastcgi::send(socket, request, timeout).await {
        Ok(response) => complaint(&response).map_or(Answer::Good, Answer::Bad),
        Err(error) => Answer::Bad(error.to_string()),
    }
}

/// What is wrong with an answer: a server error, or a fatal error of PHP, which comes with a status
/// of 200 if `display_errors` is on, or if the page had begun before.
fn complaint(response: &Response) -> Option<String> {
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
        complaint(&Response { status, headers: Vec::new(), body, stderr })
    }

    #[test]
    fn an_answer_is_bad_by_its_status_or_by_phps_own_words() {
        let fatal = "PHP message: PHP Fatal error:  Uncaught Error: no such function";
        assert_eq!(answer(200, "fine", "PHP message: PHP Warning:  odd"), None);
        assert_eq!(answer(404, "File not found.", "Primary script unknown"), None);
        assert_eq!(answer(503, "", "").unwrap(), "status 503");
        assert!(answer(200, "begun", fatal).unwrap().ends_with(fatal));
        let html = "<br />\n<b>Parse error</b>:  syntax error in <b>/x.php</b> on line <b>1</b>";
        assert!(answer(200, html, "").is_some());
        assert!(answer(200, "x\nFatal error: Uncaught in /x.php on line 1\n", "").is_some());
        assert_eq!(answer(200, "<p>What a fatal error: none is shown</p>", ""), None);
    }
}
