//! Certificates, and clients that speak TLS.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Served;
use crate::Site;

/// The options of curl that all requests have.
const CURL: &[&str] = &["--silent", "--show-error", "--max-time", "60", "--insecure"];

/// Makes `NAME.pem` and `NAME.key` in the root: a certificate that signs itself, for `names`
/// (`DNS:a.test`). It expires after `days` days.
pub fn certify(site: &Site, name: &str, names: &str, days: &str) {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let names = format!("subjectAltName={names}");
    let subject = format!("/CN={name}");
    let args = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        &key,
        "-out",
        &certificate,
        "-days",
        days,
        "-subj",
        &subject,
        "-addext",
        &names,
    ];
    openssl(site.root(), &args);
    fs::set_permissions(site.path(&key), Permissions::from_mode(0o600)).unwrap();
}

/// Runs openssl in a directory, and returns its output, errors included.
pub fn openssl(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is there");
    [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat()
}

/// Runs curl, and returns its output. Panics if it fails.
pub fn curl(args: &[&str]) -> String {
    let output = Command::new("curl").args(CURL).args(args).output().expect("curl is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "curl {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// GET of a page of a host by HTTPS on this port, with more options of curl.
pub fn curl_tls(port: u16, host: &str, page: &str, args: &[&str]) -> String {
    let url = format!("https://{host}:{port}{page}");
    let to = format!("{host}:{port}:127.0.0.1");
    curl(&[&["--resolve", &to, &url], args].concat())
}

impl Served {
    /// A site with a certificate for `a.test`, and a gateway that listens for HTTP and HTTPS.
    pub fn with_tls(pool: &str, global: &str) -> Self {
        let site = Self::site_with_tls(pool, global, &["a"]);
        certify(&site, "a", "DNS:a.test", "90");
        site.run(&["start"]).succeeds();
        Self::serve(site)
    }

    /// The configured site, with pairs of these names; nothing runs, and no certificate is there.
    pub fn site_with_tls(pool: &str, global: &str, pairs: &[&str]) -> Site {
        let pair = |name: &&str| {
            format!(
                "[[gateway.certificates]]\ncertificate = \"{name}.pem\"\nkey = \"{name}.key\"\n"
            )
        };
        let pairs = pairs.iter().map(pair).collect::<Vec<_>>().concat();
        Self::site(pool, &format!("listen_tls = [\"127.0.0.1:0\"]\n{global}\n{pairs}"))
    }

    /// GET of a page of a host by HTTPS, with more options of curl.
    pub fn curl_tls(&self, host: &str, page: &str, args: &[&str]) -> String {
        curl_tls(self.tls_port(), host, page, args)
    }

    /// What `openssl s_client` prints about a handshake with these options.
    pub fn handshake(&self, args: &[&str]) -> String {
        let address = format!("127.0.0.1:{}", self.tls_port());
        openssl(self.site.root(), &[&["s_client", "-connect", &address], args].concat())
    }
}
