//! An upgrade while a canary gets a share of the visitors.

use harness::served::Served;
use rustix::process::Signal;

use super::running::Running;
use crate::canary::{self, LONG, one_of_each, watching};

#[test]
fn canary_outlives_an_upgrade() {
    let served: Served = canary::served("");
    let running = Running::of(&served);
    let manager = watching(&served.site, "50%", LONG);
    let (mut new, mut old) = one_of_each(served.port());
    running.upgrade();
    let (mut new_later, mut old_later) = (new.again(served.port()), old.again(served.port()));
    for (visitor, release) in [(&mut new_later, "2"), (&mut old_later, "1")] {
        assert_eq!(visitor.release(), release);
        assert_eq!(visitor.get("/which.txt").text(), release);
    }
    // On connections of the old process, which closes them then.
    assert_eq!((new.release().as_str(), old.release().as_str()), ("2", "1"));
    manager.signal(Signal::TERM);
    manager.finish().status(143);
    assert_eq!(new_later.release(), "1");
    running.await_alone();
}
