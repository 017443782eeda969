//! What other commands say to a running gateway, and what it answers.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::front::Gateway;
use super::sync::sync;
use crate::control::{Answer, Ask, LINE_MAX, Shown};

/// Takes what is said, for ever.
pub(super) async fn listen(listener: UnixListener, gateway: Arc<Gateway>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let gateway = Arc::clone(&gateway);
            // Who does not read his answer has it closed.
            tokio::spawn(async move { converse(stream, &gateway).await });
        }
    }
}

async fn converse(mut stream: UnixStream, gateway: &Gateway) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read.take(LINE_MAX)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(ask) => answer(gateway, ask).await,
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
            "the gateway does not serve the pool \"{pool}\": restart it, so that it reads its configuration"
        ));
    };
    match ask {
        Ask::Sync(_) => match sync(site).await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed(error.message),
        },
        Ask::Show(_) => {
            let (replicas, waiting) = site.upstream.show();
            Answer::Shown(Shown { replicas, waiting })
        }
    }
}
