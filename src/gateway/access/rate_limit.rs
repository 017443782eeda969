//! The rate limit of single clients: the generic cell rate algorithm (GCRA), which needs one time for
//! each client.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::recent::Recent;
use crate::config::Rate;

/// At least this many clients are counted, and at most twice as many. With about 50 bytes for each, that
/// is at most 7 MiB. In a flood from more addresses, the clients that pause longest are forgotten.
const CLIENTS: usize = 1 << 16;

/// The requests of the clients, for one rate.
#[derive(Debug)]
pub(super) struct RateLimit {
    /// The rate.
    pub(super) rate: Rate,
    /// When the next request of a client would come at an even pace.
    clients: Mutex<Recent<IpAddr, Instant>>,
}

impl RateLimit {
    /// A limit that has counted no requests yet.
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, clients: Mutex::new(Recent::new(CLIENTS)) }
    }

    /// Counts a request. Error: the request is one too many. The client may try again after this number
    /// of seconds. A refused request does not count.
    pub(super) fn take(&self, client: IpAddr) -> Result<(), u64> {
        self.take_at(client, Instant::now())
    }

    fn take_at(&self, client: IpAddr, now: Instant) -> Result<(), u64> {
        let Rate { interval, burst } = self.rate;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let even = clients.get(&client).map_or(now, |even| now.max(*even));
        let ahead = even.duration_since(now);
        let most = interval * (burst - 1);
        if ahead > most {
            let wait = ahead.saturating_sub(most);
            return Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        }
        clients.insert(client, even + interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn burst_is_admitted_and_then_an_even_pace() {
        let limit = RateLimit::new(Rate { interval: Duration::from_millis(500), burst: 3 });
        let begun = Instant::now();
        let take = |client, millis| limit.take_at(client, begun + Duration::from_millis(millis));
        assert_eq!([0, 0, 0, 0].map(|at| take(client(1), at)), [Ok(()), Ok(()), Ok(()), Err(1)]);
        assert_eq!(take(client(2), 0), Ok(()));
        assert_eq!([499, 500, 501].map(|at| take(client(1), at)), [Err(1), Ok(()), Err(1)]);
        // Refused requests do not count, and a pause gives the whole burst again, but no more.
        let later = [60_000; 4].map(|at| take(client(1), at));
        assert_eq!(later, [Ok(()), Ok(()), Ok(()), Err(1)]);
    }

    #[test]
    fn pause_is_told_in_whole_seconds() {
        let limit = RateLimit::new(Rate { interval: Duration::from_secs(120), burst: 1 });
        let now = Instant::now();
        assert_eq!(limit.take_at(client(1), now), Ok(()));
        assert_eq!(limit.take_at(client(1), now), Err(120));
        assert_eq!(limit.take_at(client(1), now + Duration::from_millis(1500)), Err(119));
    }

    #[test]
    fn flood_of_addresses_is_bounded_and_the_busy_client_stays_limited() {
        let limit = RateLimit::new(Rate { interval: Duration::from_secs(60), burst: 1 });
        let now = Instant::now();
        let mut admitted = 0;
        for number in 1..300_000 {
            limit.take_at(client(number), now).unwrap();
            admitted += u32::from(limit.take_at(client(0), now).is_ok());
        }
        assert_eq!(admitted, 1);
        assert!(limit.clients.lock().unwrap().len() <= 2 * CLIENTS);
    }
}
