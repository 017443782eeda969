//! The connection between the two processes: both send requests, and answer those of the other one.
//!
//! A thread reads and another one writes, so that nothing else waits for the other process. A process that
//! does not read loses the connection once many messages wait for it.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self as std_mpsc, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

pub use super::frame::{FDS_MAX, Limits};
use super::frame::{Frame, receive, send};

/// The most messages that wait to be written.
const QUEUE_MAX: usize = 256;
/// The most requests that wait to be taken up. If there are more, nothing is read until one is taken up,
/// and the other process has to wait.
const ASKED_MAX: usize = 16;

/// One end. Dropping it ends the connection.
#[derive(Debug)]
pub struct Link {
    stream: Arc<UnixStream>,
    out: SyncSender<Frame>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
}

/// What is on the wire.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message<T> {
    Ask(u64, T),
    Answer(u64, T),
}

/// An answer, as it has come.
struct Received {
    body: Value,
    fds: Vec<OwnedFd>,
}

type Deliver = Box<dyn FnOnce(Received) + Send>;

/// The requests without an answer. None: the connection has ended.
struct Waiting(Mutex<Option<HashMap<u64, Deliver>>>);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

/// A request of the other process.
#[derive(Debug)]
pub struct Asked {
    id: u64,
    body: Value,
    /// The descriptors with it.
    pub fds: Vec<OwnedFd>,
    stream: Arc<UnixStream>,
    out: SyncSender<Frame>,
}

impl Link {
    /// Starts the threads. The second value yields the requests of the other process, and ends with the
    /// connection. `limits`: for the messages of the other process.
    pub fn start(stream: UnixStream, limits: Limits) -> io::Result<(Self, mpsc::Receiver<Asked>)> {
        let stream = Arc::new(stream);
        let (out, to_write) = sync_channel::<Frame>(QUEUE_MAX);
        let (asked, requests) = mpsc::channel(ASKED_MAX);
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        let written_to = Arc::clone(&stream);
        std::thread::Builder::new().name("link-out".to_owned()).spawn(move || {
            while let Ok(frame) = to_write.recv() {
                if send(&written_to, &frame).is_err() {
                    let _ = written_to.shutdown(Shutdown::Both);
                    return;
                }
            }
        })?;
        let reader = Reader {
            stream: Arc::clone(&stream),
            limits,
            out: out.clone(),
            waiting: Arc::clone(&waiting),
            asked,
        };
        std::thread::Builder::new().name("link-in".to_owned()).spawn(move || reader.run())?;
        Ok((Self { stream, out, waiting, next: AtomicU64::new(0) }, requests))
    }

    /// Sends a request, and waits for its answer. Error: the connection has ended, or the answer is of
    /// another type.
    pub async fn ask<R: DeserializeOwned>(
        &self,
        request: &impl Serialize,
        fds: Vec<OwnedFd>,
    ) -> io::Result<R> {
        let (deliver, answer) = oneshot::channel();
        self.request(request, fds, Box::new(|received| drop(deliver.send(received))))?;
        let Received { body, .. } = answer.await.map_err(|_| ended())?;
        Ok(serde_json::from_value(body)?)
    }

    /// As [`Link::ask`], for a thread that may block. Also returns the descriptors of the answer.
    pub fn ask_blocking<R: DeserializeOwned>(
        &self,
        request: &impl Serialize,
    ) -> io::Result<(R, Vec<OwnedFd>)> {
        let (deliver, answer) = std_mpsc::channel();
        self.request(request, Vec::new(), Box::new(move |it| drop(deliver.send(it))))?;
        let Received { body, fds } = answer.recv().map_err(|_| ended())?;
        Ok((serde_json::from_value(body)?, fds))
    }

    /// Ends the connection: every wait for an answer fails.
    pub fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn request(
        &self,
        request: &impl Serialize,
        fds: Vec<OwnedFd>,
        deliver: Deliver,
    ) -> io::Result<()> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::to_vec(&Message::Ask(id, request))?;
        self.waiting.lock(|waiting| drop(waiting.insert(id, deliver))).ok_or_else(ended)?;
        put(&self.stream, &self.out, Frame { body, fds });
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

fn ended() -> io::Error {
    io::Error::other("the other process has ended")
}

/// Queues a frame. If too many frames wait already, the other process does not read: the connection is
/// ended.
fn put(stream: &UnixStream, out: &SyncSender<Frame>, frame: Frame) {
    if out.try_send(frame).is_err() {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

impl Waiting {
    /// None: the connection has ended.
    fn lock<T>(&self, work: impl FnOnce(&mut HashMap<u64, Deliver>) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)
    }

    /// Ends every wait for an answer with an error.
    fn end(&self) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(waiting);
    }
}

impl Asked {
    /// The request. Error: it is not of the type `T`.
    pub fn request<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        Ok(serde_json::from_value(self.body.take())?)
    }

