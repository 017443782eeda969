//! A command that is killed at the first failpoint, then at the second, and so on until it succeeds.
//! So no failpoint is left out, even if the plan changes.

use std::fs;

use super::Site;

/// The commands that an operator may run next. The sweep takes them in turn.
const NEXT: [&[&[&str]]; 3] =
    [&[&["restart"]], &[&["start"], &["restart"]], &[&["repair"], &["start"], &["restart"]]];

/// A command, and the failpoints that it must have.
pub(super) struct Sweep<'a> {
    pub(super) command: &'a [&'a str],
    /// Prepares the state in which the command begins. The number is that of the failpoint.
    pub(super) before: &'a dyn Fn(&Site, usize),
    /// The exit status of the command when it is not killed.
    pub(super) status: i32,
    /// Failpoints inside steps that it must have.
    pub(super) within: &'a [&'a str],
    /// What happens before the next command.
    pub(super) then: &'a dyn Fn(&Site, usize),
}

impl<'a> Sweep<'a> {
    pub(super) fn of(command: &'a [&'a str]) -> Self {
        Self { command, before: &|_, _| (), status: 0, within: &[], then: &|_, _| () }
    }

    pub(super) fn run(&self, site: &Site) {
        let mut places = Vec::new();
        let mut steps = 0;
        (self.before)(site, 1);
        while let Some(place) = site.kill_at(places.len() + 1, self.command, self.status) {
            places.push(place.clone());
            let n = places.len();
            println!("{n}: {place}");
            (self.then)(site, n);
            for next in NEXT[n % NEXT.len()] {
                site.run(next).succeeds();
                match next {
                    ["repair"] => site.is_repaired(),
                    _ => site.serves_and_runs_nothing_else(),
                }
            }
            site.is_in_order_on(&named(site));
            (self.before)(site, n + 1);
            if n == 1 {
                steps = site.steps_of(self.command);
            }
        }
        println!("{}: killed at {} places", self.command.join(" "), places.len());
        if self.status == 0 {
            let after = places.iter().filter(|place| place.starts_with("after: "));
            assert_eq!(after.count(), steps, "{places:#?}");
        }
        let missed: Vec<_> =
            self.within.iter().filter(|within| places.iter().all(|it| it != *within)).collect();
        assert!(missed.is_empty(), "not killed at {missed:?}, but at {places:#?}");
    }
}

/// The release that the symlink names.
fn named(site: &Site) -> String {
    let target = fs::read_link(site.path("www/current.release")).unwrap();
    target.file_name().unwrap().to_str().unwrap().to_owned()
}
