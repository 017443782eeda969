//! TLS by rustls: the certificates, and what a handshake may use.
//!
//! The gateway reads the files of the certificates again at a reload, and when they change: it looks at them
//! every few seconds. It follows symlinks too, such as those that certbot replaces. If a pair of certificate
//! and key cannot be used, the pair that was read before stays in use. Handshakes in progress and open
//! connections keep the pair that they have.
//!
//! Sessions are resumed by tickets (RFC 5077; RFC 8446, section 2.2). They cost no memory here: the client
//! keeps them, encrypted with a key that only this process has, and that changes every few hours. Early
//! data (0-RTT) is not accepted, because an attacker can send it again. OCSP responses are not stapled: the
//! large certificate authorities have replaced OCSP by short lifetimes and by lists in browsers.

mod pair;
mod resolver;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::time::sleep;

use super::blocking::run_blocking;
use crate::config::{Certificate, Front, Global, TlsVersion};
use crate::error::{Error, Result};
use crate::finding::Finding;
use pair::{Pair, Stamps};
use resolver::Resolver;

/// The name of HTTP/2 in the choice of the protocol (RFC 9113, section 3.2).
pub(super) const ALPN_HTTP2: &[u8] = b"h2";
/// The time between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);
/// A certificate that expires within this time is reported.
const SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The TLS of one gateway, from its start to its end.
#[derive(Debug)]
pub(super) struct Tls {
    settings: ArcSwap<ServerConfig>,
    resolver: Arc<Resolver>,
    ticketer: Arc<dyn ProducesTickets>,
    /// The pairs in use, in the order of the configuration.
    pairs: Mutex<Pairs>,
}

#[derive(Debug, Default)]
struct Pairs {
    used: Vec<Pair>,
    /// The configured files, with the stamps of the last attempt to read them.
    tried: Vec<(Certificate, Stamps)>,
}

impl Tls {
    /// Reads the certificates, and logs those that cannot be used. None: the gateway listens for no TLS.
    /// Error: no certificate can be used.
    pub(super) fn start(front: &Front) -> Result<Option<Arc<Self>>> {
        if front.listen_tls().is_empty() {
            return Ok(None);
        }
        let (pairs, errors) = Pairs::default().read(&front.certificates);
        if pairs.used.is_empty() {
            let none = || Error::config("there is no certificate for listen_tls");
            return Err(errors.into_iter().next().unwrap_or_else(none));
        }
        log(&errors, &pairs);
        let ticketer = Ticketer::new().map_err(|error| no_tls(&error))?;
        let resolver = Arc::new(Resolver::new(&pairs.used));
        let settings = settings(front.tls_min, &resolver, &ticketer)?;
        Ok(Some(Arc::new(Self {
            settings: ArcSwap::from_pointee(settings),
            resolver,
            ticketer,
            pairs: Mutex::new(pairs),
        })))
    }

    /// What a handshake that begins now uses.
    pub(super) fn settings(&self) -> Arc<ServerConfig> {
        self.settings.load_full()
    }

    /// Applies another configuration, and reads all files again. A pair that cannot be used is logged, and
    /// the pair that was read before stays in use. Blocks.
    pub(super) fn apply(&self, front: &Front) {
        match settings(front.tls_min, &self.resolver, &self.ticketer) {
            Ok(settings) => self.settings.store(Arc::new(settings)),
            Err(error) => tracing::error!("tls_min is not applied: {}", error.in_one_line()),
        }
        self.read(&front.certificates);
    }

    fn read(&self, files: &[Certificate]) {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, errors) = pairs.read(files);
        log(&errors, &read);
        // Without any certificate no handshake could succeed.
        if !read.used.is_empty() {
            self.resolver.replace(&read.used);
            *pairs = read;
        }
    }

    /// Reads the files again when they have changed, and have then stayed the same for a while: a program
    /// writes the certificate and the key one after the other. Never ends.
    pub(super) async fn follow_files(self: Arc<Self>) {
        let mut last = None;
        loop {
            sleep(LOOK).await;
            let tls = Arc::clone(&self);
            // A failed look is repeated.
            let Ok(now) = run_blocking(move || tls.changed()).await else { continue };
            let is_settled = now.is_some() && now == last;
            last = now;
            if is_settled {
                let tls = Arc::clone(&self);
                let files = last.take().unwrap_or_default().into_iter().map(|(files, _)| files);
                let files: Vec<Certificate> = files.collect();
                let _ = run_blocking(move || tls.read(&files)).await;
            }
        }
    }

    /// The configured files with their stamps; None: the stamps are the same as at the last attempt.
    fn changed(&self) -> Option<Vec<(Certificate, Stamps)>> {
        let tried = self.pairs.lock().unwrap_or_else(PoisonError::into_inner).tried.clone();
        let now: Vec<_> =
            tried.iter().map(|(files, _)| (files.clone(), Stamps::of(files))).collect();
        (now != tried).then_some(now)
    }
}

