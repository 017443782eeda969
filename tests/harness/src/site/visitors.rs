//! Clients with requests that `ping-stress` cannot send: with a cookie, or with a form.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::think;

use super::Site;
use super::http::Client;

/// Clients that send their next request after each response.
pub struct Visitors {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Site {
    /// `visit` gets a client, and the number of the visit, which is unique.
    pub fn visitors(
        &self,
        visitors: u64,
        visit: impl Fn(Client, u64) + Clone + Send + 'static,
    ) -> Visitors {
        let (client, enough) = (self.client(), Arc::new(AtomicBool::new(false)));
        let one = |first| {
            let (visit, enough) = (visit.clone(), Arc::clone(&enough));
            thread::spawn(move || {
                let numbers = (first..).step_by(usize::try_from(visitors).unwrap());
                let wanted = numbers.take_while(|_| !enough.load(Ordering::Relaxed));
                let visits = wanted.map(|number| {
                    visit(client, number);
                    think();
                });
                visits.count() as u64
            })
        };
        let threads = (0..visitors).map(one).collect();
        Visitors { enough, threads }
    }
}

impl Visitors {
    /// Stops the visitors, and waits for their last responses. Returns the number of visits.
    pub fn finish(self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|visitor| visitor.join().unwrap()).sum()
    }
}
