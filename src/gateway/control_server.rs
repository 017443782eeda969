//! The control socket: commands make the gateway refresh endpoints, and ask for its state.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::accept_errors::AcceptErrors;
use super::refresh::{Reason, refresh};
use super::state::{CurrentState, State};
use crate::control::{Answer, Ask, LINE_MAX, Shown};

/// Accepts connections. Never ends.
pub(super) async fn listen(listener: UnixListener, current: Arc<CurrentState>) {
    let mut errors = AcceptErrors::on("the control socket");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                errors.end();
                let state = Arc::clone(&current);
                // An error concerns one connection: the command at its other end gets it too.
                current.spawn(async move { drop(serve(stream, &state).await) });
            }
            Err(error) => errors.add(&error).await,
        }
    }
}

async fn serve(mut stream: UnixStream, current: &CurrentState) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read.take(LINE_MAX)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(ask) => answer(&current.get(), ask).await,
            Err(error) => Answer::Failed(format!("the request is malformed: {error}")),
        };
        write.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
    }
    Ok(())
}

async fn answer(state: &State, ask: Ask) -> Answer {
    let (Ask::Sync(pool) | Ask::Show(pool)) = &ask;
    let Some(vhost) = state.hosts.of_pool(pool) else {
        return Answer::Failed(format!(
            "the gateway does not serve the pool \"{pool}\": send it SIGHUP, so that it reads its configuration again, and look into its log"
        ));
    };
    match ask {
        Ask::Sync(_) => match refresh(vhost, Reason::Command).await {
            Ok(()) => Answer::Done,
            Err(error) => {
                vhost.request_refresh();
                Answer::Failed(error.message)
            }
        },
        Ask::Show(_) => {
            let (replicas, waiting) = vhost.upstream.show();
            Answer::Shown(Shown { replicas, waiting })
        }
    }
}
