//! The path on which a monitor asks whether each pool can serve.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use harness::served::{Answer, Served};
use harness::wait_for;

const PATH: &str = "/.pools-manager/health";
const GLOBAL: &str = "etc/pools-manager.toml";

fn document(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    serde_json::from_str(&answer.text()).unwrap()
}

#[test]
fn health_is_good_while_each_pool_has_a_replica() {
    let served = Served::with("hosts = [\"www.test\"]", "access_log = \"pid/access.log\"");
    let ask = |host: &str| {
        let answer = served.get_from(host, PATH);
        (answer.status, document(&answer))
    };
    let good = (200, json!({"status": "ok", "unavailable": []}));
    for host in ["www.test", "nobody.test", "127.0.0.1"] {
        assert_eq!(ask(host), good);
    }
    // HTTP/1.0 without a host, and HEAD.
    assert_eq!(served.raw(format!("GET {PATH} HTTP/1.0\r\n\r\n").as_bytes()).unwrap().status, 200);
    let mut head = served.connect();
    head.send(&format!("HEAD {PATH}?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    let answer = head.answer_to("HEAD").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert!(answer.header("x-request-id").is_some());
    head.is_closed();
    let post = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let answer = served.raw(post.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));

    served.site.run(&["stop", "single", "www", "1"]).succeeds();
    assert_eq!(ask("a"), good);
    served.site.run(&["stop"]).succeeds();
    let down = (503, json!({"status": "unavailable", "unavailable": ["www"]}));
    assert_eq!(ask("a"), down);
    served.site.run(&["start"]).succeeds();
    assert_eq!(ask("a"), good);
    // No request of a monitor is in the access log.
    assert_eq!(served.get_from("www.test", "/ping.php").status, 200);
    wait_for("the access log", || {
        let log = served.site.read("pid/access.log");
        assert!(!log.contains(PATH), "{log}");
        log.contains("/ping.php").then_some(())
    });
}

#[test]
fn pool_with_a_broken_configuration_is_unavailable() {
    let site = Served::site("hosts = [\"www.test\"]", "");
    site.write(
        "etc/php/fpm/redundant-pools/shop/pools-manager.toml",
        "[php]\nmonitor = \"\"\n[gateway]\nhosts = [\"shop.test\"]\n",
    );
    site.run(&["start", "single", "www"]).succeeds();
    let served = Served::serve(site);
    let answer = served.get(PATH);
    let expected = json!({"status": "unavailable", "unavailable": ["shop"]});
    assert_eq!((answer.status, document(&answer)), (503, expected));
}

/// For other clients, it is a path of the application that begins with a dot.
#[test]
fn request_that_a_proxy_passes_on_gets_no_health() {
    let served = Served::with("", "trusted_proxies = [\"127.0.0.1\"]");
    for header in ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=::1", "X-Real-IP: a", "Via: 1.1 a"]
    {
        assert_eq!(served.get_with(PATH, &format!("{header}\r\n")).status, 404, "{header}");
    }
    for other in ["//.pools-manager/health", "/.pools-manager/%68ealth", "/.pools-manager/"] {
        assert_eq!(served.get(other).status, 404, "{other}");
    }
    assert_eq!(served.get(PATH).status, 200);
}

#[test]
fn client_that_the_proxy_protocol_names_counts() {
    let served = Served::with("", "proxy_protocol = true");
    let ask = |command: u8, client: [u8; 4]| {
        let signature = b"\r\n\r\n\0\r\nQUIT\n";
        let head: &[u8] = &[command, 0x11, 0, 12];
        let ends: &[u8] = &[127, 0, 0, 1, 0, 80, 0, 80];
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n");
        served.raw(&[signature, head, &client, ends, request.as_bytes()].concat()).unwrap().status
    };
    assert_eq!(ask(0x21, [192, 0, 2, 1]), 404);
    assert_eq!(ask(0x21, [127, 0, 0, 1]), 200);
    // A health check of the proxy itself.
    assert_eq!(ask(0x20, [192, 0, 2, 1]), 200);
}

#[test]
fn client_of_another_address_gets_no_health() {
    // No packet is sent. Without a route, there is no other address.
    let Ok(own) = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    }) else {
        return;
    };
    let site = Served::site("", "");
    site.replace(GLOBAL, "127.0.0.1:0", "0.0.0.0:0");
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    let mut stream = TcpStream::connect((own.ip(), served.port())).unwrap();
    stream.write_all(format!("GET {PATH} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.0 404 "), "{text}");
    assert_eq!(served.get(PATH).status, 200);
}

#[test]
fn unix_socket_has_health() {
    let site = Served::site("", "");
    site.replace(GLOBAL, "\"127.0.0.1:0\"", "\"unix:sockets/gateway.sock\", \"127.0.0.1:0\"");
    site.run(&["start"]).succeeds();
    let served = Served::serve(site);
    let ask = |headers: &str| {
        let mut stream = UnixStream::connect(served.site.path("sockets/gateway.sock")).unwrap();
        stream.write_all(format!("GET {PATH} HTTP/1.0\r\n{headers}\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(ask("").starts_with("HTTP/1.0 200 "));
    assert!(ask("X-Forwarded-For: 127.0.0.1\r\n").starts_with("HTTP/1.0 404 "));
}

/// A balancer whose request has begun before the end of the gateway learns of the end.
#[test]
fn gateway_that_ends_is_unavailable() {
    let mut served = Served::new();
    let mut connection = served.connect();
    connection.send(&format!("GET {PATH} HTTP/1.1\r\nHost: "));
    // Both threads answer further requests. So the first bytes of this request have been read by now.
    for _ in 0..4 {
        assert_eq!(served.get(PATH).status, 200);
    }
    served.gateway().signal(Signal::TERM);
    let address = ("127.0.0.1", served.port());
    wait_for("the end of the listener", || TcpStream::connect(address).is_err().then_some(()));
    connection.send("a\r\n\r\n");
    let answer = connection.answer().unwrap();
    let expected = json!({"status": "draining", "unavailable": []});
    assert_eq!((answer.status, document(&answer)), (503, expected));
    served.finish_gateway().succeeds();
}
