//! The Apache driver against a server that plays an Apache which is old, restarts, or lies.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use pools_manager::backend::Enabled;
use pools_manager::backend::apache::Apache;
use pools_manager::error::Exit;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// As 2.4.64 and later are.
    Current,
    /// Its XML has no nonce: up to 2.4.63.
    NoNonceInXml,
    /// It does not know `xml=1`.
    HtmlOnly,
    /// It is restarted just before the first change reaches it.
    Restarts,
    /// It is restarted before each change.
    KeepsRestarting,
    /// It answers a change with 200, and ignores it.
    Ignores,
    /// It fails on each change.
    Fails,
    /// Its document does not end.
    Endless,
}

struct Play {
    kind: Kind,
    starts: u32,
    draining: bool,
    changes: Vec<String>,
}

impl Play {
    fn nonce(&self) -> String {
        format!("nonce-{}", self.starts)
    }

    fn status(&self) -> &'static str {
        if self.draining { "Init Drn Ok " } else { "Init Ok " }
    }

    fn xml(&self) -> String {
        let nonce = match self.kind {
            Kind::NoNonceInXml => String::new(),
            _ => format!("<httpd:nonce>{}</httpd:nonce>", self.nonce()),
        };
        format!(
            "<?xml version='1.0' encoding='UTF-8' ?><httpd:manager><httpd:balancers>\
             <httpd:balancer><httpd:name>balancer://lb</httpd:name>{nonce}<httpd:workers>\
             <httpd:worker><httpd:name>fcgi://a</httpd:name><httpd:status>{}</httpd:status>\
             </httpd:worker></httpd:workers></httpd:balancer></httpd:balancers></httpd:manager>",
            self.status()
        )
    }

    fn html(&self) -> String {
        let link = format!("<a href='/balancer-manager?b=lb&w=fcgi://a&nonce={}'>", self.nonce());
        format!(
            "<html><body><h1>Load Balancer Manager for x</h1>\
             <h3>LoadBalancer Status for balancer://lb</h3>\
             <table><tr><th>StickySession</th></tr><tr><td> - </td></tr></table>\
             <table><tr><th>Worker URL</th><th>Status</th></tr>\
             <tr><td>{link}fcgi://a</a></td><td>{}</td></tr></table></body></html>",
            self.status()
        )
    }

    fn change(&mut self, form: &str) -> u16 {
        let restarts = match self.kind {
            Kind::Restarts => self.starts == 0,
            kind => kind == Kind::KeepsRestarting,
        };
        if restarts {
            self.starts += 1;
            self.draining = false;
        }
        if form.contains(&format!("nonce={}&", self.nonce())) && self.kind != Kind::Ignores {
            self.draining = form.contains("w_status_N=1");
        }
        self.changes.push(form.to_owned());
        if self.kind == Kind::Fails { 503 } else { 200 }
    }
}

fn answer(stream: TcpStream, url: &str, play: &Mutex<Play>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head)? > 0 {}
    for line in head.lines() {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    assert!(head.to_lowercase().contains(&format!("\r\nreferer: {url}\r\n")), "{head}");
    let mut play = play.lock().unwrap();
    let (status, text) = match () {
        () if head.starts_with("POST") => {
            (play.change(&String::from_utf8(body).unwrap()), play.html())
        }
        () if play.kind == Kind::Endless => (200, "<httpd:manager>".repeat(2 << 20)),
        () if head.contains("?xml=1 ") && play.kind != Kind::HtmlOnly => (200, play.xml()),
        () => (200, play.html()),
    };
    write!(stream.get_mut(), "HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n{text}")
}

/// Starts the play, and the driver against it.
fn perform(kind: Kind) -> (Apache, Arc<Mutex<Play>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/balancer-manager", listener.local_addr().unwrap());
    let driver = Apache::new(&url, "lb", &["fcgi://a".to_owned()]).unwrap();
    let play = Play { kind, starts: 0, draining: false, changes: Vec::new() };
    let play = Arc::new(Mutex::new(play));
    let played = Arc::clone(&play);
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A driver that has read enough closes the connection.
            let _ = answer(stream.unwrap(), &url, &played);
        }
    });
    (driver, play)
}

#[tokio::test]
async fn every_kind_of_document_serves() {
    for kind in [Kind::Current, Kind::NoNonceInXml, Kind::HtmlOnly] {
        let (driver, play) = perform(kind);
        driver.drain(0).await.unwrap();
        assert!(driver.members().await.unwrap()[0].draining);
        driver.drain(0).await.unwrap();
        assert_eq!(driver.enable(0).await.unwrap(), Enabled::Serving);
        let expected = [
            "b=lb&w=fcgi%3A%2F%2Fa&nonce=nonce-0&w_status_N=1",
            "b=lb&w=fcgi%3A%2F%2Fa&nonce=nonce-0&w_status_N=0&w_status_D=0",
        ];
        assert_eq!(play.lock().unwrap().changes, expected);
    }
}

#[tokio::test]
async fn a_change_that_a_restart_swallowed_is_sent_again() {
    let (driver, play) = perform(Kind::Restarts);
    driver.drain(0).await.unwrap();
    assert!(driver.members().await.unwrap()[0].draining);
    assert_eq!(play.lock().unwrap().changes.len(), 2);

    let (driver, play) = perform(Kind::KeepsRestarting);
    assert_eq!(driver.drain(0).await.unwrap_err().exit, Exit::Failed);
    assert_eq!(play.lock().unwrap().changes.len(), 4);
}

#[tokio::test]
async fn a_change_that_was_not_made_is_a_failure() {
    // One that is answered as if it had been made is sent again; one that is refused is not.
    for (kind, changes) in [(Kind::Ignores, 4), (Kind::Fails, 1)] {
        let (driver, play) = perform(kind);
        assert_eq!(driver.drain(0).await.unwrap_err().exit, Exit::Failed);
        assert_eq!(play.lock().unwrap().changes.len(), changes);
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let (driver, _play) = perform(Kind::Endless);
    let error = driver.read().await.unwrap_err();
    assert!(error.message.ends_with("is larger than 16 MiB"), "{error}");
}
