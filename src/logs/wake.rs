//! Wakes a stream from another thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Error, Result};

/// Wakes a stream that waits.
#[derive(Debug)]
pub struct Wake {
    event: OwnedFd,
    reloads: AtomicBool,
    stops: AtomicBool,
}

impl Wake {
    /// Error: no descriptor is free.
    pub fn new() -> Result<Self> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|error| Error::failed(format!("eventfd: {error}")))?;
        Ok(Self { event, reloads: AtomicBool::new(false), stops: AtomicBool::new(false) })
    }

    /// Makes the stream read the pools again.
    pub fn reload(&self) {
        self.reloads.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Ends the stream, after what was written until then.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether the stream is to end.
    pub fn is_stopped(&self) -> bool {
        self.stops.load(Ordering::SeqCst)
    }

    /// Whether the pools are to be read again. Once for each call of [`Self::reload`], or for several.
    pub(super) fn take_reload(&self) -> bool {
        self.reloads.swap(false, Ordering::SeqCst)
    }

    /// For poll(2).
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    pub(super) fn clear(&self) {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}
