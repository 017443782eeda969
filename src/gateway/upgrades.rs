//! The requests to replace this process.

use tokio::sync::{mpsc, oneshot};

/// Sends the result: the pid of the new process, or why this process serves on.
pub type Reply = oneshot::Sender<Result<u32, String>>;

/// Requests upgrades.
#[derive(Debug, Clone)]
pub struct Upgrades(mpsc::Sender<Reply>);

impl Upgrades {
    /// The sender of requests, and the receiver at which they arrive.
    pub fn new() -> (Self, mpsc::Receiver<Reply>) {
        let (requests, received) = mpsc::channel(1);
        (Self(requests), received)
    }

    /// Requests an upgrade, and waits for its result.
    pub(super) async fn request(&self) -> Result<u32, String> {
        let (reply, result) = oneshot::channel();
        let is_sent = self.0.send(reply).await.is_ok();
        let ends = || Err("serve ends".to_owned());
        if is_sent { result.await.unwrap_or_else(|_| ends()) } else { ends() }
    }
}
