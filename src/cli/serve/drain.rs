//! The last part of a process that was replaced: it serves the requests that it has.

use std::pin::pin;

use rustix::process::Signal;

use super::Serving;
use super::signals::Received;
use crate::error::Result;
use crate::upgrade::{FromNew, Successor};

impl Serving<'_> {
    /// Serves the requests that this process has, and does what its successor asks for. If this process has
    /// replaced an older one, it ends after that one: the older process reaches the successor only through
    /// this process.
    pub(super) async fn drain(mut self, mut successor: Successor) -> Result<()> {
        let Some(mut gateway) = self.gateway.take() else { return Ok(()) };
        gateway.hand_over().await;
        let predecessor = self.predecessor.take();
        let connections = gateway.drained();
        let mut drained = pin!(async {
            let before = async {
                if let Some(predecessor) = &predecessor {
                    predecessor.ended().await;
                }
            };
            tokio::join!(connections, before);
        });
        let (mut is_alone, mut is_told_to_end) = (false, false);
        loop {
            tokio::select! {
                () = drained.as_mut() => break,
                asked = successor.next(), if !is_alone => match asked {
                    Some(FromNew::Pause(pool)) => {
                        let paused = gateway.pause(&pool).await;
                        successor.answer(paused).await;
                    }
                    Some(FromNew::Unpause(pool)) => {
                        let unpaused = gateway.unpause(&pool).await;
                        successor.answer(unpaused).await;
                    }
                    Some(_) => {}
                    None => {
                        is_alone = true;
                        gateway.unpause_all().await;
                    }
                },
                received = self.signals.next() => match received {
                    Received::Stop(second) if is_told_to_end => return Err(second),
                    Received::Stop(_) => {
                        is_told_to_end = true;
                        gateway.close_idle();
                    }
                    Received::Reload => successor.signal(Signal::HUP),
                    Received::Restart => successor.signal(Signal::USR1),
                    Received::Upgrade => successor.signal(Signal::USR2),
                },
            }
        }
        gateway.end().await
    }
}
