//! The gateway as a library: `gateway::serve`, called by this process.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pools_manager::gateway;
use pools_manager::root::Root;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use harness::Site;
use harness::served::Served;

const DEADLINE: Duration = Duration::from_secs(60);

/// A gateway that runs in this process.
struct Embedded {
    address: String,
    reloads: Arc<gateway::Reloads>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<pools_manager::error::Result<()>>,
}

impl Embedded {
    async fn start(site: &Site) -> Self {
        let root = Root::new(site.root().to_owned());
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, addresses) = oneshot::channel();
        let reloads = Arc::new(gateway::Reloads::default());
        let own = Arc::clone(&reloads);
        let ended = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            let ready = |addresses: &[String]| started.send(addresses.to_vec()).unwrap();
            gateway::serve(&root, shutdown, own, ready).await
        });
        let addresses = timeout(DEADLINE, addresses).await.unwrap().unwrap();
        let address = addresses[0].strip_prefix("http://").unwrap().to_owned();
        Self { address, reloads, stop, ended }
    }

    async fn get(&self, page: &str) -> String {
        let request = format!("GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        let read = stream.read_to_string(&mut response);
        timeout(DEADLINE, read).await.unwrap().unwrap();
        response
    }

    async fn shut_down(self) {
        self.stop.send(()).unwrap();
        timeout(DEADLINE, self.ended).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_in_one_process_start_reload_and_stop_independently() {
    let sites = [0, 1].map(|number| {
        let site = Served::site("", "");
        site.add_page("which.php", &format!("<?php echo 'site {number}';"));
        site.run(&["start"]).succeeds();
        site
    });
    let [first, second] = [Embedded::start(&sites[0]).await, Embedded::start(&sites[1]).await];
    assert!(first.get("/which.php").await.ends_with("site 0"));
    assert!(second.get("/which.php").await.ends_with("site 1"));
    let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
    sites[0].replace(settings, "[gateway]\n", "[gateway]\nheaders = { X-Reloaded = \"yes\" }\n");
    first.reloads.reload().await;
    let reloaded = async { while !first.get("/which.php").await.contains("x-reloaded: yes") {} };
    timeout(DEADLINE, reloaded).await.unwrap();
    assert!(!second.get("/which.php").await.contains("x-reloaded"));
    let address = first.address.clone();
    first.shut_down().await;
    assert!(TcpStream::connect(&address).await.is_err());
    assert!(!sites[0].path("sockets/pools-manager.sock").exists());
    assert!(second.get("/which.php").await.ends_with("site 1"));
    second.shut_down().await;
}

#[tokio::test]
async fn dropped_gateway_stops_at_once_and_removes_its_socket() {
    let site = Served::site("", "");
    let root = Root::new(site.root().to_owned());
    {
        let (started, is_started) = oneshot::channel();
        let ready = |_: &[String]| started.send(()).unwrap();
        let mut gateway =
            pin!(gateway::serve(&root, std::future::pending(), Arc::default(), ready));
        tokio::select! {
            ended = &mut gateway => panic!("{ended:?}"),
            started = timeout(DEADLINE, is_started) => started.unwrap().unwrap(),
        }
        assert!(site.path("sockets/pools-manager.sock").exists());
    }
    assert!(!site.path("sockets/pools-manager.sock").exists());
}
