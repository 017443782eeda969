//! A browser: cookies and forms.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use harness::served::{Answer, Connection};

/// The browser follows no redirects, so that tests can check them.
pub(crate) struct Browser {
    port: u16,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, cookies: BTreeMap::new() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", &[])
    }

    /// Posts a form.
    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let fields =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let body = fields.collect::<Vec<_>>().join("&");
        self.send("POST", path, "application/x-www-form-urlencoded", body.as_bytes())
    }

    /// Posts the upload form of WordPress.
    pub(crate) fn upload(&mut self, path: &str, nonce: &str, name: &str, file: &[u8]) -> Answer {
        let mut body = Vec::new();
        for (field, value) in [("_wpnonce", nonce), ("post_id", "0"), ("html-upload", "Upload")] {
            let part = format!(
                "--sep\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--sep\r\nContent-Disposition: form-data; name=\"async-upload\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--sep--\r\n");
        self.send("POST", path, "multipart/form-data; boundary=sep", &body)
    }

    /// The nonce in the form of a page.
    pub(crate) fn nonce(&mut self, path: &str) -> String {
        let page = self.get(path).text();
        let field = page.split("name=\"_wpnonce\" value=\"").nth(1);
        field.unwrap_or_else(|| panic!("{path}: {page}")).split('"').next().unwrap().to_owned()
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", self.port);
        if method == "POST" {
            write!(head, "Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len()).unwrap();
        }
        if !self.cookies.is_empty() {
            let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
            write!(head, "Cookie: {}\r\n", cookies.collect::<Vec<_>>().join("; ")).unwrap();
        }
        let mut connection = Connection::to(self.port);
        connection.send(&head);
        connection.send("\r\n");
        connection.send_bytes(body);
        let answer = connection.answer().unwrap_or_else(|cut| panic!("{method} {path}: {cut:?}"));
        for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }
}
