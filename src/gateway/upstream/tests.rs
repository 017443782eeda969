use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use tempfile::TempDir;

use super::connection::Connection;
use super::endpoint::Health;
use super::*;
use crate::config::{Gateway, KeepAlive};
use crate::gateway::fastcgi::Params;
use crate::release::Release;
use crate::runtime::Children;

/// An upstream with two releases.
struct Fixture {
    dir: TempDir,
    upstream: Arc<Upstream>,
}

impl Fixture {
    fn new(settings: &Gateway) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for release in ["1", "2"] {
            std::fs::create_dir(dir.path().join(release)).unwrap();
        }
        Self { dir, upstream: Upstream::new(settings) }
    }

    fn served(&self, release: &str) -> Arc<ServedRelease> {
        let release = Release::at(&self.dir.path().join(release)).unwrap();
        Arc::new(ServedRelease::open(&release, &Gateway::default(), "").unwrap())
    }

    fn spec(&self, socket: &str, release: &str, children: u32) -> EndpointSpec {
        let socket: PathBuf = self.dir.path().join(socket);
        let children = Some(Children { max: children, fixed: true });
        EndpointSpec { socket: socket.into(), served: self.served(release), children, ping: None }
    }

    fn in_flight(&self, socket: &str) -> u32 {
        let socket = self.dir.path().join(socket);
        let shown = self.upstream.show().0;
        shown.iter().filter(|it| it.socket == socket).map(|it| it.in_flight).sum()
    }
}

/// A short request.
fn request() -> Request {
    Params::begin().end()
}

/// A connection: the gateway's end and php-fpm's end.
fn connection() -> (Connection, UnixStream) {
    let (ours, php) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Connection::new(ours.into()).unwrap(), php)
}

fn name(lease: &Lease) -> String {
    lease.socket().file_name().unwrap().to_string_lossy().into_owned()
}

/// Polls once more.
macro_rules! is_ready {
    ($future:expr) => {
        tokio::time::timeout(Duration::ZERO, &mut $future).await
    };
}

#[tokio::test]
async fn least_busy_endpoint_gets_the_request_up_to_its_children() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 2), fixture.spec("b", "1", 1)]);
    let served = fixture.upstream.release().unwrap();
    let one = fixture.upstream.acquire(&served, None).await.unwrap();
    let two = fixture.upstream.acquire(&served, None).await.unwrap();
    let three = fixture.upstream.acquire(&served, None).await.unwrap();
    let mut names = [name(&one), name(&two)];
    names.sort();
    assert_eq!((names, name(&three)), (["a".to_owned(), "b".to_owned()], "a".to_owned()));
    // First in, first out.
    let mut four = Box::pin(fixture.upstream.acquire(&served, None));
    let mut five = Box::pin(fixture.upstream.acquire(&served, None));
    assert!(is_ready!(four).is_err() && is_ready!(five).is_err());
    drop(three);
    assert!(is_ready!(five).is_err());
    let four = is_ready!(four).unwrap().unwrap();
    assert_eq!((name(&four), fixture.in_flight("a"), fixture.in_flight("b")), ("a".into(), 2, 1));
    // A cancelled request frees its place; if it had a place already, the next request gets this place.
    let mut six = Box::pin(fixture.upstream.acquire(&served, None));
    assert!(is_ready!(six).is_err());
    drop(five);
    drop(four);
    assert!(is_ready!(six).is_ok());
    drop((one, two, six));
    assert_eq!((fixture.in_flight("a"), fixture.in_flight("b")), (0, 0));
    assert_eq!(fixture.upstream.show().1, 0);
}

#[tokio::test]
async fn assignment_of_a_cancelled_request_is_given_back() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1)]);
    let served = fixture.upstream.release().unwrap();
    let first = fixture.upstream.acquire(&served, None).await.unwrap();
    let mut waits = Box::pin(fixture.upstream.acquire(&served, None));
    assert!(is_ready!(waits).is_err());
    // Assigned, and cancelled before its task runs again.
    drop(first);
    assert_eq!(fixture.in_flight("a"), 1);
    drop(waits);
    assert_eq!(fixture.in_flight("a"), 0);
    fixture.upstream.acquire(&served, None).await.unwrap();
}

