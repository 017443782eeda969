//! The generated file that starts a generation: it includes the replica's `N.conf`, and overrides
//! only a generation's own settings.

use std::path::Path;

use super::{Resolved, Server};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::runtime::Generation;

/// The text of the file. Fails if php-fpm's format cannot express a name.
///
/// `control_timeout` is the time in seconds that QUIT gives to requests; None keeps the operator's.
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
         ; It overrides only these settings; all others are in the included file.\n\
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
        // Quotes end the value, $ expands, and `include` treats the others as a pattern.
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