impl Pairs {
    /// Reads the files. In place of a pair that cannot be used, the pair that is in use stays.
    fn read(&self, files: &[Certificate]) -> (Self, Vec<Error>) {
        let (mut pairs, mut errors) = (Self::default(), Vec::new());
        for files in files {
            let stamps = Stamps::of(files);
            match Pair::read(files) {
                Ok(pair) => {
                    pairs.tried.push((files.clone(), pair.stamps));
                    pairs.used.push(pair);
                }
                Err(error) => {
                    pairs.tried.push((files.clone(), stamps));
                    errors.push(error);
                    pairs.used.extend(self.used.iter().find(|it| it.files == *files).cloned());
                }
            }
        }
        (pairs, errors)
    }
}

fn log(errors: &[Error], pairs: &Pairs) {
    for error in errors {
        let error = error.in_one_line();
        tracing::error!("the previous certificate stays in use, if there was one: {error}");
    }
    let now = SystemTime::now();
    for pair in &pairs.used {
        if let Some(problem) = pair.problem(now) {
            tracing::warn!("{problem}");
        }
    }
    let names = pairs.used.iter().flat_map(|pair| &pair.names);
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    tracing::info!("{} certificates are in use, for {names}", pairs.used.len());
}

impl Pair {
    /// What is wrong with the validity period or the names of the certificate.
    fn problem(&self, now: SystemTime) -> Option<String> {
        let file = self.files.certificate.display();
        let [from, to] = [self.not_before, self.not_after].map(humantime::format_rfc3339_seconds);
        if self.names.is_empty() {
            return Some(format!("the certificate {file} names no host, so browsers refuse it"));
        }
        if self.not_before > now {
            return Some(format!("the certificate {file} is not valid before {from}"));
        }
        if self.not_after < now {
            return Some(format!("the certificate {file} has expired at {to}"));
        }
        (self.not_after < now + SOON).then(|| format!("the certificate {file} expires at {to}"))
    }
}

fn settings(
    min: TlsVersion,
    resolver: &Arc<Resolver>,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig> {
    const ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    let versions = if min == TlsVersion::V13 { &ALL[..1] } else { ALL };
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(versions).map_err(|error| no_tls(&error))?;
    let resolver: Arc<Resolver> = Arc::clone(resolver);
    let mut settings = builder.with_no_client_auth().with_cert_resolver(resolver);
    settings.alpn_protocols = vec![ALPN_HTTP2.to_vec(), b"http/1.1".to_vec()];
    settings.ticketer = Arc::clone(ticketer);
    // A browser resumes a session with one ticket, and gets the next one then.
    settings.send_tls13_tickets = 1;
    settings.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(settings)
}

fn no_tls(error: &dyn Display) -> Error {
    Error::failed(format!("TLS cannot be set up: {error}"))
}

/// What is wrong with the configured certificates. Reads the files, and blocks.
pub(super) fn findings(global: &Global) -> Vec<Finding> {
    let now = SystemTime::now();
    let mut findings = Vec::new();
    for files in &global.front.certificates {
        match Pair::read(files) {
            Err(error) => findings.push(error.into()),
            Ok(pair) => findings.extend(pair.problem(now).map(|problem| {
                Finding::warning(problem, "renew it; a running serve reads the new file by itself")
            })),
        }
        findings.extend(readable_by_others(files));
    }
    findings
}

fn readable_by_others(files: &Certificate) -> Option<Finding> {
    const OTHERS_READ: u32 = 0o004;
    let mode = files.key.metadata().ok()?.permissions().mode();
    let key = files.key.display();
    (mode & OTHERS_READ != 0).then(|| {
        Finding::warning(
            format!("every user of this machine can read the key {key}"),
            format!("chmod o-r {key}; then get a new key, if others had access"),
        )
    })
}