#[tokio::test]
async fn replaced_endpoint_gets_no_requests_and_waiting_requests_are_routed_again() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1)]);
    let old = fixture.upstream.release().unwrap();
    let running = fixture.upstream.acquire(&old, None).await.unwrap();
    let mut waits = Box::pin(fixture.upstream.acquire(&old, None));
    assert!(is_ready!(waits).is_err());
    fixture.upstream.replace_endpoints(vec![fixture.spec("b", "2", 1)]);
    assert_eq!(is_ready!(waits).unwrap().unwrap_err(), NoLease::ReleaseGone);
    assert_eq!(fixture.upstream.acquire(&old, None).await.unwrap_err(), NoLease::ReleaseGone);
    assert_eq!(fixture.in_flight("a"), 1);
    drop(running);
    assert_eq!(fixture.in_flight("a"), 0);
    let new = fixture.upstream.release().unwrap();
    assert_eq!(name(&fixture.upstream.acquire(&new, None).await.unwrap()), "b");
    assert_eq!(fixture.upstream.show().0.len(), 1);
}

#[tokio::test]
async fn waiting_request_goes_to_a_new_endpoint_of_the_same_release() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1)]);
    let served = fixture.upstream.release().unwrap();
    let _running = fixture.upstream.acquire(&served, None).await.unwrap();
    let mut waits = Box::pin(fixture.upstream.acquire(&served, None));
    assert!(is_ready!(waits).is_err());
    fixture.upstream.replace_endpoints(vec![fixture.spec("b", "1", 1)]);
    assert_eq!(name(&is_ready!(waits).unwrap().unwrap()), "b");
}

#[tokio::test]
async fn queue_has_a_length_limit() {
    let fixture = Fixture::new(&Gateway { queue: 1, ..Gateway::default() });
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1)]);
    let served = fixture.upstream.release().unwrap();
    let _running = fixture.upstream.acquire(&served, None).await.unwrap();
    let mut waits = Box::pin(fixture.upstream.acquire(&served, None));
    assert!(is_ready!(waits).is_err());
    assert_eq!(fixture.upstream.acquire(&served, None).await.unwrap_err(), NoLease::QueueFull);
}

#[tokio::test]
async fn queue_has_a_time_limit() {
    let settings = Gateway { queue_timeout: Duration::from_millis(20), ..Gateway::default() };
    let fixture = Fixture::new(&settings);
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1)]);
    let served = fixture.upstream.release().unwrap();
    let _running = fixture.upstream.acquire(&served, None).await.unwrap();
    let waits = fixture.upstream.acquire(&served, None);
    assert_eq!(waits.await.unwrap_err(), NoLease::TimedOut);
}

#[tokio::test]
async fn a_quarter_more_than_the_children_wait_in_the_backlog_without_keep_alive() {
    let settings = Gateway { fastcgi_keep_alive: KeepAlive::Off, ..Gateway::default() };
    let fixture = Fixture::new(&settings);
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 8)]);
    let served = fixture.upstream.release().unwrap();
    let mut leases = Vec::new();
    for _ in 0..10 {
        leases.push(fixture.upstream.acquire(&served, Some(&mut request())).await.unwrap());
    }
    assert!(is_ready!(Box::pin(fixture.upstream.acquire(&served, Some(&mut request())))).is_err());
}

