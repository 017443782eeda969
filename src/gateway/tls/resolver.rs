//! Chooses the certificate for a client by the host that it names (SNI, RFC 6066, section 3).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// The certificates that handshakes use. They can be replaced at any time.
#[derive(Debug)]
pub(super) struct Resolver(ArcSwap<ByName>);

/// The certificates by the names in them.
#[derive(Debug, Default)]
struct ByName {
    /// A name can have several: one for each kind of key.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For all other hosts: the certificate of the first pair, and further ones with the same first name.
    default: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    /// Uses these pairs. The first is for clients that name no host of another pair.
    pub(super) fn new(pairs: &[Pair]) -> Self {
        Self(ArcSwap::from_pointee(ByName::new(pairs)))
    }

    /// Uses these pairs for all handshakes that begin later.
    pub(super) fn replace(&self, pairs: &[Pair]) {
        self.0.store(Arc::new(ByName::new(pairs)));
    }
}

impl ByName {
    fn new(pairs: &[Pair]) -> Self {
        let mut by_name = Self::default();
        for pair in pairs {
            for name in &pair.names {
                let keys = by_name.names.entry(name.clone()).or_default();
                keys.push(Arc::clone(&pair.certified));
            }
        }
        if let Some(first) = pairs.first() {
            by_name.default.push(Arc::clone(&first.certified));
            let same = first.names.first().and_then(|name| by_name.names.get(name));
            by_name.default.extend(same.into_iter().flatten().skip(1).cloned());
        }
        by_name
    }

    /// The certificates for a host: of its own name, else of a wildcard for its first label.
    fn find(&self, host: &str) -> &[Arc<CertifiedKey>] {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let exact = self.names.get(&host);
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        exact.or_else(wildcard).map_or(&self.default, Vec::as_slice)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let by_name = self.0.load();
        let fitting =
            hello.server_name().map_or(by_name.default.as_slice(), |host| by_name.find(host));
        let schemes = hello.signature_schemes();
        let is_usable = |it: &&Arc<CertifiedKey>| it.key.choose_scheme(schemes).is_some();
        fitting.iter().find(is_usable).or(fitting.first()).cloned()
    }
}
