//! A certificate and its private key, read from PEM files and checked.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::config::Certificate;
use crate::error::{Error, Result};
use crate::file::Stamp;
use crate::privsep::files;

/// The most bytes that are read of a file: far more than the longest chain has.
const MOST: u64 = 1 << 20;

/// A certificate with its key, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// The files.
    pub files: Certificate,
    /// The files as they were read.
    pub stamps: Stamps,
    /// What the handshake needs.
    pub certified: Arc<CertifiedKey>,
    /// The names for which it is valid: in lower case, a wildcard as `*.example.com`.
    pub names: Vec<String>,
    /// When it becomes valid.
    pub not_before: SystemTime,
    /// When it expires.
    pub not_after: SystemTime,
}

/// Identifies the versions of both files. A symlink that leads to another file has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamps([Stamp; 2]);

impl Stamps {
    /// The stamps of the files as they are now.
    pub(super) fn of(pair: &Certificate) -> Self {
        Self([files::stamp(&pair.certificate), files::stamp(&pair.key)])
    }
}

impl Pair {
    /// Reads the files. Error: a file cannot be read, or has the wrong content, or the certificate and
    /// the key do not belong together. An expired certificate is no error.
    pub(super) fn read(files: &Certificate) -> Result<Self> {
        // Taken first: if the files change while they are read, these are the old stamps, and the files
        // are read again.
        let stamps = Stamps::of(files);
        let chain = chain(&files.certificate)?;
        let key = key(&files.key)?;
        let (certificate, shown_key) = (files.certificate.display(), files.key.display());
        let refused = |error: &dyn std::fmt::Display| {
            Error::config(format!("the certificate {certificate} cannot be used: {error}"))
                .hint("get another one from its authority")
        };
        let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let leaf = x509_cert::Certificate::from_der(first).map_err(|error| refused(&error))?;
        let validity = leaf.tbs_certificate.validity;
        let names = names(&leaf).map_err(|error| refused(&error))?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Error::config(format!(
                "the key {shown_key} does not belong to the certificate {certificate}"
            ))
            .hint(format!(
                "the first certificate in the file must be the server's own; openssl x509 -pubkey -noout -in {certificate} and openssl pkey -pubout -in {shown_key} must print the same"
            )),
            error => Error::config(format!("the key {shown_key} cannot be used: {error}"))
                .hint("it must be an RSA key of 2048 bits or more, or an ECDSA or Ed25519 key"),
        })?;
        Ok(Self {
            files: files.clone(),
            stamps,
            certified: Arc::new(certified),
            names,
            not_before: validity.not_before.to_system_time(),
            not_after: validity.not_after.to_system_time(),
        })
    }
}

/// The names in the certificate (RFC 5280, section 4.2.1.6). The common name does not count any more
/// (RFC 9525, section 2).
fn names(leaf: &x509_cert::Certificate) -> x509_cert::der::Result<Vec<String>> {
    let Some((_, SubjectAltName(names))) = leaf.tbs_certificate.get()? else {
        return Ok(Vec::new());
    };
    Ok(names.iter().filter_map(name).collect())
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let four = <[u8; 4]>::try_from(octets).map(|it| Ipv4Addr::from(it).to_string());
            let six = || <[u8; 16]>::try_from(octets).map(|it| Ipv6Addr::from(it).to_string());
            four.or_else(|_| six()).ok()
        }
        _ => None,
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(path, "certificate")?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| no_pem(path, &error))?;
    if chain.is_empty() {
        return Err(Error::config(format!("{} has no certificate", path.display())).hint(
            "it must be a PEM file with a line -----BEGIN CERTIFICATE-----, like fullchain.pem of certbot",
        ));
    }
    Ok(chain)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let bytes = read(path, "key")?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        if !matches!(error, PemError::NoItemsFound) {
            return no_pem(path, &error);
        }
        let is_encrypted = bytes.windows(9).any(|part| part == b"ENCRYPTED");
        let error = Error::config(format!("{} has no private key that is readable", path.display()));
        error.hint(if is_encrypted {
            "it is encrypted with a passphrase: remove that with openssl pkey -in OLD -out NEW"
        } else {
            "it must be a PEM file with a line -----BEGIN PRIVATE KEY-----, like privkey.pem of certbot"
        })
    })
}

fn no_pem(path: &Path, error: &PemError) -> Error {
    Error::config(format!("{} is not a valid PEM file: {error}", path.display()))
        .hint("write it again: an editor or a copy may have changed it")
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = files::open(path).and_then(|file| {
        if !file.metadata()?.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        file.take(MOST).read_to_end(&mut bytes)
    });
    read.map_err(|error| {
        Error::config(format!("cannot read the {what} {}: {error}", path.display()))
            .hint("it must be a file that the user of serve may read")
    })?;
    Ok(bytes)
}