#[tokio::test]
async fn one_child_stays_free_while_no_request_waits() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 3)]);
    let served = fixture.upstream.release().unwrap();
    let mut leases = Vec::new();
    for _ in 0..3 {
        let lease = fixture.upstream.acquire(&served, Some(&mut request())).await.unwrap();
        assert!(lease.keep_alive());
        leases.push(lease);
    }
    let kept = |leases: &mut Vec<Lease>| {
        for lease in leases.drain(..) {
            lease.finish(Some(connection().0));
        }
        fixture.upstream.show().0[0].idle
    };
    assert_eq!(kept(&mut leases), 2);
    // A request that needs a new connection takes the child of an idle one.
    for left in [2, 1, 0] {
        leases.push(fixture.upstream.acquire(&served, None).await.unwrap());
        assert_eq!(fixture.upstream.show().0[0].idle, left);
    }
    leases.clear();
    leases.push(fixture.upstream.acquire(&served, Some(&mut request())).await.unwrap());
    assert_eq!(kept(&mut leases), 1);
    fixture.upstream.replace_endpoints(Vec::new());
    assert!(fixture.upstream.show().0.is_empty());
}

#[tokio::test]
async fn waiting_request_is_sent_on_the_freed_connection() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1)]);
    let served = fixture.upstream.release().unwrap();
    let first = fixture.upstream.acquire(&served, Some(&mut request())).await.unwrap();
    let mut waiting = request();
    waiting.push_body(b"its own");
    let mut waits = Box::pin(fixture.upstream.acquire(&served, Some(&mut waiting)));
    assert!(is_ready!(waits).is_err());
    let (open, mut php) = connection();
    first.finish(Some(open));
    let sent = waits.await.unwrap().take_reused().unwrap().sent.unwrap();
    let mut read = vec![0; sent];
    php.read_exact(&mut read).unwrap();
    assert_eq!(read, waiting.bytes(true));
}

#[tokio::test]
async fn last_child_accepts_a_new_connection_from_time_to_time() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1)]);
    let served = fixture.upstream.release().unwrap();
    let mut lease = fixture.upstream.acquire(&served, Some(&mut request())).await.unwrap();
    let (mut open, _php) = connection();
    let begun = Instant::now();
    let mut count = 0;
    loop {
        let mut waiting = request();
        let mut waits = Box::pin(fixture.upstream.acquire(&served, Some(&mut waiting)));
        assert!(is_ready!(waits).is_err());
        lease.finish(Some(open));
        lease = waits.await.unwrap();
        let Some(reused) = lease.take_reused() else { break };
        open = reused.connection;
        count += 1;
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert!(count > 0);
}

#[tokio::test]
async fn unreachable_endpoint_is_ejected_until_it_accepts_connections() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1)]);
    let served = fixture.upstream.release().unwrap();
    fixture.upstream.acquire(&served, None).await.unwrap().eject_unreachable();
    let mut waits = Box::pin(fixture.upstream.acquire(&served, None));
    assert!(is_ready!(waits).is_err());
    let _listener = std::os::unix::net::UnixListener::bind(fixture.dir.path().join("a")).unwrap();
    waits.await.unwrap();
}

#[tokio::test]
async fn cost_of_an_assignment_does_not_grow_with_the_queue() {
    let fixture = Fixture::new(&Gateway { queue: 5000, ..Gateway::default() });
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1), fixture.spec("b", "2", 1)]);
    let (first, second) = (fixture.served("1"), fixture.served("2"));
    let mut lease = fixture.upstream.acquire(&first, None).await.unwrap();
    let _other = fixture.upstream.acquire(&second, None).await.unwrap();
    let mut waits = Vec::new();
    for number in 0..4000 {
        let served = if number % 2 == 0 { &first } else { &second };
        let mut wait = Box::pin(fixture.upstream.acquire(served, None));
        assert!(is_ready!(wait).is_err());
        waits.push(wait);
    }
    for next in (0..2000).step_by(2) {
        let before = fixture.upstream.scheduler.lock().steps();
        drop(lease);
        let steps = fixture.upstream.scheduler.lock().steps() - before;
        assert!(steps <= 4, "{steps}");
        lease = is_ready!(waits[next]).unwrap().unwrap();
        assert_eq!(name(&lease), "a");
    }
    // A cancelled request leaves the order of the others unchanged.
    drop(waits.remove(2000));
    drop(lease);
    assert_eq!(name(&is_ready!(waits[2001]).unwrap().unwrap()), "a");
}

