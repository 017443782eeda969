use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::config::KeepAlive;
use crate::gateway::fastcgi::Params;
use crate::php_fpm::Children;
use crate::release::Release;

struct World {
    dir: TempDir,
    upstream: Arc<Upstream>,
}

impl World {
    fn new(settings: &Gateway) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for release in ["1", "2"] {
            std::fs::create_dir(dir.path().join(release)).unwrap();
        }
        Self { dir, upstream: Upstream::new(settings) }
    }

    fn served(&self, release: &str) -> Arc<Served> {
        let release = Release::at(&self.dir.path().join(release)).unwrap();
        Arc::new(Served::open(&release, "").unwrap())
    }

    fn member(&self, socket: &str, release: &str, children: u32) -> Member {
        let socket: PathBuf = self.dir.path().join(socket);
        let children = Some(Children { max: children, fixed: true });
        Member { socket: socket.into(), served: self.served(release), children }
    }

    fn in_flight(&self, socket: &str) -> u32 {
        let socket = self.dir.path().join(socket);
        let shown = self.upstream.show().0;
        shown.iter().filter(|it| it.socket == socket).map(|it| it.in_flight).sum()
    }
}

/// One that is short enough to be sent at once.
fn request() -> Request {
    Params::begin().end()
}

/// A connection, and its other end.
fn connection() -> (Connection, UnixStream) {
    let (ours, php) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Connection::new(ours.into()).unwrap(), php)
}

fn name(slot: &Slot) -> String {
    slot.socket().file_name().unwrap().to_string_lossy().into_owned()
}

/// One more poll: is it done?
macro_rules! is_ready {
    ($future:expr) => {
        tokio::time::timeout(Duration::ZERO, &mut $future).await
    };
}

#[tokio::test]
async fn requests_go_to_who_has_the_least_and_never_to_more_than_all_children() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 2), world.member("b", "1", 1)]);
    let served = world.upstream.served().unwrap();
    let one = world.upstream.acquire(&served, None).await.unwrap();
    let two = world.upstream.acquire(&served, None).await.unwrap();
    let three = world.upstream.acquire(&served, None).await.unwrap();
    let mut names = [name(&one), name(&two)];
    names.sort();
    assert_eq!((names, name(&three)), (["a".to_owned(), "b".to_owned()], "a".to_owned()));
    // First come, first served.
    let mut four = Box::pin(world.upstream.acquire(&served, None));
    let mut five = Box::pin(world.upstream.acquire(&served, None));
    assert!(is_ready!(four).is_err() && is_ready!(five).is_err());
    drop(three);
    assert!(is_ready!(five).is_err());
    let four = is_ready!(four).unwrap().unwrap();
    assert_eq!((name(&four), world.in_flight("a"), world.in_flight("b")), ("a".into(), 2, 1));
    // Who goes away frees his place, and a slot that comes too late goes to the next.
    let mut six = Box::pin(world.upstream.acquire(&served, None));
    assert!(is_ready!(six).is_err());
    drop(five);
    drop(four);
    assert!(is_ready!(six).is_ok());
    drop((one, two, six));
    assert_eq!((world.in_flight("a"), world.in_flight("b")), (0, 0));
    assert_eq!(world.upstream.show().1, 0);
}

#[tokio::test]
async fn after_an_exchange_nothing_old_is_given_and_who_waits_is_told() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 1)]);
    let old = world.upstream.served().unwrap();
    let running = world.upstream.acquire(&old, None).await.unwrap();
    let mut waits = Box::pin(world.upstream.acquire(&old, None));
    assert!(is_ready!(waits).is_err());
    world.upstream.exchange(vec![world.member("b", "2", 1)]);
    assert_eq!(is_ready!(waits).unwrap().unwrap_err(), NoSlot::Moved);
    assert_eq!(world.upstream.acquire(&old, None).await.unwrap_err(), NoSlot::Moved);
    assert_eq!(world.in_flight("a"), 1);
    drop(running);
    assert_eq!(world.in_flight("a"), 0);
    let new = world.upstream.served().unwrap();
    assert_eq!(name(&world.upstream.acquire(&new, None).await.unwrap()), "b");
    assert_eq!(world.upstream.show().0.len(), 1);
}

#[tokio::test]
async fn a_restart_on_the_same_release_goes_on_with_who_waits() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 1)]);
    let served = world.upstream.served().unwrap();
    let _running = world.upstream.acquire(&served, None).await.unwrap();
    let mut waits = Box::pin(world.upstream.acquire(&served, None));
    assert!(is_ready!(waits).is_err());
    world.upstream.exchange(vec![world.member("b", "1", 1)]);
    assert_eq!(name(&is_ready!(waits).unwrap().unwrap()), "b");
}

