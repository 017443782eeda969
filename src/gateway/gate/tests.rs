//! Tests of the gate: order, limits, and requests that go away.

use std::future::{pending, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::config;
use crate::traffic::{HOLD_MAX, Maintenance};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn gate(max: usize) -> Arc<Gate> {
    Gate::new("www", &Upstream::new(&config::Gateway::default()), max)
}

fn held() -> Traffic {
    let mut traffic = Traffic::default();
    traffic.hold = Some(Hold::now(HOLD_MAX));
    traffic
}

type Entry = Pin<Box<dyn Future<Output = std::result::Result<Pass, Refused>>>>;

/// A request that has begun to wait.
fn enter(gate: &Arc<Gate>) -> Entry {
    let gate = Arc::clone(gate);
    let mut entry: Entry = Box::pin(async move { gate.enter(CLIENT, None).await });
    assert!(poll(&mut entry).is_none());
    entry
}

fn poll(entry: &mut Entry) -> Option<std::result::Result<Pass, Refused>> {
    match entry.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(entered) => Some(entered),
        Poll::Pending => None,
    }
}

/// The requests that may go on now.
fn let_through(entries: &mut [Entry]) -> Vec<usize> {
    (0..entries.len()).filter(|at| poll(&mut entries[*at]).is_some()).collect()
}

#[tokio::test]
async fn requests_go_on_one_after_the_other_and_only_as_many_as_the_pool_takes() {
    let gate = gate(10);
    assert!(gate.enter(CLIENT, None).await.is_ok());
    gate.apply(&held());
    let mut entries: Vec<_> = (0..5).map(|_| enter(&gate)).collect();
    gate.apply(&Traffic::default());
    // One request has the turn, until the first step of its work is done.
    let mut passes = vec![poll(&mut entries.remove(0)).unwrap().unwrap()];
    assert_eq!(let_through(&mut entries), [0_usize; 0]);
    let mut works: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    let mut begin = |pass: Pass| {
        let mut work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pass.cover(pending()));
        assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        works.push(work);
    };
    begin(passes.remove(0));
    begin(poll(&mut entries.remove(0)).unwrap().unwrap());
    // The pool has no child, so only two requests are under way (`SPARE`).
    assert_eq!((let_through(&mut entries), gate.waiting()), (vec![], 3));
    // A request that comes now goes behind the others.
    entries.push(enter(&gate));
    drop(works.pop());
    poll(&mut entries.remove(0)).unwrap().unwrap().cover(ready(())).await;
    assert_eq!(gate.waiting(), 2);
    drop(works);
    for mut entry in entries {
        poll(&mut entry).unwrap().unwrap().cover(ready(())).await;
    }
    assert!(gate.is_open());
    assert_eq!(gate.lock().under_way, 0);
}

#[tokio::test]
async fn request_that_goes_away_blocks_nothing() {
    let gate = gate(3);
    gate.apply(&held());
    let mut entries: Vec<_> = (0..3).map(|_| enter(&gate)).collect();
    assert!(matches!(gate.enter(CLIENT, None).await, Err(Refused::Full(left)) if !left.is_zero()));
    drop(entries.remove(1));
    entries.push(enter(&gate));
    gate.apply(&Traffic::default());
    // Three clients go away: their requests have not taken the pass yet, have got their work, or have
    // only the pass.
    drop(entries.remove(0));
    drop(poll(&mut entries.remove(0)).unwrap().unwrap().cover(pending::<()>()));
    drop(poll(&mut entries.remove(0)).unwrap());
    assert!(gate.is_open());
    assert_eq!(gate.lock().under_way, 0);
}

#[tokio::test]
async fn order_ends_after_a_while() {
    let gate = gate(10);
    gate.apply(&held());
    let mut entries: Vec<_> = (0..5).map(|_| enter(&gate)).collect();
    gate.apply(&Traffic::default());
    let _stuck = poll(&mut entries.remove(0)).unwrap().unwrap();
    gate.lock().ordered_until = Some(Instant::now());
    gate.tick();
    assert_eq!(let_through(&mut entries), [0, 1, 2, 3]);
}

#[tokio::test]
async fn gateway_that_ends_refuses_what_waits_too_long() {
    let gate = gate(10);
    gate.apply(&held());
    let mut entries: Vec<_> = (0..2).map(|_| enter(&gate)).collect();
    gate.end_within(Duration::from_secs(10));
    // Neither the keeper nor a command prolongs the hold.
    gate.apply(&held());
    assert_eq!(let_through(&mut entries), [0_usize; 0]);
    gate.lock().held_until = Some(Instant::now());
    gate.tick();
    for entry in &mut entries {
        assert!(matches!(poll(entry), Some(Err(Refused::Ending))));
    }
    assert!(matches!(gate.enter(CLIENT, None).await, Err(Refused::Ending)));
}

#[tokio::test]
async fn gateway_that_ends_lets_a_short_hold_end() {
    let gate = gate(10);
    gate.apply(&held());
    let mut entry = enter(&gate);
    gate.end_within(Duration::from_secs(3600));
    gate.apply(&Traffic::default());
    assert!(poll(&mut entry).unwrap().is_ok());
}

#[tokio::test]
async fn maintenance_refuses_all_but_the_allowed() {
    let gate = gate(10);
    let allow = vec!["10.0.0.0/8".parse().unwrap()];
    let maintenance = Maintenance::now(None, allow, Duration::from_secs(60));
    let mut traffic = Traffic::default();
    traffic.maintenance = Some(maintenance);
    gate.apply(&traffic);
    assert!(matches!(gate.enter(CLIENT, None).await, Err(Refused::Maintenance(_))));
    assert!(gate.enter("10.0.0.1".parse().unwrap(), None).await.is_ok());
    gate.apply(&Traffic::default());
    assert!(gate.enter(CLIENT, None).await.is_ok() && gate.is_open());
}
