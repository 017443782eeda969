use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use tempfile::TempDir;

use super::replica::Health;
use super::*;
use crate::config::KeepAlive;
use crate::gateway::fastcgi::Params;
use crate::release::Release;
use crate::runtime::Children;

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
        Member { socket: socket.into(), served: self.served(release), children, ping: None }
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
            slot.finish(Some(connection().0));
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
    first.finish(Some(open));
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
        slot.finish(Some(open));
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

/// However many wait, one slot that becomes free costs a few looks at the replicas.
#[tokio::test]
async fn a_freed_slot_is_given_without_looking_at_all_that_wait() {
    let world = World::new(&Gateway { queue: 5000, ..Gateway::default() });
    world.upstream.exchange(vec![world.member("a", "1", 1), world.member("b", "2", 1)]);
    let (first, second) = (world.served("1"), world.served("2"));
    let mut slot = world.upstream.acquire(&first, None).await.unwrap();
    let _other = world.upstream.acquire(&second, None).await.unwrap();
    let mut waits = Vec::new();
    for number in 0..4000 {
        let served = if number % 2 == 0 { &first } else { &second };
        let mut wait = Box::pin(world.upstream.acquire(served, None));
        assert!(is_ready!(wait).is_err());
        waits.push(wait);
    }
    for next in (0..2000).step_by(2) {
        let before = world.upstream.lock().steps();
        drop(slot);
        let steps = world.upstream.lock().steps() - before;
        assert!(steps <= 4, "{steps}");
        slot = is_ready!(waits[next]).unwrap().unwrap();
        assert_eq!(name(&slot), "a");
    }
    // One that goes away leaves no gap in the order.
    drop(waits.remove(2000));
    drop(slot);
    assert_eq!(name(&is_ready!(waits[2001]).unwrap().unwrap()), "a");
}

fn ping() -> Arc<Ping> {
    Arc::new(Ping::sample())
}

#[tokio::test]
async fn a_replica_is_examined_only_while_it_has_a_free_child() {
    let world = World::new(&Gateway::default());
    let member = |name: &str| Member { ping: Some(ping()), ..world.member(name, "1", 2) };
    world.upstream.exchange(vec![member("a"), member("b")]);
    let served = world.upstream.served().unwrap();
    let mut slots = Vec::new();
    for _ in 0..4 {
        slots.push(world.upstream.acquire(&served, None).await.unwrap());
    }
    let ids = [1, 2];
    for id in ids {
        assert!(world.upstream.lock().suspect(id).is_none());
    }
    slots.pop();
    let suspects = ids.map(|id| world.upstream.lock().suspect(id).map(|it| it.replica));
    let [found] = suspects.into_iter().flatten().collect::<Vec<_>>()[..] else { panic!() };
    // Not twice at a time.
    assert!(world.upstream.lock().suspect(found).is_none());
    assert!(!world.upstream.lock().examined(found, false));
    assert!(world.upstream.lock().suspect(found).is_some());
}

#[tokio::test]
async fn the_last_replica_is_not_ejected() {
    let world = World::new(&Gateway::default());
    let member = |name: &str| Member { ping: Some(ping()), ..world.member(name, "1", 2) };
    world.upstream.exchange(vec![member("a"), member("b")]);
    assert!(world.upstream.lock().examined(1, true));
    assert!(!world.upstream.lock().examined(1, true)); // it is aside already
    assert!(world.upstream.lock().suspect(2).is_none());
    assert!(!world.upstream.lock().examined(2, true));
    let served = world.upstream.served().unwrap();
    for _ in 0..2 {
        assert_eq!(name(&world.upstream.acquire(&served, None).await.unwrap()), "b");
    }
}

/// While a pool goes from one release to the next, requests leave the one that nobody can serve.
#[tokio::test]
async fn what_waits_for_a_replica_that_is_set_aside_is_routed_anew() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 1), world.member("b", "2", 1)]);
    let (first, second) = (world.served("1"), world.served("2"));
    let one = world.upstream.acquire(&first, None).await.unwrap();
    let mut waits = Box::pin(world.upstream.acquire(&first, None));
    assert!(is_ready!(waits).is_err());
    assert!(world.upstream.lock().examined(1, true));
    assert_eq!(is_ready!(waits).unwrap().unwrap_err(), NoSlot::Moved);
    assert_eq!(world.upstream.acquire(&first, None).await.unwrap_err(), NoSlot::Moved);
    assert_eq!(world.upstream.served().unwrap().release, second.release);
    // With the other one gone too, both are waited for.
    world.upstream.lock().set_health(2, Health::Silent);
    let mut waits = Box::pin(world.upstream.acquire(&first, None));
    assert!(is_ready!(waits).is_err());
    drop(one);
    world.upstream.lock().set_health(1, Health::Well);
    world.upstream.lock().hand_out();
    assert_eq!(name(&is_ready!(waits).unwrap().unwrap()), "a");
}