    /// Sends the answer. There is no error if that fails: the other process may have ended.
    pub fn answer(self, answer: &impl Serialize, fds: Vec<OwnedFd>) {
        match serde_json::to_vec(&Message::Answer(self.id, answer)) {
            Ok(body) => put(&self.stream, &self.out, Frame { body, fds }),
            // Without an answer, the other process would wait for ever.
            Err(_) => drop(self.stream.shutdown(Shutdown::Both)),
        }
    }
}

struct Reader {
    stream: Arc<UnixStream>,
    limits: Limits,
    out: SyncSender<Frame>,
    waiting: Arc<Waiting>,
    asked: mpsc::Sender<Asked>,
}

impl Reader {
    fn run(self) {
        while let Ok(Frame { body, fds }) = receive(&self.stream, self.limits) {
            match serde_json::from_slice(&body) {
                Ok(Message::Answer(id, body)) => {
                    let deliver = self.waiting.lock(|waiting| waiting.remove(&id)).flatten();
                    if let Some(deliver) = deliver {
                        deliver(Received { body, fds });
                    }
                }
                Ok(Message::Ask(id, body)) => {
                    let (stream, out) = (Arc::clone(&self.stream), self.out.clone());
                    let asked = Asked { id, body, fds, stream, out };
                    if self.asked.blocking_send(asked).is_err() {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        let _ = self.stream.shutdown(Shutdown::Both);
        self.waiting.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    const LIMITS: Limits = Limits { bytes: 1 << 16, takes_fds: true };

    fn pair() -> (Link, mpsc::Receiver<Asked>, Link, mpsc::Receiver<Asked>) {
        let (one, other) = UnixStream::pair().unwrap();
        let (one, asked_one) = Link::start(one, LIMITS).unwrap();
        let (other, asked_other) = Link::start(other, LIMITS).unwrap();
        (one, asked_one, other, asked_other)
    }

    #[tokio::test]
    async fn answers_find_their_requests_in_any_order() {
        let (one, _, _other, mut asked) = pair();
        let answering = tokio::spawn(async move {
            let first = asked.recv().await.unwrap();
            let mut second = asked.recv().await.unwrap();
            let number: u32 = second.request().unwrap();
            second.answer(&number, Vec::new());
            first.answer(&0, Vec::new());
        });
        let (a, b) = tokio::join!(one.ask::<u32>(&7, Vec::new()), one.ask::<u32>(&8, Vec::new()));
        assert_eq!((a.unwrap(), b.unwrap()), (0, 8));
        answering.await.unwrap();
    }

    #[tokio::test]
    async fn descriptors_come_with_an_answer() {
        let (one, _, _other, mut asked) = pair();
        let file = tempfile::tempfile().unwrap();
        let given = file.try_clone().unwrap();
        let answering = async {
            asked.recv().await.unwrap().answer(&(), vec![given.into()]);
        };
        let asking = tokio::task::spawn_blocking(move || one.ask_blocking::<()>(&"file").unwrap());
        let ((), asked) = tokio::join!(answering, asking);
        let ((), mut fds) = asked.unwrap();
        File::from(fds.remove(0)).write_all(b"x").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn end_of_the_other_process_ends_every_wait() {
        let (one, mut asked_one, other, mut asked_other) = pair();
        let asking = tokio::spawn(async move {
            let failed = one.ask::<()>(&1, Vec::new()).await.unwrap_err();
            assert!(one.ask::<()>(&2, Vec::new()).await.is_err());
            failed.to_string()
        });
        drop(asked_other.recv().await.unwrap());
        drop(other);
        assert_eq!(asking.await.unwrap(), "the other process has ended");
        assert!(asked_one.recv().await.is_none());
    }

    #[tokio::test]
    async fn garbage_and_a_process_that_does_not_read_end_the_connection() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (link, mut asked) = Link::start(ours, LIMITS).unwrap();
        theirs.write_all(&[3, 0, 0, 0, 0, 0, 0, 0, b'{', b'{', b'{']).unwrap();
        assert!(asked.recv().await.is_none());
        assert!(link.ask::<()>(&(), Vec::new()).await.is_err());
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (link, mut asked) = Link::start(ours, LIMITS).unwrap();
        let long = "x".repeat(10_000);
        for _ in 0..QUEUE_MAX * 2 {
            let _ = link.request(&long, Vec::new(), Box::new(|_| ()));
        }
        assert!(asked.recv().await.is_none());
        assert!(link.ask::<()>(&(), Vec::new()).await.is_err());
        let _ = theirs.read_to_end(&mut Vec::new());
    }
}
