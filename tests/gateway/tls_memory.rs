//! The memory of the gateway for idle connections with TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use harness::served::Served;
use harness::served::http2::{
    ACK, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, head,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

/// Far more than anything takes.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Accepts the certificate of the test, which signs itself.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client of this protocol (ALPN).
pub(super) fn client(protocol: &str) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let verified = builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let mut client = verified.with_no_client_auth();
    client.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Arc::new(client)
}

pub(super) fn connect(served: &Served, client: &Arc<ClientConfig>) -> Tls {
    let name = ServerName::try_from("a.test").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", served.tls_port())).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(client), name).unwrap(), socket)
}

/// Sends a request for `release.txt`, and reads until the response has this end.
pub(super) fn request(tls: &mut Tls, request: &[u8]) {
    tls.write_all(request).unwrap();
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while !read.ends_with(b"1\n") {
        let length = tls.read(&mut buffer).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..length]);
    }
}

/// The memory for each of `count` connections that have each sent a request, in bytes.
fn memory_of_each(served: &Served, count: usize, protocol: &str, sent: &[u8]) -> u64 {
    let client = client(protocol);
    request(&mut connect(served, &client), sent);
    let before = served.memory();
    let idle: Vec<Tls> = (0..count)
        .map(|_| {
            let mut tls = connect(served, &client);
            request(&mut tls, sent);
            tls
        })
        .collect();
    assert_eq!(served.get("/ping.php").text(), "pong1\n");
    // A connection is idle when nothing has happened on it for a while.
    let settled = harness::wait_for("the same memory twice", || {
        let now = served.memory();
        std::thread::sleep(Duration::from_millis(200));
        (served.memory() == now).then_some(now)
    });
    drop(idle);
    (settled - before) / count as u64
}

fn raise_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

fn take_little_memory(count: usize) {
    raise_limit();
    let http1 = b"GET /release.txt HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let http2 = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &frame(SETTINGS, ACK, 0, &[]),
        &frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/release.txt", &[])),
    ]
    .concat();
    for (protocol, sent, most) in [("http/1.1", &http1[..], 16 << 10), ("h2", &http2, 48 << 10)] {
        let served = Served::with_tls("", "header_timeout = \"10m\"");
        let each = memory_of_each(&served, count, protocol, sent);
        println!("{protocol}: {each} bytes for each of {count} idle connections");
        assert!(each < most, "{protocol}: {each} bytes for each of {count} connections");
    }
}

#[test]
fn thousand_idle_connections_with_tls_take_little_memory() {
    take_little_memory(1000);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn five_thousand_idle_connections_with_tls_take_little_memory() {
    take_little_memory(5000);
}
