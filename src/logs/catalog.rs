//! Which logs there are, and which generations write them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::open::resolved;
use super::origin::Writer;
use crate::error::Result;
use crate::pool::Pool;
use crate::runtime::{LogFile, LogKind, discover};

/// A log, and a generation that writes it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The file; its directory without symlinks, so that no file has two paths.
    pub(super) path: PathBuf,
    pub(super) kind: LogKind,
    pub(super) writer: Writer,
}

/// The logs of all generations of a pool that have a record. The second list has the logs that are no files.
/// `paths` keeps the paths that were resolved before.
pub(super) fn of_pool(
    pool: &Pool,
    paths: &mut HashMap<PathBuf, PathBuf>,
) -> Result<(Vec<Found>, Vec<LogFile>)> {
    let name: Arc<str> = pool.name.as_str().into();
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for generation in discover(pool)? {
        let conf = generation.started_with(pool);
        let logs = generation.logs(pool);
        let writer = Writer::new(&name, Arc::new(generation), conf);
        for LogFile { path, kind } in logs {
            if path.is_absolute() {
                let path = paths.entry(path).or_insert_with_key(|path| resolved(path)).clone();
                found.push(Found { path, kind, writer: writer.clone() });
            } else {
                others.push(LogFile { path, kind });
            }
        }
    }
    Ok((found, others))
}
