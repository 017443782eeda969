//! What other commands say to a running gateway, and what it answers.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::accept::Failures;
use super::front::Gateway;
use super::live::Live;
use super::sync::{Reason, sync};
use crate::control::{Answer, Ask, LINE_MAX, Shown};

/// Takes what is said, for ever.
pub(super) async fn listen(listener: UnixListener, live: Arc<Live>) {
    let mut failures = Failures::on("the control socket");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                failures.end();
                // An error is that of one connection: the command at its other end sees it too.
                let connection = Arc::clone(&live);
                live.spawn(async move { drop(converse(stream, &connection).await) });
            }
            Err(error) => failures.add(&error).await,
        }
    }
}

async fn converse(mut stream: UnixStream, live: &Live) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read.take(LINE_MAX)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(ask) => answer(&live.gateway(), ask).await,
            Err(error) => Answer::Failed(format!("this makes no sense: {error}")),
        };
        write.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
    }
    Ok(())
}

async fn answer(gateway: &Gateway, ask: Ask) -> Answer {
    let (Ask::Sync(pool) | Ask::Show(pool)) = &ask;
    let Some(site) = gateway.sites.of_pool(pool) else {
        return Answer::Failed(format!(
            "the gateway does not serve the pool \"{pool}\": send it SIGHUP, so that it reads its configuration again, and look into its log"
        ));
    };
    match ask {
        Ask::Sync(_) => match sync(site, Reason::Command).await {
            Ok(()) => Answer::Done,
            Err(error) => {
                site.doubt();
                Answer::Failed(error.message)
            }
        },
        Ask::Show(_) => {
            let (replicas, waiting) = site.upstream.show();
            Answer::Shown(Shown { replicas, waiting })
        }
    }
}
