//! The management record `FCGI_GET_VALUES` (FastCGI specification, section 4.1): a question to the
//! server itself, which needs no script.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Address, FastCgiError, connect_unix};

const VERSION: u8 = 1;
const GET_VALUES: u8 = 9;
const GET_VALUES_RESULT: u8 = 10;
const UNKNOWN_TYPE: u8 = 11;
/// A name without a value.
const NAME: &[u8] = b"FCGI_MPXS_CONNS";

/// Asks a server for its values, and waits for the answer, for at most `timeout`. The values do not
/// matter: an answer shows that the server accepts connections and reads them.
pub async fn get_values(socket: &Path, timeout: Duration) -> Result<(), FastCgiError> {
    let address = Address::Unix(socket.to_owned());
    let answer = async {
        let mut stream = connect_unix(&address, socket).await?;
        let closed = |_| FastCgiError::Closed { address: address.clone() };
        stream.write_all(&question()).await.map_err(closed)?;
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.map_err(closed)?;
        match header {
            [VERSION, GET_VALUES_RESULT | UNKNOWN_TYPE, ..] => Ok(()),
            _ => Err(FastCgiError::Malformed {
                address: address.clone(),
                reason: "it is no answer to FCGI_GET_VALUES".to_owned(),
            }),
        }
    };
    tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| {
        Err(FastCgiError::TimedOut { address: address.clone(), after: timeout })
    })
}

fn question() -> Vec<u8> {
    let length = u8::try_from(NAME.len()).unwrap_or_default();
    let header = [VERSION, GET_VALUES, 0, 0, 0, length + 2, 0, 0];
    [&header[..], &[length, 0], NAME].concat()
}