#[tokio::test]
async fn the_queue_is_bounded_and_patience_ends() {
    let settings =
        Gateway { queue: 1, queue_timeout: Duration::from_millis(20), ..Gateway::default() };
    let world = World::new(&settings);
    world.upstream.exchange(vec![world.member("a", "1", 1)]);
    let served = world.upstream.served().unwrap();
    let _running = world.upstream.acquire(&served, None).await.unwrap();
    let mut waits = Box::pin(world.upstream.acquire(&served, None));
    assert!(is_ready!(waits).is_err());
    assert_eq!(world.upstream.acquire(&served, None).await.unwrap_err(), NoSlot::Full);
    assert_eq!(waits.await.unwrap_err(), NoSlot::TimedOut);
}

#[tokio::test]
async fn no_more_than_a_quarter_waits_at_a_socket() {
    let settings = Gateway { fastcgi_keep_alive: KeepAlive::Off, ..Gateway::default() };
    let world = World::new(&settings);
    world.upstream.exchange(vec![world.member("a", "1", 8)]);
    let served = world.upstream.served().unwrap();
    let mut slots = Vec::new();
    for _ in 0..10 {
        slots.push(world.upstream.acquire(&served, Some(&mut request())).await.unwrap());
    }
    assert!(is_ready!(Box::pin(world.upstream.acquire(&served, Some(&mut request())))).is_err());
}

#[tokio::test]
async fn one_child_is_spared_while_nobody_waits() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 3)]);
    let served = world.upstream.served().unwrap();
    let mut slots = Vec::new();
    for _ in 0..3 {
        let slot = world.upstream.acquire(&served, Some(&mut request())).await.unwrap();
        assert!(slot.keeps());
        slots.push(slot);
    }
    let kept = |slots: &mut Vec<Slot>| {
        for slot in slots.drain(..) {
            slot.finish(connection().0);
        }
        world.upstream.show().0[0].kept
    };
    assert_eq!(kept(&mut slots), 2);
    // What may not travel on a kept connection needs its child.
    for left in [2, 1, 0] {
        slots.push(world.upstream.acquire(&served, None).await.unwrap());
        assert_eq!(world.upstream.show().0[0].kept, left);
    }
    slots.clear();
    slots.push(world.upstream.acquire(&served, Some(&mut request())).await.unwrap());
    assert_eq!(kept(&mut slots), 1);
    world.upstream.exchange(Vec::new());
    assert!(world.upstream.show().0.is_empty());
}

#[tokio::test]
async fn who_waits_gets_the_connection_with_his_request_sent() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 1)]);
    let served = world.upstream.served().unwrap();
    let first = world.upstream.acquire(&served, Some(&mut request())).await.unwrap();
    let mut waiting = request();
    waiting.push_body(b"his own");
    let mut waits = Box::pin(world.upstream.acquire(&served, Some(&mut waiting)));
    assert!(is_ready!(waits).is_err());
    let (open, mut php) = connection();
    first.finish(open);
    let sent = waits.await.unwrap().take_kept().unwrap().sent.unwrap();
    let mut read = vec![0; sent];
    php.read_exact(&mut read).unwrap();
    assert_eq!(read, waiting.bytes(true));
}

/// However many wait: now and then the last child is free for whoever connects, as a ping does.
#[tokio::test]
async fn the_last_child_is_not_passed_on_for_ever() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 1)]);
    let served = world.upstream.served().unwrap();
    let mut slot = world.upstream.acquire(&served, Some(&mut request())).await.unwrap();
    let (mut open, _php) = connection();
    let begun = Instant::now();
    let mut count = 0;
    loop {
        let mut asked = request();
        let mut waits = Box::pin(world.upstream.acquire(&served, Some(&mut asked)));
        assert!(is_ready!(waits).is_err());
        slot.finish(open);
        slot = waits.await.unwrap();
        let Some(kept) = slot.take_kept() else { break };
        open = kept.connection;
        count += 1;
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert!(count > 0);
}

#[tokio::test]
async fn a_replica_that_nobody_listens_for_is_set_aside_until_somebody_does() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 1)]);
    let served = world.upstream.served().unwrap();
    world.upstream.acquire(&served, None).await.unwrap().set_aside();
    let mut waits = Box::pin(world.upstream.acquire(&served, None));
    assert!(is_ready!(waits).is_err());
    let _listener = std::os::unix::net::UnixListener::bind(world.dir.path().join("a")).unwrap();
    waits.await.unwrap();
}
