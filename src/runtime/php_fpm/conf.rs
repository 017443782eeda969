//! The file that makes a php-fpm a generation: it includes the replica's `N.conf`, and overrides
//! only what a generation needs of its own.

use std::path::Path;

use super::{Resolved, Server};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::runtime::Generation;

/// The text of the file. Fails where a name cannot be written in php-fpm's format.
///
/// `control_timeout` is for how many seconds QUIT lets requests finish; None leaves it as the
/// operator set it.
pub(in crate::runtime) fn text(
    pool: &Pool,
    generation: &Generation,
    server: &Server,
    resolved: &Resolved,
    control_timeout: Option<u64>,
) -> Result<String> {
    let timeout = control_timeout
        .map(|seconds| format!("process_control_timeout = {seconds}s\n"))
        .unwrap_or_default();
    Ok(format!(
        "; Generation {number} of replica {replica} of the pool \"{pool}\", written by pools-manager.\n\
         ; It overrides only what stands here; all else is in the file that it includes.\n\
         {record}\n\
         include={conf}\n\
         [global]\n\
         pid = {pid}\n\
         daemonize = yes\n\
         {timeout}\
         [{section}]\n\
         listen = {socket}\n\
         ping.path = {ping}\n\
         pm.status_path = {status}\n",
        number = generation.number,
        replica = generation.replica,
        pool = pool.name,
        record = generation.record_line()?,
        conf = quoted(&pool.replica_conf(generation.replica))?,
        pid = quoted(&generation.pid_file)?,
        section = resolved.section,
        socket = quoted(&generation.socket)?,
        ping = server.ping_path,
        status = server.status_path.as_deref().unwrap_or_default(),
    ))
}

/// A path as a value of php-fpm's ini format.
pub(super) fn quoted(path: &Path) -> Result<String> {
    match path.to_str() {
        // Quotes end the value, $ expands, the rest is what `include` takes for a pattern.
        Some(text) if !text.contains(['"', '$', '\\', '\n', '*', '?', '[']) => {
            Ok(format!("\"{text}\""))
        }
        _ => Err(Error::config(format!(
            "php-fpm's configuration cannot name the path {}",
            path.display()
        ))
        .hint("use paths without quotes, $, backslashes, line ends, *, ? and [")),
    }
}
