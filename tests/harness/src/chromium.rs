//! A browser: headless Chromium, driven by chromedriver (the packages `chromium` and
//! `chromium-driver`).

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::wait::{DEADLINE, POLL, wait_for};

/// Nothing but the pages of the test is fetched, and no certificate is refused.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1600",
];

/// A window. Drop ends the browser and its driver.
pub struct Chromium {
    runtime: Runtime,
    client: Client,
    driver: Child,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts a browser with an empty profile.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver");
        driver.arg("--port=0").process_group(0).stdout(Stdio::piped()).stderr(Stdio::null());
        driver.env("HOME", profile.path()).env("TMPDIR", profile.path());
        let mut driver = driver.spawn().expect("chromedriver (the package chromium-driver)");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = "started successfully on port ";
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once(started)?.1.trim_end_matches('.').to_owned()))
            .expect("chromedriver starts");
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let data = format!("--user-data-dir={}", profile.path().join("data").display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([data.as_str()]).collect();
        let mut capabilities = Capabilities::new();
        capabilities.insert("acceptInsecureCerts".to_owned(), json!(true));
        let options = json!({ "binary": "/usr/bin/chromium", "args": arguments });
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities);
            builder.connect(&format!("http://127.0.0.1:{port}")).await
        });
        Self { runtime, client: client.unwrap(), driver, _profile: profile }
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, CmdError>>) -> T {
        self.runtime.block_on(work).unwrap()
    }

    /// Opens a page, and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.wait(self.client.goto(url));
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        self.wait(self.client.current_url()).to_string()
    }

    /// The HTML of the page as it is now.
    pub fn source(&self) -> String {
        self.wait(self.client.source())
    }

    /// The result of `work` on the first element that `css` selects. Waits until this element is there, and
    /// until `work` succeeds.
    ///
    /// A page can be replaced at any moment. The driver then answers "stale element reference" or
    /// "aborted by navigation", which is no more final than "no such element".
    fn on<T, F: Future<Output = Result<T, CmdError>>>(
        &self,
        css: &str,
        work: impl Fn(Element) -> F,
    ) -> T {
        let begun = Instant::now();
        let mut errors = BTreeSet::new();
        loop {
            let attempt = async { work(self.client.find(Locator::Css(css)).await?).await };
            match self.runtime.block_on(attempt) {
                Ok(done) => return done,
                Err(error) => errors.insert(error.to_string()),
            };
            if begun.elapsed() > DEADLINE {
                let page = self.value("document.body.innerText");
                panic!("{css} on {}: {errors:#?}\n{page}", self.url());
            }
            thread::sleep(POLL);
        }
    }

    /// The visible text of the first element that `css` selects; waits for this element.
    pub fn text(&self, css: &str) -> String {
        self.on(css, |element| async move { element.text().await })
    }

    /// Replaces the text of a field; waits for the field.
    pub fn fill(&self, css: &str, text: &str) {
        self.on(css, |field| async move {
            field.clear().await?;
            field.send_keys(text).await
        });
    }

    /// Chooses a file for an upload.
    pub fn choose_file(&self, css: &str, path: &Path) {
        self.on(css, |field| async move { field.send_keys(path.to_str().unwrap()).await });
    }

    /// Clicks, and waits for the page that may follow.
    pub fn click(&self, css: &str) {
        self.on(css, |element| async move { element.click().await });
    }

    /// The value of a JavaScript expression on the page.
    pub fn value(&self, expression: &str) -> Value {
        self.wait(self.client.execute(&format!("return {expression};"), Vec::new()))
    }

    /// Waits until a JavaScript expression is true on the page.
    pub fn await_true(&self, expression: &str) {
        wait_for(expression, || (self.value(expression) == true).then_some(()));
    }

    /// The value that a script passes to its last argument, which is a function.
    pub fn run(&self, script: &str) -> Value {
        self.wait(self.client.execute_async(script, Vec::new()))
    }

    /// The protocol by which the page came: `h2`, `http/1.1`.
    pub fn protocol(&self) -> String {
        let entry = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
        self.value(entry).as_str().unwrap().to_owned()
    }

    /// Writes a picture of the window to `$SCREENSHOTS/NAME.png`, if that variable names a directory.
    pub fn screenshot(&self, name: &str) {
        let Some(dir) = std::env::var_os("SCREENSHOTS") else { return };
        let picture = self.wait(self.client.screenshot());
        std::fs::write(PathBuf::from(dir).join(format!("{name}.png")), picture).unwrap();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(self.client.clone().close());
        // The browser is in the driver's group.
        if let Some(group) = Pid::from_raw(self.driver.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.driver.wait();
    }
}
