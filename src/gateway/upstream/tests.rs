use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
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
    let one = world.upstream.acquire(&served, false).await.unwrap();
    let two = world.upstream.acquire(&served, false).await.unwrap();
    let three = world.upstream.acquire(&served, false).await.unwrap();
    let mut names = [name(&one), name(&two)];
    names.sort();
    assert_eq!((names, name(&three)), (["a".to_owned(), "b".to_owned()], "a".to_owned()));
    // First come, first served.
    let mut four = Box::pin(world.upstream.acquire(&served, false));
    let mut five = Box::pin(world.upstream.acquire(&served, false));
    assert!(is_ready!(four).is_err() && is_ready!(five).is_err());
    drop(three);
    assert!(is_ready!(five).is_err());
    let four = is_ready!(four).unwrap().unwrap();
    assert_eq!((name(&four), world.in_flight("a"), world.in_flight("b")), ("a".into(), 2, 1));
    // Who goes away frees his place, and a slot that comes too late goes to the next.
    let mut six = Box::pin(world.upstream.acquire(&served, false));
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
    let running = world.upstream.acquire(&old, false).await.unwrap();
    let mut waits = Box::pin(world.upstream.acquire(&old, false));
    assert!(is_ready!(waits).is_err());
    world.upstream.exchange(vec![world.member("b", "2", 1)]);
    assert_eq!(is_ready!(waits).unwrap().unwrap_err(), NoSlot::Moved);
    assert_eq!(world.upstream.acquire(&old, false).await.unwrap_err(), NoSlot::Moved);
    assert_eq!(world.in_flight("a"), 1);
    drop(running);
    assert_eq!(world.in_flight("a"), 0);
    let new = world.upstream.served().unwrap();
    assert_eq!(name(&world.upstream.acquire(&new, false).await.unwrap()), "b");
    assert_eq!(world.upstream.show().0.len(), 1);
}

#[tokio::test]
async fn a_restart_on_the_same_release_goes_on_with_who_waits() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 1)]);
    let served = world.upstream.served().unwrap();
    let _running = world.upstream.acquire(&served, false).await.unwrap();
    let mut waits = Box::pin(world.upstream.acquire(&served, false));
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
    let _running = world.upstream.acquire(&served, false).await.unwrap();
    let mut waits = Box::pin(world.upstream.acquire(&served, false));
    assert!(is_ready!(waits).is_err());
    assert_eq!(world.upstream.acquire(&served, false).await.unwrap_err(), NoSlot::Full);
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
        slots.push(world.upstream.acquire(&served, true).await.unwrap());
    }
    assert!(is_ready!(Box::pin(world.upstream.acquire(&served, true))).is_err());
}

#[tokio::test]
async fn one_child_is_never_kept_by_a_connection() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 3)]);
    let served = world.upstream.served().unwrap();
    let mut keeps = Vec::new();
    let mut slots = Vec::new();
    for _ in 0..3 {
        let slot = world.upstream.acquire(&served, true).await.unwrap();
        keeps.push(slot.keeps());
        slots.push(slot);
    }
    assert_eq!(keeps, [true, true, false]);
    let kept = |slots: &mut Vec<Slot>| {
        for slot in slots.drain(..) {
            let (stream, _other) = tokio::net::UnixStream::pair().unwrap();
            slot.finish(Connection::kept(stream));
        }
        world.upstream.show().0[0].kept
    };
    assert_eq!(kept(&mut slots), 2);
    // What may not travel on a kept connection needs its child.
    for left in [2, 1, 0] {
        slots.push(world.upstream.acquire(&served, false).await.unwrap());
        assert_eq!(world.upstream.show().0[0].kept, left);
    }
    slots.clear();
    slots.push(world.upstream.acquire(&served, true).await.unwrap());
    assert_eq!(kept(&mut slots), 1);
    world.upstream.exchange(Vec::new());
    assert!(world.upstream.show().0.is_empty());
}

#[tokio::test]
async fn a_replica_that_nobody_listens_for_is_set_aside_until_somebody_does() {
    let world = World::new(&Gateway::default());
    world.upstream.exchange(vec![world.member("a", "1", 1)]);
    let served = world.upstream.served().unwrap();
    world.upstream.acquire(&served, false).await.unwrap().set_aside();
    let mut waits = Box::pin(world.upstream.acquire(&served, false));
    assert!(is_ready!(waits).is_err());
    let _listener = std::os::unix::net::UnixListener::bind(world.dir.path().join("a")).unwrap();
    waits.await.unwrap();
}