fn ping() -> Arc<Ping> {
    Arc::new(Ping(crate::runtime::Server::sample()))
}

#[tokio::test]
async fn endpoint_is_probed_only_while_it_has_a_free_child() {
    let fixture = Fixture::new(&Gateway::default());
    let spec = |name: &str| EndpointSpec { ping: Some(ping()), ..fixture.spec(name, "1", 2) };
    fixture.upstream.replace_endpoints(vec![spec("a"), spec("b")]);
    let served = fixture.upstream.release().unwrap();
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(fixture.upstream.acquire(&served, None).await.unwrap());
    }
    let ids = [1, 2];
    for id in ids {
        assert!(fixture.upstream.scheduler.lock().suspect(id).is_none());
    }
    leases.pop();
    let suspects =
        ids.map(|id| fixture.upstream.scheduler.lock().suspect(id).map(|it| it.endpoint));
    let [found] = suspects.into_iter().flatten().collect::<Vec<_>>()[..] else { panic!() };
    // One probe at a time.
    assert!(fixture.upstream.scheduler.lock().suspect(found).is_none());
    assert!(!fixture.upstream.scheduler.lock().end_probe(found, false));
    assert!(fixture.upstream.scheduler.lock().suspect(found).is_some());
}

#[tokio::test]
async fn last_healthy_endpoint_is_not_ejected() {
    let fixture = Fixture::new(&Gateway::default());
    let spec = |name: &str| EndpointSpec { ping: Some(ping()), ..fixture.spec(name, "1", 2) };
    fixture.upstream.replace_endpoints(vec![spec("a"), spec("b")]);
    assert!(fixture.upstream.scheduler.lock().end_probe(1, true));
    assert!(!fixture.upstream.scheduler.lock().end_probe(1, true)); // the endpoint is ejected already
    assert!(fixture.upstream.scheduler.lock().suspect(2).is_none());
    assert!(!fixture.upstream.scheduler.lock().end_probe(2, true));
    let served = fixture.upstream.release().unwrap();
    for _ in 0..2 {
        assert_eq!(name(&fixture.upstream.acquire(&served, None).await.unwrap()), "b");
    }
}

#[tokio::test]
async fn waiting_request_of_an_ejected_endpoint_is_routed_again() {
    let fixture = Fixture::new(&Gateway::default());
    fixture.upstream.replace_endpoints(vec![fixture.spec("a", "1", 1), fixture.spec("b", "2", 1)]);
    let (first, second) = (fixture.served("1"), fixture.served("2"));
    let one = fixture.upstream.acquire(&first, None).await.unwrap();
    let mut waits = Box::pin(fixture.upstream.acquire(&first, None));
    assert!(is_ready!(waits).is_err());
    assert!(fixture.upstream.scheduler.lock().end_probe(1, true));
    assert_eq!(is_ready!(waits).unwrap().unwrap_err(), NoLease::ReleaseGone);
    assert_eq!(fixture.upstream.acquire(&first, None).await.unwrap_err(), NoLease::ReleaseGone);
    assert_eq!(fixture.upstream.release().unwrap().release, second.release);
    // If all endpoints are ejected, requests wait for them.
    fixture.upstream.scheduler.lock().set_health(2, Health::Unresponsive);
    let mut waits = Box::pin(fixture.upstream.acquire(&first, None));
    assert!(is_ready!(waits).is_err());
    drop(one);
    fixture.upstream.scheduler.lock().set_health(1, Health::Healthy);
    fixture.upstream.scheduler.lock().assign_waiting();
    assert_eq!(name(&is_ready!(waits).unwrap().unwrap()), "a");
}
