//! The Apache driver against a fake Apache that is old, restarts, or ignores changes.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use pools_manager::backend::Enabled;
use pools_manager::backend::apache::Apache;
use pools_manager::error::Exit;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Apache 2.4.64 and later.
    Current,
    /// Apache up to 2.4.63: its XML has no nonce.
    NoNonceInXml,
    /// Ignores `xml=1` and sends HTML.
    HtmlOnly,
    /// Restarts just before the first change arrives.
    Restarts,
    /// Restarts before each change.
    KeepsRestarting,
    /// Responds to a change with 200, and ignores it.
    Ignores,
    /// Responds to each change with 503.
    Fails,
    /// Sends a document without an end.
    Endless,
}

struct FakeApache {
    kind: Kind,
    starts: u32,
    draining: bool,
    changes: Vec<String>,
}

impl FakeApache {
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

fn respond(stream: TcpStream, url: &str, apache: &Mutex<FakeApache>) -> std::io::Result<()> {
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
    let mut apache = apache.lock().unwrap();
    let (status, text) = match () {
        () if head.starts_with("POST") => {
            (apache.change(&String::from_utf8(body).unwrap()), apache.html())
        }
        () if apache.kind == Kind::Endless => (200, "<httpd:manager>".repeat(2 << 20)),
        () if head.contains("?xml=1 ") && apache.kind != Kind::HtmlOnly => (200, apache.xml()),
        () => (200, apache.html()),
    };
    write!(stream.get_mut(), "HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n{text}")
}

/// Starts a fake Apache and a driver for it.
fn start(kind: Kind) -> (Apache, Arc<Mutex<FakeApache>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/balancer-manager", listener.local_addr().unwrap());
    let driver = Apache::new(&url, "lb", &["fcgi://a".to_owned()]).unwrap();
    let apache = FakeApache { kind, starts: 0, draining: false, changes: Vec::new() };
    let apache = Arc::new(Mutex::new(apache));
    let shared = Arc::clone(&apache);
    thread::spawn(move || {
        for stream in listener.incoming() {
            // The driver closes the connection when it has read enough.
            let _ = respond(stream.unwrap(), &url, &shared);
        }
    });
    (driver, apache)
}

#[tokio::test]
async fn a_member_is_drained_and_enabled_with_every_format_of_the_page() {
    for kind in [Kind::Current, Kind::NoNonceInXml, Kind::HtmlOnly] {
        let (driver, apache) = start(kind);
        driver.drain(0).await.unwrap();
        assert!(driver.members().await.unwrap()[0].draining);
        driver.drain(0).await.unwrap();
        assert_eq!(driver.enable(0).await.unwrap(), Enabled::Serving);
        let expected = [
            "b=lb&w=fcgi%3A%2F%2Fa&nonce=nonce-0&w_status_N=1",
            "b=lb&w=fcgi%3A%2F%2Fa&nonce=nonce-0&w_status_N=0&w_status_D=0",
        ];
        assert_eq!(apache.lock().unwrap().changes, expected);
    }
}

#[tokio::test]
async fn a_change_that_a_restart_lost_is_sent_again() {
    let (driver, apache) = start(Kind::Restarts);
    driver.drain(0).await.unwrap();
    assert!(driver.members().await.unwrap()[0].draining);
    assert_eq!(apache.lock().unwrap().changes.len(), 2);

    let (driver, apache) = start(Kind::KeepsRestarting);
    assert_eq!(driver.drain(0).await.unwrap_err().exit, Exit::Failed);
    assert_eq!(apache.lock().unwrap().changes.len(), 4);
}

#[tokio::test]
async fn a_change_without_effect_is_a_failure() {
    // A change that is ignored is sent again; a change that gets an error is not.
    for (kind, changes) in [(Kind::Ignores, 4), (Kind::Fails, 1)] {
        let (driver, apache) = start(kind);
        assert_eq!(driver.drain(0).await.unwrap_err().exit, Exit::Failed);
        assert_eq!(apache.lock().unwrap().changes.len(), changes);
    }
}

#[tokio::test]
async fn a_page_above_16_mib_is_refused() {
    let (driver, _apache) = start(Kind::Endless);
    let error = driver.read().await.unwrap_err();
    assert!(error.message.ends_with("is larger than 16 MiB"), "{error}");
}
