//! Headless Chromium, driven over HTTP by chromedriver: <https://www.w3.org/TR/webdriver2/>.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Program, Site};
use crate::privilege::report_skip;
use crate::served::{Answer, Connection, Cut};

const CHROMIUM: &str = "/usr/bin/chromium";
const CHROMEDRIVER: &str = "/usr/bin/chromedriver";

/// A browser with one page.
pub struct Browser {
    driver: Option<Program>,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts a browser without any state. None: it is not installed, and the test of an ordinary user is
    /// skipped. `here`: the name of the test.
    pub fn start(site: &Site, here: &str) -> Option<Self> {
        let is_missing = |program: &&&str| !std::path::Path::new(program).exists();
        if let Some(missing) = [CHROMIUM, CHROMEDRIVER].iter().find(is_missing) {
            let is_root = rustix::process::geteuid().is_root();
            assert!(!is_root, "{missing} is missing: bin/test installs it");
            report_skip(here, &format!("needs {missing}"));
            return None;
        }
        let home = site.scratch().join("browser");
        std::fs::create_dir_all(&home).unwrap();
        let mut command = std::process::Command::new(CHROMEDRIVER);
        command.arg("--port=0").current_dir(&home).env("HOME", &home).env("TMPDIR", &home);
        let mut driver = Program::start_with(&mut command, Stdio::piped(), Stdio::null());
        let line =
            driver.await_line("that it is up", |line| line.contains("successfully on port "));
        let port =
            line.trim_end().trim_end_matches('.').rsplit(' ').next().unwrap().parse().unwrap();
        let mut browser = Self { driver: Some(driver), port, session: String::new() };
        let data = format!("--user-data-dir={}", home.join("data").display());
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &data,
        ];
        let options = json!({ "binary": CHROMIUM, "args": args });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let session =
            browser.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// Loads a page, with its scripts and images.
    pub fn open(&self, url: &str) {
        self.ask("POST", &format!("{}/url", self.session), &json!({ "url": url }));
    }

    /// Runs a script in the page. It calls its last argument with the result.
    pub fn run(&self, script: &str) -> Value {
        let path = format!("{}/execute/async", self.session);
        self.ask("POST", &path, &json!({ "script": script, "args": [] }))
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(method, path, body);
        let answer = answer.unwrap_or_else(|cut| panic!("{method} {path}: {cut:?}"));
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        serde_json::from_str::<Value>(&answer.text()).unwrap()["value"].clone()
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Answer, Cut> {
        let (body, port) = (body.to_string(), self.port);
        let mut connection = Connection::to(port);
        connection.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        connection.answer()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // chromedriver ends the browser.
            let _ = self.send("DELETE", &self.session, &json!({}));
        }
        if let Some(driver) = self.driver.take() {
            driver.signal(Signal::TERM);
            let _ = driver.finish();
        }
    }
}
